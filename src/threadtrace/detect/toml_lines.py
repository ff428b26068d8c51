"""On which line of a TOML document a key stands: the standard library's parser does not tell.

The parser decides what is valid and what a key is called; here only lines are found.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path = tuple[str, ...]

# A table, a name, a setting: nothing is said of what is below.
_MAX_DEPTH = 3

_TOKEN = re.compile(
    r"""
      (?P<skipped>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<long>\"{3}(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5} | '{3}(?:[^']|'{1,2}(?!'))*'{3,5})
    | (?P<unclosed>\"{3}|'{3})
    | (?P<quoted>"(?:[^"\\\n]|\\.)*" | '[^'\n]*')
    | (?P<sign>[][{}=,.])
    | (?P<bare>[^\s\#"'=,.\[\]{}]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class TomlLines(NamedTuple):
    """Lines, from 1."""

    of_key: dict[Path, int]
    """Where each table and each key is mentioned first: ``("workload", "shop/*", "detect")``.
    Of the upper three levels."""
    of_statement: list[int]
    """Where each header and each ``key = value`` begins, in order."""

    def statement_of(self, line: int) -> int:
        """Where the header or value begins that stands on that line."""
        return max((start for start in self.of_statement if start <= line), default=1)


def find_lines(text: str) -> TomlLines:
    """Of a valid document; of another one, of what comes before the error."""
    scan = _Scan()
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup, match.group()
        if kind == "unclosed":
            scan.begin_statement()
            break
        if kind == "newline":
            scan.end_line()
        elif kind != "skipped":
            scan.take(kind or "", piece)
        if kind == "long":
            scan.line += piece.count("\n")
    return TomlLines(scan.of_key, scan.of_statement)


class _Frame(NamedTuple):
    """An inline table or an array that is open."""

    bracket: str
    path: Path


class _Scan:
    """Where in the document the scan is: which table, which key, how deep in a value."""

    def __init__(self) -> None:
        self.line = 1
        self.of_key: dict[Path, int] = {}
        self.of_statement: list[int] = []
        self._table: Path = ()
        self._keys: list[str] = []
        self._value: Path = ()
        self._frames: list[_Frame] = []
        self._is_header = False
        self._is_key = True
        self._is_fresh = True

    def end_line(self) -> None:
        """A newline ends a statement, but not within brackets."""
        self.line += 1
        if not self._frames:
            self._is_fresh = self._is_key = True
            self._is_header = False
            self._keys = []

    def begin_statement(self) -> None:
        """The first token of a line on which nothing is open."""
        if self._is_fresh:
            self._is_fresh = False
            self.of_statement.append(self.line)

    def take(self, kind: str, piece: str) -> None:
        """The next token."""
        is_first = self._is_fresh
        self.begin_statement()
        if is_first and piece == "[" and kind == "sign":
            self._is_header = True
        elif self._is_header:
            self._take_header(kind, piece)
        elif self._is_key:
            self._take_key(kind, piece)
        elif kind == "sign":
            self._take_value(piece)

    def _take_header(self, kind: str, piece: str) -> None:
        if kind in ("bare", "quoted"):
            self._keys.append(_key(kind, piece))
        elif piece == "]" and self._keys:
            self._table = tuple(self._keys)
            self._note(self._table)
            self._keys = []

    def _take_key(self, kind: str, piece: str) -> None:
        if kind in ("bare", "quoted"):
            self._keys.append(_key(kind, piece))
        elif piece == "=":
            above = self._frames[-1].path if self._frames else self._table
            self._value = (*above, *self._keys)
            self._note(self._value)
            self._keys = []
            self._is_key = False
        elif piece == "}":
            self._close()

    def _take_value(self, piece: str) -> None:
        if piece in ("[", "{"):
            self._frames.append(_Frame(piece, self._value))
            self._is_key = piece == "{"
        elif piece in ("]", "}"):
            self._close()
        elif piece == "," and self._frames:
            self._value = self._frames[-1].path
            self._is_key = self._frames[-1].bracket == "{"

    def _close(self) -> None:
        if self._frames:
            self._frames.pop()
        self._is_key = False

    def _note(self, path: Path) -> None:
        for length in range(1, min(len(path), _MAX_DEPTH) + 1):
            self.of_key.setdefault(path[:length], self.line)


def _key(kind: str, piece: str) -> str:
    if kind == "bare":
        return piece
    try:
        (key,) = tomllib.loads(f"{piece}=0")
    except ValueError:
        return piece
    return str(key)
