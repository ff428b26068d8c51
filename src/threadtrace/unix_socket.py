"""A Unix socket to listen on: for this user only, in the place of a dead one, not of a live one."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

_PROBE_SECONDS = 2.0


class SocketFile:
    """The file of a bound socket, which is removed only while it is still this one's."""

    def __init__(self, listener: socket.socket, path: str) -> None:
        """Bind it.

        Raises:
            OSError: it cannot be bound; EADDRINUSE where another process answers there, EEXIST
                where something else has that name.
        """
        self._path = path
        before = os.umask(0o177)
        try:
            _bind_in_place(listener, path)
        finally:
            os.umask(before)
        self._identity = _identity(path)

    def remove(self) -> None:
        """Nobody is to find it any more."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                os.unlink(self._path)


def _bind_in_place(listener: socket.socket, path: str) -> None:
    try:
        listener.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if not Path(path).is_socket():
            raise FileExistsError(errno.EEXIST, "something else has that name") from None
        if _is_answering(path):
            raise
        os.unlink(path)
        listener.bind(path)


def _is_answering(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_PROBE_SECONDS)
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=False)
    return found.st_dev, found.st_ino
