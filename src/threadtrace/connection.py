"""One who is connected to the agent's socket: a request in, an answer or a stream out."""

from __future__ import annotations

import socket
from typing import Protocol

MAX_REQUEST_BYTES = 4096
_READ_AT_ONCE_BYTES = 1 << 16

# An answer is some kilobytes; the kernel takes it at once, whether or not anybody reads.
_ANSWER_BUFFER_BYTES = 1 << 20

# Of a stream, so many bytes are made at a time, and so many sent to one reader before the others
# and the agent itself have their turn.
_CHUNK_BYTES = 1 << 16
_SENT_AT_ONCE_BYTES = 1 << 18


class Stream(Protocol):
    """What somebody listens to."""

    def read(self, max_bytes: int) -> bytes:
        """What comes next, about so much at most; empty when there is nothing new."""

    def close(self) -> None:
        """Nobody listens any more."""


class Connection:
    """Never waits: every call does what the socket lets it do now."""

    def __init__(self, asking: socket.socket, deadline: float) -> None:
        """Somebody came.

        Args:
            asking: the connection.
            deadline: when the request must have come and the answer be taken, monotonic.
        """
        asking.setblocking(False)
        self._socket = asking
        self._received = b""
        self._pending = memoryview(b"")
        self._stream: Stream | None = None
        self.deadline: float | None = deadline
        """None for who listens to a stream, which has no end."""
        self.is_asking = True
        """Whether its request is not whole yet."""
        self.has_more = False
        """Whether there is more to send than the socket took."""
        self.is_done = False
        """Whether the answer is sent."""

    def fileno(self) -> int:
        """Of the connection."""
        return self._socket.fileno()

    @property
    def is_listening(self) -> bool:
        """Whether it gets a stream."""
        return self._stream is not None

    def read_request(self) -> bytes | None:
        """The request, once it is whole; None before.

        A line, or what came before the other side stopped sending; longer than MAX_REQUEST_BYTES
        where it is too long.

        Raises:
            OSError: the other side is gone.
        """
        try:
            # More than there should be: bytes left unread would break the connection at its end.
            part = self._socket.recv(_READ_AT_ONCE_BYTES)
        except BlockingIOError:
            return None
        self._received += part
        line, ended, _ = self._received.partition(b"\n")
        if part and not ended and len(self._received) <= MAX_REQUEST_BYTES:
            return None
        self.is_asking, self._received = False, b""
        return line

    def answer(self, answer: bytes) -> None:
        """Send that, and be done.

        Raises:
            OSError: the other side is gone.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ANSWER_BUFFER_BYTES)
        self._pending = memoryview(answer)
        self.send()

    def listen(self, stream: Stream) -> None:
        """Send all that comes from there, from now on.

        Raises:
            OSError: the other side is gone.
        """
        self._stream, self.deadline = stream, None
        self.send()

    def send(self) -> None:
        """Send as much as the socket takes.

        Raises:
            OSError: the other side is gone.
        """
        sent = 0
        while sent < _SENT_AT_ONCE_BYTES:
            if not self._pending and self._stream is not None:
                self._pending = memoryview(self._stream.read(_CHUNK_BYTES))
            if not self._pending:
                self.has_more, self.is_done = False, self._stream is None
                return
            try:
                taken = self._socket.send(self._pending, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            self._pending = self._pending[taken:]
            sent += taken
        self.has_more = True

    def close(self) -> None:
        """Hang up."""
        if self._stream is not None:
            self._stream.close()
        self._socket.close()
