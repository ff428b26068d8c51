"""A number over time, and how fast it grows. Pure; times are seconds of one clock."""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

# Per trend. The resolution fades with age: of samples each hundredth of a second, 96 cover an hour
# to a seventh of their age.
_MAX_POINTS = 96
_MAX_AGE_SECONDS = 3_600.0

# Of so many points, evenly picked, the slope is taken: 66 pairs, some ten microseconds.
_SLOPE_POINTS = 12
_LEAST_POINTS = 3


class Point(NamedTuple):
    """One sample."""

    time_s: float
    value: int


class Trend:
    """What grows: up to 96 points, of the last hour."""

    __slots__ = ("_lowest", "_points")

    def __init__(self, time_s: float, value: int) -> None:
        """Begin with one sample."""
        self._points = [Point(time_s, value)]
        self._lowest = self._points[0]

    def add(self, time_s: float, value: int) -> None:
        """A sample that is later than all before; another of the same time takes its place."""
        points = self._points
        if points[-1].time_s >= time_s:
            self._forget(len(points) - 1)
        points.append(Point(time_s, value))
        if len(points) == 1 or value <= self._lowest.value:
            self._lowest = points[-1]
        if len(points) > _MAX_POINTS:
            self._thin_out()
        while len(points) > 1 and points[0].time_s < time_s - _MAX_AGE_SECONDS:
            self._forget(0)

    @property
    def last(self) -> Point:
        """The latest sample."""
        return self._points[-1]

    def lowest(self) -> Point:
        """The last of the lowest: since then the number has been higher."""
        return self._lowest

    def last_at_most(self, value: int) -> Point:
        """The last sample that is not above that, else the lowest."""
        for point in reversed(self._points):
            if point.value <= value:
                return point
        return self.lowest()

    def before(self, time_s: float) -> Point:
        """The last sample that is not later than that, else the first."""
        for point in reversed(self._points):
            if point.time_s <= time_s:
                return point
        return self._points[0]

    def slope(self, since_s: float) -> float | None:
        """By how much it grows a second, lately; None of fewer than three samples.

        The median of the slopes between all pairs (Theil and Sen): a third of the samples may be
        far off.

        Args:
            since_s: samples before that do not count.
        """
        recent = [point for point in self._points if point.time_s >= since_s]
        if len(recent) < _LEAST_POINTS:
            return None
        picked = _evenly(recent, _SLOPE_POINTS)
        return median(
            (later.value - earlier.value) / (later.time_s - earlier.time_s)
            for index, earlier in enumerate(picked)
            for later in picked[index + 1 :]
        )

    def _thin_out(self) -> None:
        """Drop the sample whose gap is smallest for its age, but none lower than its neighbours.

        So what was ten seconds ago is known to a second, and a base is not forgotten.
        """
        points, now_s = self._points, self._points[-1].time_s
        gaps = [
            (after.time_s - before.time_s) / (now_s - point.time_s)
            if point.value >= before.value or point.value >= after.value
            else math.inf
            for before, point, after in zip(points, points[1:-1], points[2:])
        ]
        self._forget(gaps.index(min(gaps)) + 1)

    def _forget(self, index: int) -> None:
        forgotten = self._points.pop(index)
        if forgotten is self._lowest and self._points:
            self._lowest = min(reversed(self._points), key=lambda point: point.value)


def _evenly(points: list[Point], count: int) -> list[Point]:
    if len(points) <= count:
        return points
    step = (len(points) - 1) / (count - 1)
    return [points[round(index * step)] for index in range(count)]
