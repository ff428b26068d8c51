"""A recording as a feed: played at its own pace, and moved about in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from threadtrace.clock import NANOSECONDS
from threadtrace.deadlines import TooLate, within
from threadtrace.feed import FeedOutput
from threadtrace.feeds.checkpoints import Checkpoints
from threadtrace.feeds.controls import Controls, Wanted
from threadtrace.feeds.player import Player
from threadtrace.feeds.recorded_details import process_inspection, workload_details
from threadtrace.feeds.recording_index import RecordingIndex
from threadtrace.model.details import ProcessInspection, WorkloadDetails

Wait = Callable[[asyncio.Event, float | None], Awaitable[None]]

# So long at a time; then whatever else runs in the event loop has its turns, for a while: a key
# needs twenty of them until its picture is there.
_SLICE_SECONDS = 0.004
_REST_SECONDS = 0.001
_PIPE_SECONDS = 0.05
# A tick that comes through a pipe in parts is whole when nothing came for so many times.
_SILENT_POLLS = 4


async def _until_set(event: asyncio.Event, seconds: float | None) -> None:
    with suppress(TooLate):
        await within(seconds, event.wait())


class Replay(Controls):
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
        super().__init__(RecordingIndex(path, node, checkpoints), clock)
        self._wait = wait
        self._silent_polls = 0

    def close(self) -> None:
        """Where ``run`` was not called; it closes at its end."""
        self._index.text.close()

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

    def _owes_first_frame(self) -> bool:
        """Whether a first tick can be told that was not shown yet: that goes first.

        Where another run begins, it may take more of the recording to tell its first tick.
        """
        player = self._player
        if player is None or player.listener.last is not None or self._index.ticks < 2:
            return False
        return player.due_ns() is not None

    async def _look_through(self) -> None:
        index = self._index
        while not index.is_complete:
            if self._owes_first_frame():
                await asyncio.sleep(0)
                continue
            until = time.perf_counter() + _SLICE_SECONDS
            found = 0
            while index.advance():
                found += 1
                if time.perf_counter() >= until:
                    break
            self._silent_polls = 0 if found else self._silent_polls + 1
            self._wake.set()
            await asyncio.sleep(_PIPE_SECONDS if index.is_waiting else _REST_SECONDS)

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

    async def _move(self, player: Player, wanted: Wanted) -> None:
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
                await asyncio.sleep(_REST_SECONDS)
                if self._wanted is not None:
                    return
                until = time.perf_counter() + _SLICE_SECONDS
