"""The finished report to where it belongs."""

from __future__ import annotations

import os
import sys

from threadtrace.errors import OutputError, UsageError
from threadtrace.report.words import short_name

STDOUT = "-"


def check_output(output: str, source: str) -> None:
    """Before the work of reading: whether the report can be written.

    Raises:
        UsageError: it would overwrite the recording.
        OutputError: standard output is closed.
    """
    if output == STDOUT:
        if sys.stdout is None:
            raise OutputError("standard output is closed: name a file with --output")
        return
    if not output:
        raise UsageError("--output must be - or the name of a file")
    try:
        is_same = os.path.samefile(output, source)
    except OSError:  # one of them does not exist
        return
    if is_same:
        raise UsageError("--output is the recording itself: name another file")


def write(document: bytes, output: str) -> None:
    """All of it.

    Raises:
        OutputError: the file cannot be written.
        BrokenPipeError: the reader of standard output is gone.
    """
    if output == STDOUT:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
        return
    try:
        with open(output, "wb") as file:
            file.write(document)
    except OSError as error:
        raise OutputError(
            f"cannot write {short_name(output, 200)}: {error.strerror}: choose another --output"
        ) from error
