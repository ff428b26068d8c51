"""From a key to its picture, where the table has thousands of rows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Row, Spread
from bench.processes import megabytes, resident_bytes
from bench.terminals import END_OF_PICTURE, Terminal, terminal
from bench.view_recording import name_of, write_recording

_WORKLOADS = 5_000
_TARGET_SECONDS = 0.1
_MAX_RESIDENT_BYTES = 90_000_000
_QUIET_SECONDS = 0.3
_WITHIN_SECONDS = 5.0
_APART_SECONDS = 0.37
"""No part of the second between two ticks: keys meet all of it."""
_PAGE = b"\x1b[6~"
_END_OF_PICTURE = b".*" + END_OF_PICTURE


def measure_keys(directory: Path, quick: bool) -> Iterator[Row]:
    rounds = 3 if quick else 15
    recording = directory / "large.jsonl"
    write_recording(recording, _WORKLOADS, 20 if quick else 60)
    command = [sys.executable, "-m", "threadtrace", "top", "--replay", str(recording)]
    with terminal(command) as view:
        first = view.wait_for(_name(0) + _END_OF_PICTURE) - view.began
        view.type(b" ")
        view.wait_for(b"paused")
        view.wait_until_idle()
        paused = _paused(view, rounds)
        resident = resident_bytes(view.pid)
        playing = _playing(view, rounds)
        resident = max(resident, resident_bytes(view.pid))
    yield Row(f"start to the first picture of {_WORKLOADS:,} recorded workloads", f"{first:.2f} s")
    for what, seconds in paused.items():
        yield _row(f"{what}, {_WORKLOADS:,} rows, paused", seconds)
    for what, seconds in playing.items():
        yield _row(f"{what}, {_WORKLOADS:,} rows change every second", seconds)
    yield memory_row(f"memory of threadtrace top --replay, {_WORKLOADS:,} workloads", resident)


def memory_row(what: str, resident: int) -> Row:
    """Bytes beside what they may be."""
    target = f"{megabytes(_MAX_RESIDENT_BYTES):.0f} MB"
    return Row(what, f"{megabytes(resident):.1f} MB", target, resident <= _MAX_RESIDENT_BYTES)


def _row(what: str, seconds: list[float]) -> Row:
    spread = Spread.of(seconds)
    target = f"{_TARGET_SECONDS * 1e3:.0f} ms"
    return Row(what, spread.text("ms", 0, 1e3), target, spread.high <= _TARGET_SECONDS)


def _paused(view: Terminal, rounds: int) -> dict[str, list[float]]:
    """Seconds by kind of key: until nothing more came."""
    found: dict[str, list[float]] = {}

    def press(what: str, keys: bytes) -> None:
        pressed = view.type(keys)
        found.setdefault(what, []).append(view.wait_until_quiet(_QUIET_SECONDS) - pressed)

    for _ in range(rounds):
        press("j: a row down", b"j")
        press("PgDn: a page down", _PAGE)
        press("G: to the last row", b"G")
        press("g: to the first row", b"g")
        press("s: what to sort by", b"s")
        press("s, j, Enter: sorted by another column", b"j\r")
        press("I: inverted", b"I")
        press("I: inverted", b"I")
        press("/: a filter", b"/")
        press("a letter of a filter", b"7")
        press("Escape: no filter", b"\x1b")
        press("t: the tree", b"t")
        press("t: no tree", b"t")
        press("Enter: a workload", b"j\r")
        press("Escape: back to the table", b"\x1b")
        _back_to_danger(view)
    return found


def _back_to_danger(view: Terminal) -> None:
    """The first of what can be sorted by."""
    for keys in (b"s", b"\x1b[H", b"\r", b"g"):
        view.type(keys)
        view.watch(_QUIET_SECONDS)


def _playing(view: Terminal, rounds: int) -> dict[str, list[float]]:
    """Seconds by kind of key: until the first whole picture that shows what it does."""
    found: dict[str, list[float]] = {}
    cursor, page = _learnt(view)
    view.type(b"g ")  # it is paused no longer
    _check_that_it_plays(view)

    def press(what: str, keys: bytes, shown: bytes) -> None:
        pressed = view.type(keys)
        seconds = view.wait_for(shown + _END_OF_PICTURE, _WITHIN_SECONDS) - pressed
        found.setdefault(what, []).append(seconds)
        view.watch(_APART_SECONDS)

    for _ in range(rounds):
        press("j: a row down", b"j", cursor + _name(1))
        press("PgDn: a page down", _PAGE, cursor + _name(page))
        press("G: to the last row", b"G", cursor + _name(_WORKLOADS - 1))
        press("g: to the first row", b"g", cursor + _name(0))
        press("s: what to sort by", b"s", rb"Sort by")
        view.type(b"\x1b")
        view.watch(_APART_SECONDS)
    _check_that_it_plays(view)
    return found


def _check_that_it_plays(view: Terminal) -> None:
    view.type(b"g")
    view.watch(_APART_SECONDS)
    for _ in range(2):
        view.forget()
        view.wait_for(_name(0) + _END_OF_PICTURE, _WITHIN_SECONDS)


def _learnt(view: Terminal) -> tuple[bytes, int]:
    """How the row under the cursor is coloured, and which it is a page below the second."""
    view.type(b"gj")
    view.wait_until_quiet(_QUIET_SECONDS)
    # What stands before the name is the colour: a row without the cursor has another one.
    colours = re.findall(rb"(\x1b\[[0-9;]*m)" + _name(1), view.seen)
    cursor = re.escape(colours[-1])
    if re.search(cursor + _name(2), view.seen):
        raise RuntimeError("the row under the cursor looks like the others")
    view.type(_PAGE)
    view.wait_until_quiet(_QUIET_SECONDS)
    places = re.findall(cursor + rb"ns\d+/service-(\d+)/main", view.seen)
    return cursor, int(places[-1])


def _name(place: int) -> bytes:
    return re.escape(name_of(place).encode())
