"""Kernel memory: the maps, and the descriptors that the agent keeps at 10,000 active cgroups.

Maps: ``memlock`` of each in the agent's fdinfo. Descriptors: the agent runs in a memory cgroup of
its own (version 1): its kernel memory and resident memory while all cgroups are idle, a few
seconds after its start, and when each has been active for 20 seconds.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from bench.agents import Running, agent
from bench.bpf import maps
from bench.cgroups import make_pods, own_cgroup
from bench.figures import Result, Row
from bench.processes import megabytes, resident_bytes
from bench.workloads import listed, started, workload

_MEMORY_CONTROLLER = "/sys/fs/cgroup/memory"
_SETTLE_SECONDS, _BUSY_SECONDS = 3.0, 20.0


def measure(quick: bool = False) -> Result:
    count = 1_000 if quick else 10_000
    with own_cgroup(64) as top, memory_cgroup() as memory:
        paths = make_pods(top, count)
        with (
            listed(paths) as listing,
            started(top, [workload("visit"), listing, top]) as process,
            agent("--max-cgroups", "16384", memory_cgroup=memory) as running,
        ):
            held = maps(running.pid)
            time.sleep(_SETTLE_SECONDS)
            idle = _state(running, memory)
            assert process.stdin is not None
            assert process.stdout is not None
            until = time.monotonic() + _BUSY_SECONDS
            while time.monotonic() < until:
                process.stdin.write(b".")
                process.stdout.read(1)
            busy = _state(running, memory)
    rows = [
        Row("maps, --max-cgroups 16384", f"{megabytes(sum(held.values())):.2f} MB"),
        *(Row(f"  {what}", f"{megabytes(size):.2f} MB") for what, size in held.items()),
        Row(
            f"resident memory at {count:,} cgroups, idle, then all active",
            f"{megabytes(idle[1]):.1f} MB, {megabytes(busy[1]):.1f} MB",
            "40 MB",
            busy[1] <= 40_000_000,
        ),
    ]
    for when, (descriptors, _, kernel) in (("idle", idle), ("active", busy)):
        if kernel is not None:
            size = f"{megabytes(kernel):.1f} MB with {descriptors:,} open descriptors"
            rows.append(Row(f"kernel memory at {count:,} cgroups, {when}, maps included", size))
    return Result("footprint", __doc__ or "", tuple(rows))


def _state(running: Running, memory: str | None) -> tuple[int, int, int | None]:
    """Open descriptors, resident memory, kernel memory."""
    kernel = None
    if memory is not None:
        with open(f"{memory}/memory.kmem.usage_in_bytes", encoding="ascii") as file:
            kernel = int(file.read())
    return len(os.listdir(f"/proc/{running.pid}/fd")), resident_bytes(running.pid), kernel


@contextlib.contextmanager
def memory_cgroup() -> Iterator[str | None]:
    """One of our own in the version 1 hierarchy; None where there is none."""
    path = f"{_MEMORY_CONTROLLER}/threadtrace-bench-{os.getpid()}"
    if not os.path.exists(f"{_MEMORY_CONTROLLER}/memory.kmem.usage_in_bytes"):
        yield None
        return
    os.mkdir(path)
    try:
        yield path
    finally:
        os.rmdir(path)
