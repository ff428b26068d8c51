"""Pipes, terminals, devices, and sockets that were inherited: standard output, most often."""

from __future__ import annotations

import os
import select
import socket
import stat

from threadtrace.delivery.errors import FULL_ERRORS, ReaderGone
from threadtrace.delivery.outlet import DescriptorOutlet
from threadtrace.errors import OutputError

# A write of this size to a pipe that polls as writable does not block (pipe(7), PIPE_BUF).
_PIPE_BYTES = 4096


class PipeOutlet(DescriptorOutlet):
    """Never waits for a reader, though others who have the same pipe may.

    Whether writes wait is a property of the opened file, which the shell and others share, so it is
    opened once more. A socket cannot be opened again; its calls are told not to wait.
    """

    def __init__(self, name: str, max_buffer_bytes: int, fd: int, is_own: bool = False) -> None:
        """See Outlet.

        Args:
            name: for messages.
            max_buffer_bytes: see LineBuffer.
            fd: open for writing.
            is_own: whether it is closed at the end; else it stays open.
        """
        super().__init__(name, max_buffer_bytes)
        self._inherited, self._is_own = fd, is_own
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """See Outlet."""
        self._fd = self._inherited
        if stat.S_ISSOCK(os.fstat(self._fd).st_mode):
            self._socket = socket.socket(fileno=os.dup(self._fd))
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            self._fd = os.open(f"/proc/self/fd/{self._fd}", flags)
        except OSError:
            return  # not ours to open: ``send`` asks before it writes

    def send(self, data: memoryview) -> int:
        """See DescriptorOutlet."""
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._fd != self._inherited:
            return os.write(self._fd, data)
        asking = select.poll()  # select takes no descriptor above 1,023
        asking.register(self._fd, select.POLLOUT)
        if not asking.poll(0):
            raise BlockingIOError
        return os.write(self._fd, data[:_PIPE_BYTES])

    def on_error(self, error: OSError) -> None:
        """See DescriptorOutlet."""
        if isinstance(error, (BrokenPipeError, ConnectionResetError)):
            raise ReaderGone from None
        if error.errno not in FULL_ERRORS:
            raise OutputError(f"{self.name}: {error.strerror}") from None
        self.complain(error.strerror or str(error))

    def close(self) -> None:
        """See Outlet."""
        self.stop_waiting()
        if self._socket is not None:
            self._socket.close()
        elif self._fd not in {-1, self._inherited}:
            os.close(self._fd)
        if self._is_own and self._inherited >= 0:
            os.close(self._inherited)
            self._inherited = -1
        self._fd = -1
