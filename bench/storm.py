"""The agent's processor time while both cores fork as fast as they can.

User and system time of the agent's process (/proc/PID/stat), as a share of one core, over the
storm; beside it bpftrace counting in the kernel, and printing each event. Then the same while all
that is asked for is refused by pids.max.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.agents import COUNT_BY_CGROUP, PRINT_EACH, Running, agent, bpftrace, has_bpftrace
from bench.cgroups import own_cgroup
from bench.figures import Result, Row
from bench.processes import cpu_seconds
from bench.workloads import run, workload

_TARGET_SHARE, _TARGET_REFUSED_SHARE = 0.02, 0.03
_REFUSED_SECONDS = 60
_MAX_TASKS = 64
_MAX_PROCESSES = 1_000_000


def measure(quick: bool = False) -> Result:
    seconds = 5 if quick else 20
    share, births = _storm(agent, seconds)
    peers = ["bpftrace is not installed"]
    if has_bpftrace():
        counting, counted = _storm(lambda: bpftrace(COUNT_BY_CGROUP), seconds)
        printing, printed = _storm(lambda: bpftrace(PRINT_EACH), seconds)
        peers = [
            f"bpftrace counting {counting:.1%} ({counted:,.0f}/s)",
            f"printing each {printing:.1%} ({printed:,.0f}/s)",
        ]
    row = Row(
        f"agent's processor time in a storm of {births:,.0f} processes/s",
        f"{share:.1%} of a core",
        f"{_TARGET_SHARE:.0%}",
        share <= _TARGET_SHARE,
        ", ".join(peers),
    )
    return Result("storm", __doc__ or "", (row, _refusals(quick)))


def _refusals(quick: bool) -> Row:
    workers = os.cpu_count() or 1
    count = 200_000 if quick else 2_000_000
    command = [workload("refused"), str(workers), str(count), "cgroup", "fast"]
    with own_cgroup(1 + workers) as top, agent() as running:
        start, used = time.monotonic(), cpu_seconds(running.pid)
        refused = int(run(top, command, timeout=_REFUSED_SECONDS).split()[0])
        elapsed = time.monotonic() - start
        share = (cpu_seconds(running.pid) - used) / elapsed
    return Row(
        f"agent's processor time in a storm of {refused / elapsed:,.0f} refusals/s",
        f"{share:.1%} of a core",
        f"{_TARGET_REFUSED_SHARE:.0%}",
        share <= _TARGET_REFUSED_SHARE,
    )


def _storm(
    attach: Callable[[], AbstractContextManager[Running]], seconds: int
) -> tuple[float, float]:
    """The measuring process's share of a core, and processes per second."""
    command = [workload("storm"), str(os.cpu_count() or 1), str(seconds), str(_MAX_PROCESSES)]
    with own_cgroup(_MAX_TASKS) as top, attach() as running:
        start, used = time.monotonic(), cpu_seconds(running.pid)
        forked = int(run(top, command, timeout=seconds + 60))
        elapsed = time.monotonic() - start
        return (cpu_seconds(running.pid) - used) / elapsed, forked / elapsed
