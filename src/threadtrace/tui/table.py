"""A table of which only the visible lines are made: thousands of rows scroll as fast as ten."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from threadtrace.screen.columns import Cell, Column, Placed, cells, fit, heading
from threadtrace.screen.styles import CURSOR, style

_HELD_SECONDS = 3.0
"""So long after the last key or click that moves the cursor, rows keep their order."""
_WHEEL_ROWS = 3


class Keyed(Protocol):
    """A row."""

    @property
    def key(self) -> str:
        """What it is, from one tick to the next."""


R = TypeVar("R", bound=Keyed)


class RowTable(ScrollView, Generic[R], can_focus=True):
    """Rows in columns, a heading, and a cursor that stays on its row."""

    DEFAULT_CSS = """
    RowTable { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("g,home", "first", "top", show=False),
        Binding("G,end", "last", "bottom", show=False),
        Binding("enter", "choose", "open", show=False),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)

    class Chosen(Message):
        """Enter or a double click on a row."""

        def __init__(self, table: RowTable[Any], row: Any) -> None:
            super().__init__()
            self.table, self.row = table, row

    class HeadingClicked(Message):
        """A click on a column's title."""

        def __init__(self, table: RowTable[Any], column: Column[Any]) -> None:
            super().__init__()
            self.table, self.column = table, column

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(self, columns: Sequence[Column[R]], *, id: str | None = None) -> None:  # noqa: A002
        """Empty.

        Args:
            columns: all that may be shown.
            id: Textual's.
        """
        super().__init__(id=id)
        self._columns = columns
        self._rows: Sequence[R] = ()
        self._placed: list[Placed] = []
        self._placed_width = -1
        self._sorted_by = ""
        self._is_ascending = False
        self._touched_s: float | None = None
        self.empty_text = ""

    @property
    def rows(self) -> Sequence[R]:
        """As they stand."""
        return self._rows

    @property
    def selected(self) -> R | None:
        """Under the cursor."""
        return self._rows[self.cursor] if 0 <= self.cursor < len(self._rows) else None

    @property
    def is_followed(self) -> bool:
        """Whether nobody moved the cursor: it stays at the top, whoever stands there."""
        return self._touched_s is None

    @property
    def is_held(self) -> bool:
        """Whether somebody moves among the rows just now."""
        touched = self._touched_s
        return touched is not None and time.monotonic() - touched < _HELD_SECONDS

    def show(self, rows: Sequence[R], sorted_by: str = "", is_ascending: bool = False) -> None:
        """Other rows, or the same with other numbers. The cursor stays on its row."""
        key = None if self.selected is None or self.is_followed else self.selected.key
        offset = self.cursor - round(self.scroll_y)
        self._rows = rows
        self._sorted_by, self._is_ascending = sorted_by, is_ascending
        self._resize_content()
        if self.is_followed:
            self.set_reactive(RowTable.cursor, 0)
        elif key is not None:
            self._find_again(key, offset)
        self.set_reactive(RowTable.cursor, max(0, min(self.cursor, len(rows) - 1)))
        self.refresh()

    def _resize_content(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows) + 1)
        if self.show_vertical_scrollbar:  # in the same picture as the rows, not in one of its own
            self.vertical_scrollbar.window_virtual_size = self.virtual_size.height

    def set_columns(self, columns: Sequence[Column[R]]) -> None:
        """Others may be shown from now on."""
        self._columns, self._placed_width = columns, -1

    def release_order(self) -> None:
        """Rows may move again at once, since something else is chosen to be shown."""
        if self._touched_s is not None:
            self._touched_s -= _HELD_SECONDS

    def _find_again(self, key: str, offset: int) -> None:
        """Put the cursor back on its row, and that row back on its line of the screen."""
        position = self.cursor
        if not (position < len(self._rows) and self._rows[position].key == key):
            found = (n for n, row in enumerate(self._rows) if row.key == key)
            position = next(found, self.cursor)
        if position != self.cursor:
            self.set_reactive(RowTable.cursor, position)
            self.scroll_to(y=max(0, position - offset), animate=False, force=True, immediate=True)

    def render_line(self, y: int) -> Strip:
        """See Textual's Line API; line 0 is the heading."""
        width = self.scrollable_content_region.width
        if width != self._placed_width:
            self._placed, self._placed_width = fit(self._columns, width), width
        if y == 0:
            titles = heading(self._placed, self._sorted_by, self._is_ascending)
            return _strip(titles, width, style("heading"))
        number = round(self.scroll_y) + y - 1
        if number >= len(self._rows):
            if not self._rows and y == 1 and self.empty_text:
                return _strip([Cell(self.empty_text, "dim")], width, Style())
            return Strip.blank(width, self.rich_style)
        found = cells(self._placed, self._rows[number])
        is_cursor = number == self.cursor and self.has_focus
        return _strip(found, width, CURSOR if is_cursor else Style(), is_cursor)

    def watch_cursor(self, before: int, after: int) -> None:
        """Redraw the two rows: a tenth of what all of them are on a slow line."""
        top = round(self.scroll_y)
        self.refresh(*(Region(0, row - top + 1, self.size.width, 1) for row in (before, after)))
        self.post_message(self.Moved())

    def action_move(self, rows: int) -> None:
        """Up or down by so many."""
        self._move_to(self.cursor + rows)

    def action_page(self, direction: int) -> None:
        """By as many rows as are visible, less one."""
        self._move_to(self.cursor + direction * max(1, self._visible_rows - 1))

    def action_first(self) -> None:
        """To the top, and stay there whoever comes."""
        self._move_to(0)
        self._touched_s = None

    def action_last(self) -> None:
        """To the bottom."""
        self._move_to(len(self._rows) - 1)

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self.selected is not None:
            self._touched_s = time.monotonic()
            self.post_message(self.Chosen(self, self.selected))

    def on_click(self, event: events.Click) -> None:
        """Select, or sort; twice opens."""
        event.stop()
        if event.y == 0:
            for column, start, width in self._placed:
                if start <= event.x < start + width + 1:
                    self.post_message(self.HeadingClicked(self, column))
            return
        number = round(self.scroll_y) + event.y - 1
        if number < len(self._rows):
            self._move_to(number)
            if event.chain == 2:
                self.action_choose()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """A wheel moves the rows, not the cursor."""
        event.stop()
        self._scroll_by(_WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Likewise."""
        event.stop()
        self._scroll_by(-_WHEEL_ROWS)

    def _scroll_by(self, rows: int) -> None:
        if self._touched_s is None:
            self._touched_s = time.monotonic()
        self.scroll_to(y=self.scroll_y + rows, animate=False, force=True, immediate=True)

    @property
    def _visible_rows(self) -> int:
        return max(1, self.size.height - 1)

    def _move_to(self, position: int) -> None:
        self._touched_s = time.monotonic()
        self.cursor = max(0, min(position, len(self._rows) - 1))
        top = round(self.scroll_y)
        if self.cursor < top:
            top = self.cursor
        elif self.cursor >= top + self._visible_rows:
            top = self.cursor - self._visible_rows + 1
        if top != round(self.scroll_y):
            self.scroll_to(y=top, animate=False, force=True, immediate=True)

    def on_resize(self) -> None:
        """The cursor stays visible."""
        self._resize_content()
        bottom = round(self.scroll_y) + self._visible_rows
        if self.cursor >= bottom:
            top = self.cursor - self._visible_rows + 1
            self.scroll_to(y=top, animate=False, force=True, immediate=True)


def _strip(found: Sequence[Cell], width: int, base: Style, is_cursor: bool = False) -> Strip:
    """Cells with a gap between them, filled up to the width."""
    segments = []
    for number, cell in enumerate(found):
        if number:
            segments.append(Segment(" ", base))
        segments.append(Segment(cell.text, base if is_cursor else base + style(cell.style)))
    return Strip(segments).adjust_cell_length(width, base)
