"""The lines of a recording: plain or gzip, cut off or damaged, in bounded memory."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from threadtrace.report.faults import RecordingUnreadable
from threadtrace.report.notes import Notes
from threadtrace.text import printable

STDIN = "-"

# RFC 1952, section 2.3.1.
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# An event is below 16 KiB; this only keeps a file without line ends from filling the memory.
_MAX_LINE_BYTES = 1 << 20


def read_lines(path: str, notes: Notes) -> Iterator[bytes]:
    """Each line without its end; what is wrong with the file is put into ``notes``.

    Args:
        path: of a file, or ``-`` for standard input.
        notes: counts what could not be read.

    Raises:
        RecordingUnreadable: not there, not allowed, a directory, or the disk fails.
    """
    try:
        if path == STDIN:
            if sys.stdin is None:
                raise RecordingUnreadable("standard input is closed: name a file")
            yield from _decompressed(sys.stdin.buffer, notes)
            return
        with open(path, "rb") as file:
            yield from _decompressed(file, notes)
    except OSError as error:
        name = "standard input" if path == STDIN else printable(path)
        raise RecordingUnreadable(
            f"cannot read {name}: {error.strerror or error}: name a file that threadtrace stream "
            "--output has written"
        ) from error


def _decompressed(file: BinaryIO, notes: Notes) -> Iterator[bytes]:
    reader = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)  # type: ignore[type-var]
    if not reader.peek(2).startswith(_GZIP_MAGIC):
        yield from _split(reader, notes)
        return
    notes.is_compressed = True
    try:
        with gzip.GzipFile(fileobj=reader) as unpacked:
            yield from _split(unpacked, notes)
    except EOFError:
        notes.is_cut_off = True
    except (gzip.BadGzipFile, zlib.error) as error:
        notes.damage = str(error)


def _split(reader: BinaryIO | gzip.GzipFile, notes: Notes) -> Iterator[bytes]:
    is_first = True
    while line := reader.readline(_MAX_LINE_BYTES):
        if is_first:
            line, is_first = line.removeprefix(_BYTE_ORDER_MARK), False
        if not line.endswith(b"\n"):
            if len(line) >= _MAX_LINE_BYTES:
                notes.lines += 1
                notes.too_long += 1
                _skip_line(reader)
                continue
            notes.has_open_end = True
        line = line.strip()
        if line:
            notes.lines += 1
            yield line


def _skip_line(reader: BinaryIO | gzip.GzipFile) -> None:
    while (rest := reader.readline(_MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass
