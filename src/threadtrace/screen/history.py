"""The last two minutes, second by second. Pure.

What grows: 1 KB for each workload in which anything changed during the last two minutes, half as
much again where clones were refused; nothing for those that rest.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import ceil, nan

from threadtrace.clock import NANOSECONDS
from threadtrace.model.snapshot import NodeSnapshot, Snapshot, WorkloadSnapshot

SECONDS = 120
_VALUES = 3
_NOTHING_SEEN = array("f", [nan]) * SECONDS


class Track:
    """Three values a second in a ring: each second keeps its largest."""

    __slots__ = ("_first", "_last_second", "_others", "changed_second")

    def __init__(self) -> None:
        self._first = _NOTHING_SEEN[:]
        self._others: list[array[float] | None] = [None] * (_VALUES - 1)
        """None while all that was told of that value is 0: what was seen, the first one tells."""
        self._last_second: int | None = None
        self.changed_second = 0

    def add(self, second: int, values: Sequence[float], interval_seconds: float) -> None:
        """Values of an interval that ended in that second: all seconds of it keep them."""
        if self._last_second is not None and second == self._last_second + 1:
            slot = second % SECONDS
            self._first[slot] = values[0]
            for which, value in enumerate(values[1:]):
                ring = self._others[which]
                if ring is None:
                    if not value:
                        continue
                    ring = self._begun(which)
                ring[slot] = value
            self._last_second = second
        else:
            self._add_to_any(second, values, max(1, ceil(interval_seconds)))

    def _add_to_any(self, second: int, values: Sequence[float], span: int) -> None:
        """The first, or one that is not of the next second."""
        last = self._last_second
        if last is None or second - last >= SECONDS or second < last - 1:
            self._first[:] = _NOTHING_SEEN
            self._others = [None] * (_VALUES - 1)
            last = second - min(span, SECONDS)
        _fill(self._first, values[0], last, second, span)
        for which, value in enumerate(values[1:]):
            ring = self._others[which]
            if ring is None and value:
                ring = self._begun(which)
            if ring is not None:
                _fill(ring, value, last, second, span)
        self._last_second = max(second, last)

    def _begun(self, which: int) -> array[float]:
        """A ring of what was 0 until now."""
        zeros = array("f", [nan if value != value else 0.0 for value in self._first])
        self._others[which] = zeros
        return zeros

    def values(self, which: int, until_second: int) -> list[float | None]:
        """Of the two minutes until then, oldest first; None where nothing was seen."""
        last = self._last_second
        if last is None:
            return [None] * SECONDS
        ring = self._others[which - 1] if which else self._first
        found: list[float | None] = []
        for second in range(until_second - SECONDS + 1, until_second + 1):
            slot = second % SECONDS
            is_seen = last - SECONDS < second <= last and self._first[slot] == self._first[slot]
            found.append((0.0 if ring is None else ring[slot]) if is_seen else None)
        return found


def _fill(ring: array[float], value: float, last: int, second: int, span: int) -> None:
    """Of an interval of so many seconds; what came last was of second ``last``."""
    # A tick late by a moment skips a second; a longer gap is one.
    begin = max(last + 1, second - span)
    if second <= last:
        slot = second % SECONDS
        ring[slot] = value if ring[slot] != ring[slot] else max(ring[slot], value)
    for between in range(last + 1, second + 1):
        ring[between % SECONDS] = value if between >= begin else nan


class History:
    """Of the node and of each workload that changed lately."""

    def __init__(self) -> None:
        self._node = Track()
        self._tracks: dict[str, Track] = {}
        self._second = 0
        self._held_second: int | None = None

    def hold(self, is_held: bool) -> None:
        """Whether what is told stays that of now, while more is taken in."""
        self._held_second = self._second if is_held else None

    @property
    def _shown_second(self) -> int:
        return self._second if self._held_second is None else self._held_second

    def add(self, snapshot: Snapshot) -> None:
        """A tick."""
        self._second = second = snapshot.time_ns // NANOSECONDS
        self._node.add(second, _node_values(snapshot.node), snapshot.node.interval_seconds)
        for shot in snapshot.workloads:
            track = self._tracks.get(shot.workload.key)
            if track is None:
                if not shot.is_active:
                    continue
                track = self._tracks[shot.workload.key] = Track()
            if shot.is_active:
                track.changed_second = second
            track.add(second, _workload_values(shot), shot.interval_seconds)
        resting = [
            key
            for key, track in self._tracks.items()
            if abs(second - track.changed_second) >= SECONDS
        ]
        for key in resting:
            del self._tracks[key]

    def births(self) -> list[float | None]:
        """Of the node, tasks a second."""
        return self._node.values(0, self._shown_second)

    def exits(self) -> list[float | None]:
        """Of the node, tasks a second."""
        return self._node.values(1, self._shown_second)

    def refusals(self) -> list[float | None]:
        """Of the node, clones a second."""
        return self._node.values(2, self._shown_second)

    def tasks(self, key: str) -> list[float | None]:
        """Of a workload: how many it held. Empty where nothing changed."""
        return self._of(key, 0)

    def workload_births(self, key: str) -> list[float | None]:
        """Of a workload, tasks a second. Empty where nothing changed."""
        return self._of(key, 1)

    def workload_refusals(self, key: str) -> list[float | None]:
        """Of a workload, clones a second. Empty where nothing changed."""
        return self._of(key, 2)

    def _of(self, key: str, which: int) -> list[float | None]:
        track = self._tracks.get(key)
        return [] if track is None else track.values(which, self._shown_second)


def _node_values(node: NodeSnapshot) -> tuple[float, float, float]:
    counts, seconds = node.counts, node.interval_seconds
    if seconds <= 0:
        return 0.0, 0.0, 0.0
    born = counts.threads_created + counts.processes_created
    return born / seconds, counts.exited / seconds, counts.refused / seconds


def _workload_values(shot: WorkloadSnapshot) -> tuple[float, float, float]:
    born = shot.threads_created_per_second + shot.processes_created_per_second
    return float(shot.tasks), born, shot.refused_per_second
