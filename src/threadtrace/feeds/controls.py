"""Where a replay stands, and where a viewer wants it to go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import NamedTuple

from threadtrace.clock import NANOSECONDS
from threadtrace.feeds.pace import Pace
from threadtrace.feeds.player import Player
from threadtrace.feeds.recording_index import RecordingIndex
from threadtrace.report.notes import Notes


class Wanted(NamedTuple):
    """Where to go."""

    time_ns: int
    is_step: bool
    """Forward without beginning anew."""


class Controls:
    """What a viewer may ask and want; ``Replay`` does it."""

    def __init__(self, index: RecordingIndex, clock: Callable[[], float]) -> None:
        """At the beginning.

        Args:
            index: of the recording.
            clock: seconds; does not go back.
        """
        self._index = index
        self._clock = clock
        self._pace = Pace()
        self._player: Player | None = None
        self._wake = asyncio.Event()
        """Something is wanted, or more of the recording is known."""
        self._wanted: Wanted | None = None

    @property
    def notes(self) -> Notes:
        """What was wrong with the recording, as far as it was looked through."""
        return self._index.notes

    @property
    def node(self) -> str | None:
        """Whose events are played; None until that shows."""
        return self._index.node

    @property
    def nodes(self) -> Collection[str]:
        """All that tell anything, as far as it was looked through."""
        return [*([] if self.node is None else [self.node]), *self._index.nodes]

    @property
    def start_ns(self) -> int | None:
        """Time of the first tick, since the epoch; None until one was found."""
        return self._index.start_ns

    @property
    def position_seconds(self) -> float:
        """Of what is shown, since the first tick."""
        if self._wanted is not None:
            return self._wanted.time_ns / NANOSECONDS
        return self._position_ns / NANOSECONDS

    @property
    def duration_seconds(self) -> float:
        """From the first tick to the last event that was found so far."""
        return self._index.end_ns / NANOSECONDS

    @property
    def is_indexed(self) -> bool:
        """Whether it was looked through to its end."""
        return self._index.is_complete

    @property
    def indexed_ratio(self) -> float | None:
        """How much of the file was looked through; None for a pipe, whose end is not known."""
        return self._index.ratio

    @property
    def is_at_end(self) -> bool:
        """Whether everything was told."""
        is_last = self._position_ns >= self._index.end_ns
        has_ended = self.is_indexed and bool(self._index.ticks)
        return has_ended and self._wanted is None and is_last

    @property
    def is_paused(self) -> bool:
        """Whether nothing goes on by itself."""
        return self._pace.is_paused

    @is_paused.setter
    def is_paused(self, is_paused: bool) -> None:
        self._pace.pause(is_paused, self._clock())
        self._wake.set()

    @property
    def speed(self) -> float:
        """1 is as it was recorded; 0.125 to 64."""
        return self._pace.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._pace.change_speed(speed, self._clock())
        self._wake.set()

    def seek(self, seconds_from_start: float) -> None:
        """Go there, as far as the recording was looked through; the output is told anew."""
        most = max(0.0, min(seconds_from_start, self.duration_seconds))
        self._go_to(round(most * NANOSECONDS))

    def step(self, ticks: int) -> None:
        """So many ticks forward, or back where negative; only when paused."""
        index = self._index
        if not self.is_paused or not index.ticks or not ticks:
            return
        from_ns = self._position_ns if self._wanted is None else self._wanted.time_ns
        now = index.tick_at(from_ns)
        if ticks < 0 and index.time_at(now) < from_ns:
            now += 1  # what came after a tick is stepped over first
        tick = now + ticks
        if tick >= index.ticks:
            self._go_to(index.end_ns, is_step=True)
        else:
            self._go_to(index.time_at(max(0, tick)), is_step=ticks > 0)

    def next_event(self, direction: int) -> bool:
        """Go to where the next refusals or explosion begin, or back to those before.

        Returns:
            Whether there are any, as far as the recording was looked through.
        """
        from_ns = self._position_ns if self._wanted is None else self._wanted.time_ns
        index = self._index
        found = index.news_after(from_ns) if direction > 0 else index.news_before(from_ns)
        if found is None:
            return False
        self._go_to(found)
        return True

    @property
    def _position_ns(self) -> int:
        told = None if self._player is None else self._player.position_ns
        return 0 if told is None else told

    def _go_to(self, time_ns: int, is_step: bool = False) -> None:
        self._wanted = Wanted(time_ns, is_step)
        self._wake.set()
