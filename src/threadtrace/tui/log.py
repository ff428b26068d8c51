"""The event log."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from threadtrace.output.fields import timestamp
from threadtrace.screen.board import Board
from threadtrace.screen.columns import Cell, Column
from threadtrace.screen.figures import wrapped
from threadtrace.screen.news import Entry
from threadtrace.screen.panel import moment
from threadtrace.tui.lines import Lines
from threadtrace.tui.redrawn import Redrawn
from threadtrace.tui.table import RowTable


class _LogLine(NamedTuple):
    key: str
    entry: Entry


_COLUMNS: tuple[Column[_LogLine], ...] = (
    Column(
        "text",
        "WHAT",
        lambda x, _: Cell(x.entry.text, x.entry.style),
        lambda x: x.entry.text,
        30,
        0,
        1,
        True,
    ),
    Column(
        "event",
        "EVENT",
        lambda x, _: Cell(x.entry.event, x.entry.style),
        lambda x: x.entry.event,
        18,
        2,
        0,
        True,
    ),
    Column("time", "TIME (UTC)", lambda x, _: Cell(moment(x.entry.time_ns)), lambda _: 0, 10, 1),
)


class EventLogScreen(Redrawn):
    """Newest first; Enter shows the whole of a line."""

    DEFAULT_CSS = """
    EventLogScreen #whole { max-height: 8; } EventLogScreen #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,e", "back", "back", show=False),
        Binding("y", "copy", "copy", show=False),
    ]
    KEYS = (("Esc", "back"), ("↑ ↓", "move"), ("y", "copy"))

    def __init__(self, board: Board) -> None:
        """Of that board."""
        super().__init__()
        self._board = board

    def compose(self) -> ComposeResult:
        """See Textual."""
        yield RowTable((_COLUMNS[0], _COLUMNS[1], _COLUMNS[2]))
        yield Lines(id="whole")
        yield Lines(id="keys")

    def on_mount(self) -> None:
        """Ready for keys."""
        table = self.query_one(RowTable)
        table.empty_text = "nothing happened since this view began"
        table.focus()

    def redraw(self) -> None:
        """See Redrawn."""
        news = self._board.news
        entries = news.log
        first = news.dropped_lines
        lines = [_LogLine(str(first + n), entry) for n, entry in enumerate(entries)]
        table = self.query_one(RowTable)
        table.show(lines[::-1])
        whole: list[list[Cell]] = []
        if table.selected is not None:
            entry = table.selected.entry
            whole = [[Cell(line, entry.style)] for line in wrapped(entry.text, self.size.width, 8)]
        self.query_one("#whole", Lines).show(whole)
        dropped = f"{first:,} older lines are gone" if first else ""
        self.show_keys(self.query_one("#keys", Lines), dropped)

    def on_row_table_moved(self) -> None:
        """The whole of another line."""
        self.redraw_if_shown()

    def action_copy(self) -> None:
        """The line as JSON."""
        line = self.query_one(RowTable).selected
        if line is not None:
            entry: Entry = line.entry
            about = {"name": f"threadtrace.{entry.event}"}
            self.copy(
                {"timestamp": timestamp(entry.time_ns), "event": about, "message": entry.text}
            )

    def action_back(self) -> None:
        """To where it was."""
        self.leave()
