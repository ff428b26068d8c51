"""What a birth costs in the kernel.

With the kernel's own timing of programs enabled for this run (BPF_ENABLE_STATS: nothing is left
behind), nanoseconds of each run of the program on ``task_newtask``, over a loop that creates and
joins threads and one that forks. Agent and bpftrace are attached in turn; both figures include
the timing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.agents import COUNT_BY_CGROUP, Running, agent, bpftrace, has_bpftrace
from bench.bpf import fdinfo, run_time_stats
from bench.bpf_programs import program
from bench.cgroups import own_cgroup
from bench.figures import Result, Row, Spread
from bench.workloads import run, workload
from threadtrace.probe.skipped import RECHECKING

_MAX_TASKS = 64
_LOOPS = {"threads": 20_000, "processes": 4_000}
# What bpftrace calls its program: the tracepoint's name.
_PEER_PROGRAM = "task_newtask"

Costs = dict[str, list[float]]
"""By loop and program: nanoseconds a run, one entry a round."""


def measure(quick: bool = False) -> Result:
    rounds = 2 if quick else 7
    ours: Costs = {}
    theirs: Costs = {}
    with own_cgroup(_MAX_TASKS) as top, run_time_stats():
        for _ in range(rounds):
            _measure_round(agent, top, quick, ours)
            if has_bpftrace():
                _measure_round(lambda: bpftrace(COUNT_BY_CGROUP), top, quick, theirs)
    return Result("births", __doc__ or "", tuple(_rows(ours, theirs)))


def _rows(ours: Costs, theirs: Costs) -> list[Row]:
    rows = []
    for loop in _LOOPS:
        own = Spread.of(ours[f"{loop} on_task_newtask"])
        peer = theirs.get(f"{loop} {_PEER_PROGRAM}")
        is_met = own.median <= Spread.of(peer).median if peer else None
        beside = f"bpftrace {Spread.of(peer).text('ns', 0)}" if peer else "bpftrace: not measured"
        target = "not above bpftrace"
        rows.append(
            Row(f"birth counted by cgroup ({loop})", own.text("ns", 0), target, is_met, beside)
        )
    for loop in _LOOPS:
        for name in ("on_sched_process_exit", "on_clone_exit", *sorted(RECHECKING)):
            if values := ours.get(f"{loop} {name[:15]}"):
                rows.append(Row(f"{name} ({loop})", Spread.of(values).text("ns", 0)))
    return rows


def _measure_round(
    attach: Callable[[], AbstractContextManager[Running]], top: str, quick: bool, costs: Costs
) -> None:
    with attach() as running:
        ids = _programs_of(running.pid)
        for loop, count in _LOOPS.items():
            # Once before: what the first birth of a cgroup costs is not what is measured.
            run(top, [workload("loop"), loop, "100"])
            before = {number: program(number) for number in ids}
            run(top, [workload("loop"), loop, str(count // 10 if quick else count)])
            for number, known in before.items():
                after = program(number)
                if known is None or after is None:
                    continue
                cost = after[1].per_run(known[1])
                if cost is not None:
                    costs.setdefault(f"{loop} {after[0]}", []).append(cost)


def _programs_of(pid: int) -> set[int]:
    return {int(fields["prog_id"]) for fields in fdinfo(pid) if "prog_id" in fields}
