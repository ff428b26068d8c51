"""What looking once costs with 5,000 threads on the node.

``ps -eLf`` and psutil (number and times of every process's threads) as wall clock of one look;
the agent's processor time of one interval of a second, /proc/PID/stat over ten.
"""

from __future__ import annotations

import subprocess
import time

import psutil

from bench.agents import agent
from bench.cgroups import own_cgroup
from bench.figures import Result, Row, Spread
from bench.processes import cpu_seconds
from bench.workloads import started, workload

_PROCESSES, _THREADS_OF_EACH = 10, 500
_SECONDS = 10


def measure(quick: bool = False) -> Result:
    rounds = 3 if quick else 9
    ps, names, full = [], [], []
    with (
        own_cgroup(_PROCESSES * _THREADS_OF_EACH + 64) as top,
        started(top, [workload("hold"), str(_PROCESSES), str(_THREADS_OF_EACH)]) as holder,
    ):
        assert holder.stdout is not None
        if not holder.stdout.read(1):
            raise RuntimeError("the holder of the threads has gone")
        for _ in range(rounds):
            ps.append(_timed(_ps))
            names.append(_timed(_count_threads))
            full.append(_timed(_read_threads))
        with agent() as running:
            time.sleep(2.0)  # past its start-up
            used = cpu_seconds(running.pid)
            time.sleep(_SECONDS)
            share = (cpu_seconds(running.pid) - used) / _SECONDS
    peer = ", ".join(
        (
            f"ps -eLf {Spread.of(ps).text('ms', 0, 1e3)}",
            f"psutil, threads counted {Spread.of(names).text('ms', 0, 1e3)}",
            f"psutil, every thread {Spread.of(full).text('ms', 0, 1e3)}",
        )
    )
    what = f"an interval of 1 s at {_PROCESSES * _THREADS_OF_EACH:,} threads"
    return Result("peers", __doc__ or "", (Row(what, f"{share * 1e3:.0f} ms", "", None, peer),))


def _timed(look: object) -> float:
    assert callable(look)
    start = time.perf_counter()
    look()
    return time.perf_counter() - start


def _ps() -> None:
    subprocess.run(["ps", "-eLf"], stdout=subprocess.DEVNULL, check=True, timeout=60)


def _count_threads() -> None:
    for process in psutil.process_iter(["pid", "name", "num_threads"]):
        assert process.info


def _read_threads() -> None:
    for process in psutil.process_iter(["pid", "name", "threads"]):
        assert process.info
