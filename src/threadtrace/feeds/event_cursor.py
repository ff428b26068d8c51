"""The events of a recording from some place on, each with where its line stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from threadtrace.feeds.recorded_text import RecordedText
from threadtrace.report.notes import Notes
from threadtrace.report.reading import Event, EventReader

_CHUNK_BYTES = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# An event is below 16 KiB; this only keeps a file without line ends from filling the memory.
_MAX_LINE_BYTES = 1 << 20


class EventCursor:
    """Reads lines as far as the text goes, and goes on when there is more."""

    def __init__(
        self,
        text: RecordedText,
        offset: int,
        notes: Notes,
        limit: Callable[[], int] | None = None,
    ) -> None:
        """Begin at the line that begins there.

        Args:
            text: to be read.
            offset: of a line's first byte.
            notes: counts what is read, and what is wrong with it.
            limit: until where to read, the end of a line; None: as far as the text goes.
        """
        self.offset = offset
        """Of the line that was read last."""
        self.end = offset
        """Past that line."""
        self._text = text
        self._notes = notes
        self._limit = limit
        self._read_offset = offset
        self._rest = b""
        self._skipped = 0
        """Bytes of a line that is too long."""
        self._reader = EventReader(notes)
        self._events: Iterator[Event] | None = None

    def next(self) -> Event | None:
        """None where there is no more at present.

        Raises:
            RecordingUnreadable: the disk fails.
        """
        if self._events is None:
            self._events = self._reader.read(self._lines())
        event = next(self._events, None)
        if event is None:
            self._events = None
        return event

    def at(self, offset: int) -> Event | None:
        """The event of the one line that begins there, as ``next`` has read it before."""
        self._events, self._rest, self._skipped = None, b"", 0
        self.end = self._read_offset = offset
        length = 1 << 14
        while b"\n" not in (line := self._text.read_at(offset, length)):
            if len(line) < length:
                break
            length *= 4
        line = line.partition(b"\n")[0].removeprefix(_BYTE_ORDER_MARK)
        return next(self._reader.read((line.strip(),)), None)

    def _lines(self) -> Iterator[bytes]:
        while chunk := self._chunk():
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                yield from self._line(line, 1)
            self._limit_rest()
        if self._is_over() and (self._rest or self._skipped):
            line, self._rest = self._rest, b""
            self._notes.has_open_end = True
            yield from self._line(line, 0)

    def _chunk(self) -> bytes:
        limit = self._text.available if self._limit is None else self._limit()
        length = min(_CHUNK_BYTES, limit - self._read_offset)
        chunk = self._text.read_at(self._read_offset, length) if length > 0 else b""
        self._read_offset += len(chunk)
        return chunk

    def _is_over(self) -> bool:
        return self._text.is_complete and self._read_offset >= self._text.available

    def _line(self, line: bytes, end_length: int) -> Iterator[bytes]:
        is_first = self.end == 0
        self.offset = self.end
        self.end += self._skipped + len(line) + end_length
        if self._skipped or len(line) > _MAX_LINE_BYTES:
            self._skipped = 0
            self._notes.lines += 1
            self._notes.too_long += 1
            return
        line = (line.removeprefix(_BYTE_ORDER_MARK) if is_first else line).strip()
        if line:
            self._notes.lines += 1
            yield line

    def _limit_rest(self) -> None:
        if len(self._rest) > _MAX_LINE_BYTES or self._skipped:
            self._skipped += len(self._rest)
            self._rest = b""
