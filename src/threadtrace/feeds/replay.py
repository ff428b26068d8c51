"""A recording as a feed: played at its own pace, and moved about in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from threadtrace.clock import NANOSECONDS
from threadtrace.feed import FeedOutput
from threadtrace.feeds.checkpoints import Checkpoints
from threadtrace.feeds.pace import Pace
from threadtrace.feeds.player import Player
from threadtrace.feeds.recorded_details import process_inspection, workload_details
from threadtrace.feeds.recording_index import RecordingIndex
from threadtrace.model.details import ProcessInspection, WorkloadDetails
from threadtrace.report.notes import Notes

Wait = Callable[[asyncio.Event, float | None], Awaitable[None]]

# Whatever else runs in the event loop has its turn so often.
_SLICE_SECONDS = 0.02
_PIPE_SECONDS = 0.05
# A tick that comes through a pipe in parts is whole when nothing came for so many times.
_SILENT_POLLS = 4


async def _until_set(event: asyncio.Event, seconds: float | None) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class _Wanted(NamedTuple):
    """Where to go."""

    time_ns: int
    is_step: bool
    """Forward without beginning anew."""


class Replay:
    """Plays while it still looks through the recording.

    What grows: what ``RecordingIndex`` and ``RecordedText`` keep, and what the decoder does.
    """

    def __init__(
        self,
        path: str,
        node: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Wait = _until_set,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """Open the recording.

        Args:
            path: of a file, plain or gzip, or ``-`` for standard input.
            node: whose events are meant; None: the first of which a tick is told.
            clock: seconds; does not go back.
            wait: until the event is set, or so many seconds have passed.
            checkpoints: where to keep what a seek needs.

        Raises:
            RecordingUnreadable: it cannot be opened.
        """
        self._index = RecordingIndex(path, node, checkpoints)
        self._clock = clock
        self._wait = wait
        self._pace = Pace()
        self._player: Player | None = None
        self._wake = asyncio.Event()
        self._wanted: _Wanted | None = None
        self._silent_polls = 0

    def close(self) -> None:
        """Where ``run`` was not called; it closes at its end."""
        self._index.text.close()

    @property
    def notes(self) -> Notes:
        """What was wrong with the recording, as far as it was looked through."""
        return self._index.notes

    @property
    def node(self) -> str | None:
        """Whose events are played; None until that shows."""
        return self._index.node

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

    async def run(self, output: FeedOutput) -> None:
        """Play; at the end of the recording, wait for a seek until cancelled.

        Raises:
            RecordingUnreadable: the disk fails.
            RecordingWithoutEvents: there is nothing in it to show.
            UsageError: the recording has no such node.
        """
        player = self._player = Player(self._index, output)
        indexing = asyncio.ensure_future(self._look_through())
        indexing.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                self._wake.clear()
                if indexing.done():
                    indexing.result()
                await self._play_on(player)
        finally:
            indexing.cancel()
            await asyncio.gather(indexing, return_exceptions=True)
            self.close()

    async def inspect_workload(self, key: str) -> WorkloadDetails | None:
        """What the recording knows of it at this time."""
        player = self._player
        if player is None or player.listener.last is None:
            return None
        return workload_details(player.listener.last, key, player.listener.explosions)

    async def inspect_process(self, pid: int) -> ProcessInspection | None:
        """Likewise."""
        player = self._player
        if player is None or player.listener.last is None:
            return None
        return process_inspection(player.listener.last, pid, player.listener.explosions)

    @property
    def _position_ns(self) -> int:
        told = None if self._player is None else self._player.position_ns
        return 0 if told is None else told

    def _go_to(self, time_ns: int, is_step: bool = False) -> None:
        self._wanted = _Wanted(time_ns, is_step)
        self._wake.set()

    async def _look_through(self) -> None:
        index = self._index
        while not index.is_complete:
            until = time.perf_counter() + _SLICE_SECONDS
            found = 0
            while index.advance():
                found += 1
                if time.perf_counter() >= until:
                    break
            self._silent_polls = 0 if found else self._silent_polls + 1
            self._wake.set()
            await asyncio.sleep(_PIPE_SECONDS if index.is_waiting else 0)

    async def _play_on(self, player: Player) -> None:
        """Tell what is due now, or wait until something is or somebody wants something."""
        if not self._index.ticks:
            await self._wait(self._wake, None)
            return
        if self._wanted is not None:
            await self._move(player, self._wanted)
            return
        due_ns = player.due_ns()
        if due_ns is None:
            if self.is_indexed or self._silent_polls >= _SILENT_POLLS:
                player.finish_tick()
            await self._wait(self._wake, None)
        elif player.position_ns is None:
            # The first frame, however it is to go on.
            self._pace.restart(self._clock())
            await self._in_slices(player.play_until(due_ns))
        elif due_ns <= player.position_ns:
            await self._in_slices(player.play_until(player.position_ns))
        else:
            await self._play_next(player, due_ns, player.position_ns)

    async def _play_next(self, player: Player, due_ns: int, position_ns: int) -> None:
        player.finish_tick()
        if self.is_paused:
            await self._wait(self._wake, None)
            return
        due, now = self._pace.due((due_ns - position_ns) / NANOSECONDS), self._clock()
        if due > now:
            await self._wait(self._wake, due - now)
            return
        self._pace.passed(due, now)
        await self._in_slices(player.play_until(due_ns))

    async def _move(self, player: Player, wanted: _Wanted) -> None:
        self._wanted = None
        position_ns = player.position_ns
        if wanted.is_step and position_ns is not None and wanted.time_ns >= position_ns:
            await self._in_slices(player.play_until(wanted.time_ns))
            if self._wanted is None:
                player.finish_tick()
        else:
            await self._in_slices(player.seek(wanted.time_ns))
        self._pace.restart(self._clock())

    async def _in_slices(self, pieces: Iterator[None]) -> None:
        """Work; given up where something else is wanted meanwhile."""
        until = time.perf_counter() + _SLICE_SECONDS
        for _ in pieces:
            if time.perf_counter() >= until:
                await asyncio.sleep(0)
                if self._wanted is not None:
                    return
                until = time.perf_counter() + _SLICE_SECONDS
