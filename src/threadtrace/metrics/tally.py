"""What the metrics tell, counted: ticks in, series out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest
from operator import add, itemgetter

from threadtrace.metrics.labels import OTHER, name_of
from threadtrace.metrics.places import KEPT_SECONDS, Candidate, Places
from threadtrace.metrics.series import Series, level_of, size_of
from threadtrace.metrics.told import Told
from threadtrace.model.snapshot import (
    Happenings,
    NodeSnapshot,
    Snapshot,
    Totals,
    WorkloadSnapshot,
)

LOSSES = (
    "burst_records",
    "cgroups_map",
    "explosions",
    "kernel_programs",
    "processes_map",
    "recorder",
    "records_ring",
    "refusal_records",
    "refusals_map",
    "return_probes",
)
"""Where something can be lost before it comes to an output; told as 0 until then."""

# Of the node's tasks, or two places' share where those are less: so at most half of many places are
# kept for what is held alone.
_LARGE_SHARE = 0.1
_LEAST_LARGE_TASKS = 64

# Workloads that rest are looked at seldom, where there are many.
_SURVEY_SECONDS = 10.0
_FEW_WORKLOADS = 256

_tasks = itemgetter(4)


class Metrics:
    """Takes what the agent finds, and keeps what is to be told of it.

    Costs what the active workloads and those with a series cost; of the others only whether they
    were active is looked at, and every ten seconds a little more.

    What grows: the series, see ``Places``, and what is told between two ticks, see ``Told``. The
    workloads of the last tick are held until the next.
    """

    def __init__(
        self,
        node: str,
        max_workloads: int,
        *,
        counts_births: bool = True,
        counts_refusals: bool = True,
        blind_spots: int = 0,
    ) -> None:
        """Nothing has happened yet.

        Args:
            node: what it is called on every series.
            max_workloads: that have a series of their own; the others count together.
            counts_births: whether births and exits are counted on this host at all.
            counts_refusals: whether refused clones are.
            blind_spots: how many things this agent cannot see, as ``threadtrace.started`` tells.
        """
        self.node_name = node
        self.counts_births = counts_births
        self.counts_refusals = counts_refusals
        self.blind_spots = blind_spots
        self.other = Series(OTHER)
        """Everybody without a place."""
        self.node: NodeSnapshot | None = None
        """Of the last tick; None before the first."""
        self.time_ns = 0
        """Of the last tick, since the epoch."""
        self.node_totals = Totals()
        """Since the start."""
        self.lost = dict.fromkeys(LOSSES, 0)
        self._places = Places(max_workloads)
        self._max_workloads = max_workloads
        self._workloads: tuple[WorkloadSnapshot, ...] = ()
        self._told = Told()
        self._now_s = 0.0
        self._survey_s = 0.0

    def on_happenings(self, happened: Happenings) -> None:
        """Clones were refused, threads explode."""
        self._told.note_refusals(happened.refusals)
        self._told.note_explosions(happened.explosions)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        self._now_s += snapshot.node.interval_seconds
        self.node, self.time_ns = snapshot.node, snapshot.time_ns
        self._workloads = snapshot.workloads
        for loss in snapshot.losses:
            self.lost[loss.where] = self.lost.get(loss.where, 0) + loss.lost
        self._told.note_refusals(snapshot.refusals)
        self._told.note_explosions(snapshot.explosions)
        self._count_node(snapshot.node.counts, self._count(snapshot.workloads))
        self._told.settle(self._places, self.other, self._now_s)
        for ended in snapshot.ended:
            self._places.leave(ended.workload.key, self._now_s)
        self._places.expire(self._now_s)

    @property
    def explosions_started(self) -> int:
        """On the whole node, since the start."""
        return self._told.explosions_started

    @property
    def refused(self) -> Mapping[str, int]:
        """On the whole node, by limit, since the start: told as 0 until then."""
        return self._told.refused

    @property
    def explosions_active(self) -> int:
        """Under way on the whole node."""
        return len(self._told.exploding)

    @property
    def workloads_count(self) -> int:
        """Those that held a task or were active in the last tick."""
        return len(self._workloads)

    def counters(self) -> Iterator[Series]:
        """All series that count, those of the dead and the common one among them."""
        yield from self._places.live.values()
        yield from self._places.retired.values()
        yield self.other

    def present(self) -> dict[Series, list[WorkloadSnapshot]]:
        """The workloads of the last tick by series, the common one among them."""
        found: dict[Series, list[WorkloadSnapshot]] = {
            series: [] for series in self._places.live.values()
        }
        rest = found[self.other] = []
        by_key = self._places.by_key
        for workload in self._workloads:
            series = by_key.get(workload[0].key)
            (rest if series is None else found[series]).append(workload)
        return found

    def exploding(self) -> dict[Series, int]:
        """How many explosions are under way, by series; those without any are left out."""
        found: dict[Series, int] = {}
        for key in self._told.exploding:
            series = self._places.by_key.get(key, self.other)
            found[series] = found.get(series, 0) + 1
        return found

    def _count(self, workloads: Iterable[WorkloadSnapshot]) -> list[WorkloadSnapshot]:
        """Add the interval of who has a series or gets one now; these."""
        places, now_s, large = self._places, self._now_s, self._large_tasks()
        by_key = places.by_key
        counted, others = [], []
        for workload in workloads:
            if not workload[11]:  # nothing happened in it
                continue
            about = workload[0]
            series = by_key.get(about.key)
            if series is not None and series.workloads[about.key] is not about:
                series = places.rename(about, now_s)
            if series is None:
                others.append(workload)
                continue
            level = level_of(workload, large)
            series.note_level(level, size_of(workload), now_s, KEPT_SECONDS)
            series.count(workload)
            counted.append(workload)
        if len(self._workloads) <= _FEW_WORKLOADS or now_s >= self._survey_s:
            self._survey_s = now_s + _SURVEY_SECONDS
            others += self._survey(large)
        places.note(others, now_s)
        for series, workload in places.offer(self._candidates(others, large), now_s):
            series.count(workload)
            counted.append(workload)
        return counted

    def _candidates(
        self, workloads: Iterable[WorkloadSnapshot], large: float
    ) -> Iterator[Candidate]:
        """Those of them that may get a place, or count where others of their name do."""
        smallest, names = self._places.smallest(self._now_s), self._places.names()
        for workload in workloads:
            level, size = level_of(workload, large), size_of(workload)
            if level or size > smallest or name_of(workload[0]) in names:
                yield Candidate(level, size, workload[0].key, workload)

    def _survey(self, large: float) -> list[WorkloadSnapshot]:
        """Of those that rest and have no series: those to which a place may be given.

        These hold many tasks, or are called like others that have one, or are not new and hold most
        while places are free.
        """
        places = self._places
        names = places.names()
        found, resting = [], []
        for workload in self._workloads:
            about = workload[0]
            if workload[11]:
                continue
            series = places.by_key.get(about.key)
            if series is not None and series.workloads[about.key] is not about:
                series = places.rename(about, self._now_s)
            if series is not None:
                continue
            if workload[4] >= large or name_of(about) in names:
                found.append(workload)
            else:
                resting.append(workload)
        places.note(resting, self._now_s)
        if places.free > 0:
            settled = (one for one in resting if places.is_settled(one[0].key, self._now_s))
            found += nlargest(places.free, settled, key=_tasks)
        return found

    def _large_tasks(self) -> float:
        """From how many tasks on a workload keeps its place for them."""
        tasks = self.node.tasks if self.node is not None else None
        if tasks is None or not self._max_workloads:
            return math.inf
        return max(_LEAST_LARGE_TASKS, tasks * min(_LARGE_SHARE, 2 / self._max_workloads))

    def _count_node(self, counts: Totals, counted: Iterable[WorkloadSnapshot]) -> None:
        """What was in no series is in the common one, also what no workload could be found for."""
        self.node_totals = Totals(*map(add, self.node_totals, counts))
        threads, processes, exits = counts[:3]
        for workload in counted:
            own = workload[2]
            threads -= own[0]
            processes -= own[1]
            exits -= own[2]
        self.other.threads_created += max(0, threads)
        self.other.processes_created += max(0, processes)
        self.other.exits += max(0, exits)
