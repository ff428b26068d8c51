"""The collector is killed, stopped for a minute; the disk is full.

An agent with an interval of 0.2 s beside a load of cgroups that come, fork and go, some hundred
events a second. rsyslog, with the configuration of deploy/log-shippers, is killed by SIGKILL three
times and started again each time; it is stopped by SIGSTOP for a minute; it is stopped for a minute
and then killed, so that what lay unread in its socket is gone with it. (TCP tells nobody what a
reader has read, and the kernel may hold up to the last of net.ipv4.tcp_rmem for one that is
stopped: the agent repeats to the next reader as much as it may have held.)

A file system of 8 MiB, in a mount namespace of the agent's own, is filled by somebody else's file
for a while: once with the usual buffer, once with the smallest that can be chosen (64 KiB), where
something has to be dropped.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from bench.cgroups import own_cgroup
from bench.figures import Row
from bench.reliability.collectors import Collector, Delivered, completeness, longest_gap
from bench.reliability.load import busy, streaming
from bench.reliability.work import Work, exactly
from support.stream import EXIT_TERMINATED, Stream
from support.waiting import wait_until

_MAX_TASKS = 64
_KILLS = 3
_DISK = "8m"
_SMALLEST_BUFFER = "65536"
_EX_IOERR = 74
_RATES = {"threadtrace.workload.rates", "threadtrace.node.limits"}
_COMINGS = {"threadtrace.workload.started", "threadtrace.workload.ended"}

_MOUNT = 'mount -t tmpfs -o size="$1",mode=755 none "$2"; shift 2; exec "$@"'


def scene(work: Work) -> Iterator[Row]:
    yield from collector_killed(work)
    yield from collector_stopped(work)
    yield from stopped_and_killed(work)
    yield from full_disk(work)
    yield from full_disk(work, "full disk, 64 KiB of buffer", "--buffer-bytes", _SMALLEST_BUFFER)


def collector_killed(work: Work) -> Iterator[Row]:
    with (
        own_cgroup(_MAX_TASKS) as top,
        Collector(work.packages.rsyslog, work.place("killed")) as file,
        streaming(work, "--output", file.output) as (stream, agent),
        busy(top),
    ):
        for _ in range(_KILLS):
            _wait_connected(agent.metric, file)
            time.sleep(work.seconds(5, 1))
            file.kill()
            time.sleep(work.seconds(5, 1))
            file.start()
        _wait_connected(agent.metric, file)
        code = _end(stream)
        file.wait_for(len(stream.events))
    name = f"rsyslog, killed {_KILLS} times"
    yield from completeness(name, Delivered.of(file.file), len(stream.events))
    yield exactly("  exit code of the agent after SIGTERM", code, EXIT_TERMINATED)


def collector_stopped(work: Work) -> Iterator[Row]:
    seconds = work.seconds(60, 5)
    with (
        own_cgroup(_MAX_TASKS) as top,
        Collector(work.packages.rsyslog, work.place("stopped")) as file,
        streaming(work, "--output", file.output) as (stream, agent),
        busy(top),
    ):
        _wait_connected(agent.metric, file)
        file.send(signal.SIGSTOP)
        seen, size = len(stream.lines), file.size()
        time.sleep(seconds)
        told, grown = stream.events[seen:], file.size() - size
        sent = sum(map(len, stream.lines[seen:]))
        waiting = agent.metric("threadtrace_output_buffered_bytes", output=file.output)
        file.send(signal.SIGCONT)
        start, last = time.monotonic(), len(stream.events)
        file.wait_for(last)
        late = time.monotonic() - start
        code = _end(stream)
        file.wait_for(len(stream.events))
    ticks = [event for event in told if event["event"]["name"] == "threadtrace.node.limits"]
    gap = longest_gap(ticks)
    yield Row(
        f"rsyslog, stopped for {seconds:.0f} s: ticks meanwhile, longest interval of one",
        f"{len(ticks)}, {gap:.2f} s",
        "at most 1 s",
        gap <= 1,
    )
    yield exactly("  bytes that it wrote meanwhile", grown, 0)
    waited = (
        f"{len(told):,} events, {sent / 1e6:.2f} MB: {waiting / 1e6:.2f} MB in the agent, the "
        f"rest in the kernel; all there {late:.2f} s after it went on"
    )
    yield Row("  what waited for it", waited)
    yield from completeness("  then", Delivered.of(file.file), len(stream.events))
    yield exactly("  exit code of the agent after SIGTERM", code, EXIT_TERMINATED)


def stopped_and_killed(work: Work) -> Iterator[Row]:
    seconds = work.seconds(60, 5)
    with (
        own_cgroup(_MAX_TASKS) as top,
        Collector(work.packages.rsyslog, work.place("stopped-killed")) as file,
        streaming(work, "--output", file.output) as (stream, agent),
        busy(top),
    ):
        _wait_connected(agent.metric, file)
        file.send(signal.SIGSTOP)
        time.sleep(seconds)
        file.kill()
        file.start()
        _wait_connected(agent.metric, file)
        stream.wait_for_ticks(2)
        _end(stream)
        file.wait_for(len(stream.events))
    found = Delivered.of(file.file)
    missing, told = found.missing(len(stream.events)), found.losses.total()
    yield Row(
        f"rsyslog, stopped for {seconds:.0f} s and then killed: events that lay in the kernel",
        f"{missing:,} of {len(stream.events):,} missing, {told:,} told as lost",
        "0 missing",
        missing == 0,
    )


def full_disk(work: Work, name: str = "full disk", *words: str) -> Iterator[Row]:
    place = work.place(name.replace(" ", "-"))
    before = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _MOUNT, "sh", _DISK]
    with own_cgroup(_MAX_TASKS) as top:
        path = place / "events.jsonl"
        options = ("--output", str(path), *words)
        with streaming(work, *options, before=[*before, str(place)]) as (stream, agent), busy(top):
            # Held open, so that it can be read when the agent and its namespace are gone.
            disk = os.open(f"/proc/{stream.pid}/root{place}", os.O_RDONLY | os.O_DIRECTORY)
            try:
                inside = Path(f"/proc/self/fd/{disk}")
                stream.wait_for_ticks(3)
                filler = _fill(inside)
                for _ in range(int(work.seconds(5, 1))):
                    stream.wait_for_ticks(15)
                ends_whole = (inside / path.name).read_bytes().endswith(b"\n")
                health = agent.get("/healthz").status
                filler.unlink()
                wait_until(
                    lambda: agent.metric("threadtrace_output_connected", output=str(path)) == 1,
                    30,
                    "the file is written again",
                )
                stream.wait_for_ticks(3)
                code = _end(stream)
                found = Delivered.of(inside / path.name)
            finally:
                os.close(disk)
    yield exactly(f"{name}: the file ends with a whole line while it lasts", ends_whole, True)
    yield exactly("  status of /healthz while it lasts", health, 200)
    if not words:
        yield from completeness("  then", found, len(stream.events))
        yield exactly("  exit code of the agent after SIGTERM", code, EXIT_TERMINATED)
        return
    missing = set(range(1, len(stream.events) + 1)) - set(found.numbers)
    names = {stream.events[number - 1]["event"]["name"] for number in missing}
    told = found.losses["output"]
    yield exactly("  events missing, and told as lost (threadtrace.loss)", (len(missing), told),
                  (told, told))  # fmt: skip
    yield exactly("  among them refusals, explosions, losses", len(names - _RATES - _COMINGS), 0)
    yield exactly("  lines that are not whole", found.broken, 0)
    yield exactly(
        "  exit code of the agent after SIGTERM (74: something was lost)", code, _EX_IOERR
    )


def _fill(directory: Path) -> Path:
    """With somebody else's file, to the last byte."""
    filler = directory / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, bytes(1 << 12))
    except OSError:
        return filler
    finally:
        os.close(fd)


def _wait_connected(metric: object, file: Collector) -> None:
    assert callable(metric)
    wait_until(
        lambda: (
            metric("threadtrace_output_connected", output=file.output) == 1
            and metric("threadtrace_output_buffered_bytes", output=file.output) == 0
        ),
        60,
        "the agent is connected to the collector",
    )


def _end(stream: Stream) -> int:
    stream.send(signal.SIGTERM)
    return stream.end()
