"""What proves to an agent's HTTP server who asks.

Never an argument of the command line, which every user of the machine can read.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress

from threadtrace.errors import ThreadtraceError

VARIABLE = "THREADTRACE_TOKEN"

_MAX_BYTES = 4096

# What may stand in a header without a doubt how it is read.
_SOUND = re.compile(rb"[\x21-\x7e]+\Z")


class TokenUnusable(ThreadtraceError):
    """The token cannot be read, or sent as it is."""

    exit_code = os.EX_NOINPUT


class Token:
    """A token and where it is from."""

    def __init__(self, file: str | None, given: str = "") -> None:
        """Reads it.

        Args:
            file: path; None for a token that is given.
            given: the token, when there is no file.

        Raises:
            TokenUnusable: no file, no token in it, or one that no header can carry.
        """
        self._file = file
        self.source = VARIABLE if file is None else file
        """For people."""
        self._value, self._is_fixed = (given, True) if file is None else _read(file)
        if file is None:
            _check(os.fsencode(given), self.source)

    def read(self) -> str:
        """As it is now: the file may have got another. What cannot be read changes nothing."""
        if self._file is not None and not self._is_fixed:
            with suppress(TokenUnusable):
                self._value, self._is_fixed = _read(self._file)
        return self._value


def _read(file: str) -> tuple[str, bool]:
    """The token; and whether it can be read but once, as from ``<(kubectl ...)``.

    Raises:
        TokenUnusable: see Token.
    """
    try:
        with open(file, "rb") as source:
            is_fixed = not stat.S_ISREG(os.fstat(source.fileno()).st_mode)
            raw = source.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no such path"
        raise TokenUnusable(
            f"--token-file {file}: {why}: name a file that holds the agent's token alone"
        ) from None
    value = raw.removesuffix(b"\n").removesuffix(b"\r")
    _check(value, f"--token-file {file}")
    return value.decode("ascii"), is_fixed


def _check(value: bytes, where: str) -> None:
    """Raises TokenUnusable, which does not tell the token."""
    if not value:
        raise TokenUnusable(f"{where}: it is empty: it must hold the agent's token")
    if len(value) > _MAX_BYTES or not _SOUND.match(value):
        raise TokenUnusable(
            f"{where}: a token is one line of at most {_MAX_BYTES:,} ASCII characters without "
            "blanks: it must hold the agent's token alone"
        )
