"""Which workload an operator should look at first. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from threadtrace.model.snapshot import WorkloadSnapshot

# Slower growth than a task a second is told apart by what a workload holds.
_GROWTH_STEP_PER_SECOND = 1.0


def by_danger(workloads: Iterable[WorkloadSnapshot]) -> list[WorkloadSnapshot]:
    """Refused first, then those that grow, then those that hold most."""
    return sorted(workloads, key=_danger, reverse=True)


def _danger(workload: WorkloadSnapshot) -> tuple[int, int, int, str]:
    growth = max(0, int(workload.growth_per_second / _GROWTH_STEP_PER_SECOND))
    return workload.counts.refused, growth, workload.tasks, workload.workload.key
