"""Which workload an operator should look at first. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from threadtrace.model.explosion import State
from threadtrace.model.snapshot import WorkloadSnapshot

# Slower growth than a task a second is told apart by what a workload holds.
_GROWTH_STEP_PER_SECOND = 1.0

EXPLODING = {State.EXPLODING, State.EXHAUSTED}
"""States of who does harm now."""


def by_danger(workloads: Iterable[WorkloadSnapshot]) -> list[WorkloadSnapshot]:
    """Exploding first, then refused, then those that grow, then those that hold or create most."""
    return sorted(workloads, key=danger, reverse=True)


def danger(workload: WorkloadSnapshot) -> tuple[bool, int, int, int, str]:
    """The greater, the more dangerous."""
    growth = max(0, int(workload.growth_per_second / _GROWTH_STEP_PER_SECOND))
    # A fork storm holds next to nothing: who creates 2,000 a second stands beside 2,000 threads.
    created_per_second = workload.threads_created_per_second + workload.processes_created_per_second
    most = max(workload.tasks, int(created_per_second))
    explodes = workload.state in EXPLODING
    return explodes, workload.counts.refused, growth, most, workload.workload.key
