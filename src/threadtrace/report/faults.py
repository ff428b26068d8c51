"""What can be wrong with a recording so that there is nothing to report."""

from __future__ import annotations

import os

from threadtrace.errors import ThreadtraceError


class RecordingUnreadable(ThreadtraceError):
    """The file cannot be opened or read."""

    exit_code = os.EX_NOINPUT


class RecordingWithoutEvents(ThreadtraceError):
    """It can be read, but holds no event that this version understands."""

    exit_code = os.EX_DATAERR
