"""Text from strangers: task names, cgroup names and labels may hold any bytes."""

from __future__ import annotations

import errno
import unicodedata

_ELLIPSIS = "…"


def decode(raw: bytes) -> str:
    """Bytes as text that JSON can carry: what is not UTF-8 becomes U+FFFD."""
    return raw.decode("utf-8", "replace")


def clean(text: str) -> str:
    """The same for text that Python decoded with surrogates (file names, psutil)."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def printable(text: str) -> str:
    """For terminals: control and format characters, line ends among them, as visible escapes.

    Keeps an escape sequence in a task name from moving the cursor, and a right-to-left override
    from turning a row around.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def shortened(text: str, width: int) -> str:
    """At most ``width`` characters, the end replaced by an ellipsis."""
    return text if len(text) <= width else text[: max(0, width - 1)] + _ELLIPSIS


def _visible(character: str) -> str:
    if character.isprintable() and unicodedata.category(character) not in ("Cf", "Mn", "Me"):
        return character
    return repr(character)[1:-1] if not character.isprintable() else f"\\u{ord(character):04x}"


def error_name(code: int) -> str:
    """``EAGAIN`` for 11; the number as text where it has no name."""
    return errno.errorcode.get(code, str(code))
