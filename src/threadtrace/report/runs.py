"""Runs of the agent: which events of each were read, in which order, and which are missing."""

from __future__ import annotations

from bisect import bisect_right

from threadtrace.report import reading
from threadtrace.report.fields import inner, objects, text
from threadtrace.report.reading import Event

_MAX_RANGES = 4096


class SequenceRanges:
    """Which numbers were seen, as ranges: one in a sound recording. Bounded."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._settled_gaps = 0

    def add(self, sequence: int) -> bool:
        """Whether it is new. Beyond 4,096 gaps the oldest are taken for final."""
        starts, ends = self._starts, self._ends
        if ends and sequence == ends[-1] + 1:
            ends[-1] = sequence
            return True
        at = bisect_right(starts, sequence)
        if at and sequence <= ends[at - 1]:
            return False
        joins_left = at > 0 and ends[at - 1] == sequence - 1
        joins_right = at < len(starts) and starts[at] == sequence + 1
        if joins_left and joins_right:
            ends[at - 1] = ends.pop(at)
            del starts[at]
        elif joins_left:
            ends[at - 1] = sequence
        elif joins_right:
            starts[at] = sequence
        else:
            starts.insert(at, sequence)
            ends.insert(at, sequence)
        if len(starts) > _MAX_RANGES:
            self._settled_gaps += starts[1] - ends[0] - 1
            del starts[1], ends[0]
        return True

    @property
    def first(self) -> int:
        """The lowest number; after a 1 that stands alone, the one that follows.

        A record of the flight recorder is the event of the start, and then the last minutes.
        """
        return self._starts[self._is_record]

    @property
    def missing(self) -> int:
        """How many numbers between the first and the last were not seen."""
        gaps = [start - end - 1 for start, end in zip(self._starts[1:], self._ends)]
        return sum(gaps[self._is_record :]) + self._settled_gaps

    @property
    def _is_record(self) -> bool:
        return len(self._starts) > 1 and self._ends[0] == 1


class Run:
    """All events of one ``agent.id``. Times in nanoseconds since 1970."""

    def __init__(self, event: Event) -> None:
        self.agent_id = event.agent_id
        self.version = text(inner(event.fields, "agent"), "version")
        self.node = event.node
        self.first_ns = self.last_ns = event.time_ns
        self.events = 0
        """Besides the one that tells of the start."""
        self.out_of_order = 0
        self.clock_back_count = 0
        self.clock_back_ns = 0
        """The longest step."""
        self.kernel_release: str | None = None
        self.missing_parts: list[tuple[str, str, str]] = []
        """What the agent said does not work there: what, effect, remedy."""
        self.sequences = SequenceRanges()
        self._last_sequence = 0
        self._last_tick: tuple[int, int] | None = None

    def add(self, event: Event) -> bool:
        """Whether it is new: a second copy of an event is to be left out."""
        if not self.sequences.add(event.sequence):
            return False
        if event.name != reading.STARTED:
            # The start may be days before what a flight recorder has kept.
            self.first_ns = min(self.first_ns, event.time_ns) if self.events else event.time_ns
            self.last_ns = max(self.last_ns, event.time_ns) if self.events else event.time_ns
            self.events += 1
        if event.sequence < self._last_sequence:
            self.out_of_order += 1
        self._last_sequence = max(self._last_sequence, event.sequence)
        if event.name == reading.NODE:
            self._tick(event)
        elif event.name == reading.STARTED:
            self._started(event)
        return True

    def _tick(self, event: Event) -> None:
        """Only ticks tell of the clock: others carry the kernel's time of what happened."""
        if self._last_tick is not None and event.sequence > self._last_tick[0]:
            back_ns = self._last_tick[1] - event.time_ns
            if back_ns > 0:
                self.clock_back_count += 1
                self.clock_back_ns = max(self.clock_back_ns, back_ns)
        if self._last_tick is None or event.sequence > self._last_tick[0]:
            self._last_tick = event.sequence, event.time_ns

    def _started(self, event: Event) -> None:
        self.kernel_release = text(event.details, "kernel_release")
        self.missing_parts = [
            (text(part, "what") or "", text(part, "effect") or "", text(part, "remedy") or "")
            for part in objects(event.details, "missing")[:10]
        ]
