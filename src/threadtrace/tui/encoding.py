"""Text for terminals that do not speak UTF-8: lines and blocks as the nearest plain character."""

from __future__ import annotations

import codecs

from rich.cells import cell_len

_ERRORS = "threadtrace-cells"
_PLAIN = {
    **dict.fromkeys("─━╌╍┄┅┈┉═╴╶╸╺", "-"),
    **dict.fromkeys("│┃╎╏┆┇┊┋║╵╷╹╻", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩╬╭╮╯╰┏┓┗┛┣┫┳┻╋", "+"),
    **dict.fromkeys("█▉▊▓", "#"),
    **dict.fromkeys("▋▌▍▐▒", "="),
    **dict.fromkeys("▎▏░", "."),
    **dict(zip("▁▂▃▄▅▆▇", "__.-=+*")),
    **dict.fromkeys("▔▀", "="),
    "▼": "v",
    "▲": "^",
    "▾": "v",
    "▸": ">",
    "▶": ">",
    "…": "~",
    "·": ".",
    "•": "*",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "\N{NO-BREAK SPACE}": " ",
}


class Encoder:
    """Text to bytes of the terminal's encoding; what it lacks becomes a plain character."""

    def __init__(self, encoding: str) -> None:
        """An encoding that Python does not know is taken for ASCII."""
        try:
            self.encoding = codecs.lookup(encoding).name
        except LookupError:
            self.encoding = "ascii"
        self._table = {} if self.encoding.startswith("utf") else self._substitutes()

    def encode(self, text: str) -> bytes:
        """One byte or more for each character."""
        if self._table:
            text = text.translate(self._table)
        return text.encode(self.encoding, _ERRORS)

    def _substitutes(self) -> dict[int, str]:
        return {
            ord(character): plain
            for character, plain in _PLAIN.items()
            if character.encode(self.encoding, "replace") == b"?"
        }


def _as_wide(error: UnicodeError) -> tuple[str, int]:
    """A question mark for each cell, so that what follows stays in its column."""
    assert isinstance(error, UnicodeEncodeError)
    return "?" * cell_len(error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _as_wide)
