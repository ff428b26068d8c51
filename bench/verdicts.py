"""How often the limit that refused a clone is told right, cause by cause.

Each cause is provoked at least a thousand times, on all CPUs at once, by processes that fork
children of some hundred microseconds: tasks near the limit come and go, so that what is read at
the return of the system call is not what the kernel compared. Counted in the kernel, in the map of
refusals; no other limit that these processes are under is near. Beside it, what was told instead.
With each hook that this kernel takes: where the refusing stage is seen, all have to be right.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.cgroups import make_child, own_cgroup
from bench.figures import Result, Row
from bench.workloads import run, workload
from threadtrace.agent import Agent, AgentOptions, start_agent
from threadtrace.errors import ThreadtraceError
from threadtrace.probe.btf import KernelTypes
from threadtrace.probe.plan import RefusalHook
from threadtrace.probe.records import Evidence, Limit

Told = tuple[Limit, Evidence]

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
        Cause("memory", Limit.MEMORY, ["memory"]),
    ]


def measure(quick: bool = False) -> Result:
    rows: list[Row] = []
    for hook in (RefusalHook.FEXIT, RefusalHook.KRETPROBE, RefusalHook.TRACEPOINT):
        try:
            with start_agent(AgentOptions(refusal_hook=hook)) as agent:
                rows += _rows_of(agent, hook, _QUICK_COUNT if quick else _COUNT)
        except ThreadtraceError as error:
            if error.exit_code != os.EX_UNAVAILABLE:
                raise
            rows.append(Row(f"{hook.value}: told right", "not on this kernel"))
    return Result("verdicts", __doc__ or "", tuple(rows))


def _rows_of(agent: Agent, hook: RefusalHook, count: int) -> Iterator[Row]:
    has_own_pid_max = KernelTypes().member_offset("pid_namespace", "pid_max") is not None
    for cause in _causes():
        title = f"{hook.value}: told right: {cause.what}"
        if cause.needs_own_pid_max and not has_own_pid_max:
            yield Row(title, "not on this kernel: pid_max is the node's")
        else:
            yield row(title, cause, *provoke(agent, cause, count))


def row(title: str, cause: Cause, refused: int, told: Counter[Told]) -> Row:
    """One line of the table of what was told instead of what."""
    right = sum(number for (limit, _), number in told.items() if limit is cause.limit)
    stage_seen = sum(
        number for (_, evidence), number in told.items() if evidence is Evidence.KERNEL_STAGE
    )
    wrong = Counter[str]()
    for (limit, evidence), number in told.items():
        if limit is not cause.limit:
            wrong[f"as {limit.name.lower()} ({evidence.name.lower()})"] += number
    target = 1.0 if stage_seen == refused else _TARGET_RATIO
    how = "kernel_stage" if stage_seen == refused else "inferred"
    if 0 < stage_seen < refused:
        how = f"{stage_seen:,} kernel_stage, the others inferred"
    return Row(
        title,
        f"{right / refused:.2%} of {refused:,} ({right:,} as {cause.limit.name.lower()})",
        f"{target:.0%} ({how})",
        right / refused >= target and sum(told.values()) >= refused,
        ", ".join(f"{number:,} {name}" for name, number in wrong.items()),
    )


def provoke(agent: Agent, cause: Cause, count: int) -> tuple[int, Counter[Told]]:
    """Refusals as the workload counted them, and as they were told."""
    outermost, *inner = cause.limits
    with own_cgroup(outermost) as top:
        path = top
        for limit in inner:
            path = make_child(path, "inner", limit)
        cgroup_id = os.stat(path).st_ino
        command = [workload("refused"), str(os.cpu_count() or 1), str(count), *cause.command]
        refused, _ = map(int, run(path, command, timeout=_TIMEOUT_SECONDS).split())
        told: Counter[Told] = Counter()
        for key, counts in agent.source.read_counters().refusals.items():
            if key.cgroup_id == cgroup_id:
                told[Limit(key.limit), Evidence(key.evidence)] += counts.refused
        agent.pipeline.handle_records()
    return refused, told
