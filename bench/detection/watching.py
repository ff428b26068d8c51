"""The agent, writing its events to a file or to a pipe, and what they say of a workload."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_FIRST_SAMPLE = b'"threadtrace.node.limits"'
_CALLED = b"threadtrace.explosion.started"
_WITHIN_SECONDS = 30.0
Event = dict[str, Any]


@contextlib.contextmanager
def agent(directory: Path, *options: str, stdout: int | None = None) -> Iterator[Any]:
    """A ``threadtrace stream --interval 1``, which answers on a socket of its own."""
    command = [sys.executable, "-m", "threadtrace", "stream", "--interval", "1"]
    command += ["--socket", str(directory / "agent.sock"), *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, bufsize=0)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def agent_to_file(directory: Path, file: Path) -> Iterator[None]:
    """It has measured once before this goes on; all is in the file after."""
    with agent(directory, "--all", "--output", str(file)) as process:
        wait_for(
            lambda: _runs(process) and file.exists() and _FIRST_SAMPLE in file.read_bytes(),
            "the first sample",
        )
        yield
        _runs(process)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the agent's output, and when it was read (CLOCK_MONOTONIC, seconds)."""

    when: float
    text: bytes


class Pipe:
    """Lines from the agent's standard output, read the moment they come."""

    def __init__(self, process: Any) -> None:
        self._fd = process.stdout.fileno()
        self._file = process.stdout
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self) -> list[Line]:
        with self._lock:
            return list(self._lines)

    def forget(self) -> None:
        with self._lock:
            self._lines.clear()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        rest = b""
        while not self._stop.is_set():
            if not select.select([self._fd], [], [], 0.2)[0]:
                continue
            data, now = self._file.read(1 << 20), time.monotonic()
            if not data:
                return
            *complete, rest = (rest + data).split(b"\n")
            with self._lock:
                self._lines += [Line(now, text) for text in complete]


@contextlib.contextmanager
def agent_to_pipe(directory: Path) -> Iterator[Pipe]:
    with agent(directory, stdout=subprocess.PIPE) as process:
        pipe = Pipe(process)
        try:
            wait_for(
                lambda: _runs(process) and any(_FIRST_SAMPLE in line.text for line in pipe.lines()),
                "the first sample",
            )
            yield pipe
        finally:
            pipe.close()


def _runs(process: Any) -> bool:
    """True, or RuntimeError: what the agent says of itself is on stderr."""
    if process.poll() is not None:
        raise RuntimeError(f"the agent ended by itself, with {process.returncode}")
    return True


def wait_for(condition: Callable[[], bool], what: str, seconds: float = _WITHIN_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.05)


def events_of(lines: Sequence[bytes], path: str) -> list[Event]:
    """The events of a workload's cgroup and all below it."""
    mark = path.encode()
    events = [json.loads(line) for line in lines if mark in line]
    return [event for event in events if is_within(event, path)]


def is_within(event: Event, path: str) -> bool:
    cgroup = event.get("process", {}).get("linux", {}).get("cgroup", "")
    return bool(cgroup == path or cgroup.startswith(f"{path}/"))


def calls_in(lines: Iterable[bytes]) -> list[Event]:
    """The calls among lines of output."""
    return [event for line in lines if _CALLED in line and is_call(event := json.loads(line))]


def is_call(event: Event) -> bool:
    return bool(event["event"]["name"] == _CALLED.decode())


def moment_of(event: Event) -> float:
    """The event's timestamp (wall clock, RFC 3339) as seconds of CLOCK_MONOTONIC."""
    text = event["timestamp"]
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return seconds + float(f"0.{fraction or 0}") - wall_clock_offset()


def wall_clock_offset() -> float:
    return time.time() - time.monotonic()
