"""The first screen: the node's head and the table of workloads."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from threadtrace.output.explosions import workload_forecast_fields
from threadtrace.output.fields import rates_fields, workload_fields, workload_label
from threadtrace.report.words import plural
from threadtrace.screen import order
from threadtrace.screen.board import DANGER, Board, Choice
from threadtrace.screen.head import HeadFacts, head_lines
from threadtrace.screen.lines import Line
from threadtrace.screen.query import QueryError, namespace
from threadtrace.text import printable
from threadtrace.tui.control import Control
from threadtrace.tui.lines import Lines
from threadtrace.tui.menus import Menu, Offer
from threadtrace.tui.redrawn import Redrawn
from threadtrace.tui.table import RowTable
from threadtrace.tui.workload import WorkloadScreen

_ALL = ""


class _Query(Input):
    async def action_submit(self) -> None:
        """Enter: at once, and not by a message that a second key could overtake."""
        assert isinstance(self.screen, WorkloadsScreen)
        if self.screen.try_query(self.value):
            self.screen.leave_filter()


class WorkloadsScreen(Redrawn):
    """What an operator keeps open."""

    DEFAULT_CSS = """
    WorkloadsScreen #filter { height: 1; border: none; padding: 0; display: none; }
    WorkloadsScreen #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", show=False),
        Binding("s,f6", "sort", "sort", show=False),
        Binding("I", "invert", "invert", show=False),
        Binding("t", "tree", "tree", show=False),
        Binding("u", "namespace", "namespace", show=False),
        Binding("y", "copy", "copy", show=False),
        Binding("left", "fold(True)", "fold", show=False),
        Binding("right", "fold(False)", "unfold", show=False),
        Binding("escape", "clear", "clear", show=False),
    ]
    KEYS = (
        ("?", "help"),
        ("q", "quit"),
        ("/", "filter"),
        ("s", "sort"),
        ("Enter", "open"),
        ("t", "tree"),
        ("u", "namespace"),
        ("e", "events"),
        ("Space", "pause"),
        ("y", "copy"),
        ("I", "invert"),
        ("+-", "interval"),
    )

    def __init__(self, board: Board, control: Control, choice: Choice) -> None:
        """Of that board."""
        super().__init__()
        self._board, self._control = board, control
        self.choice = choice
        self._query_before = ""
        self._query_error = ""
        self._is_given_up = True
        """Whether what is in the field is not what is wanted."""

    def compose(self) -> ComposeResult:
        """See Textual."""
        yield Lines(id="head")
        yield RowTable(self._board.columns, id="table")
        yield _Query(placeholder="text, ns:shop, state:exploding, refused>0", id="filter")
        yield Lines(id="keys")

    @property
    def table(self) -> RowTable[Line]:
        """Of workloads."""
        return self.query_one("#table", RowTable)

    def on_mount(self) -> None:
        """Ready for keys."""
        self.query_one(Input).cursor_blink = False
        self.table.focus()
        self.redraw()

    def redraw(self) -> None:
        """See Redrawn."""
        board, table, choice = self._board, self.table, self.choice
        lines = self._in_place(board.lines(choice))
        table.set_columns(board.columns)
        table.empty_text = self._nothing()
        table.show(lines, choice.sort, choice.is_ascending)
        facts = HeadFacts(
            board.about,
            self._control.source,
            self._status(len(lines)),
            board.snapshot.time_ns if board.snapshot else 0,
            board.node,
            board.history,
            board.news.verdict(),
            board.news.losses,
            self.top.note,
        )
        size = self.size
        self.query_one("#head", Lines).show(head_lines(facts, size.width, size.height))
        self.show_keys(self.query_one("#keys", Lines), self._query_error or self._chosen())

    def _in_place(self, lines: list[Line]) -> list[Line]:
        """Rows do not jump: held while somebody moves, and the selected one stays where it is."""
        table = self.table
        if table.is_followed:
            return lines
        if table.is_held:
            return order.held(lines, [line.key for line in table.rows])
        if self.choice.is_tree or table.selected is None:
            return lines
        return order.pinned(lines, table.selected.key, table.cursor)

    def _status(self, shown: int) -> str:
        words = []
        if self._board.is_paused:
            words.append("PAUSED")
        total = len(self._board.workloads)
        if self.choice.is_tree or shown == total:
            words.append(plural(total, "workload"))
        else:
            words.append(f"{shown:,} of {plural(total, 'workload')}")
        return "  ".join(words)

    def _chosen(self) -> str:
        """How the rows were chosen and sorted, where that is not as usual."""
        choice, words = self.choice, []
        if choice.query:
            words.append(f"filter {choice.query}")
        if choice.namespace is not None:
            words.append(f"namespace {choice.namespace}")
        if choice.sort != DANGER or choice.is_ascending:
            way = ", inverted" if choice.sort == DANGER else ""
            words.append(f"by {choice.sort}{way}")
        return printable("  ".join(words))

    def _nothing(self) -> str:
        if self._board.snapshot is None:
            return "waiting for the first sample"
        if self._board.workloads:
            return "no workload matches; Esc clears filter and namespace"
        return "no workload has a task"

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        """Fold a group, open a workload."""
        line: Line = event.row
        if line.is_open is not None:
            self._fold(line, line.is_open)
            return
        self.app.push_screen(WorkloadScreen(self._board, line.shot.workload.key))

    def on_row_table_heading_clicked(self, event: RowTable.HeadingClicked) -> None:
        """Sort."""
        self.choice.sort_by(event.column)
        self._begin_at_the_top()

    def action_sort(self) -> None:
        """Choose by what."""
        offers = [Offer(DANGER, "danger: who does harm or is refused first")]
        offers += [Offer(column.name, column.title) for column in self._board.columns]

        def chosen(name: str | None) -> None:
            if name is not None and name != self.choice.sort:
                self.choice.sort_by(self._board.column(name))
                self._begin_at_the_top()

        self.app.push_screen(Menu("Sort by", offers, self.choice.sort), chosen)

    def action_invert(self) -> None:
        """The other way round."""
        self.choice.is_ascending = not self.choice.is_ascending
        self._begin_at_the_top()

    def action_tree(self) -> None:
        """Folded into namespaces and pods, or flat."""
        self.choice.is_tree = not self.choice.is_tree
        self._begin_at_the_top()

    def action_fold(self, is_closed: bool) -> None:
        """In the tree."""
        line = self.table.selected
        if line is not None and line.is_open is not None:
            self._fold(line, is_closed)

    def _fold(self, line: Line, is_closed: bool) -> None:
        (self.choice.closed.add if is_closed else self.choice.closed.discard)(line.key)
        self.table.release_order()
        self.redraw()

    def action_namespace(self) -> None:
        """Choose one."""
        offers = [Offer(_ALL, "all")]
        for ns in self._board.namespaces():
            held = f"{plural(ns.workloads, 'workload')}, {plural(ns.tasks, 'task')}"
            offers.append(Offer(ns.name, f"{printable(ns.name)}  {held}"))
        selected = self.table.selected
        own = namespace(selected.shot) if selected is not None else None
        present = self.choice.namespace or (own if self.choice.namespace is None else None) or _ALL

        def chosen(name: str | None) -> None:
            if name is not None:
                self.choice.namespace = name or None
                self._begin_at_the_top()

        self.app.push_screen(Menu("Namespace", offers, present), chosen)

    def action_copy(self) -> None:
        """The row as JSON, with the fields of ``top --json``."""
        line = self.table.selected
        if line is None or line.is_open is not None:
            return
        shot = line.shot
        fields: dict[str, Any] = {
            **workload_fields(shot.workload),
            "workload": workload_label(shot.workload),
            **rates_fields(shot, shot.interval_seconds),
            **workload_forecast_fields(shot),
        }
        self.copy(fields)

    def action_filter(self) -> None:
        """Type one."""
        self._query_before, self._is_given_up = self.choice.query, False
        field = self.query_one(Input)
        field.value = self.choice.query
        field.display = True  # not by a class, which counts later: the next key is meant for it
        self.set_focus(field)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each key narrows what is shown; what cannot be understood yet leaves it."""
        # Keys that were typed fast may reach the field after Enter was taken: they count.
        if self._is_given_up:
            return
        self.try_query(event.value)
        self.table.release_order()
        self.redraw()

    def try_query(self, query: str) -> bool:
        """Show what matches; False where it cannot be understood, which the last line tells."""
        self._query_error = ""
        try:
            self.choice.filter(query)
        except QueryError as error:
            self._query_error = str(error)
        return not self._query_error

    def action_clear(self) -> None:
        """Of a filter that is being typed, back to the one before; else show everything."""
        if self.query_one(Input).display:
            self._is_given_up = True
            self.choice.filter(self._query_before)
            self.leave_filter()
            return
        self._is_given_up = True
        self.choice.filter("")
        self.choice.namespace = None
        self._begin_at_the_top()

    def leave_filter(self) -> None:
        """What was typed stays; the next key is the table's."""
        self._query_error = ""
        self.query_one(Input).display = False
        self.set_focus(self.table)
        self._begin_at_the_top()

    def _begin_at_the_top(self) -> None:
        self.table.action_first()
        self.redraw()
