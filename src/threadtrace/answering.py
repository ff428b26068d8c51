"""The Unix socket on which a running agent answers ``threadtrace why``, and how it is asked.

Who asks may do so when no process can be started any more; so does the agent answer: one system
call each to accept, send and close, in its own loop, and it never waits for who asks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

# An answer is some kilobytes; the kernel takes it at once, whether or not anybody reads.
_BUFFER_BYTES = 1 << 20
_ANSWERS_AT_ONCE = 8
_BACKLOG = 8
_PATIENCE_SECONDS = 2.0
_MAX_ANSWER_BYTES = 16 << 20
_NEEDED = {"answer", "state", "causes", "causes_count", "missing"}


class AnswerSocket:
    """Listens, for this user only."""

    def __init__(self, path: Path, answer: Callable[[], dict[str, Any]]) -> None:
        """Bind it, in the place of one that a dead agent left behind.

        Args:
            path: of the socket.
            answer: makes the answer when it is asked for.

        Raises:
            OSError: it cannot be made; EADDRINUSE where another agent answers there.
        """
        self._path = path
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        before = os.umask(0o177)
        try:
            self._bind()
        except OSError:
            self._socket.close()
            raise
        finally:
            os.umask(before)
        self._inode = path.stat().st_ino
        self._socket.listen(_BACKLOG)

    def fileno(self) -> int:
        """A descriptor that is readable while somebody asks."""
        return self._socket.fileno()

    def serve(self) -> None:
        """Answer those who ask now."""
        rendered: bytes | None = None
        for _ in range(_ANSWERS_AT_ONCE):
            try:
                asking, _ = self._socket.accept()
            except OSError:  # nobody is left, or the one who asked has gone
                return
            with asking, contextlib.suppress(OSError):
                rendered = rendered or orjson.dumps(self._answer())
                asking.setblocking(False)
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
                asking.send(rendered)

    def close(self) -> None:
        """Stop listening, and remove the file, if it is still this one's."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _bind(self) -> None:
        try:
            self._socket.bind(str(self._path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if not self._path.is_socket():
                raise FileExistsError(errno.EEXIST, "something else has that name") from None
            if _is_answering(self._path):
                raise
            self._path.unlink()
            self._socket.bind(str(self._path))


def ask(path: Path) -> dict[str, Any] | None:
    """What the agent that runs on this node answers; None where none does.

    Whoever listens there has two seconds for a whole answer of the shape that this version shows.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_PATIENCE_SECONDS)
        received = bytearray()
        try:
            asking.connect(str(path))
            while part := asking.recv(1 << 16):
                received += part
                left = until - time.monotonic()
                if left <= 0 or len(received) > _MAX_ANSWER_BYTES:
                    return None
                asking.settimeout(left)
            answer = orjson.loads(bytes(received))
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) and answer.keys() >= _NEEDED else None


def _is_answering(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_PATIENCE_SECONDS)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
