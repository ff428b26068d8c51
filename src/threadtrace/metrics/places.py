"""Who has a series of their own: at most so many workloads, the most dangerous ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.metrics.labels import Labels, is_named, labels_of, name_of
from threadtrace.metrics.series import REFUSED, Series
from threadtrace.model.snapshot import WorkloadSnapshot

# So long a workload counts as dangerous as it was, and keeps a place against its equals.
KEPT_SECONDS = 60.0

# So much larger is who takes the place of an equal.
_LARGER = 2

# So long the last counts of the dead, and of who lost the place, are told: several scrapes.
_RETIRED_SECONDS = 300.0

# Runtimes and kubelet have written a container's names by then, or never will.
_NAMING_SECONDS = 32.0
# Who lives for a shorter time has no series, unless it does harm: a node may make twenty cgroups a
# second, and Prometheus keeps each name for weeks.
_SETTLING_SECONDS = 10.0
# More than a kernel has cgroups, nearly always: who is gone is forgotten anyway.
_MAX_KNOWN = 65_536


class Candidate(NamedTuple):
    """A workload without a series; the greater, the more it deserves one."""

    level: int
    size: int
    key: str
    snapshot: WorkloadSnapshot


class Places:
    """All series.

    What grows: ``max_workloads`` series of workloads that are there, and at most as many of those
    that went in the last five minutes; one entry for each workload that counts in one; when each
    workload that is there was seen first, 65,536 at most.
    """

    def __init__(self, max_workloads: int) -> None:
        """All places are free."""
        self._max_workloads = max_workloads
        self.live: dict[Labels, Series] = {}
        self.retired: dict[Labels, Series] = {}
        """Of who is gone or lost the place, the longest ago first: nothing is added to them."""
        self.by_key: dict[str, Series] = {}
        """Where each workload counts that has a series."""
        self._first_s: dict[str, float] = {}
        """When each workload was seen first, the oldest first."""
        self._began_s: float | None = None

    @property
    def free(self) -> int:
        """How many more workloads may have a series."""
        return self._max_workloads - len(self.live)

    def note(self, workloads: Iterable[WorkloadSnapshot], now_s: float) -> None:
        """They are there: from now on they are less and less new.

        Those of the first call were there before this agent, and are not new at all.
        """
        if self._began_s is None:
            self._began_s = now_s
        note = self._first_s.setdefault
        for workload in workloads:
            note(workload[0].key, now_s)

    def is_settled(self, key: str, now_s: float) -> bool:
        """Whether a workload is not new any more."""
        first_s = self._first_s.get(key, now_s)
        return first_s == self._began_s or now_s - first_s >= _SETTLING_SECONDS

    def find(self, workload: Workload | None, now_s: float) -> Series | None:
        """Where what is told of a workload counts; the last of it is told when it is gone."""
        if workload is None:
            return None
        series = self.by_key.get(workload.key)
        labels = labels_of(workload) if series is None and self.retired else None
        if labels is None:
            return series
        series = self.retired.get(labels)
        if series is None or not series.is_dead:
            return None
        self._keep(series, now_s)
        return series

    def offer(
        self, candidates: Iterable[Candidate], now_s: float
    ) -> list[tuple[Series, WorkloadSnapshot]]:
        """Give places to those that deserve them most.

        Args:
            candidates: workloads that count nowhere yet, and were noted.
            now_s: seconds of a clock that does not go back.

        Returns:
            Those that have a series now, and which.
        """
        found = []
        names = self.names()
        weakest: list[Series] | None = None
        for candidate in sorted(candidates, reverse=True):
            about = candidate.snapshot.workload
            if weakest == [] and name_of(about) not in names:
                continue
            labels = self._labels_of(candidate, names, now_s)
            if labels is None:
                continue
            if labels not in self.live and self.free <= 0:
                weakest = self._by_weakness(now_s) if weakest is None else weakest
                if not weakest or not _deserves(candidate, weakest[-1], now_s):
                    weakest = []  # and neither do those that follow deserve a place
                    continue
                self._retire(weakest.pop(), now_s, is_dead=False)
            series = self._place(about, labels, now_s)
            series.note_level(candidate.level, candidate.size, now_s, KEPT_SECONDS)
            found.append((series, candidate.snapshot))
        return found

    def smallest(self, now_s: float) -> int:
        """A quiet workload must be larger than this to get a place; -1 while one is free."""
        if self.free > 0:
            return -1
        quiet = [
            series.size
            for series in self.live.values()
            if not series.level_at(now_s, KEPT_SECONDS) and now_s - series.since_s > KEPT_SECONDS
        ]
        return min(quiet, default=1 << 62) * _LARGER

    def names(self) -> set[str | None]:
        """Of pods and containers that have a series, or had one a moment ago; without None."""
        every = (*self.live, *self.retired)
        return {labels.pod or labels.container for labels in every}

    def rename(self, workload: Workload, now_s: float) -> Series | None:
        """More is known of a workload that has a series: where it counts now, if anywhere."""
        series = self.by_key[workload.key]
        labels = labels_of(workload)
        if labels == series.labels or labels is None:
            series.workloads[workload.key] = workload
            return series
        level, size = series.level_at(now_s, KEPT_SECONDS), series.size
        self._uncount(workload.key, now_s)
        if labels not in self.live and self.free <= 0:
            return None
        series = self._place(workload, labels, now_s)
        series.note_level(level, size, now_s, KEPT_SECONDS)
        return series

    def leave(self, key: str, now_s: float) -> None:
        """A workload is gone; the series of which it was the last is told for a while."""
        self._first_s.pop(key, None)
        self._uncount(key, now_s)

    def expire(self, now_s: float) -> None:
        """Forget who went long ago, and the oldest of too many."""
        for key in list(islice(self._first_s, max(0, len(self._first_s) - _MAX_KNOWN))):
            del self._first_s[key]
        excess = len(self.retired) - self._max_workloads
        for labels, series in list(self.retired.items()):
            if excess <= 0 and now_s - series.since_s <= _RETIRED_SECONDS:
                break
            del self.retired[labels]
            excess -= 1

    def _labels_of(
        self, candidate: Candidate, names: set[str | None], now_s: float
    ) -> Labels | None:
        """None while it may be gone soon or its names may still come, unless it cannot wait."""
        workload = candidate.snapshot.workload
        if candidate.level >= REFUSED or not self._has_to_wait(workload, now_s):
            return labels_of(workload)
        name = name_of(workload)
        if name is not None and name not in names:
            return None
        # It adds no set of labels to those that were told already: it goes on there.
        labels = labels_of(workload)
        return labels if labels in self.live or labels in self.retired else None

    def _has_to_wait(self, workload: Workload, now_s: float) -> bool:
        if not self.is_settled(workload.key, now_s):
            return True
        return (
            not is_named(workload)
            and now_s - self._first_s.get(workload.key, now_s) < _NAMING_SECONDS
        )

    def _by_weakness(self, now_s: float) -> list[Series]:
        """The weakest last."""
        return sorted(
            self.live.values(),
            key=lambda series: (series.level_at(now_s, KEPT_SECONDS), series.size),
            reverse=True,
        )

    def _place(self, workload: Workload, labels: Labels, now_s: float) -> Series:
        series = self.live.get(labels)
        if series is None:
            series = self.retired.pop(labels, None) or Series(labels)
            series.since_s = now_s
            self.live[labels] = series
        series.workloads[workload.key] = workload
        self.by_key[workload.key] = series
        return series

    def _uncount(self, key: str, now_s: float) -> None:
        """A workload counts nowhere any more."""
        series = self.by_key.pop(key, None)
        if series is None:
            return
        del series.workloads[key]
        if not series.workloads:
            self._retire(series, now_s, is_dead=True)

    def _retire(self, series: Series, now_s: float, is_dead: bool) -> None:
        del self.live[series.labels]
        for key in series.workloads:
            del self.by_key[key]
        series.workloads.clear()
        series.is_dead = is_dead
        self._keep(series, now_s)

    def _keep(self, series: Series, now_s: float) -> None:
        """As the last of the retired."""
        self.retired.pop(series.labels, None)
        self.retired[series.labels] = series
        series.since_s = now_s


def _deserves(candidate: Candidate, holder: Series, now_s: float) -> bool:
    """Whether a workload takes the place of that one."""
    level = holder.level_at(now_s, KEPT_SECONDS)
    if candidate.level != level:
        return candidate.level > level
    is_settled = now_s - holder.since_s > KEPT_SECONDS
    return is_settled and candidate.size > _LARGER * holder.size
