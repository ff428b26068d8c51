"""The same head and table as plain text, for pipes, files and terminals that cannot draw. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from threadtrace.screen.board import Board, Choice
from threadtrace.screen.columns import Cell, cells, cropped, fit, heading
from threadtrace.screen.figures import wrapped
from threadtrace.screen.head import HeadFacts, head_lines
from threadtrace.screen.styles import style

_TALL = 1_000
_NOTE_LINES = 3
_LEAST_TABLE_LINES = 3
"""A heading, a row, and how many rows there are besides: they come before notes."""


def frame(
    board: Board,
    choice: Choice,
    source: str,
    notes: Sequence[str],
    width: int,
    height: int | None = None,
) -> list[Text]:
    """Lines of one picture.

    Args:
        board: what there is.
        choice: what of it is shown, in which order.
        source: where it comes from, for the first line.
        notes: lines above the table.
        width: of each line, at most.
        height: in lines; rows that do not fit are counted in the last. None: all rows.
    """
    rows = board.lines(choice)
    facts = HeadFacts(
        board.about,
        source,
        _status(len(rows), len(board.workloads)),
        board.snapshot.time_ns if board.snapshot else 0,
        board.node,
        board.history,
        board.news.verdict(),
        board.news.losses,
    )
    lines = list(head_lines(facts, width, height or _TALL))
    told = [[Cell(line, "warning")] for note in notes for line in wrapped(note, width, _NOTE_LINES)]
    lines += told if height is None else told[: max(0, height - len(lines) - _LEAST_TABLE_LINES)]
    placed = fit(board.columns, width)
    lines.append(_spaced(heading(placed, choice.sort, choice.is_ascending)))
    room = len(rows) if height is None else max(1, height - len(lines))
    if len(rows) > room:
        room = max(1, room - 1)
    lines += [_spaced(cells(placed, row)) for row in rows[:room]]
    if len(rows) > room:
        lines.append(cropped([Cell(f"{len(rows) - room:,} more workloads", "dim")], width))
    return [_as_text(line) for line in lines]


def _status(shown: int, total: int) -> str:
    of_all = "" if shown == total else f" of {total:,}"
    return f"{shown:,}{of_all} workload{'' if total == 1 else 's'}"


def _spaced(found: Sequence[Cell]) -> list[Cell]:
    line: list[Cell] = []
    for cell in found:
        line += [Cell(" "), cell] if line else [cell]
    return line


def _as_text(line: Sequence[Cell]) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for cell in line:
        text.append(cell.text, style(cell.style))
    text.rstrip()
    return text
