"""The token that who asks has to show, out of a file that may be replaced at any time."""

from __future__ import annotations

import hmac
import os
import stat

from threadtrace.errors import UnreadableError, UsageError
from threadtrace.log import warn

_MIN_CHARACTERS = 16
_MAX_BYTES = 4096
_VISIBLE = range(0x21, 0x7F)

_Identity = tuple[int, ...]


class TokenFile:
    """Reads it anew whenever the file, or what a link of that name leads to, is another."""

    def __init__(self, path: str) -> None:
        """Read it.

        Raises:
            UnreadableError: it cannot be read.
            UsageError: it holds nothing that could be a token.
        """
        self._path = path
        self._identity: _Identity | None = None
        self._complained_about: _Identity | None = None
        self._token = b""
        try:
            self._read()
        except OSError as error:
            raise UnreadableError(
                f"--token-file {path} cannot be read: {error.strerror}; name a file that holds a "
                "token"
            ) from None
        except ValueError as error:
            raise UsageError(f"--token-file {path} {error}") from None

    def accepts(self, token: bytes) -> bool:
        """Whether that is the token, in a time that does not depend on how much of it is right."""
        self.reload()
        return hmac.compare_digest(token, self._token)

    def reload(self) -> None:
        """Read the file if it is another than the last time.

        Where it cannot be used any more, the last token holds on, and a warning says so, once for
        each file that cannot.
        """
        try:
            identity = _identity(os.stat(self._path))
            if identity == self._identity:
                self._complained_about = None
            elif identity != self._complained_about:
                self._read()
                self._complained_about = None
                warn(f"--token-file {self._path} was read again")
        except OSError as error:
            self._complain(f"cannot be read: {error.strerror}", ())
        except ValueError as error:
            self._complain(str(error), identity)

    def _complain(self, what: str, about: _Identity) -> None:
        if self._complained_about != about:
            warn(f"--token-file {self._path} {what}; the token of before still holds")
        self._complained_about = about

    def _read(self) -> None:
        """Take what the file holds.

        Raises:
            OSError: it cannot be read.
            ValueError: what it holds is no token; the text says why.
        """
        # Not to wait for who writes, should somebody put a pipe there.
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("is no regular file")
            content = os.read(fd, _MAX_BYTES + 1)
        finally:
            os.close(fd)
        self._token = _token_in(content)
        self._identity = _identity(status)


def _token_in(content: bytes) -> bytes:
    token = content.removesuffix(b"\n").removesuffix(b"\r")
    if not token:
        raise ValueError("is empty: write a token into it (openssl rand -hex 32)")
    if len(content) > _MAX_BYTES:
        raise ValueError(f"holds more than {_MAX_BYTES:,} bytes, which no header can carry")
    if any(byte not in _VISIBLE for byte in token):
        raise ValueError("must hold one line of visible ASCII characters and nothing else")
    if len(token) < _MIN_CHARACTERS:
        raise ValueError(
            f"holds {len(token)} characters: at least {_MIN_CHARACTERS} are needed (openssl rand "
            "-hex 32)"
        )
    return token


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
