"""Where the ticks of one node stand in a recording, found while it is played already."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from threadtrace.clock import NANOSECONDS
from threadtrace.feeds.checkpoints import Checkpoints, Standing
from threadtrace.feeds.event_cursor import EventCursor
from threadtrace.feeds.nothing_to_show import no_tick
from threadtrace.feeds.recorded_text import Progress, RecordedText
from threadtrace.report.notes import MAX_NAMES, Notes
from threadtrace.report.reading import EXPLOSION_STARTED, NODE, RATES, REFUSED, Event

_MOST_EARLY = 1024
_LONGEST_TAIL_NS = 60 * NANOSECONDS
_BACK_NS = NANOSECONDS


class RecordingIndex:
    """Times are told in nanoseconds since the first tick, and never go back.

    Where another run begins earlier than the last ended, as when files were joined, it goes on
    from there.

    What grows: 28 bytes a tick, and ``Checkpoints``.
    """

    def __init__(
        self, path: str, node: str | None = None, checkpoints: Checkpoints | None = None
    ) -> None:
        """Open the recording.

        Args:
            path: of a file, or ``-`` for standard input.
            node: whose events are meant; None: the first of which a tick is told.
            checkpoints: to be filled.

        Raises:
            RecordingUnreadable: it cannot be opened.
        """
        self.notes = Notes()
        self.text = RecordedText(path, self.notes)
        self.node = node
        self.start_ns: int | None = None
        """Of the first tick, since the epoch."""
        self.is_complete = False
        self.is_waiting = False
        """Nothing comes through the pipe at present."""
        self.covered = 0
        """Where the first line begins that was not looked at yet."""
        self.checkpoints = Checkpoints() if checkpoints is None else checkpoints
        self._path = path
        self._early: list[tuple[Event, int]] | None = [] if node is None else None
        """What was told before it showed whose ticks they are."""
        self._tail_ns = 0
        self.nodes: dict[str, None] = {}
        self._cursor = EventCursor(self.text, 0, self.notes)
        self._standing = Standing()
        self._offsets = array("Q")
        self._times = array("q")
        self._axis = array("q")
        self._rates = array("L")
        self._rates_count = 0
        self._news = array("q")
        self._last_refused_tick = -2

    @property
    def ratio(self) -> float | None:
        """How much of the file was looked at; None for a pipe, whose end is not known."""
        if self.is_complete:
            return 1.0
        read = self.text.read_ratio
        return None if read is None else read * self.covered / max(1, self.text.available)

    @property
    def end_ns(self) -> int:
        """When the last event is."""
        return self._axis[-1] + self._tail_ns if self._axis else 0

    @property
    def ticks(self) -> int:
        """How many were found so far."""
        return len(self._axis)

    def advance(self) -> bool:
        """Look at one event more, or read on; whether there may be more at once.

        Raises:
            RecordingUnreadable: the disk fails.
            RecordingWithoutEvents: nothing in it can be shown.
            UsageError: the recording has no such node.
        """
        event = self._cursor.next()
        self.covered = self._cursor.end
        if event is not None:
            self._note(event, self._cursor.offset)
            return True
        was_complete = self.text.is_complete
        progress = self.text.read_on()
        self.is_waiting = progress is Progress.WAITING
        if was_complete:
            self.is_complete = True
            if not self.ticks:
                raise no_tick(self._path, self.notes, self.node, self.nodes)
        return not (self.is_complete or self.is_waiting)

    def time_at(self, tick: int) -> int:
        """When that tick is."""
        return self._axis[tick]

    def offset_of(self, tick: int) -> int:
        """Where it begins."""
        return self._offsets[tick]

    def tick_at(self, time_ns: int) -> int:
        """The last tick at or before that time; -1 before the first."""
        return bisect_right(self._axis, time_ns) - 1

    def due_ns(self, event: Event, offset: int) -> int:
        """When an event is to be told: what follows a tick, between it and the next."""
        tick = bisect_right(self._offsets, offset) - 1
        if tick < 0:
            return 0
        due = self._axis[tick] + max(0, event.time_ns - self._times[tick])
        return min(due, self._axis[tick + 1] if tick + 1 < self.ticks else self.end_ns)

    def news_after(self, time_ns: int) -> int | None:
        """When the next refusals or explosion begin."""
        place = bisect_right(self._news, time_ns)
        return self._news[place] if place < len(self._news) else None

    def news_before(self, time_ns: int) -> int | None:
        """When those before began."""
        place = bisect_left(self._news, time_ns)
        return self._news[place - 1] if place else None

    def first_of_window(self, last: int, window_ns: int, most_rates: int) -> int:
        """From which tick on to show what led to another.

        Args:
            last: that other tick.
            window_ns: how long before it at most.
            most_rates: how many rates events there may be between them.
        """
        first = bisect_left(self._axis, self._axis[last] - window_ns)
        told = self._rates[last + 1] if last + 1 < self.ticks else self._rates_count
        return min(last, max(first, bisect_left(self._rates, told - most_rates)))

    def _note(self, event: Event, offset: int) -> None:
        if self._early is not None:
            self._choose(self._early, event, offset)
            return
        if event.node != self.node:
            self._note_other(event)
            return
        if event.name == NODE:
            self._add_tick(event, offset)
        elif event.name == RATES:
            self._rates_count += 1
        elif event.name in (REFUSED, EXPLOSION_STARTED):
            self._note_news(event)
        self._standing.note(event, offset)
        if self.ticks:
            self._tail_ns = max(self._tail_ns, min(_LONGEST_TAIL_NS, self._passed(event)))

    def _choose(self, early: list[tuple[Event, int]], event: Event, offset: int) -> None:
        """Take whoever tells of a tick first, and what it has told before."""
        early.append((event, offset))
        if event.name != NODE:
            self._early = early[-_MOST_EARLY:]
            return
        self.node, self._early = event.node, None
        for entry, place in early:
            self._note(entry, place)

    def _note_other(self, event: Event) -> None:
        if len(self.nodes) < MAX_NAMES:
            self.nodes[event.node] = None

    def _passed(self, event: Event) -> int:
        """Since the last tick."""
        return max(0, event.time_ns - self._times[-1])

    def _add_tick(self, event: Event, offset: int) -> None:
        if self.checkpoints.is_due(offset):
            self.checkpoints.add(self._standing.checkpoint(self.ticks), offset)
        if self.start_ns is None:
            self.start_ns, at = event.time_ns, 0
        elif event.time_ns >= self._times[-1]:
            at = self._axis[-1] + self._passed(event)
        else:
            at = self.end_ns + _BACK_NS
        if self._news and self._news[-1] > at:
            self._news[-1] = at
        self._offsets.append(offset)
        self._times.append(event.time_ns)
        self._axis.append(at)
        self._rates.append(self._rates_count)
        self._tail_ns = 0

    def _note_news(self, event: Event) -> None:
        """Of refusals those that begin: none was in the tick before."""
        if event.name == REFUSED:
            is_new = self._last_refused_tick < self.ticks - 1
            self._last_refused_tick = self.ticks
            if not is_new:
                return
        at = 0
        if self.ticks:
            at = self._axis[-1] + min(_LONGEST_TAIL_NS, self._passed(event))
        if not self._news or self._news[-1] < at:
            self._news.append(at)
