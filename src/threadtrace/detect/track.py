"""One workload on its way from quiet to exploding and back. Pure."""

from __future__ import annotations

from typing import NamedTuple

from threadtrace.detect.rules import Activity, Growth, is_storm, judge
from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.trend import Point, Trend
from threadtrace.model.explosion import End, Evidence, Forecast, Shape, State, Transition

# Whether growth goes on is looked at over the last quarter of it, and at least so long.
_RECENT_SHARE = 4
_LEAST_RECENT_SECONDS = 0.05
# A pool that is complete by now does not grow from one look to the next.
_NOW_SECONDS = 0.02

# A limit is exhausted from this share on: the last ids are taken and given back by the hour.
_EXHAUSTED_RATIO = 0.995

# Where it refuses, the rest is ids of a PID namespace that are not given out again.
_REFUSED_RATIO = 0.8

# Of what an explosion gained, so much given back ends it, if it has not grown for a moment: a
# service that restarts and leaks again is one episode.
_FELL_BACK_RATIO = 0.5
_FELL_BACK_SECONDS = 2.0

# Who has given back so much of a growth breathes: up to that height, and for ten minutes, growth is
# its usual one.
_BREATH_RATIO = 0.4
_BREATH_SECONDS = 600.0

# Growth of fewer tasks is no news: neither of a quiet workload nor of one that recovers.
NOTABLE_TASKS = 16

# A storm is over where births have fallen below this share of the threshold.
_STORM_OVER_RATIO = 0.5

_CALLED = {State.EXPLODING, State.EXHAUSTED, State.RECOVERING}


class Observation(NamedTuple):
    """One look at a workload."""

    time_s: float
    """Of a clock that does not jump."""
    tasks: int
    created_per_second: float
    exited_per_second: float
    process_ratio: float
    """Processes among the births since the growth began."""
    is_refused: bool
    """Whether a limit that fills up has refused it since the look before."""
    forecast: Forecast | None


class Episode(NamedTuple):
    """What was called."""

    shape: Shape
    evidence: Evidence
    onset_s: float
    tasks_at_start: int


