"""The relay's memory: the events of the last minutes, for readers that are not up to date.

Bounded by bytes and by time, but for the newest batch, which is always kept: a tick of a node with
ten thousand active workloads is larger than the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

_MAX_BYTES = 8 << 20
_MAX_SECONDS = 120.0

# What a line costs beside its bytes: a tuple and three objects.
_OVERHEAD_BYTES = 200


class Line(NamedTuple):
    """An event on the wire, without what every reader's run has of its own."""

    head: bytes
    """Up to ``event.sequence``."""
    middle: bytes
    """From there to ``agent.id``."""
    tail: bytes

    def numbered(self, sequence: int, run_id: bytes) -> bytes:
        """The line of one run."""
        return b"%b%d%b%b%b" % (self.head, sequence, self.middle, run_id, self.tail)


class Batch(NamedTuple):
    """Events that were told together."""

    seconds: float
    """When, monotonic."""
    first_line: int
    """How many lines came before."""
    lines: Sequence[Line]
    size: int
    """In bytes, with what keeping them costs."""
    ends_tick: bool

    @property
    def end_line(self) -> int:
        """The ``first_line`` of the batch that follows."""
        return self.first_line + len(self.lines)


class RelayWindow:
    """Takes batches, keeps the newest."""

    def __init__(self, max_bytes: int = _MAX_BYTES, max_seconds: float = _MAX_SECONDS) -> None:
        """Empty."""
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._batches: deque[Batch] = deque()
        self._first_number = 0
        self.size = 0
        """Bytes that are kept."""
        self.end_line = 0
        """Lines that there were so far."""

    @property
    def end_number(self) -> int:
        """The number that the next batch gets."""
        return self._first_number + len(self._batches)

    def add(self, lines: Sequence[Line], ends_tick: bool, now: float) -> None:
        """A batch, which may be all that is kept.

        Args:
            lines: at least one.
            ends_tick: whether these are the events of a tick, all of them.
            now: seconds, monotonic.
        """
        size = sum(map(_size, lines))
        self._batches.append(Batch(now, self.end_line, lines, size, ends_tick))
        self.end_line += len(lines)
        self.size += size
        oldest = now - self._max_seconds
        while len(self._batches) > 1 and (
            self.size > self._max_bytes or self._batches[0].seconds < oldest
        ):
            self.size -= self._batches.popleft().size
            self._first_number += 1

    def batch(self, number: int) -> Batch | None:
        """A batch by its number; None where it is not there yet, or no more."""
        index = number - self._first_number
        return self._batches[index] if 0 <= index < len(self._batches) else None

    def clear(self) -> None:
        """Drop all of it. Numbers go on."""
        self._first_number = self.end_number
        self._batches.clear()
        self.size = 0


def _size(line: Line) -> int:
    return len(line.head) + len(line.middle) + len(line.tail) + _OVERHEAD_BYTES
