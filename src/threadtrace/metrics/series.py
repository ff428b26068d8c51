"""One workload's counts, and how much it deserves a series of its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.metrics.labels import Labels
from threadtrace.model.danger import EXPLODING
from threadtrace.model.snapshot import WorkloadSnapshot

# Growth and births a second from which a workload is not quiet.
_GROWS_PER_SECOND = 1.0
_STORMS_PER_SECOND = 100.0

QUIET, BUSY, REFUSED, EXPLODES = range(4)
"""How dangerous a workload is: the order of ``model/danger.py``, in steps."""


class Cause(NamedTuple):
    """Why clones were refused, as two bounded labels."""

    error: str
    limit: str


@dataclass(slots=True, eq=False)
class Series:
    """What is told with one set of labels. Counts only grow."""

    labels: Labels
    threads_created: int = 0
    processes_created: int = 0
    exits: int = 0
    explosions: int = 0
    refused: dict[Cause, int] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    """Those that count here, by key; more than one while a container is restarted."""
    level: int = QUIET
    """The most dangerous it was in the last minute."""
    level_s: float = 0.0
    """When it was so last."""
    size: int = 0
    """Tasks, or births a second where those are more."""
    since_s: float = 0.0
    """When it got its place, or lost it."""
    is_dead: bool = False
    """Of those without a place: whether all its workloads were gone."""

    def count(self, snapshot: WorkloadSnapshot) -> None:
        """Add what happened in an interval."""
        counts = snapshot.counts
        self.threads_created += counts.threads_created
        self.processes_created += counts.processes_created
        self.exits += counts.exited

    def refuse(self, cause: Cause, count: int) -> None:
        """Clones were refused."""
        self.refused[cause] = self.refused.get(cause, 0) + count

    def note_level(self, level: int, size: int, now_s: float, kept_s: float) -> None:
        """How dangerous it is now; a higher level is remembered for a while."""
        if level >= self.level or now_s - self.level_s > kept_s:
            self.level, self.level_s = level, now_s
        self.size = size

    def level_at(self, now_s: float, kept_s: float) -> int:
        """How dangerous it is, or was until a moment ago."""
        return self.level if now_s - self.level_s <= kept_s else QUIET


def level_of(snapshot: WorkloadSnapshot, large: float) -> int:
    """How dangerous a workload is.

    Args:
        snapshot: of the interval.
        large: tasks from which a workload is not quiet, whatever it does: it is who holds them
            that an operator looks for.
    """
    # By index: of a node with 10,000 workloads, a thousand are looked at in each tick.
    counts = snapshot[2]
    if snapshot[12] in EXPLODING:
        return EXPLODES
    if counts[3]:
        return REFUSED
    if snapshot[9] >= _GROWS_PER_SECOND or snapshot[4] >= large:
        return BUSY
    return BUSY if counts[0] + counts[1] >= _STORMS_PER_SECOND * snapshot[1] > 0 else QUIET


def size_of(snapshot: WorkloadSnapshot) -> int:
    """Tasks, or births a second where those are more: a fork storm holds next to nothing."""
    counts, seconds = snapshot[2], snapshot[1]
    return max(snapshot[4], int((counts[0] + counts[1]) / seconds) if seconds > 0 else 0)
