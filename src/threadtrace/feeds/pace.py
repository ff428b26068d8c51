"""When what was recorded is due again. Pure: the time is an argument."""

from __future__ import annotations

SLOWEST, FASTEST = 0.125, 64.0

# Nothing was recorded for so long: the view need not wait as long for it.
_LONG_GAP_SECONDS = 5.0
_SHORTENED_SECONDS = 1.0

# Who cannot keep up does not hurry afterwards.
_MOST_BEHIND_SECONDS = 0.5


class Pace:
    """Between two events the time that passed when they were recorded, divided by the speed."""

    def __init__(self) -> None:
        self._speed = 1.0
        self._paused_at: float | None = None
        self._anchor = 0.0
        """When the last event was due, by the clock."""

    @property
    def speed(self) -> float:
        """1 is as it was recorded."""
        return self._speed

    @property
    def is_paused(self) -> bool:
        """Whether nothing becomes due."""
        return self._paused_at is not None

    def change_speed(self, speed: float, now: float) -> None:
        """From now on; what has passed of a gap stays passed."""
        speed = min(FASTEST, max(SLOWEST, speed))
        until = now if self._paused_at is None else self._paused_at
        self._anchor = until - (until - self._anchor) * self._speed / speed
        self._speed = speed

    def pause(self, is_paused: bool, now: float) -> None:
        """Stop, or go on where it stopped."""
        if is_paused and self._paused_at is None:
            self._paused_at = now
        elif not is_paused and self._paused_at is not None:
            self._anchor += now - self._paused_at
            self._paused_at = None

    def restart(self, now: float) -> None:
        """What is shown is as of now."""
        self._anchor = now
        if self._paused_at is not None:
            self._paused_at = now

    def due(self, gap_seconds: float) -> float:
        """When what was recorded so much after the last event is due, by the clock."""
        if gap_seconds > _LONG_GAP_SECONDS:
            gap_seconds = _SHORTENED_SECONDS
        return self._anchor + gap_seconds / self._speed

    def passed(self, due: float, now: float) -> None:
        """That event was told."""
        self._anchor = due if now - due < _MOST_BEHIND_SECONDS else now
