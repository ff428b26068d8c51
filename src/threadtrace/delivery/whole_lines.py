"""Lines at the end of a file: whole ones or none, also on a disk that is full."""

from __future__ import annotations

import os
from typing import NamedTuple


class Appended(NamedTuple):
    """How much of it is in the file, and why not all."""

    lines: int
    error: OSError | None = None


def append(fd: int, data: bytes) -> Appended:
    """Write lines; the part of one that did not fit is taken back.

    Args:
        fd: of a regular file.
        data: whole lines.
    """
    start = os.fstat(fd).st_size
    done = 0
    try:
        while done < len(data):
            done += os.write(fd, data[done:])
        return Appended(data.count(b"\n"))
    except OSError as error:
        whole = data[:done].rfind(b"\n") + 1
        if whole < done and os.fstat(fd).st_size == start + done:
            os.ftruncate(fd, start + whole)
            os.lseek(fd, 0, os.SEEK_END)  # else, where it is not open to append, a hole is left
        return Appended(data.count(b"\n", 0, whole), error)
