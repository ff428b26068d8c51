"""Churn for half an hour, or as long as --soak says: is memory flat, are descriptors?

Cgroups come, fork and go, some twenty a second, while Prometheus' own way of asking comes each
second, readers of both streams come and go, and rsyslog is killed and started again each minute.
Resident memory and open descriptors are read each second; what is compared are medians of a
twentieth of the time: after the first tenth, when what is kept for readers that come back (120 s,
or 8 MiB) has filled, in the middle, at the end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.cgroups import own_cgroup
from bench.figures import Row
from bench.processes import cpu_seconds, resident_bytes
from bench.reliability.asking import Agent
from bench.reliability.collectors import Collector, Delivered
from bench.reliability.load import Churn
from bench.reliability.work import Repeating, Work, exactly, free_address, longest
from support.waiting import wait_until

_FLAT_BYTES = 2_000_000
_FLAT_DESCRIPTORS = 4
_READER_SECONDS = 3.0
_STOP_SECONDS = 60


@dataclass
class _Seen:
    """Each second."""

    resident: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    scrapes: list[float] = field(default_factory=list)


def scene(work: Work) -> Iterator[Row]:
    seconds = 60 * work.soak_minutes
    seen = _Seen()
    agent = Agent(free_address())
    with (
        own_cgroup(64) as top,
        Collector(work.packages.rsyslog, work.place("soak")) as file,
        _agent(work, agent, file.output) as process,
    ):
        churn, readers = Churn(top), _Readers(agent)
        restart = min(60.0, seconds / 4)
        with (
            Repeating(churn, 0.05),
            Repeating(lambda: _look(process.pid, agent, seen), 1.0),
            Repeating(readers, 0.5),
            _Restarts(file, restart) as restarts,
        ):
            time.sleep(seconds)
        cost = cpu_seconds(process.pid)
        wait_until(lambda: _is_taken(agent, file.output), 60, "all is sent")
        process.terminate()
        code = process.wait(_STOP_SECONDS)
        last = _last_of(file)
    found = Delivered.of(file.file)
    yield Row(
        "it lasted",
        f"{seconds / 60:.0f} minutes, {len(seen.resident):,} scrapes, {churn.made:,} cgroups, "
        f"{readers.count:,} readers, {restarts.count:,} restarts of rsyslog",
    )
    yield from _flat(
        "resident memory", seen.resident, _FLAT_BYTES, lambda size: f"{size / 1e6:.1f} MB"
    )
    yield from _flat(
        "open descriptors", seen.descriptors, _FLAT_DESCRIPTORS, lambda count: f"{count:.0f}"
    )
    yield longest("a scrape of /metrics", seen.scrapes, 1.0)
    yield Row("processor time of the agent", f"{100 * cost / seconds:.2f} % of a core")
    yield exactly(
        "events missing in the file of rsyslog, restarted each minute", found.missing(last), 0
    )
    yield exactly("  told as lost", found.losses.total(), 0)
    yield exactly("exit code of the agent after SIGTERM", code, 143)


def _flat(what: str, values: list[int], limit: int, shown: Callable[[float], str]) -> Iterator[Row]:
    """At the beginning, in the middle, at the end."""
    part = max(1, len(values) // 20)
    starts = (2 * part, len(values) // 2, len(values) - part)
    medians = [statistics.median(values[start : start + part] or values) for start in starts]
    growth = medians[2] - medians[0]
    figure = " / ".join(map(shown, medians)) + f"; most {shown(max(values))}"
    yield Row(
        f"{what}: beginning, middle, end",
        figure,
        f"flat: at most {shown(limit)} more",
        growth <= limit,
    )


@contextlib.contextmanager
def _agent(work: Work, agent: Agent, output: str) -> Iterator[subprocess.Popen[bytes]]:
    socket_words = ("--socket", str(work.directory / "agent.sock"))
    words = ("--listen", agent.address, "--output", output, *socket_words)
    with (work.directory / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "threadtrace", "stream", *words], stdout=log, stderr=log
        )
    try:
        wait_until(agent.is_up, 60, "the agent answers")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _look(pid: int, agent: Agent, seen: _Seen) -> None:
    seen.scrapes.append(agent.get("/metrics").seconds)
    seen.resident.append(resident_bytes(pid))
    seen.descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))


def _is_taken(agent: Agent, output: str) -> bool:
    connected = agent.metric("threadtrace_output_connected", output=output)
    return connected == 1 and not agent.metric("threadtrace_output_buffered_bytes", output=output)


def _last_of(file: Collector) -> int:
    """The highest number in the file once it does not grow any more."""
    sizes = [-1, file.size()]
    while sizes[-1] != sizes[-2]:
        time.sleep(1.0)
        sizes.append(file.size())
    return max(Delivered.of(file.file).numbers)


class _Restarts(Repeating):
    """rsyslog is killed, and started again a second later; it runs when this is left."""

    def __init__(self, file: Collector, every_seconds: float) -> None:
        super().__init__(self._restart, every_seconds)
        self._file = file
        self.count = -1

    def __enter__(self) -> _Restarts:
        super().__enter__()
        return self

    def _restart(self) -> None:
        self.count += 1
        if self.count:
            self._file.kill()
            time.sleep(1.0)
            self._file.start()


class _Readers:
    """Each call one more, which reads for some seconds and hangs up; or asks once."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        path = ("/v1/view", "/v1/events", "/v1/snapshot", "/v1/why")[self.count % 4]
        threading.Thread(target=self._read, args=(path,), daemon=True).start()

    def _read(self, path: str) -> None:
        host, _, port = self._agent.address.rpartition(":")
        until = time.monotonic() + _READER_SECONDS
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, int(port)), _READER_SECONDS) as reader,
        ):
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            while time.monotonic() < until and reader.recv(1 << 16):
                pass
