"""How near a workload is to its limits, where the edge cases are: a limit of 0, no time left."""

from __future__ import annotations

from threadtrace.model.explosion import State
from threadtrace.model.snapshot import WorkloadSnapshot


def used_ratio(shot: WorkloadSnapshot) -> float | None:
    """Share of the nearest limit that is used; of a limit of 0 all of it. None without a limit."""
    return 1.0 if shot.limit == 0 else shot.limit_used_ratio


def judged(shot: WorkloadSnapshot) -> WorkloadSnapshot:
    """Exhausted for as long as its limit is full and it holds most of it.

    The agent tells of an episode, which ends when nothing grows any more; the limit stays full.
    """
    if shot.state is State.EXHAUSTED or (used_ratio(shot) or 0.0) < 1.0:
        return shot
    if shot.tasks * 2 < (shot.limit_tasks or 0):
        return shot  # who suffers, not who holds
    return shot._replace(state=State.EXHAUSTED)


def seconds_left(shot: WorkloadSnapshot) -> float | None:
    """Until a limit is used up: none once it is. None where that is not known."""
    if shot.state is State.EXHAUSTED or (used_ratio(shot) or 0.0) >= 1.0:
        return 0.0
    return None if shot.forecast is None else shot.forecast.seconds
