"""Lines that wait for their destination: bounded, and what matters least is dropped first. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

# A buffer that is full gives up so much at once, so that it is not gone through for each line.
_KEPT_SHARE = 0.9

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


class _Entry(NamedTuple):
    rank: Rank
    line: bytes

    @property
    def cost(self) -> int:
        return len(self.line) + OVERHEAD_BYTES


class LineBuffer:
    """First in, first out; at most so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        """Empty.

        Args:
            max_bytes: of the lines and of what keeping them costs.
        """
        self._max_bytes = max_bytes
        self._entries: deque[_Entry] = deque()
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
            entry = _Entry(rank, line)
            self._entries.append(entry)
            self.size += entry.cost
        if self.size > self._max_bytes:
            self._make_room()

    def take(self, max_bytes: int) -> list[tuple[Rank, bytes]]:
        """The oldest lines, together so many bytes or a single longer one."""
        taken: list[tuple[Rank, bytes]] = []
        length = 0
        while self._entries and (not taken or length + len(self._entries[0].line) <= max_bytes):
            entry = self._entries.popleft()
            self.size -= entry.cost
            length += len(entry.line)
            taken.append(entry)
        return taken

    def put_back(self, lines: Sequence[tuple[Rank, bytes]]) -> None:
        """Before the others: they were taken, and did not arrive."""
        entries = [_Entry(*line) for line in lines]
        self._entries.extendleft(reversed(entries))
        self.size += sum(entry.cost for entry in entries)
        if self.size > self._max_bytes:
            self._make_room()

    def drop_all(self) -> None:
        """Count them as lost."""
        self.lost += len(self._entries)
        self._entries.clear()
        self.size = 0

    def _make_room(self) -> None:
        enough = int(self._max_bytes * _KEPT_SHARE)
        for rank in Rank:
            if self.size <= enough:
                return
            self._drop(rank, enough)

    def _drop(self, rank: Rank, enough: int) -> None:
        kept: deque[_Entry] = deque()
        for entry in self._entries:
            if entry.rank is rank and self.size > enough:
                self.size -= entry.cost
                self.lost += 1
            else:
                kept.append(entry)
        self._entries = kept
