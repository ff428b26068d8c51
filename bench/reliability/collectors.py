"""rsyslog and syslog-ng as processes that can be stopped and killed, and what is in their files."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Row
from bench.reliability.work import exactly, free_port
from deploy.test_log_shippers import FILE, PORT, SHIPPERS, Shipper, connected
from support.stream import validate
from support.waiting import wait_until

_STOP_SECONDS = 20.0


class Collector:
    """One that writes what it is sent into ``file``, by the configuration of deploy/."""

    def __init__(self, shipper: Shipper, place: Path) -> None:
        self.port = free_port()
        self.file = place / "events.jsonl"
        self._shipper, self._place = shipper, place
        self._process: subprocess.Popen[bytes] | None = None
        text = (SHIPPERS / shipper.configuration).read_text()
        for before, after in (
            (str(PORT), str(self.port)),
            (FILE, str(self.file)),
            ("/var/spool/rsyslog", str(place)),
        ):
            text = text.replace(before, after)
        (place / "shipper.conf").write_text(text)

    @property
    def output(self) -> str:
        """For the agent's --output."""
        return f"tcp://127.0.0.1:{self.port}"

    def __enter__(self) -> Collector:
        self.start()
        try:
            connected(self.port).close()
        except TimeoutError as error:
            self.end()
            raise TimeoutError(f"{error}: {(self._place / 'shipper.log').read_text()}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        (self._place / "shipper.pid").unlink(missing_ok=True)
        with (self._place / "shipper.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._shipper.command(self._shipper.arguments, self._place),
                cwd=self._place,
                env=self._shipper.program.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9: what it has not written is lost to it."""
        self.send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def end(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def wait_for(self, sequence: int, seconds: float = 60.0) -> None:
        """Until the event with that number has arrived."""
        mark = f'"sequence":{sequence}}}'.encode()
        wait_until(
            lambda: self.size() and mark in self.file.read_bytes()[-(1 << 22) :],
            seconds,
            f"event {sequence} arrives in {self.file.name}",
        )


@dataclass
class Delivered:
    """The events of one run that a file holds."""

    events: list[dict[str, Any]]
    """Each once, in the order in which they came first."""
    repeats: int
    broken: int
    """Lines that are no whole event."""

    @classmethod
    def of(cls, *files: Path) -> Delivered:
        lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
        first: dict[tuple[str, int], dict[str, Any]] = {}
        broken = repeats = 0
        for line in lines:
            try:
                event = json.loads(line)
                key = event["agent"]["id"], event["event"]["sequence"]
            except (ValueError, KeyError, TypeError):
                broken += 1
                continue
            broken += not line.endswith(b"\n")
            repeats += key in first
            first.setdefault(key, event)
        return cls(list(first.values()), repeats, broken)

    @property
    def numbers(self) -> list[int]:
        return [event["event"]["sequence"] for event in self.events]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"]["name"] == f"threadtrace.{name}"]

    @property
    def losses(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for event in self.named("loss"):
            found[event["threadtrace"]["where"]] += event["threadtrace"]["lost_count"]
        return found

    def invalid(self) -> int:
        """How many do not follow the schema."""
        count = 0
        for event in self.events:
            try:
                validate(event)
            except AssertionError:
                count += 1
        return count

    def missing(self, last: int) -> int:
        """Of the numbers from 1 to ``last``."""
        return last - len(set(self.numbers) & set(range(1, last + 1)))


def completeness(name: str, found: Delivered, last: int) -> list[Row]:
    """Whether a file holds each event of a run, valid."""
    return [
        Row(
            f"{name}: events 1 to {last:,} in its file",
            f"{found.missing(last):,} missing, {found.repeats:,} twice",
            "0 missing",
            found.missing(last) == 0,
        ),
        Row(
            f"{name}: lines that do not follow the schema, or are not whole",
            f"{found.invalid() + found.broken:,} of {len(found.events):,}",
            "0",
            found.invalid() + found.broken == 0,
        ),
        exactly(f"{name}: told as lost (threadtrace.loss)", found.losses.total(), 0),
    ]


def longest_gap(events: Sequence[dict[str, Any]]) -> float:
    """Seconds of the longest interval that a tick covered."""
    return max(event["threadtrace"]["interval_seconds"] for event in events)
