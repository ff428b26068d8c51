"""What every scene is given, and how it tells what it found."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.figures import Row
from deploy import test_log_shippers as shippers
from deploy.packages import program

Scene = Callable[["Work"], Iterator[Row]]


class Packages:
    """Programs of the distribution, installed or unpacked in a directory, once for all scenes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @cached_property
    def rsyslog(self) -> shippers.Shipper:
        return shippers.rsyslog(self._directory / "rsyslog")

    @cached_property
    def syslog_ng(self) -> shippers.Shipper:
        return shippers.syslog_ng(self._directory / "syslog-ng")

    @cached_property
    def prometheus(self) -> Path:
        """The directory of prometheus and promtool."""
        return Path(program("prometheus", "prometheus", self._directory / "prometheus").path).parent


@dataclass
class Work:
    """A directory of the scene's own, and what it may use."""

    directory: Path
    packages: Packages
    is_quick: bool = False
    soak_minutes: float = 30.0

    def seconds(self, usual: float, quick: float) -> float:
        return quick if self.is_quick else usual

    def place(self, name: str) -> Path:
        directory = self.directory / name
        directory.mkdir()
        return directory


class Repeating:
    """Does something again and again, at a time of its own, until it is left."""

    def __init__(self, do: Callable[[], object], every_seconds: float) -> None:
        self._do, self._every = do, every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: Exception | None = None

    def __enter__(self) -> Repeating:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(60)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            try:
                self._do()
            except Exception as error:  # told by whoever waits for it
                self.error = error
                return
            due = max(due + self._every, time.monotonic())
            self._over.wait(max(0.0, due - time.monotonic()))


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"127.0.0.1:{unused.getsockname()[1]}"


def free_port() -> int:
    return int(free_address().rpartition(":")[2])


def exactly(what: str, found: object, wanted: object, unit: str = "") -> Row:
    """One figure that has to be what it has to be."""
    return Row(what, f"{_shown(found)}{unit}", f"{_shown(wanted)}{unit}", found == wanted)


def at_most(what: str, found: float, limit: float, unit: str, digits: int = 1) -> Row:
    figure = f"{found:,.{digits}f} {unit}"
    return Row(what, figure, f"at most {limit:,g} {unit}", found <= limit)


def longest(what: str, seconds: Sequence[float], limit_seconds: float) -> Row:
    """How long answers took: the median and the longest."""
    figure = (
        f"median {statistics.median(seconds) * 1e3:,.1f} ms, longest "
        f"{max(seconds) * 1e3:,.0f} ms (n={len(seconds)})"
    )
    return Row(what, figure, f"each within {limit_seconds:g} s", max(seconds) <= limit_seconds)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
