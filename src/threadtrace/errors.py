"""What can go wrong, as one line that names the remedy and one exit code of sysexits.h."""

from __future__ import annotations

import os


class ThreadtraceError(Exception):
    """An error for the user: shown as one line on stderr, never as a traceback."""

    exit_code = os.EX_SOFTWARE


class UsageError(ThreadtraceError):
    """An option or argument that cannot be used."""

    exit_code = os.EX_USAGE


class UnreadableError(UsageError):
    """A file that an option names cannot be read."""

    exit_code = os.EX_NOINPUT


class PrivilegeError(ThreadtraceError):
    """Not root, or a capability is missing."""

    exit_code = os.EX_NOPERM


class UnavailableError(ThreadtraceError):
    """The host lacks something that the kernel programs need."""

    exit_code = os.EX_UNAVAILABLE


class OutputError(ThreadtraceError):
    """Events could not be written."""

    exit_code = os.EX_IOERR


class NoFreePidError(UnavailableError):
    """A process could not be started: some limit of tasks is used up."""
