"""The text of a recording, to be read at any place: unpacked into a file where it has to be."""

from __future__ import annotations

import enum
import os
import select
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from threadtrace.report.faults import RecordingUnreadable
from threadtrace.report.lines import STDIN
from threadtrace.report.notes import Notes
from threadtrace.text import printable

# RFC 1952, section 2.3.1.
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 31

# So much is read and unpacked at once: some milliseconds.
_PACKED_BYTES = 1 << 16
_TEXT_BYTES = 1 << 20


class Progress(enum.Enum):
    """What became of an attempt to read on."""

    MORE = "more"
    WAITING = "waiting"
    """Nothing has come through the pipe yet."""
    COMPLETE = "complete"


class RecordedText:
    """A plain file as it is; of anything else a copy in a temporary file that has no name.

    What grows: that file, on the disk, as large as the unpacked text.
    """

    def __init__(self, path: str, notes: Notes) -> None:
        """Open it; nothing is read yet.

        Args:
            path: of a file, or ``-`` for standard input.
            notes: told what is wrong with the file.

        Raises:
            RecordingUnreadable: not there, not allowed, a directory.
        """
        self.available = 0
        """Bytes of text that can be read."""
        self.is_complete = False
        self._name = "standard input" if path == STDIN else printable(path)
        self._notes = notes
        self._copy: int | None = None
        self._unpacker: _Unpacker | None = None
        self._has_begun = False
        self._head = b""
        self._packed_offset = 0
        with self._telling():
            self._source = _opened(path)
            self._status = os.fstat(self._source)
            if stat.S_ISDIR(self._status.st_mode):
                raise IsADirectoryError(21, "is a directory")

    def close(self) -> None:
        """No more of it is read; the copy is gone. Once more does nothing."""
        for descriptor in (self._copy, self._source):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._copy, self._source = None, -1

    @property
    def read_ratio(self) -> float | None:
        """How much of the file was read; None for a pipe, whose end is not known."""
        if self.is_complete:
            return 1.0
        if not stat.S_ISREG(self._status.st_mode) or not self._status.st_size:
            return None
        return min(1.0, self._packed_offset / self._status.st_size)

    def read_at(self, offset: int, length: int) -> bytes:
        """So many bytes of text at most, from there on.

        Raises:
            RecordingUnreadable: the disk fails.
        """
        with self._telling():
            length = min(length, self.available - offset)
            descriptor = self._source if self._copy is None else self._copy
            return os.pread(descriptor, length, offset) if length > 0 else b""

    def read_on(self) -> Progress:
        """Read some more of the file, without waiting for a pipe.

        Raises:
            RecordingUnreadable: the disk fails, or has no room for the copy.
        """
        if self.is_complete:
            return Progress.COMPLETE
        with self._telling():
            if self._unpacker is not None and self._unpacker.has_more:
                self._keep(self._unpacker.more(b""))
                return Progress.MORE
            if not self._is_ready():
                return Progress.WAITING
            return self._read_chunk()

    def _is_ready(self) -> bool:
        if stat.S_ISREG(self._status.st_mode):
            return True
        return bool(select.select([self._source], [], [], 0)[0])

    def _read_chunk(self) -> Progress:
        chunk = os.read(self._source, _PACKED_BYTES)
        self._packed_offset += len(chunk)
        if not self._has_begun:
            self._head += chunk
            if chunk and len(self._head) < len(_GZIP_MAGIC):
                return Progress.MORE  # a pipe may begin with a single byte
            self._begin()
            self._take(self._head)
            self._head = b""
        elif chunk:
            self._take(chunk)
        if chunk and not self.is_complete:
            return Progress.MORE
        self._end()
        return Progress.COMPLETE

    def _begin(self) -> None:
        """Now it shows what kind of file it is."""
        self._has_begun = True
        is_packed = self._head.startswith(_GZIP_MAGIC)
        if is_packed:
            self._notes.is_compressed = True
            self._unpacker = _Unpacker(self._notes)
        if is_packed or not stat.S_ISREG(self._status.st_mode):
            with tempfile.TemporaryFile(prefix="threadtrace-") as file:
                self._copy = os.dup(file.fileno())

    def _take(self, chunk: bytes) -> None:
        if self._copy is None:
            # It is all there already.
            self.available, self.is_complete = self._status.st_size, True
        elif self._unpacker is None:
            self._keep(chunk)
        else:
            self._keep(self._unpacker.more(chunk))

    def _keep(self, text: bytes) -> None:
        assert self._copy is not None
        left = memoryview(text)
        while left:
            written = os.pwrite(self._copy, left, self.available)
            self.available += written
            left = left[written:]

    def _end(self) -> None:
        if self._unpacker is not None:
            self._unpacker.end()
        self.is_complete = True

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = "name a file that threadtrace stream --output has written"
            if self._copy is not None:
                remedy = "set TMPDIR to a directory with room for the unpacked recording"
            raise RecordingUnreadable(
                f"cannot read {self._name}: {error.strerror or error}: {remedy}"
            ) from error


class _Unpacker:
    """A gzip file of one or more members, in pieces of bounded length."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        self._left = b""
        self._is_damaged = False
        self._is_between = False
        self._is_held_back = False
        """The last piece was full: there may be more, though all bytes were taken."""

    @property
    def has_more(self) -> bool:
        """Whether there is something to unpack already."""
        least = len(_GZIP_MAGIC) if self._is_between else 1
        return not self._is_damaged and (len(self._left) >= least or self._is_held_back)

    def more(self, packed: bytes) -> bytes:
        """What the next bytes hold, as far as one piece goes."""
        self._left += packed
        if self._is_damaged:
            self._left = b""
            return b""
        try:
            return self._unpack()
        except zlib.error as error:
            self._damage(str(error))
            return b""

    def end(self) -> None:
        """No more bytes come."""
        is_open = not self._is_between or bool(self._left)
        if is_open and not self._is_damaged:
            self._notes.is_cut_off = True

    def _unpack(self) -> bytes:
        if self._is_between:
            self._left = self._left.lstrip(b"\0")  # as gzip itself takes padding
            if len(self._left) < len(_GZIP_MAGIC):
                return b""
            if not self._left.startswith(_GZIP_MAGIC):
                self._damage("something else follows it")
                return b""
            self._member, self._is_between = zlib.decompressobj(_GZIP_WINDOW_BITS), False
        text = self._member.decompress(self._left, _TEXT_BYTES)
        self._left = self._member.unconsumed_tail
        self._is_held_back = len(text) >= _TEXT_BYTES and not self._member.eof
        if self._member.eof:
            self._left, self._is_between = self._member.unused_data, True
        return text

    def _damage(self, what: str) -> None:
        self._notes.damage, self._is_damaged = what, True
        self._left, self._is_held_back = b"", False


def _opened(path: str) -> int:
    if path == STDIN:
        try:
            return os.dup(0)
        except OSError:
            raise RecordingUnreadable("standard input is closed: name a file") from None
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
