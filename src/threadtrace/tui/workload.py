"""The screens below a workload: its processes, and the threads of one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll

from threadtrace.model.details import ProcessInspection, WorkloadDetails
from threadtrace.output.details import process_details_fields
from threadtrace.output.fields import Fields
from threadtrace.screen import panel
from threadtrace.screen.board import Board
from threadtrace.screen.columns import Cell, Column
from threadtrace.screen.order import in_order
from threadtrace.screen.process_columns import (
    PROCESS_COLUMNS,
    THREAD_COLUMNS,
    process_lines,
    thread_lines,
)
from threadtrace.tui.lines import Lines
from threadtrace.tui.menus import Menu, Offer
from threadtrace.tui.redrawn import Redrawn
from threadtrace.tui.table import RowTable

_WIDE = 100
"""From so many columns on, the panel stands beside the table."""


class _Detail(Redrawn):
    """A title, a table, and a panel beside or below it."""

    DEFAULT_CSS = """
    _Detail #body { layout: vertical; height: 1fr; }
    _Detail #body.wide { layout: horizontal; }
    _Detail #body.wide RowTable { width: 1fr; height: 100%; }
    _Detail #panel { height: 1fr; scrollbar-size-vertical: 1; }
    _Detail #body.wide #panel { width: 45%; height: 100%; padding: 0 0 0 1; }
    _Detail #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,h", "back", "back", show=False),
        Binding("s,f6", "sort", "sort", show=False),
        Binding("I", "invert", "invert", show=False),
        Binding("y", "copy", "copy", show=False),
        Binding("tab", "app.focus_next", "panel", show=False),
    ]
    KEYS = (
        ("Esc", "back"),
        ("Enter", "open"),
        ("s", "sort"),
        ("y", "copy"),
        ("Tab", "panel"),
        ("Space", "pause"),
        ("e", "events"),
        ("?", "help"),
        ("q", "quit"),
    )

    def __init__(
        self, columns: tuple[Column[Any], ...], sort: str, fields_of: Callable[[Any], Fields]
    ) -> None:
        super().__init__()
        self._columns = columns
        self._fields_of = fields_of
        self._sort, self._is_ascending = sort, False
        self._is_looking = False

    def compose(self) -> ComposeResult:
        """See Textual."""
        yield Lines(id="title")
        with Container(id="body"):
            yield RowTable(self._columns, id="table")
            with VerticalScroll(id="panel"):
                yield Lines(id="facts")
        yield Lines(id="keys")

    @property
    def table(self) -> RowTable[Any]:
        return self.query_one("#table", RowTable)

    def on_mount(self) -> None:
        """Ready for keys."""
        self.table.focus()
        self.redraw()

    def redraw(self) -> None:
        """See Redrawn."""
        self.query_one("#body").set_class(self.size.width >= _WIDE, "wide")
        self.show_keys(self.query_one("#keys", Lines), self.top.note)
        if not self._is_looking:
            self._is_looking = True
            self.top.start(self._look_and_show())

    async def _look_and_show(self) -> None:
        try:
            await self.look()
        finally:
            self._is_looking = False

    async def look(self) -> None:
        """Ask the feed, and show what it answers."""

    def show_rows(self, rows: list[Any]) -> None:
        """In the chosen order."""
        column = next(column for column in self._columns if column.name == self._sort)
        ordered = in_order(rows, column.sort_key, self._is_ascending)
        self.table.show(ordered, self._sort, self._is_ascending)

    @property
    def panel_width(self) -> int:
        """In cells."""
        width = self.size.width
        return max(20, width * 45 // 100 - 3 if width >= _WIDE else width - 1)

    def on_row_table_heading_clicked(self, event: RowTable.HeadingClicked) -> None:
        """Sort."""
        self._sort_by(event.column)

    def action_sort(self) -> None:
        """Choose by what."""
        offers = [Offer(column.name, column.title) for column in self._columns]

        def chosen(name: str | None) -> None:
            for column in self._columns:
                if column.name == name:
                    self._sort_by(column)

        self.app.push_screen(Menu("Sort by", offers, self._sort), chosen)

    def _sort_by(self, column: Column[Any]) -> None:
        same = column.name == self._sort
        self._is_ascending = not self._is_ascending if same else column.is_text
        self._sort = column.name
        self.redraw()

    def action_invert(self) -> None:
        """The other way round."""
        self._is_ascending = not self._is_ascending
        self.redraw()

    def action_copy(self) -> None:
        """The row as JSON."""
        if self.table.selected is not None:
            self.copy(self._fields_of(self.table.selected))

    def action_back(self) -> None:
        """To where it was."""
        self.leave()


class WorkloadScreen(_Detail):
    """A workload's processes; beside them its history, limits, and what happened to it."""

    def __init__(self, board: Board, key: str) -> None:
        """Of that workload."""
        super().__init__(
            PROCESS_COLUMNS, "threads", lambda row: process_details_fields(row.details)
        )
        self._board, self._key = board, key
        self._shot = board.workload(key)

    async def look(self) -> None:
        """See _Detail."""
        is_there = self._board.workload(self._key)
        self._shot = is_there or self._shot
        found = None if self._board.is_paused else await self.top.feed.inspect_workload(self._key)
        if not self.is_current:  # left, while somebody was asked
            return
        if found is not None:
            self.show_rows(list(process_lines(found.processes)))
        if self._shot is not None:
            self._show_title(is_there is None, found)
            self._show_facts(found)

    def _show_title(self, is_gone: bool, found: WorkloadDetails | None) -> None:
        assert self._shot is not None
        width = self.size.width
        lines = panel.title_lines(self._shot, width)
        if is_gone:
            lines[0].append(Cell("  gone; these are its last numbers", "warning"))
        lines += panel.number_lines(self._shot, width)
        if found is not None:
            hidden = (found.processes_count or 0) - len(found.processes)
            if hidden > 0:
                lines.append([Cell(f"{hidden:,} more processes, with fewer threads", "dim")])
        self.table.empty_text = "no process of it is known"
        self.query_one("#title", Lines).show(lines)

    def _show_facts(self, found: WorkloadDetails | None) -> None:
        assert self._shot is not None
        board, width = self._board, self.panel_width
        lines = panel.history_lines(board.history, self._shot, width)
        if found is not None:
            lines += [[], *panel.limit_lines(found.limits, width)]
        news = board.news
        entries = news.entries_about(self._key)
        lines += [[], *panel.news_lines(news.explosion_of(self._key), entries, width)]
        self.query_one("#facts", Lines).show(lines)

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """Open the process."""
        self.app.push_screen(ProcessScreen(self._board, event.row.details.pid))


class ProcessScreen(_Detail):
    """A process: what its threads are called, and its limits."""

    def __init__(self, board: Board, pid: int) -> None:
        """Of that process, by its PID on the node."""
        super().__init__(
            THREAD_COLUMNS,
            "threads",
            lambda row: {"pid": pid, "name": row.name, "count": row.threads},
        )
        self._board, self._pid = board, pid
        self._found: ProcessInspection | None = None

    async def look(self) -> None:
        """See _Detail."""
        if self._board.is_paused and self._found is not None:
            return
        found = await self.top.feed.inspect_process(self._pid)
        if not self.is_current:  # left, while somebody was asked
            return
        self._found = found or self._found
        width = self.size.width
        if self._found is None:
            self.table.empty_text = "no process has that PID any more"
            self.query_one("#title", Lines).show([[Cell(f"PID {self._pid}", "bold")]])
            self.show_rows([])
            return
        lines = panel.inspection_lines(self._found, width)
        if found is None:
            lines.append([Cell("it is gone; these are its last numbers", "warning")])
        self.query_one("#title", Lines).show(lines)
        self.table.empty_text = "the names of its threads are not known"
        self.show_rows(list(thread_lines(self._found.thread_names)))
        facts = panel.limit_lines(self._found.limits, self.panel_width)
        self.query_one("#facts", Lines).show(facts)
