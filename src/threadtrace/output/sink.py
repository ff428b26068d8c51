"""Where lines go: standard output or a file. Whole lines or none; what could not go is counted."""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from threadtrace.delivery import whole_lines
from threadtrace.delivery.buffer import Rank
from threadtrace.delivery.errors import FULL_ERRORS, ReaderGone
from threadtrace.errors import OutputError
from threadtrace.log import warn

# A write of this size to a pipe that polls as writable does not block (pipe(7), PIPE_BUF).
_PIPE_BYTES = 4096
_POLL_MILLISECONDS = 200
# How long a reader that does not read may hold up the end.
_DRAIN_SECONDS = 2.0


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

    def write(self, lines: Sequence[bytes], rank: Rank = Rank.KEPT) -> None:
        """Write them all, or count those that could not be written.

        Args:
            lines: events.
            rank: nothing: here all have to wait alike.

        Raises:
            ReaderGone: nobody reads any more.
        """
        del rank
        if not lines:
            return
        written = (self._write_file if self._is_file else self._write_stream)(lines)
        if written < len(lines):
            lost = len(lines) - written
            self._lost += lost
            self.total_lost += lost
        elif self._failing:
            self._failing = False
            warn(f"{self._name} can be written again")

    def take_lost(self) -> dict[str, int]:
        """How many lines were lost since the last call, by name; nothing where there were none."""
        lost, self._lost = self._lost, 0
        return {self._name: lost} if lost else {}

    def _write_file(self, lines: Sequence[bytes]) -> int:
        """How many lines were written."""
        appended = whole_lines.append(self._fd, b"".join(lines))
        if appended.error is not None:
            if appended.error.errno not in FULL_ERRORS:
                raise OutputError(f"{self._name}: {appended.error.strerror}") from None
            self._complain(appended.error)
        return appended.lines

    def _write_stream(self, lines: Sequence[bytes]) -> int:
        """How many lines were written; all, unless the agent is to end and nobody reads."""
        done = 0
        for chunk, count in _chunks(lines):
            try:
                if not self._write_chunk(chunk):
                    break
            except (BrokenPipeError, ConnectionResetError):
                raise ReaderGone from None
            except OSError as error:
                if error.errno not in FULL_ERRORS:
                    raise OutputError(f"{self._name}: {error.strerror}") from None
                self._complain(error)
                break
            done += count
        return done

    def _write_chunk(self, chunk: bytes) -> bool:
        """Wait for the reader; False when it does not read and the agent is to end."""
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        written = 0
        give_up = None
        while written < len(chunk):
            if not poller.poll(_POLL_MILLISECONDS):
                if self._is_stopping():
                    give_up = give_up or time.monotonic() + _DRAIN_SECONDS
                    if time.monotonic() >= give_up:
                        return False
                continue
            try:
                written += os.write(self._fd, chunk[written : written + _PIPE_BYTES])
            except BlockingIOError:
                continue
        return True

    def _complain(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            warn(
                f"{self._name}: {error.strerror}; events are dropped and counted until there is "
                "room"
            )


def _chunks(lines: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """Whole lines together, as many as a pipe takes at once, and how many they are.

    So a reader that stops reading stops between two lines; only one line of more than PIPE_BUF can
    be cut.
    """
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > _PIPE_BYTES:
            yield b"".join(chunk), len(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    yield b"".join(chunk), len(chunk)
