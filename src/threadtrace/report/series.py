"""Values over time in bounded memory, whatever their number and order.

Time is cut into bins of equal width. When there are too many, their width doubles, so that a
recording of a day is as large in memory as one of ten minutes.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator

UNKNOWN = -1
_MAX_VALUE = (1 << 31) - 1  # of four bytes: there is a value a workload and bin


class _Track:
    """Values of one key from its first bin on; -1 where none is known."""

    __slots__ = ("is_sum", "start", "values")

    def __init__(self, start: int, is_sum: bool) -> None:
        self.start = start
        self.values = array("i")
        self.is_sum = is_sum

    def put(self, index: int, value: int) -> None:
        at = index - self.start
        if at < 0:
            self.values = array("i", [UNKNOWN]) * -at + self.values
            self.start, at = index, 0
        missing = at + 1 - len(self.values)
        if missing > 0:
            self.values.extend(array("i", [UNKNOWN]) * missing)
        self.values[at] = _joined(self.values[at], value, self.is_sum)

    def halve(self) -> None:
        if self.start % 2:
            self.values.insert(0, UNKNOWN)
        if len(self.values) % 2:
            self.values.append(UNKNOWN)
        even, odd = self.values[0::2], self.values[1::2]
        if self.is_sum:
            self.values = array("i", [_joined(left, right, True) for left, right in zip(even, odd)])
        else:
            self.values = array("i", map(max, even, odd))
        self.start //= 2

    def trim(self, first: int) -> None:
        """Forget what is before that bin but the last value, which lasts on."""
        cut = first - self.start
        if cut <= 0:
            return
        gone, self.values, self.start = self.values[:cut], self.values[cut:], first
        last = next((value for value in reversed(gone) if value != UNKNOWN), UNKNOWN)
        if self.is_sum:
            return
        if not self.values:
            self.values.append(last)
        elif self.values[0] == UNKNOWN:
            self.values[0] = last


def _joined(left: int, right: int, is_sum: bool) -> int:
    if left == UNKNOWN or right == UNKNOWN or not is_sum:
        return max(left, right)
    return min(left + right, _MAX_VALUE)


class Grid:
    """Tracks over common bins: the highest value of a bin, or the sum of its values."""

    def __init__(self, bins: int, width_ns: int, is_sliding: bool = False) -> None:
        """Empty.

        Args:
            bins: at most so many.
            width_ns: of a bin, at the beginning.
            is_sliding: when full, forget the older half instead of doubling the width.
        """
        self.width_ns = width_ns
        self.is_sliding = is_sliding
        self._bins = bins
        self._first: int | None = None
        self._last = 0
        self._tracks: dict[Hashable, _Track] = {}

    def put(self, key: Hashable, time_ns: int, value: int, is_sum: bool = False) -> None:
        """Note a value; in a sliding grid nothing where it is older than all that is kept."""
        index = time_ns // self.width_ns
        if self._first is None:
            self._first = self._last = index
        elif not self._first <= index <= self._last:
            if not self._make_room(index):
                return
            index = time_ns // self.width_ns
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = _Track(index, is_sum)
        track.put(index, min(value, _MAX_VALUE))

    def drop(self, key: Hashable) -> None:
        """Forget a track; nothing where there is none."""
        self._tracks.pop(key, None)

    @property
    def start_ns(self) -> int | None:
        """Where the first bin begins; None where nothing was put."""
        return None if self._first is None else self._first * self.width_ns

    def bins(self) -> range:
        """The numbers of all bins; bin i begins at ``i * width_ns``."""
        return range(0) if self._first is None else range(self._first, self._last + 1)

    def values(self, key: Hashable, lasts: bool = False) -> list[int]:
        """One value a bin, -1 where it is not known.

        Args:
            key: of the track.
            lasts: a value holds until the next one.
        """
        track = self._tracks.get(key)
        if track is None:
            return [UNKNOWN] * len(self.bins())
        return list(_spread(track, self.bins(), lasts))

    def _make_room(self, index: int) -> bool:
        """Take the bin in; whether it is kept. Widths change."""
        first = min(self._first or 0, index)
        last = max(self._last, index)
        if last - first >= self._bins and self.is_sliding:
            if index < (self._first or 0):
                return False
            first = last - self._bins // 2
            for track in self._tracks.values():
                track.trim(first)
        while last - first >= self._bins:
            first, last, self.width_ns = first // 2, last // 2, self.width_ns * 2
            for track in self._tracks.values():
                track.halve()
        self._first, self._last = first, last
        return True


def _spread(track: _Track, bins: range, lasts: bool) -> Iterator[int]:
    value = UNKNOWN
    for index in bins:
        at = index - track.start
        here = track.values[at] if 0 <= at < len(track.values) else UNKNOWN
        if here != UNKNOWN or not lasts:
            value = here
        yield value
