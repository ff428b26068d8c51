"""Resident memory of the agent while it streams, and whether it grows.

VmRSS of a streaming agent: at rest, after 100,000 short-lived processes, after 2,000 cgroups that
came, forked and went, and in a soak that goes on with both (``--soak SECONDS``): the median of
the soak's last tenth against that of its second.
"""

from __future__ import annotations

import os
import statistics
import time

from bench.agents import COUNT_BY_CGROUP, Running, agent, bpftrace, has_bpftrace
from bench.cgroups import own_cgroup, remove
from bench.figures import Result, Row
from bench.processes import megabytes, resident_bytes
from bench.workloads import run, workload

_TARGET_BYTES = 40_000_000
_FLAT_BYTES = 2_000_000
_MAX_TASKS = 64
_SETTLE_SECONDS = 3.0
_STORM_SECONDS = 120


def measure(quick: bool = False, soak_seconds: float = 60.0) -> Result:
    processes, cgroups = (10_000, 200) if quick else (100_000, 2_000)
    with agent() as running, own_cgroup(_MAX_TASKS) as top:
        before = _settled(running)
        run(
            top,
            [workload("storm"), "2", str(_STORM_SECONDS), str(processes)],
            timeout=_STORM_SECONDS + 60,
        )
        after_processes = _settled(running)
        for number in range(cgroups):
            _come_and_go(top, number)
        after_cgroups = _settled(running)
        samples = _soak(running, top, 10.0 if quick else soak_seconds)
    growth = after_cgroups - before
    tenth = max(1, len(samples) // 10)
    early = statistics.median(samples[tenth : 2 * tenth] or samples)
    late = statistics.median(samples[-tenth:])
    rows = [
        Row(
            "resident memory, streaming",
            f"{megabytes(before):.1f} MB",
            f"{megabytes(_TARGET_BYTES):.0f} MB",
            max(before, after_cgroups, *samples) <= _TARGET_BYTES,
            _peer_memory(),
        ),
        Row(
            f"growth over {processes:,} processes",
            f"{megabytes(after_processes - before):+.2f} MB",
            "flat",
            after_processes - before <= _FLAT_BYTES,
        ),
        Row(
            f"growth over {processes:,} processes and {cgroups:,} cgroups",
            f"{megabytes(growth):+.2f} MB",
            "flat",
            growth <= _FLAT_BYTES,
        ),
        Row(
            f"growth in a soak of {soak_seconds:,.0f} s",
            f"{megabytes(late - early):+.2f} MB ({megabytes(early):.1f} to {megabytes(late):.1f})",
            "flat",
            late - early <= _FLAT_BYTES,
        ),
    ]
    return Result("memory", __doc__ or "", tuple(rows))


def _settled(running: Running) -> int:
    time.sleep(_SETTLE_SECONDS)
    return resident_bytes(running.pid)


def _soak(running: Running, top: str, seconds: float) -> list[int]:
    """Twenty cgroups a second, and short-lived processes; the memory, once a second."""
    samples = []
    storm = [workload("storm"), "1", "5", "500"]
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        run(top, storm)
        for _ in range(20):
            _come_and_go(top, number)
            number += 1
        samples.append(resident_bytes(running.pid))
        time.sleep(0.5)
    return samples


def _come_and_go(top: str, number: int) -> None:
    path = f"{top}/job-{number}"
    os.mkdir(path)
    try:
        run(path, ["true"])
    finally:
        remove(path)


def _peer_memory() -> str:
    if not has_bpftrace():
        return "bpftrace is not installed"
    with bpftrace(COUNT_BY_CGROUP) as running:
        return f"bpftrace {megabytes(_settled(running)):.1f} MB"
