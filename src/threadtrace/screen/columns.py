"""Columns of a table: which fit a width, how wide they get, what stands in them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from rich.cells import cell_len

from threadtrace.screen.figures import fitted, right

T = TypeVar("T")

GAP = 1
"""Cells between two columns."""
_LEAST_FLEXIBLE_SHARE = 0.35


class Cell(NamedTuple):
    """Text and the name of its style: ``plain``, ``dim``, ``bold``, ``warning``, ``danger``."""

    text: str
    style: str = "plain"


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column."""

    name: str
    """By which it is sorted and named in menus."""
    title: str
    cell: Callable[[T, int], Cell]
    """Of a row, and of the width that it has."""
    sort_key: Callable[[T], Any]
    """None where the value is not known."""
    width: int
    """In cells, at least."""
    priority: int
    """The higher, the sooner it gives way on a narrow terminal."""
    stretch: int = 0
    """Its share of the cells that are left over."""
    is_text: bool = False
    """Stands at the left, and sorts from A to Z unless it ranks."""
    ranks: bool = False
    """Its words or names are sorted by a number: the largest comes first."""

    @property
    def begins_ascending(self) -> bool:
        """Which way it sorts when it is chosen."""
        return self.is_text and not self.ranks


class Placed(NamedTuple):
    """A column that is shown."""

    column: Column[Any]
    start: int
    width: int


def fit(columns: Sequence[Column[Any]], width: int) -> list[Placed]:
    """Those that fit, in their order, together exactly as wide as asked for.

    The first one always does; it gives up some of its width before it lets all others go.
    """
    first = columns[0]
    least = min(first.width, max(8, int(width * _LEAST_FLEXIBLE_SHARE)))
    shown, used = {first.name}, min(least, width)
    for column in sorted(columns[1:], key=lambda column: column.priority):
        if used + GAP + column.width > width:
            break
        shown.add(column.name)
        used += GAP + column.width
    chosen = [column for column in columns if column.name in shown]
    widths = {column.name: column.width for column in chosen}
    widths[first.name] = min(least, width)
    spare = width - used
    shares = sum(column.stretch for column in chosen) or 1
    for column in chosen:
        widths[column.name] += spare * column.stretch // shares
    widths[first.name] += width - GAP * (len(chosen) - 1) - sum(widths.values())
    placed, start = [], 0
    for column in chosen:
        placed.append(Placed(column, start, widths[column.name]))
        start += widths[column.name] + GAP
    return placed


def cells(placed: Sequence[Placed], row: Any) -> list[Cell]:
    """Of a row: each exactly as wide as its column."""
    found = []
    for column, _, width in placed:
        text, style = column.cell(row, width)
        found.append(Cell(fitted(text, width) if column.is_text else right(text, width), style))
    return found


def cropped(line: Sequence[Cell], width: int) -> list[Cell]:
    """Of a line that is no row: at most that wide, its end cut where it is too long."""
    found: list[Cell] = []
    room = width
    for cell in line:
        length = cell_len(cell.text)
        if length > room:
            return [*found, Cell(fitted(cell.text, room), cell.style)] if room else found
        found.append(cell)
        room -= length
    return found


def heading(placed: Sequence[Placed], sorted_by: str, is_ascending: bool) -> list[Cell]:
    """Titles; that of the column which sorts is marked."""
    found = []
    for column, _, width in placed:
        title = column.title
        if column.name == sorted_by:
            title = f"{title}{'▲' if is_ascending else '▼'}"
        text = fitted(title, width) if column.is_text else right(title, width)
        found.append(Cell(text, "bold" if column.name == sorted_by else "plain"))
    return found
