"""What a program on the node feels: its loop with the kernel programs attached over detached.

Many short rounds, A B B A, so that what else runs on the machine meets both; one ratio a pair.
``threads`` creates and joins threads, ``processes`` forks and waits, ``calls`` does nothing but
getppid, an empty system call. Where the kernel offers no better hook, refusals are seen at the
exit tracepoints of clone and friends, which put every system call of the node on a slower path:
``calls`` shows that alone, and ``threads`` is measured without it too. Each loop stays on one CPU
and is timed twice: by the clock, and by the processor time that it used, which other load on the
machine disturbs less. Where another agent is attached, a pair waits for its end.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from bench.attachments import Attachments, loaded_programs
from bench.bpf import fdinfo
from bench.bpf_programs import ids_named
from bench.cgroups import own_cgroup
from bench.figures import Result, Row, Spread
from bench.workloads import run, workload
from threadtrace.probe.host import TRACED_FUNCTIONS
from threadtrace.probe.skipped import RECHECKING

_MAX_TASKS = 64
_COUNTS = {"threads": 2_000, "processes": 300, "calls": 500_000}
_TARGET_RATIO = 1.02
_BIRTHS = "on_task_newtask"
_BIRTHS_AND_EXITS = frozenset({_BIRTHS, "on_sched_process_exit", *RECHECKING})
_REFUSALS = frozenset(
    {
        "on_clone_exit",
        *(f"on_{name}_exit" for name in TRACED_FUNCTIONS),
        *(f"on_{name}_return" for name in TRACED_FUNCTIONS),
    }
)


@dataclass(frozen=True)
class Comparison:
    """What is run, and which programs are attached in the turn that has them."""

    loop: str
    programs: frozenset[str] | None
    """None: all."""
    title: str
    target: float | None = None


_COMPARISONS = (
    Comparison("threads", None, "threads loop", _TARGET_RATIO),
    Comparison("threads", _BIRTHS_AND_EXITS, "threads loop, births and exits alone", _TARGET_RATIO),
    Comparison("processes", None, "processes loop"),
    Comparison("calls", _REFUSALS, "calls loop, refusals alone"),
)
_QUIET_WITHIN_SECONDS = 120.0
_CLOCKS = ("by the clock", "by processor time")


@dataclass
class Times:
    """Nanoseconds of one turn of the loop by each of _CLOCKS, one entry a pair."""

    attached: list[tuple[float, ...]] = field(default_factory=list)
    detached: list[tuple[float, ...]] = field(default_factory=list)
    disturbed: int = 0
    """Pairs in which another agent was attached all the time."""


def measure(quick: bool = False) -> Result:
    pairs = 6 if quick else 101
    rows: list[Row] = []
    with own_cgroup(_MAX_TASKS) as top, loaded_programs() as attachments:
        for comparison in _COMPARISONS:
            rows += _rows(comparison, _compare(comparison, top, attachments, pairs))
    return Result("loops", __doc__ or "", tuple(rows))


def _rows(comparison: Comparison, times: Times) -> list[Row]:
    rows = []
    target = comparison.target
    for number, clock in enumerate(_CLOCKS):
        attached = [entry[number] for entry in times.attached]
        detached = [entry[number] for entry in times.detached]
        ratio = Spread.of(on / off for on, off in zip(attached, detached))
        beside = (
            f"attached {Spread.of(attached).text('ns', 0)}, "
            f"detached {Spread.of(detached).text('ns', 0)}"
        )
        if times.disturbed:
            beside += f"; beside another agent in {times.disturbed} pairs"
        rows.append(
            Row(
                f"{comparison.title}, attached over detached, {clock}",
                ratio.text("times", 3),
                f"median {target}" if target else "",
                ratio.median <= target if target else None,
                beside,
            )
        )
    return rows


def _compare(comparison: Comparison, top: str, attachments: Attachments, pairs: int) -> Times:
    times = Times()
    patience = _QUIET_WITHIN_SECONDS
    for number in range(pairs):
        patience = _wait_for_quiet(patience)
        times.disturbed += patience <= 0
        for is_attached in (False, True) if number % 2 else (True, False):
            if is_attached:
                attachments.attach(comparison.programs)
            measured = times.attached if is_attached else times.detached
            measured.append(_nanoseconds(comparison.loop, top))
            attachments.detach()
    return times


def _wait_for_quiet(patience_seconds: float) -> float:
    """Wait until no other agent counts; the patience that is left, 0 when one still does."""
    own = {int(fields["prog_id"]) for fields in fdinfo(os.getpid()) if "prog_id" in fields}
    start = time.monotonic()
    while ids_named(_BIRTHS) - own:
        if time.monotonic() - start >= patience_seconds:
            return 0.0
        time.sleep(0.1)
    return patience_seconds - (time.monotonic() - start)


def _nanoseconds(loop: str, top: str) -> tuple[float, ...]:
    printed = run(top, [workload("loop"), loop, str(_COUNTS[loop])])
    return tuple(map(float, printed.split()))
