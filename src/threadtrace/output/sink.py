"""Where lines go: standard output or a file. Whole lines or none; what could not go is counted."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Sequence

from threadtrace.errors import OutputError
from threadtrace.log import warn

# A write of this size to a pipe that polls as writable does not block (pipe(7), PIPE_BUF).
_PIPE_BYTES = 4096
_POLL_MILLISECONDS = 200
# How long a reader that does not read may hold up the end.
_DRAIN_SECONDS = 2.0

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class ReaderGone(Exception):
    """The other end of the pipe was closed."""


class LineSink:
    """Writes lines to a descriptor."""

    def __init__(self, fd: int, name: str, is_stopping: Callable[[], bool]) -> None:
        """Take over a descriptor.

        Args:
            fd: open for writing.
            name: for messages.
            is_stopping: whether the agent was told to end, so that it waits for no reader.
        """
        self._fd = fd
        self._name = name
        self._is_stopping = is_stopping
        mode = os.fstat(fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._lost = 0
        self._failing = False
        self.total_lost = 0

    @classmethod
    def open(cls, output: str, is_stopping: Callable[[], bool]) -> LineSink:
        """``-`` for standard output, else a file to append to, readable by its owner only.

        Raises:
            OutputError: it cannot be opened.
        """
        if output == "-":
            if sys.stdout is None:
                raise OutputError("standard output is closed: redirect it, or use --output FILE")
            return cls(sys.stdout.fileno(), "standard output", is_stopping)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        try:
            fd = os.open(output, flags, 0o600)
        except OSError as error:
            raise OutputError(
                f"cannot write to {output}: {error.strerror}; choose another --output"
            ) from None
        return cls(fd, output, is_stopping)

    def write(self, lines: Sequence[bytes]) -> None:
        """Write them all, or count those that could not be written.

        Raises:
            ReaderGone: nobody reads any more.
        """
        if not lines:
            return
        data = b"".join(lines)
        written = self._write_file(data) if self._is_file else self._write_stream(data)
        if written < len(data):
            lost = len(lines) - data[:written].count(b"\n")
            self._lost += lost
            self.total_lost += lost
        elif self._failing:
            self._failing = False
            warn(f"{self._name} can be written again")

    def take_lost(self) -> int:
        """How many lines were lost since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def _write_file(self, data: bytes) -> int:
        """Bytes of whole lines written: a line that did not fit is taken back."""
        start = os.fstat(self._fd).st_size
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
            return done
        except OSError as error:
            if error.errno not in _FULL:
                raise OutputError(f"{self._name}: {error.strerror}") from None
            self._complain(error)
        whole = data[:done].rfind(b"\n") + 1
        if whole < done and os.fstat(self._fd).st_size == start + done:
            os.ftruncate(self._fd, start + whole)
        return whole

    def _write_stream(self, data: bytes) -> int:
        """Bytes written; all of them, unless the agent is to end and nobody reads."""
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        done = 0
        give_up = None
        while done < len(data):
            if not poller.poll(_POLL_MILLISECONDS):
                if self._is_stopping():
                    give_up = give_up or time.monotonic() + _DRAIN_SECONDS
                    if time.monotonic() >= give_up:
                        return done
                continue
            try:
                done += os.write(self._fd, data[done : done + _PIPE_BYTES])
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise ReaderGone from None
            except OSError as error:
                if error.errno not in _FULL:
                    raise OutputError(f"{self._name}: {error.strerror}") from None
                self._complain(error)
                return data[:done].rfind(b"\n") + 1
        return done

    def _complain(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            warn(
                f"{self._name}: {error.strerror}; events are dropped and counted until there is "
                "room"
            )
