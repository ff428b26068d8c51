"""The last minutes of the stream's own lines, for readers that come back.

Bounded by bytes and by time, but for what came since the readers had their turn: a tick of a node
with ten thousand active workloads is larger than the bound, and comes in many pieces.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

_MAX_BYTES = 8 << 20
_MAX_SECONDS = 120.0

# Should nobody say that the readers had their turn.
_TURN_SECONDS = 5.0

# What a line costs beside its bytes.
_OVERHEAD_BYTES = 60

# Both stand once in a line, since a quote within a text is escaped.
_BEFORE_SEQUENCE = b'"sequence":'
_BEFORE_AGENT = b'"agent":{'
_BEFORE_ID = b'"id":"'


class Page(NamedTuple):
    """Lines that follow each other."""

    lines: bytes
    """Whole ones, each with its newline; empty where there is nothing newer."""
    last_sequence: int
    """Of the last of them; that after which was asked where there are none."""


class _Batch(NamedTuple):
    """Lines that came together."""

    seconds: float
    first: int
    """Sequence of the first."""
    lines: Sequence[bytes]
    size: int


class History:
    """A window of lines with consecutive numbers."""

    def __init__(
        self,
        agent_id: str | None = None,
        max_bytes: int = _MAX_BYTES,
        max_seconds: float = _MAX_SECONDS,
    ) -> None:
        """Empty.

        Args:
            agent_id: whose lines come; None: the first line tells.
            max_bytes: kept at most, but for those of the present turn.
            max_seconds: likewise.
        """
        self.agent_id = agent_id
        """``agent.id`` of the lines; None while nobody told."""
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._batches: deque[_Batch] = deque()
        self._next: int | None = None
        self._turn_first = 0
        self.size = 0
        """Bytes that are kept, with what keeping them costs."""

    @property
    def oldest(self) -> int | None:
        """Sequence of the oldest line that is kept; None where there is none."""
        return self._batches[0].first if self._batches else None

    @property
    def newest(self) -> int | None:
        """Sequence of the newest line; None where there was none yet."""
        return None if self._next is None else self._next - 1

    def add(self, lines: Sequence[bytes], now: float) -> None:
        """Lines in order, which may push older ones out.

        Numbers that do not follow those before begin a new window: nothing that is kept could be
        told as a whole any more.

        Args:
            lines: as the outputs get them, each with its newline; not changed later.
            now: seconds, monotonic.
        """
        if not lines:
            return
        first = sequence_of(lines[0])
        if first != self._next:
            self._batches.clear()
            self.size = 0
        if self.agent_id is None:
            self.agent_id = _agent_of(lines[0])
        size = sum(map(len, lines)) + _OVERHEAD_BYTES * len(lines)
        self._batches.append(_Batch(now, first, lines, size))
        self._next = first + len(lines)
        self.size += size
        self._forget(now)

    def end_turn(self) -> None:
        """Readers may read now: what came until here may be pushed out by what comes next."""
        self._turn_first = self._next or 0

    def holds(self, after: int) -> bool:
        """Whether all that follows this number, up to now, can still be read."""
        if self._next is None:
            return after == 0
        return self._batches[0].first - 1 <= after < self._next

    def read(self, after: int, max_bytes: int) -> Page | None:
        """Lines that follow that number, about so many bytes at most, one line at least.

        Returns:
            None where the next one is not kept (any more).
        """
        if not self.holds(after):
            return None
        index = bisect_right(self._batches, after + 1, key=_first) - 1
        if index < 0 or after + 1 == self._next:
            return Page(b"", after)
        batch = self._batches[index]
        start = end = after + 1 - batch.first
        size = 0
        while end < len(batch.lines) and size < max_bytes:
            size += len(batch.lines[end])
            end += 1
        return Page(b"".join(batch.lines[start:end]), batch.first + end - 1)

    def _forget(self, now: float) -> None:
        batches = self._batches
        oldest = now - self._max_seconds
        while len(batches) > 1 and (self.size > self._max_bytes or batches[0].seconds < oldest):
            if batches[0].first >= self._turn_first and batches[0].seconds > now - _TURN_SECONDS:
                return
            self.size -= batches.popleft().size


def sequence_of(line: bytes) -> int:
    """``event.sequence`` of a line."""
    start = line.index(_BEFORE_SEQUENCE) + len(_BEFORE_SEQUENCE)
    return int(line[start : line.index(b"}", start)])


def _agent_of(line: bytes) -> str:
    start = line.index(_BEFORE_ID, line.index(_BEFORE_AGENT)) + len(_BEFORE_ID)
    return line[start : line.index(b'"', start)].decode()


def _first(batch: _Batch) -> int:
    return batch.first
