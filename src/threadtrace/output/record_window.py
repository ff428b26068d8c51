"""The flight recorder's memory: the last minutes of lines, compressed, bounded by time and bytes.

Each piece is a gzip member of its own, so pieces that are put after each other are a gzip file
(RFC 1952, section 2.2), and the oldest can go without touching the others.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

MEMBER_BYTES = 64 * 1024
"""Lines that are compressed together, before they are: a member has at most one line more."""

# What a member costs beside its bytes: the tuple, its numbers, the bytes object's header.
_OVERHEAD_BYTES = 256
_GZIP = 31
_FASTEST = 1


class Member(NamedTuple):
    """Lines that were compressed together."""

    seconds: float
    """When the last of them came, monotonic."""
    first_line: int
    """How many lines came before."""
    lines: int
    data: bytes

    @property
    def end_line(self) -> int:
        """The ``first_line`` of the member that follows."""
        return self.first_line + self.lines


class Window:
    """Takes lines, keeps the newest."""

    def __init__(self, max_seconds: float, max_bytes: int) -> None:
        """Empty.

        Args:
            max_seconds: lines older than that are dropped, a whole member at a time.
            max_bytes: how much compressed data is kept at most.
        """
        self._max_seconds = max_seconds
        self._max_bytes = max_bytes
        self._members: deque[Member] = deque()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        # Of each second: the lines that the bound of bytes took. One entry a second at the most.
        self._cut: deque[tuple[int, int]] = deque()
        self.bytes_kept = 0
        """Compressed, with what keeping them costs; what still waits is not in it."""
        self.end_line = 0
        """How many lines were compressed so far."""

    @property
    def first_line(self) -> int:
        """Where the window begins, as a number of lines since the start."""
        return self._members[0].first_line if self._members else self.end_line

    def add(self, line: bytes, now: float) -> None:
        """One line, ended by a newline."""
        self._pending.append(line)
        self._pending_bytes += len(line)
        if self._pending_bytes >= MEMBER_BYTES:
            self.seal(now)

    def seal(self, now: float) -> None:
        """Compress what waits, and drop what is too old or too much."""
        if self._pending:
            data = compressed(b"".join(self._pending))
            member = Member(now, self.end_line, len(self._pending), data)
            self._members.append(member)
            self.bytes_kept += len(data) + _OVERHEAD_BYTES
            self.end_line = member.end_line
            self._pending, self._pending_bytes = [], 0
        oldest = now - self._max_seconds
        while self._members and self._members[0].seconds < oldest:
            self._drop()
        while self.bytes_kept > self._max_bytes:
            member = self._drop()
            self._remember_cut(int(member.seconds), member.lines)
        while self._cut and self._cut[0][0] < int(oldest):
            self._cut.popleft()

    def since(self, line: int) -> Iterator[Member]:
        """The members from that line on, oldest first."""
        return (member for member in self._members if member.first_line >= line)

    def cut_lines(self) -> int:
        """How many lines of the time that is kept the bound of bytes took, as of the last seal."""
        return sum(lines for _, lines in self._cut)

    def _drop(self) -> Member:
        member = self._members.popleft()
        self.bytes_kept -= len(member.data) + _OVERHEAD_BYTES
        return member

    def _remember_cut(self, second: int, lines: int) -> None:
        if self._cut and self._cut[-1][0] == second:
            lines += self._cut.pop()[1]
        self._cut.append((second, lines))


def compressed(lines: bytes) -> bytes:
    """One gzip member."""
    compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    return compressor.compress(lines) + compressor.flush()
