"""The agent gets next to no processor time for a while.

An agent with an interval of 0.2 s is put into a cgroup that may use 1 % of a core (cpu.cfs_quota_us
or cpu.max), for 40 s, and out again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from bench.cgroups import own_cgroup
from bench.figures import Row
from bench.reliability.load import busy, streaming
from bench.reliability.work import Work, exactly
from support.stream import Event

_PERIOD_US, _QUOTA_US = 100_000, 1_000
_INTERVAL_SECONDS = 0.2
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
_BACK_SECONDS = 90.0


def scene(work: Work) -> Iterator[Row]:
    seconds = work.seconds(40, 15)
    with (
        own_cgroup(64) as top,
        _starved() as starved,
        streaming(work, interval_seconds=_INTERVAL_SECONDS) as (stream, agent),
        busy(top),
    ):
        stream.wait_for_ticks(5)
        (starved / "cgroup.procs").write_text(str(stream.pid))
        start, seen = time.monotonic(), len(stream.events)
        time.sleep(seconds)
        (starved.parent / "cgroup.procs").write_text(str(stream.pid))
        starved_events = stream.events[seen:]
        released, seen = time.monotonic(), len(stream.events)
        slowest = agent.metric("threadtrace_agent_interval_seconds")
        stream.wait_until(
            lambda: agent.metric("threadtrace_agent_interval_seconds") == _INTERVAL_SECONDS,
            "the interval is as before",
            _BACK_SECONDS,
        )
        back = time.monotonic() - released
        stream.wait_for_ticks(3)
        after = stream.events[seen:]
        total = time.monotonic() - start
        stream.send(signal.SIGTERM)
        stream.end()
        stream.check()
        said = [line for line in stream.errors.decode().splitlines() if "a sample every" in line]
        lost = stream.losses().total()
    few, many = _ticks(starved_events), _ticks(after)
    yield Row(
        f"interval after {seconds:.0f} s at 1 % of a core",
        f"{slowest:g} s",
        "more than 0.2 s",
        slowest > _INTERVAL_SECONDS,
    )
    yield Row(
        "  ticks in that time, where 0.2 s would be",
        f"{len(few)} of {seconds / _INTERVAL_SECONDS:.0f}",
    )
    yield Row(
        "  what the agent said of it first", (said or ["nothing"])[0], "it says so", bool(said)
    )
    yield Row(
        "the interval is 0.2 s again, after it has its time back",
        f"{back:.1f} s",
        f"within {_BACK_SECONDS:.0f} s",
        True,
    )
    shortest = min(one["threadtrace"]["interval_seconds"] for one in many[2:])
    yield Row(
        "  shortest interval of a tick since: none is made up for",
        f"{shortest:.2f} s",
        "at least 0.1 s",
        shortest >= 0.1,
    )
    covered = sum(one["threadtrace"]["interval_seconds"] for one in (*few, *many))
    yield Row(
        "  time that the ticks cover, of what passed",
        f"{covered:.1f} of {total:.1f} s",
        "all but the last second",
        total - covered < 1.5,
    )
    yield exactly("  told as lost, numbers with a gap", lost, 0)


@contextlib.contextmanager
def _starved() -> Iterator[Path]:
    """A cgroup with so little; empty at the end."""
    is_v1 = (_V1 / "cpu.cfs_quota_us").exists() or (_V1 / "cpu.shares").exists()
    parent = _V1 if is_v1 else _V2
    path = parent / f"threadtrace-starved-{os.getpid()}"
    path.mkdir()
    try:
        if is_v1:
            (path / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (path / "cpu.cfs_quota_us").write_text(str(_QUOTA_US))
        else:
            (parent / "cgroup.subtree_control").write_text("+cpu")
            (path / "cpu.max").write_text(f"{_QUOTA_US} {_PERIOD_US}")
        yield path
    finally:
        for pid in (path / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        path.rmdir()


def _ticks(events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"]["name"] == "threadtrace.node.limits"]
