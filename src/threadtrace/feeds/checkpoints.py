"""What is known at some places of a recording, so that a seek need not read all that was before."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from typing import NamedTuple

from threadtrace.report.fields import count, text
from threadtrace.report.reading import (
    EXPLOSION_ENDED,
    EXPLOSION_STARTED,
    EXPLOSION_UPDATED,
    GONE,
    LOSS,
    RATES,
    STARTED,
    Event,
)
from threadtrace.restore.workloads import MAX_WORKLOADS, place_of

MAX_CHECKPOINTS = 32
_FIRST_SPACING_BYTES = 1 << 20
_MAX_EPISODES = 1024
_MAX_PLACES_OF_LOSS = 64
_EXPLOSIONS = {EXPLOSION_STARTED, EXPLOSION_UPDATED, EXPLOSION_ENDED}


class Checkpoint(NamedTuple):
    """What holds where a tick begins."""

    tick: int
    run: int
    """Offset of the first event of this run."""
    lines: array[int]
    """Offsets of the last rates of each workload and of what explosions told since, in order."""
    losses: dict[str, int]
    """Of the run so far, by place."""


class Standing:
    """The state of a run while its events pass: where each workload was told of last.

    What grows: one entry a workload that is there.
    """

    def __init__(self) -> None:
        self._agent_id: str | None = None
        self._run = 0
        self._forget()

    def note(self, event: Event, offset: int) -> None:
        """That event stands there."""
        name = event.name
        if name == STARTED or event.agent_id != self._agent_id:
            self._agent_id, self._run = event.agent_id, offset
            self._forget()
        if name == RATES:
            place = place_of(event)
            if len(self._rates) < MAX_WORKLOADS or place in self._rates:
                self._rates[place] = offset
                if self._states:
                    self._states.pop(place, None)
        elif name == GONE:
            place = place_of(event)
            self._rates.pop(place, None)
            self._states.pop(place, None)
        elif name in _EXPLOSIONS:
            self._note_explosion(event, offset)
        elif name == LOSS:
            where, lost = text(event.details, "where"), count(event.details, "lost_count")
            is_known = where in self._losses or len(self._losses) < _MAX_PLACES_OF_LOSS
            if where is not None and lost is not None and is_known:
                self._losses[where] += lost

    def checkpoint(self, tick: int) -> Checkpoint:
        """What holds now, before that tick."""
        lines = {*self._rates.values(), *self._states.values(), *self._episodes.values()}
        return Checkpoint(tick, self._run, array("Q", sorted(lines)), dict(self._losses))

    def _note_explosion(self, event: Event, offset: int) -> None:
        place = place_of(event)
        if place in self._rates:
            self._states[place] = offset
        episode = text(event.details, "explosion_id") or ""
        if event.name == EXPLOSION_ENDED:
            self._episodes.pop(episode, None)
        elif len(self._episodes) < _MAX_EPISODES or episode in self._episodes:
            self._episodes[episode] = offset

    def _forget(self) -> None:
        self._rates: dict[object, int] = {}
        self._states: dict[object, int] = {}
        self._episodes: dict[str, int] = {}
        self._losses: Counter[str] = Counter()


class Checkpoints:
    """At most so many, about equally far from each other, whatever the length of the recording."""

    def __init__(self, most: int = MAX_CHECKPOINTS, spacing_bytes: int = _FIRST_SPACING_BYTES):
        """None yet.

        Args:
            most: how many are kept.
            spacing_bytes: of text between two at least; doubles whenever there are too many.
        """
        self._most = most
        self._spacing_bytes = spacing_bytes
        self._kept: list[Checkpoint] = []
        self._ticks: list[int] = []
        self._next_offset = 0

    def __len__(self) -> int:
        return len(self._kept)

    def is_due(self, offset: int) -> bool:
        """Whether one is to be made at that place."""
        return offset >= self._next_offset

    def add(self, checkpoint: Checkpoint, offset: int) -> None:
        """Keep one; thins them out where they become too many."""
        self._kept.append(checkpoint)
        if len(self._kept) > self._most:
            self._kept = self._kept[::2]
            self._spacing_bytes *= 2
        self._ticks = [entry.tick for entry in self._kept]
        self._next_offset = offset + self._spacing_bytes

    def before(self, tick: int) -> Checkpoint | None:
        """The last at or before that tick."""
        place = bisect_right(self._ticks, tick)
        return self._kept[place - 1] if place else None
