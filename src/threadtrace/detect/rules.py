"""Is this an explosion? Each rule a function of what was seen and of thresholds. Pure."""

from __future__ import annotations

from typing import NamedTuple

from threadtrace.detect.thresholds import Thresholds
from threadtrace.model.explosion import Evidence, Forecast

# Growth that has slowed down to less than this share of its mean comes to an end by itself.
_BURST_GOES_ON = 0.5
_LEAK_GOES_ON = 0.25

# Growth of which more came in its first half is a start, or a pool that fills up ever slower.
_STEADY_RATIO = 0.7

# What has grown for longer than this needs more: its square root more, as services differ by day.
_LONG_SECONDS = 600.0

# How much more a slow growth has to gain, see Thresholds.leak_tasks_per_second.
_SLOWNESS_POWER = 0.6

# Fifty containers that start at once are a process for every few threads; a leak of threads is not.
_BURST_PROCESS_RATIO = 0.1

# A limit counts as near where so much of it was gained lately.
_GAINED_RATIO = 0.25
_LIMIT_SECONDS = 1.0
_REACHED_RATIO = 0.8

_STORM_EXITS_RATIO = 0.5


class Growth(NamedTuple):
    """How the stock of a workload has grown since it was lowest, or last a usual one."""

    gained: int
    seconds: float
    recent_per_second: float
    """Over the last quarter of that time."""
    first_half_ratio: float
    """How much of the gained came in the first half of that time."""
    is_growing: bool
    """Whether anything was gained since one of the last looks."""

    @property
    def per_second(self) -> float:
        """Mean."""
        return self.gained / self.seconds if self.seconds > 0 else 0.0


class Activity(NamedTuple):
    """What was born beside what stayed."""

    held: int
    """Tasks above the lowest number of late, usual ones too."""
    process_ratio: float
    """Processes among the births since the growth began."""
    storm_seconds: float
    """For how long births and exits have been extreme."""
    is_refused: bool
    """Whether a limit that fills up has refused it lately."""


def judge(
    growth: Growth, activity: Activity, forecast: Forecast | None, thresholds: Thresholds
) -> Evidence | None:
    """The first rule that calls it an explosion; None while none does."""
    needed = (
        _needed_by_limit(growth, activity, forecast, thresholds)
        or _needed_by_burst(growth, activity, thresholds)
        or _needed_by_leak(growth, thresholds)
        or _needed_by_storm(activity, thresholds)
    )
    if needed is None:
        return None
    rule, value = needed
    return Evidence(rule, growth.gained, growth.seconds, growth.per_second, value)


_Needed = tuple[str, float] | None


def _needed_by_limit(
    growth: Growth, activity: Activity, forecast: Forecast | None, thresholds: Thresholds
) -> _Needed:
    """It has taken much of a limit, and the limit is reached, or will be in a minute."""
    if forecast is None:
        return None
    much = max(1.0, forecast.value * _GAINED_RATIO)
    is_reached = forecast.usage >= forecast.value * _REACHED_RATIO
    if activity.is_refused and is_reached and activity.held >= much:
        return "refused", much
    if growth.gained < much:
        return None
    is_near = forecast.seconds is not None and forecast.seconds <= thresholds.limit_seconds
    is_used = forecast.usage >= forecast.value * thresholds.limit_used_ratio
    lasts = growth.seconds >= max(_LIMIT_SECONDS, thresholds.burst_seconds)
    if is_near and is_used and lasts and _goes_on(growth, _BURST_GOES_ON):
        return "limit", thresholds.limit_seconds
    return None


def _needed_by_burst(growth: Growth, activity: Activity, thresholds: Thresholds) -> _Needed:
    if growth.seconds < thresholds.burst_seconds or not _goes_on(growth, _BURST_GOES_ON):
        return None
    if not growth.is_growing:
        return None
    is_fast = growth.per_second >= thresholds.burst_tasks_per_second
    is_of_threads = activity.process_ratio <= _BURST_PROCESS_RATIO
    if is_fast and is_of_threads and growth.gained >= thresholds.burst_tasks:
        return "burst", thresholds.burst_tasks
    if growth.gained >= thresholds.jump_tasks:
        return "jump", thresholds.jump_tasks
    return None


def _needed_by_leak(growth: Growth, thresholds: Thresholds) -> _Needed:
    if growth.seconds < thresholds.leak_seconds or not _goes_on(growth, _LEAK_GOES_ON):
        return None
    if growth.seconds >= thresholds.steady_seconds and _is_steady(growth):
        needed = thresholds.leak_tasks * max(1.0, growth.seconds / _LONG_SECONDS) ** 0.5
        if growth.gained >= needed:
            return "leak", needed
    slowness = max(1.0, thresholds.leak_tasks_per_second / max(growth.per_second, 1e-9))
    needed = thresholds.leak_tasks * slowness**_SLOWNESS_POWER
    return ("leak", needed) if growth.gained >= needed else None


def _is_steady(growth: Growth) -> bool:
    """Whether it grows as it has all the time."""
    return growth.first_half_ratio <= _STEADY_RATIO and _goes_on(growth, _BURST_GOES_ON)


def _needed_by_storm(activity: Activity, thresholds: Thresholds) -> _Needed:
    if activity.storm_seconds < thresholds.storm_seconds:
        return None
    return "storm", thresholds.storm_per_second


def is_storm(created_per_second: float, exited_per_second: float, thresholds: Thresholds) -> bool:
    """Whether births and exits are both extreme."""
    if created_per_second < thresholds.storm_per_second:
        return False
    return exited_per_second >= created_per_second * _STORM_EXITS_RATIO


def _goes_on(growth: Growth, share: float) -> bool:
    return growth.recent_per_second > 0 and growth.recent_per_second >= growth.per_second * share