class Track:
    """Follows one workload. Feed it looks; it tells transitions."""

    def __init__(self, time_s: float, tasks: int, thresholds: Thresholds) -> None:
        """Begin with what is known of the time before the growth."""
        self.trend = Trend(time_s, tasks)
        self.thresholds = thresholds
        self.state = State.QUIET
        self.episode: Episode | None = None
        self.ended: End | None = None
        self.tasks_peak = tasks
        self._has_looked = False
        self._usual, self._usual_s = 0, time_s
        self._height = tasks
        self._before_gap: Point | None = None
        self._last_growth_s = time_s
        self._recovered_tasks = 0
        self._storm_since_s: float | None = None

    @property
    def is_called(self) -> bool:
        """Whether an explosion is under way."""
        return self.state in _CALLED

    @property
    def is_done(self) -> bool:
        """Whether it has given back what it gained, and nothing is to be remembered of it."""
        return not self.is_called and not self._usual and self.gained < NOTABLE_TASKS // 2

    @property
    def gained(self) -> int:
        """Tasks above the lowest number of late, whether or not anybody watched it grow."""
        last, lowest = self.trend.last, self.trend.lowest().value
        before = self._before_gap
        if before is not None and last.time_s - before.time_s < _BREATH_SECONDS:
            lowest = min(lowest, before.value)
        return last.value - lowest

    def base(self) -> Point:
        """Where the present growth began: when the number was lowest, or last a usual one."""
        lowest = self.trend.lowest()
        return lowest if self._usual <= lowest.value else self.trend.last_at_most(self._usual)

    def growth(self) -> Growth:
        """Since it began."""
        base, last = self.base(), self.trend.last
        gained, seconds = last.value - base.value, last.time_s - base.time_s
        span = max(seconds / _RECENT_SHARE, _LEAST_RECENT_SECONDS)
        before = self.trend.before(last.time_s - span)
        since = last.time_s - before.time_s
        recent = (last.value - before.value) / since if since > 0 else 0.0
        now = self.trend.before(last.time_s - _NOW_SECONDS)
        middle = self.trend.before(base.time_s + seconds / 2)
        first_half = (middle.value - base.value) / gained if gained > 0 else 0.0
        return Growth(gained, seconds, recent, first_half, now.value < last.value)

    def stand_still_until(self, time_s: float) -> None:
        """Nothing has changed from the last look until then: that is a look, too."""
        last = self.trend.last
        if self._has_looked and last.time_s < time_s:
            self.trend.add(time_s, last.value)

    def forget_gap(self, time_s: float, tasks: int) -> None:
        """Nobody looked for a while: what was gained meanwhile may have come in a moment."""
        self._storm_since_s = None
        if not self.is_called:
            self._before_gap = self.trend.lowest()
            self.trend = Trend(time_s, tasks)
            self.tasks_peak = self._height = tasks
        self._last_growth_s = time_s

    def observe(self, seen: Observation) -> Transition | None:
        """Take in a look; what changed by it, None if nothing did."""
        self.trend.add(seen.time_s, seen.tasks)
        self._has_looked = True
        self._follow_storm(seen)
        self._follow_breath(seen)
        if seen.tasks > self.tasks_peak:
            self.tasks_peak, self._last_growth_s = seen.tasks, seen.time_s
        if not self.is_called:
            return self._consider(seen)
        return self._follow(seen)

    def end(self, why: End) -> None:
        """It is over."""
        self.state, self.ended = State.QUIET, why

    def _follow_storm(self, seen: Observation) -> None:
        if not is_storm(seen.created_per_second, seen.exited_per_second, self.thresholds):
            self._storm_since_s = None
        elif self._storm_since_s is None:
            self._storm_since_s = seen.time_s

    def _follow_breath(self, seen: Observation) -> None:
        """Learn the height from which it comes back."""
        self._height = max(self._height, seen.tasks)
        lowest = self.trend.lowest().value
        gained = self._height - lowest
        if gained >= NOTABLE_TASKS and self._height - seen.tasks >= gained * _BREATH_RATIO:
            self._usual, self._usual_s = max(self._usual, self._height), seen.time_s
            self._height = seen.tasks
        elif seen.time_s - self._usual_s > _BREATH_SECONDS:
            self._usual = 0

    def _consider(self, seen: Observation) -> Transition | None:
        growth = self.growth()
        storm_seconds = 0.0
        if self._storm_since_s is not None:
            storm_seconds = seen.time_s - self._storm_since_s
        activity = Activity(self.gained, seen.process_ratio, storm_seconds, seen.is_refused)
        evidence = judge(growth, activity, seen.forecast, self.thresholds)
        if evidence is None:
            is_growing = growth.gained >= NOTABLE_TASKS and growth.recent_per_second > 0
            self.state = State.GROWING if is_growing else State.QUIET
            return None
        base = self.base()
        shape = Shape.STORM if evidence.rule == "storm" else Shape.LEAK
        onset_s = base.time_s
        if shape is Shape.STORM and self._storm_since_s is not None:
            onset_s = self._storm_since_s
        self.episode = Episode(shape, evidence, onset_s, base.value)
        self.tasks_peak, self._last_growth_s = seen.tasks, seen.time_s
        self.state = State.EXHAUSTED if _is_exhausted(seen) else State.EXPLODING
        return Transition.STARTED

    def _follow(self, seen: Observation) -> Transition:
        episode = self.episode
        assert episode is not None
        if episode.shape is Shape.STORM:
            self._follow_storm_episode(seen)
        else:
            self._follow_leak_episode(seen, episode)
        return Transition.UPDATED if self.ended is None else Transition.ENDED

    def _follow_storm_episode(self, seen: Observation) -> None:
        if seen.created_per_second >= self.thresholds.storm_per_second * _STORM_OVER_RATIO:
            self._last_growth_s = seen.time_s
        calm_seconds = seen.time_s - self._last_growth_s
        if calm_seconds >= self.thresholds.recover_seconds:
            self.end(End.CALMED)
        else:
            self.state = State.RECOVERING if calm_seconds > 0 else State.EXPLODING

    def _follow_leak_episode(self, seen: Observation, episode: Episode) -> None:
        calm_seconds = seen.time_s - self._last_growth_s
        kept = seen.tasks - episode.tasks_at_start
        gained = self.tasks_peak - episode.tasks_at_start
        if calm_seconds >= _FELL_BACK_SECONDS and kept <= gained * _FELL_BACK_RATIO:
            self.end(End.FELL_BACK)
        elif _is_exhausted(seen) and kept > gained * _FELL_BACK_RATIO:
            self.state = State.EXHAUSTED
        elif self.state is State.RECOVERING:
            if seen.tasks >= self._recovered_tasks + NOTABLE_TASKS:
                self.state, self._last_growth_s = State.EXPLODING, seen.time_s
            elif calm_seconds >= self.thresholds.plateau_seconds:
                self.end(End.PLATEAU)
        elif calm_seconds >= self._recover_seconds(episode):
            self.state, self._recovered_tasks = State.RECOVERING, seen.tasks
        elif self.state is State.EXHAUSTED:
            self.state = State.EXPLODING

    def _recover_seconds(self, episode: Episode) -> float:
        """A slow leak makes a new highest number seldom."""
        slow_seconds = 3.0 / max(episode.evidence.growth_per_second, 1e-9)
        plateau = self.thresholds.plateau_seconds
        return max(self.thresholds.recover_seconds, min(slow_seconds, plateau))


def _is_exhausted(seen: Observation) -> bool:
    forecast = seen.forecast
    if forecast is None:
        return False
    ratio = _REFUSED_RATIO if seen.is_refused else _EXHAUSTED_RATIO
    return forecast.usage >= forecast.value * ratio
