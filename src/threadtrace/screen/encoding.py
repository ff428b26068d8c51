"""Terminals that do not speak UTF-8 get lines and blocks as the nearest plain character."""

from __future__ import annotations

import codecs

from rich.cells import cell_len

NEAREST = "threadtrace-nearest"
"""Name of the way to treat what an encoding lacks, for ``str.encode`` and open files."""

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
    "…": "~",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
}


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """As many cells as before, so that what follows stays in its column."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c, "?" * cell_len(c)) for c in lacking), error.end


def known_encoding(name: str | None) -> str:
    """The name by which Python knows an encoding; ASCII where it does not."""
    try:
        return codecs.lookup(name or "ascii").name
    except LookupError:
        return "ascii"


codecs.register_error(NEAREST, _nearest)
