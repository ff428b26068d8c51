"""The events of a recording told in order, from any place on."""

from __future__ import annotations

from collections.abc import Iterator

from threadtrace.clock import NANOSECONDS
from threadtrace.feed import FeedOutput
from threadtrace.feeds.checkpoints import Checkpoint
from threadtrace.feeds.event_cursor import EventCursor
from threadtrace.feeds.listener import Listener
from threadtrace.feeds.recording_index import RecordingIndex
from threadtrace.report.notes import Notes
from threadtrace.report.reading import Event
from threadtrace.restore.decoder import EventDecoder

# Told at once where a seek ends, so that the histories of a view are filled.
WINDOW_NS = 120 * NANOSECONDS
# A second and a half of work; a node with fewer than 800 active workloads gets its two minutes.
MOST_RATES_IN_WINDOW = 100_000

_EVENTS_AT_ONCE = 64


class Player:
    """What takes long comes in pieces: an iterator that works while it is gone through."""

    def __init__(self, index: RecordingIndex, output: FeedOutput) -> None:
        """At the beginning; nothing is told yet."""
        self.position_ns: int | None = None
        """Everything until then was told; None: nothing."""
        self.listener = Listener(output)
        self._index = index
        self._next: Event | None = None
        self._next_due_ns = 0
        self._begin(0)

    def due_ns(self) -> int | None:
        """When the next event is to be told; None where there is none yet.

        Raises:
            RecordingUnreadable: the disk fails.
        """
        while self._next is None:
            event = self._cursor.next()
            if event is None:
                return None
            if event.node == self._index.node:
                self._next = event
                self._next_due_ns = self._index.due_ns(event, self._cursor.offset)
        return self._next_due_ns

    def finish_tick(self) -> None:
        """Nothing more belongs to the tick that was told last."""
        self._decoder.flush()

    def play_until(self, time_ns: int) -> Iterator[None]:
        """Tell everything until then, in pieces.

        Raises:
            RecordingUnreadable: the disk fails.
        """
        told = 0
        while (due := self.due_ns()) is not None and due <= time_ns:
            self._tell_next()
            told += 1
            if told % _EVENTS_AT_ONCE == 0:
                yield
        self.position_ns = time_ns

    def seek(self, time_ns: int) -> Iterator[None]:
        """Let the output stand as it would have at that time, in pieces.

        Raises:
            RecordingUnreadable: the disk fails.
        """
        index = self._index
        first = index.first_of_window(index.tick_at(time_ns), WINDOW_NS, MOST_RATES_IN_WINDOW)
        checkpoint = index.checkpoints.before(first)
        self.listener.begin_anew(is_silent=first > 0)
        self.position_ns = time_ns
        if checkpoint is None or checkpoint.tick == 0:
            self._begin(0)
        else:
            self._begin(index.offset_of(checkpoint.tick))
            yield from self._tell_checkpoint(checkpoint)
        if first > 0:
            yield from self._tell_until_offset(index.offset_of(first))
            self.listener.speak()
        yield from self.play_until(time_ns)
        self.finish_tick()

    def _begin(self, offset: int) -> None:
        index = self._index
        self._cursor = EventCursor(index.text, offset, Notes(), lambda: index.covered)
        self._decoder = EventDecoder(self.listener)
        self._next = None

    def _tell_next(self) -> None:
        assert self._next is not None
        event, self._next = self._next, None
        self._decoder.feed(event)

    def _tell_checkpoint(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Who speaks, and the last that was told of each workload."""
        lines = EventCursor(self._index.text, 0, Notes())
        first = lines.at(checkpoint.run)
        if first is not None:
            self._decoder.begin(first)
        self.listener.assume(checkpoint.losses)
        for number, offset in enumerate(checkpoint.lines):
            event = lines.at(offset)
            if event is not None:
                self._decoder.feed(event)
            if number % _EVENTS_AT_ONCE == 0:
                yield

    def _tell_until_offset(self, end: int) -> Iterator[None]:
        told = 0
        while self.due_ns() is not None and self._cursor.offset < end:
            self._tell_next()
            told += 1
            if told % _EVENTS_AT_ONCE == 0:
                yield
        self.finish_tick()
