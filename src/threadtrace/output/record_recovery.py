"""What of a record is whole, after an agent was killed or the power failed."""

from __future__ import annotations

import contextlib
import os
import zlib

from threadtrace.output.record_window import MEMBER_BYTES

# Of a member as zlib makes it at its fastest: no name, no time (RFC 1952, section 2.3).
_MEMBER_START = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 3))
# Compressed, a member is smaller than its lines or next to nothing longer, and a line has 16 KiB.
_MAX_MEMBER_BYTES = MEMBER_BYTES + 32 * 1024
# Not more is decompressed, whatever the file holds.
_MAX_LINES_BYTES = 1024 * 1024


def whole_bytes(fd: int, size: int) -> int:
    """Where the last whole member of a file of that size ends; 0 where there is none.

    Raises:
        OSError: it cannot be read.
    """
    end = size
    while (start := _last_start(fd, end)) is not None:
        data = os.pread(fd, _MAX_MEMBER_BYTES, start)
        decompressor = zlib.decompressobj(zlib.MAX_WBITS + 16)
        with contextlib.suppress(zlib.error):
            decompressor.decompress(data, _MAX_LINES_BYTES)
        if decompressor.eof:
            return start + len(data) - len(decompressor.unused_data)
        end = start
    return 0


def _last_start(fd: int, end: int) -> int | None:
    """Of the last member that begins before ``end``."""
    while end > 0:
        begin = max(0, end - _MAX_MEMBER_BYTES)
        found = os.pread(fd, end - begin, begin).rfind(_MEMBER_START)
        if found >= 0:
            return begin + found
        # The beginning of a member may be cut in two by the piece that was read.
        end = begin + len(_MEMBER_START) - 1 if begin else 0
    return None
