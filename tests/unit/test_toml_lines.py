"""Whatever is wrong in a file of thresholds, its line is found."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_detect_config import EXAMPLE, error_of, write

from threadtrace.detect.config import load_config
from threadtrace.detect.toml_document import ConfigError
from threadtrace.detect.toml_lines import find_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


_KEYS = ["a", "b-1", '"c d"', "'e.f'", '"g\\"#h"', '"i=\\u005b"', "'[j]'", "1", '"]"']
_VALUES = [
    "1",
    "-2.5e3",
    "true",
    "1979-05-27T07:32:00.5Z",
    '"text # = [ \\" \'"',
    "'text \" { \\'",
    '"""\n[a]\nb = 1 # \\"""\n""x"""',
    "'''\n''x\"\"\"\n[b]'''",
    '""""quoted""""',
    '""""""',
    '[1, [2,\n# ] "\n3],\n]',
    "{}",
    '{x = 1, "y z".w = [{v = "}"}, {v = 2}], "#" = {u = 1}}',
    '[\n{t = "]"}, # }\n{t = 2}]',
]


def _document(chance: random.Random) -> tuple[str, dict[tuple[str, ...], int]]:
    """A valid document, and on which line each key was put."""
    lines: dict[tuple[str, ...], int] = {}
    text, table = "", ()
    while len(lines) < 60:
        text += chance.choice(["", "\n", "# [x] = ''' \"\"\"\n", "  \t\n", "    "])
        keys = [chance.choice(_KEYS) for _ in range(chance.choice([1, 1, 2, 3]))]
        dot = chance.choice([".", " . ", ".\t"])
        is_header = chance.random() < 0.4
        if is_header:
            piece = chance.choice(["[{}]", "[ {} ]", "[{}] # ["]).format(dot.join(keys))
        else:
            value = chance.choice(_VALUES)
            piece = dot.join(keys) + chance.choice(["=", " = "]) + value
            piece += chance.choice(["", " # ]}"])
        try:
            tomllib.loads(text + piece + "\n")
        except tomllib.TOMLDecodeError:
            continue
        names = tuple(_name(key) for key in keys)
        path = names if is_header else (*table, *names)
        line = text.count("\n") + 1
        for length in range(1, min(len(path), 3) + 1):
            lines.setdefault(path[:length], line)
        table = path if is_header else table
        text += piece + "\n"
    return text, lines


def _paths(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Of all keys in a document; entries of an array have the array's own."""
    if isinstance(value, list):
        for entry in value:
            yield from _paths(entry, path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from _paths(inner, (*path, key))


def _name(key: str) -> str:
    (name,) = tomllib.loads(f"{key} = 1")
    return name


@pytest.mark.parametrize("seed", range(40))
def test_lines_of_any_document(seed: int) -> None:
    text, lines = _document(random.Random(seed))
    found = find_lines(text)
    assert {path: found.of_key[path] for path in lines} == lines
    paths = {path for path in _paths(tomllib.loads(text), ()) if len(path) <= 3}
    assert set(found.of_key) == paths, "those of inline tables too"
    starts = found.of_statement
    assert starts == sorted(set(starts))
    for start, end in zip(starts, [*starts[1:], None]):
        tomllib.loads("\n".join(text.split("\n")[start - 1 : end and end - 1]))


@pytest.mark.parametrize("seed", range(40))
def test_a_wrong_line_anywhere(tmp_path: Path, seed: int) -> None:
    """An error in the middle of much that is right, between comments and texts of many lines."""
    chance = random.Random(seed)
    noise = ["", "# [defaults]", "   # x = '''", "\t", '# """']
    lines, wrong = [], chance.randrange(1, 40)
    expected = 0
    for number in range(40):
        lines += [chance.choice(noise) for _ in range(chance.randrange(4))]
        lines.append(f"[workload.'w{number} \"# [']{chance.choice(noise) and ' # ]'}")
        lines += [chance.choice(noise) for _ in range(chance.randrange(3))]
        lines.append(f"leak_tasks = {chance.randrange(4, 9999)}")
        if number == wrong:
            lines += [chance.choice(noise)]
            lines.append(chance.choice(["leak_seconds = 0", "'detect' = 1", "x = {y = 1}"]))
            expected = len(lines)
    assert error_of(tmp_path, "\n".join(lines)).startswith(f"{expected}: ")


@pytest.mark.parametrize("seed", range(60))
def test_cut_and_damaged_files_end_in_one_line(tmp_path: Path, seed: int) -> None:
    """Whatever an editor or a disk left: a configuration, or an error that names a line in it."""
    chance = random.Random(seed)
    text = "".join(f"[workload.{key}]\nleak_tasks = 5\n" for key in _KEYS) + EXAMPLE
    data = bytearray(text.encode())
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(data))
        data[place : place + chance.randrange(2)] = chance.choice(
            [b'"', b"'''", b"[", b"]", b"{", b"=", b"\xff", b"\n", b"\0", b'"""', b""]
        )
    del data[chance.randrange(len(data) // 2, len(data)) :]
    path = write(tmp_path, bytes(data))
    message = ""
    try:
        load_config(path)
    except ConfigError as error:
        message = str(error)
    if message:
        found = re.fullmatch(rf"{re.escape(str(path))}:(\d+): .+; .+", message)
        assert found, message
        assert 1 <= int(found.group(1)) <= data.count(b"\n") + 1


@pytest.mark.parametrize(
    "filler", ["[\n", "'''\n", "{a=\n", "a.", '"', "\\\n", "x=[\n[1],\n", "[a]\n"]
)
def test_large_files_that_are_wrong_are_not_slow(tmp_path: Path, filler: str) -> None:
    """Of 256 KiB; a scan that goes back again and again would take minutes."""
    error_of(tmp_path, "[defaults]\nx = " + filler * (256 * 1024 // len(filler)))
