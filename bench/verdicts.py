"""How often the limit that refused a clone is told right, cause by cause.

Each cause is provoked at least a thousand times, on all CPUs at once, by processes that fork
children of some hundred microseconds: tasks near the limit come and go, so that what is read at
the return of the system call is not what the kernel compared. Counted in the kernel, in the map of
refusals; no other limit that these processes are under is near. Beside it, what was told instead.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cgroups import own_cgroup
from bench.figures import Result, Row
from bench.workloads import run, workload
from threadtrace.agent import Agent, AgentOptions, start_agent
from threadtrace.probe.btf import KernelTypes
from threadtrace.probe.records import Limit

_TARGET_RATIO = 0.99
_COUNT, _QUICK_COUNT = 5_000, 1_000
_ROOMY = 1_000
_TIGHT = 16
_PID_MAX, _HELD = 400, 92
_TIMEOUT_SECONDS = 90


@dataclass(frozen=True)
class Cause:
    """What is provoked, and what is right."""

    what: str
    limit: Limit
    command: Sequence[str]
    limits: Sequence[int] = (_ROOMY,)
    """pids.max of nested cgroups, the outermost first; the workload is in the innermost."""
    needs_own_pid_max: bool = False


def _causes() -> list[Cause]:
    uid = str(random.randrange(100_000, 2_000_000_000))
    namespace = ["pid-namespace", str(_PID_MAX)]
    return [
        Cause("pids.max of its own cgroup", Limit.PIDS_MAX, ["cgroup"], [_ROOMY, _TIGHT]),
        Cause("pids.max of the parent", Limit.PIDS_MAX, ["cgroup"], [_TIGHT, _ROOMY]),
        Cause("pids.max two levels up", Limit.PIDS_MAX, ["cgroup"], [_TIGHT, _ROOMY, _ROOMY]),
        Cause("RLIMIT_NPROC", Limit.RLIMIT_NPROC, ["user", uid, str(_TIGHT)]),
        Cause(
            "pid_max of its PID namespace",
            Limit.PID_MAX,
            [*namespace, "0", str(_HELD)],
            needs_own_pid_max=True,
        ),
        Cause(
            "pid_max of the PID namespace around",
            Limit.PID_MAX,
            [*namespace, "1", str(_HELD)],
            needs_own_pid_max=True,
        ),
        Cause("number of namespaces", Limit.NAMESPACE, ["namespaces"]),
        Cause("PID namespace without init", Limit.NAMESPACE, ["dead-namespace"]),
    ]


def measure(quick: bool = False) -> Result:
    count = _QUICK_COUNT if quick else _COUNT
    has_own_pid_max = KernelTypes().member_offset("pid_namespace", "pid_max") is not None
    rows = []
    with start_agent(AgentOptions()) as agent:
        for cause in _causes():
            if cause.needs_own_pid_max and not has_own_pid_max:
                rows.append(Row(cause.what, "not on this kernel: pid_max is the node's"))
                continue
            rows.append(_row(cause, *_provoke(agent, cause, count)))
    return Result("verdicts", __doc__ or "", tuple(rows))


def _row(cause: Cause, refused: int, told: Counter[str]) -> Row:
    right = told[cause.limit.name.lower()]
    others = {name: number for name, number in told.items() if name != cause.limit.name.lower()}
    share = right / refused
    return Row(
        f"told right: {cause.what}",
        f"{share:.2%} of {refused:,} ({right:,} as {cause.limit.name.lower()})",
        f"{_TARGET_RATIO:.0%} (inferred)",
        share >= _TARGET_RATIO and sum(told.values()) == refused,
        ", ".join(f"{number:,} as {name}" for name, number in others.items()),
    )


def _provoke(agent: Agent, cause: Cause, count: int) -> tuple[int, Counter[str]]:
    """Refusals as the workload counted them, and as they were told."""
    outermost, *inner = cause.limits
    with own_cgroup(outermost) as top:
        path = top
        for limit in inner:
            path = f"{path}/inner"
            os.mkdir(path)
            with open(f"{path}/pids.max", "w", encoding="ascii") as file:
                file.write(str(limit))
        cgroup_id = os.stat(path).st_ino
        command = [workload("refused"), str(os.cpu_count() or 1), str(count), *cause.command]
        refused, _ = map(int, run(path, command, timeout=_TIMEOUT_SECONDS).split())
        told: Counter[str] = Counter()
        for key, counts in agent.source.read_counters().refusals.items():
            if key.cgroup_id == cgroup_id:
                told[Limit(key.limit).name.lower()] += counts.refused
        agent.pipeline.handle_records()
    return refused, told
