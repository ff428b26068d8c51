"""What one tick found: immutable, and all that outputs ever see.

Named tuples, not frozen dataclasses: a node has thousands of these a tick, and a frozen
dataclass takes five times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.model.refusal import Refusal

if TYPE_CHECKING:
    from threadtrace.model.explosion import Explosion, Forecast, State


class ProcessSnapshot(NamedTuple):
    """One process among the largest of its workload."""

    pid: int
    name: str
    threads: int
    created_count: int
    """Threads and processes it created in the interval."""


class Totals(NamedTuple):
    """Counts of one workload, of an interval or of its life."""

    threads_created: int = 0
    processes_created: int = 0
    exited: int = 0
    refused: int = 0


class WorkloadSnapshot(NamedTuple):
    """One workload in one interval."""

    workload: Workload
    interval_seconds: float
    counts: Totals
    """Of the interval."""
    refused_by_errno: Mapping[int, int]
    """Of the interval."""
    tasks: int
    """Present now, in its own cgroups and below, other workloads within not included."""
    tasks_peak: int
    """Highest number seen at a tick."""
    limit: int | None
    """Nearest pids.max at or above it; None when there is none."""
    limit_path: str | None
    """The cgroup that owns the limit."""
    limit_tasks: int | None
    """What the kernel compares with that limit: all tasks below its owner."""
    growth_per_second: float
    """By how much the number of tasks changes, averaged over some seconds."""
    top_processes: tuple[ProcessSnapshot, ...]
    is_active: bool
    """Whether anything was born, gone or refused, or tasks moved, or the limit changed."""
    state: State | None = None
    """None is quiet."""
    forecast: Forecast | None = None
    """Of the limit that will be exhausted first; None while it does not grow."""

    @property
    def threads_created_per_second(self) -> float:
        """Threads only."""
        return self._per_second(self.counts.threads_created)

    @property
    def processes_created_per_second(self) -> float:
        """Processes only."""
        return self._per_second(self.counts.processes_created)

    @property
    def exited_per_second(self) -> float:
        """Threads and processes."""
        return self._per_second(self.counts.exited)

    @property
    def refused_per_second(self) -> float:
        """Refused clones."""
        return self._per_second(self.counts.refused)

    @property
    def limit_used_ratio(self) -> float | None:
        """Share of the nearest limit that is used; None without a limit."""
        if not self.limit or self.limit_tasks is None:
            return None
        return self.limit_tasks / self.limit

    def _per_second(self, count: int) -> float:
        return count / self.interval_seconds if self.interval_seconds > 0 else 0.0


class NodeSnapshot(NamedTuple):
    """The node in one interval. ``None`` where a value could not be read."""

    interval_seconds: float
    counts: Totals
    """Of the interval, all workloads together and what could not be attributed."""
    tasks: int | None
    pid_max: int | None
    pid_max_usable: int | None
    threads_max: int | None
    nearest_limit: str | None
    """``pid_max`` or ``threads_max``."""
    used_ratio: float | None
    """Of the nearest limit."""
    seconds_to_exhaustion: float | None = None
    """Of the nearest limit; None while the number of tasks does not grow."""


class Loss(NamedTuple):
    """Something that was not counted, delivered or kept."""

    where: str
    lost: int
    output: str | None = None
    """Which output, where one of several lost it."""


class EndedWorkload(NamedTuple):
    """A workload whose last cgroup is gone."""

    workload: Workload
    time_ns: int
    """Since the epoch."""
    totals: Totals
    """Of its life, as far as it was watched."""
    tasks_peak: int


class StartedWorkload(NamedTuple):
    """A workload whose first cgroup has appeared."""

    workload: Workload
    time_ns: int
    """Since the epoch."""


class Happenings(NamedTuple):
    """What the kernel told of at once, between two ticks."""

    started: list[StartedWorkload]
    refusals: list[Refusal]
    explosions: list[Explosion]


class Snapshot(NamedTuple):
    """One tick."""

    time_ns: int
    """Since the epoch."""
    node: NodeSnapshot
    workloads: tuple[WorkloadSnapshot, ...]
    """All that hold a task or were active, in no order."""
    ended: tuple[EndedWorkload, ...]
    refusals: tuple[Refusal, ...]
    """Counted since the last tick or before, and not told until now."""
    losses: tuple[Loss, ...]
    explosions: tuple[Explosion, ...] = ()
    """That started, went on or ended."""
