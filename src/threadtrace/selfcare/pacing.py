"""How long between two ticks where the processor time does not suffice for the interval. Pure."""

from __future__ import annotations

# A tick that takes more of its interval, or begins later than that, is one too many ...
_HEAVY_SHARE = 0.5
_LATE_SHARE = 1.0
# ... and where it happens so often in a row, not by accident.
_HEAVY_TICKS = 3

# So easy, for so long, and the shorter interval is tried again.
_EASY_SHARE = 0.1
_EASY_TICKS = 10

_LONGEST_SECONDS = 60.0


class Pacer:
    """Doubles the interval while ticks are too much, and halves it again when they are not."""

    def __init__(self, interval_seconds: float) -> None:
        """At the interval that was asked for, which is also the shortest."""
        self._wanted_seconds = interval_seconds
        self._longest_seconds = max(interval_seconds, _LONGEST_SECONDS)
        self.interval_seconds = interval_seconds
        """Between two ticks now."""
        self._heavy = 0
        self._easy = 0

    @property
    def is_slowed(self) -> bool:
        """Whether ticks come less often than was asked for."""
        return self.interval_seconds > self._wanted_seconds

    def on_tick(self, tick_seconds: float, lag_seconds: float) -> bool:
        """Take in how a tick went; whether the interval is another one from now on.

        Args:
            tick_seconds: how long it took, by the clock: also while others had the processor.
            lag_seconds: by how much it began later than it was due.
        """
        interval = self.interval_seconds
        is_heavy = tick_seconds > _HEAVY_SHARE * interval or lag_seconds > _LATE_SHARE * interval
        # What would be easy at half the interval.
        is_easy = max(tick_seconds, lag_seconds) < _EASY_SHARE * interval
        self._heavy = self._heavy + 1 if is_heavy else 0
        self._easy = self._easy + 1 if is_easy else 0
        if self._heavy >= _HEAVY_TICKS:
            return self._change(min(2 * interval, self._longest_seconds))
        if self._easy >= _EASY_TICKS:
            return self._change(max(interval / 2, self._wanted_seconds))
        return False

    def _change(self, seconds: float) -> bool:
        self._heavy = self._easy = 0
        has_changed = seconds != self.interval_seconds
        self.interval_seconds = seconds
        return has_changed
