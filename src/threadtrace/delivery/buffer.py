"""Lines that wait for their destination: bounded, and what matters least is dropped first. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

# A buffer that is full gives up some at once, so that it is not gone through for each line: rates
# that come again anyway, or little of what does not.
_KEPT_SHARE = {0: 0.9, 1: 0.99, 2: 0.99}

# What a waiting line costs beside its bytes: an entry and an object.
OVERHEAD_BYTES = 120


class Rank(IntEnum):
    """Which lines go first where there is no room: the lowest, and of these the oldest."""

    RATES = 0
    """Each interval brings new ones: node.limits, workload.rates."""
    COMINGS = 1
    """workload.started, workload.ended."""
    KEPT = 2
    """What nobody tells again: started, refusals, explosions, losses."""


class Entry(NamedTuple):
    """A line on its way."""

    rank: Rank
    line: bytes
    is_repeat: bool = False
    """Whether the destination may have it already: then it is counted neither again nor as lost."""

    @property
    def cost(self) -> int:
        """Bytes, with what keeping it costs."""
        return len(self.line) + OVERHEAD_BYTES


class LineBuffer:
    """First in, first out; at most so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        """Empty.

        Args:
            max_bytes: of the lines and of what keeping them costs.
        """
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self.size = 0
        """Bytes that wait, with what keeping them costs."""
        self.lost = 0
        """Lines dropped since the start."""

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, lines: Iterable[bytes], rank: Rank) -> None:
        """Behind the others."""
        for line in lines:
            entry = Entry(rank, line)
            self._entries.append(entry)
            self.size += entry.cost
        if self.size > self._max_bytes:
            self._make_room()

    def take(self, max_bytes: int) -> list[Entry]:
        """The oldest lines, together so many bytes or a single longer one."""
        taken: list[Entry] = []
        length = 0
        while self._entries and (not taken or length + len(self._entries[0].line) <= max_bytes):
            entry = self._entries.popleft()
            self.size -= entry.cost
            length += len(entry.line)
            taken.append(entry)
        return taken

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Before the others: they were taken, and may not have arrived."""
        self._entries.extendleft(reversed(entries))
        self.size += sum(entry.cost for entry in entries)
        if self.size > self._max_bytes:
            self._make_room()

    def drop_all(self) -> None:
        """Count them as lost."""
        self.lost += sum(not entry.is_repeat for entry in self._entries)
        self._entries.clear()
        self.size = 0

    def _make_room(self) -> None:
        for rank in Rank:
            if self.size <= self._max_bytes:
                return
            self._drop(rank, int(self._max_bytes * _KEPT_SHARE[rank]))

    def _drop(self, rank: Rank, enough: int) -> None:
        kept: deque[Entry] = deque()
        for entry in self._entries:
            if entry.rank is rank and self.size > enough:
                self.size -= entry.cost
                self.lost += not entry.is_repeat
            else:
                kept.append(entry)
        self._entries = kept
