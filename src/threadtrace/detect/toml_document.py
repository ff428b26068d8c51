"""A file of settings, read and parsed; what is wrong with it is told with its line."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple

from threadtrace.detect.toml_lines import TomlLines, find_lines
from threadtrace.errors import ThreadtraceError
from threadtrace.text import printable, shortened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1024 * 1024

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_AT_END = re.compile(r" \(at end of document\)$")
_SHOWN_CHARACTERS = 160


class ConfigError(ThreadtraceError):
    """A file with settings that cannot be used."""

    exit_code = os.EX_CONFIG


class TomlDocument(NamedTuple):
    """Valid TOML, not checked any further."""

    shown: str
    """The name of the file, for messages."""
    text: str
    values: dict[str, Any]

    def lines(self) -> TomlLines:
        """On which lines its keys stand."""
        return find_lines(self.text)

    def error(self, line: int, text: str) -> ConfigError:
        """Something on that line cannot be used."""
        return _error(self.shown, line, text)


def load_document(path: Path) -> TomlDocument:
    """Read and parse a file.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    shown = printable(str(path))
    text = _decoded(shown, _read(shown, path))
    return TomlDocument(shown, text, _parsed(shown, text))


def _error(shown: str, line: int, text: str) -> ConfigError:
    return ConfigError(f"{shown}:{line}: {text}")


def _read(shown: str, path: Path) -> bytes:
    """Its bytes; neither a pipe nor a device holds it up."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                raise ConfigError(f"{shown}: is a directory; name a TOML file")
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{shown}: is no regular file; name a TOML file")
            with open(fd, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file has such a name"
        raise ConfigError(f"{shown}: {reason}; name a TOML file that can be read") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{shown}: is larger than 1 MiB; name a file of settings")
    return data


def _decoded(shown: str, data: bytes) -> str:
    """With newlines alone; editors leave a byte order mark at the beginning."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _error(shown, line, "is not UTF-8; save the file as UTF-8") from None
    return text.replace("\r\n", "\n")


def _parsed(shown: str, text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        line = _line_of_error(message, text)
        message = _AT_END.sub(", and the file ends", _AT_LINE.sub("", message))
        problem = f"no valid TOML: {printable(shortened(message, _SHOWN_CHARACTERS))}"
        raise _error(shown, line, f"{problem}; see https://toml.io") from None
    except (RecursionError, ValueError):
        line = _line_of_bad_value(text)
        raise _error(shown, line, "a value is too long or too deep; shorten it") from None
    return document


def _line_of_error(message: str, text: str) -> int:
    """Where somebody would look for what the parser complains of."""
    at_line = _AT_LINE.search(message)
    if at_line is None:
        return find_lines(text).statement_of(text.count("\n") + 1)
    line = int(at_line.group(1))
    # What is there twice is noticed at its end.
    return find_lines(text).statement_of(line) if message.startswith("Cannot ") else line


def _line_of_bad_value(text: str) -> int:
    """Of the first statement that cannot be parsed for itself."""
    lines = text.split("\n")
    starts = find_lines(text).of_statement
    for start, end in zip(starts, [*starts[1:], len(lines) + 1]):
        try:
            tomllib.loads("\n".join(lines[start - 1 : end - 1]))
        except (RecursionError, ValueError):
            return start
    return 1
