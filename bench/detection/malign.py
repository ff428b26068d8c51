"""Workloads that would go on until something refuses them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from bench.cgroups import container_id, pod_uid
from bench.detection.tools import Tools
from bench.detection.workload import Place, Workload
from bench.workloads import workload as bench_program

Command = Callable[[Tools, Place], Sequence[str]]

_POD = f"kubepods/burstable/pod{pod_uid(1)}"
_CONTAINER = f"{_POD}/{container_id(1, 1)}"


def _leak(rate: float, count: int, seconds: float, *options: str) -> Command:
    numbers = ["-r", str(rate), "-n", str(count), "-t", str(seconds)]
    return lambda tools, _: [tools.c("leak"), *numbers, *options]


def _python_leak(rate: float, seconds: float) -> Command:
    return lambda tools, _: [*tools.python("leak"), str(rate), str(seconds)]


def _storm(_: Tools, __: Place) -> Sequence[str]:
    return [bench_program("storm"), str(os.cpu_count() or 1), "30", "2000000"]


MALIGN = (
    Workload(
        "leak-1", "malign", "report", "slow", "1 thread a second (C)",
        _leak(1, 700, 640), 608, limit=600, least_peak=600, is_refused=True,
    ),
    Workload(
        "leak-5", "malign", "fit", "leaks", "5 threads a second (C)",
        _leak(5, 700, 140), 127, limit=600, least_peak=600, is_refused=True,
    ),
    Workload(
        "leak-pod", "malign", "report", "leaks", "10 threads a second in a container of a pod",
        _leak(10, 700, 80), 67, limit=600, limited=_POD, leaf=_CONTAINER,
        least_peak=600, is_refused=True,
    ),
    Workload(
        "leak-spread", "malign", "fit", "leaks", "20 threads a second, over 50 processes",
        _leak(20, 1400, 80, "-w", "50"), 60, limit=1100, least_peak=1100, is_refused=True,
    ),
    Workload(
        "leak-pauses", "malign", "report", "leaks", "10 threads a second for 8 s, rest for 15 s",
        _leak(10, 450, 130, "-b", "8", "-q", "15"), 118, limit=400, least_peak=400, is_refused=True,
    ),
    Workload(
        "leak-processes", "malign", "report", "runtimes", "5 processes a second, which sleep (C)",
        _leak(5, 500, 100, "-p"), 87, limit=400, least_peak=400, is_refused=True,
    ),
    Workload(
        "dotnet-blocked", "malign", "report", "runtimes", ".NET: 2,000 items of the pool block",
        lambda tools, _: [*tools.dotnet("Blocked"), "2000", "75"], 79, limit=200, least_peak=200,
        is_refused=True,
    ),
    Workload(
        "jvm-cached", "malign", "fit", "runtimes", "a JVM's cached pool, 50 tasks a second block",
        lambda tools, _: [*tools.java("CachedPool"), "50", "60"], 34, limit=1200,
        least_peak=1200, is_refused=True,
    ),
    Workload(
        "namespace-5", "malign", "fit", "runtimes", "5 threads a second, in a PID namespace",
        _leak(5, 700, 130), 110, pid_max=500, least_peak=495, is_refused=True,
    ),
    Workload(
        "namespace-python", "malign", "fit", "runtimes", "20 threads a second (Python), likewise",
        _python_leak(20, 70), 53, pid_max=900, least_peak=890, is_refused=True,
    ),
    Workload(
        "namespace-processes", "malign", "report", "runtimes", "10 processes a second, likewise",
        _leak(10, 700, 70, "-p"), 67, pid_max=600, least_peak=595, is_refused=True,
    ),
    Workload(
        "leak-100", "malign", "fit", "alone", "100 threads a second (C)",
        _leak(100, 4200, 60), 47, limit=4000, least_peak=4000, is_refused=True,
    ),
    Workload(
        "leak-2000", "malign", "report", "alone", "2,000 threads a second (C)",
        _leak(2000, 14000, 20), 13, limit=12_000, least_peak=12_000, is_refused=True,
    ),
    Workload(
        "fork-bomb", "malign", "report", "alone", "a fork bomb",
        lambda tools, _: [tools.c("fork_bomb"), "2", "6"], 8, limit=3000, least_peak=3000,
        is_refused=True,
    ),
    Workload(
        "storm", "malign", "fit", "alone", "processes that end at once, as fast as the cores fork",
        _storm, 30, limit=2000, least_births=20_000,
    ),
)  # fmt: skip
