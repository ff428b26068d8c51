"""All that the live view shows, kept up to date by a feed; what is shown of it is chosen by people.

Pure: no terminal, no clock.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from threadtrace.errors import UsageError
from threadtrace.feed import About
from threadtrace.model.snapshot import Happenings, NodeSnapshot, Snapshot, WorkloadSnapshot
from threadtrace.screen import lines, order
from threadtrace.screen.columns import Column
from threadtrace.screen.history import History
from threadtrace.screen.limits import judged
from threadtrace.screen.lines import Line
from threadtrace.screen.news import News
from threadtrace.screen.query import Matches, QueryError, compiled, namespace
from threadtrace.screen.workload_columns import workload_columns

_KEPT_ORDERS = 2
"""Of the present snapshot: back from a filter or another screen, the lines are there."""

DANGER = "danger"
"""The order that is no column's."""


@dataclass
class Choice:
    """What people chose to see."""

    sort: str = DANGER
    is_ascending: bool = False
    query: str = ""
    namespace: str | None = None
    is_tree: bool = False
    closed: set[str] = field(default_factory=set)
    """Groups of the tree that are folded."""
    matches: Matches = field(default_factory=lambda: compiled(""))

    @property
    def signature(self) -> Hashable:
        """Equal where the same is shown of the same snapshot."""
        closed = frozenset(self.closed) if self.is_tree else frozenset()
        return self.sort, self.is_ascending, self.query, self.namespace, self.is_tree, closed

    def filter(self, query: str) -> None:
        """Show what matches.

        Raises:
            QueryError: it cannot be understood; what was shown before stays.
        """
        self.matches = compiled(query)
        self.query = query

    def sort_by(self, column: Column[Line] | None) -> None:
        """By a column, the other way round where it sorts already; None: by danger."""
        name = DANGER if column is None else column.name
        if name == self.sort:
            self.is_ascending = not self.is_ascending
        else:
            self.is_ascending = column is not None and column.begins_ascending
        self.sort = name


def chosen(query: str, sort: str) -> Choice:
    """What a command line asks for.

    Raises:
        UsageError: no such filter, or no such column.
    """
    choice = Choice()
    try:
        choice.filter(query)
    except QueryError as error:
        raise UsageError(f"--filter: {error}") from None
    if sort != DANGER:
        columns = {column.name: column for column in workload_columns()}
        if sort not in columns:
            names = ", ".join([DANGER, *columns])
            raise UsageError(f"--sort: there is no column {sort}: there are {names}")
        choice.sort_by(columns[sort])
    return choice


class Namespace(NamedTuple):
    """For choosing one."""

    name: str
    workloads: int
    tasks: int


class Board:
    """Takes what a feed tells."""

    def __init__(self) -> None:
        self._is_paused = False
        self._clear(About())

    def _clear(self, about: About) -> None:
        self.about = about
        self.history = History()
        self.news = News()
        self.snapshot: Snapshot | None = None
        self._latest: Snapshot | None = None
        self._lines_of: Snapshot | None = None
        self._lines: dict[Hashable, list[Line]] = {}
        self.columns = workload_columns(about.counts_births, about.counts_refusals)
        self.ticks = 0

    def on_start(self, about: About) -> None:
        """Another run: nothing of the one before holds any more."""
        self._clear(about)

    def on_happenings(self, happened: Happenings) -> None:
        """Between two ticks."""
        self.news.add_happenings(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        self._latest = snapshot
        is_first = self.snapshot is None
        if is_first or not self._is_paused:
            self.snapshot = snapshot
        self.ticks += 1
        if self.ticks > 1:  # the first covers whatever time the start took: no rate of an interval
            self.history.add(snapshot)
        if is_first and self._is_paused:
            self.history.hold(True)
        self.news.add_snapshot(snapshot)

    @property
    def is_paused(self) -> bool:
        """Whether what is shown stays as it is, while more is taken in."""
        return self._is_paused

    def pause(self, is_paused: bool) -> None:
        """Stay, or go on with the newest."""
        self._is_paused = is_paused
        self.history.hold(is_paused)
        if not is_paused:
            self.snapshot = self._latest

    @property
    def node(self) -> NodeSnapshot | None:
        """None before the first tick."""
        return None if self.snapshot is None else self.snapshot.node

    @property
    def workloads(self) -> Sequence[WorkloadSnapshot]:
        """All, in no order."""
        return () if self.snapshot is None else self.snapshot.workloads

    def workload(self, key: str) -> WorkloadSnapshot | None:
        """None where it is gone."""
        found = next((shot for shot in self.workloads if shot.workload.key == key), None)
        return None if found is None else judged(found)

    def column(self, name: str) -> Column[Line] | None:
        """None for the order of danger."""
        return next((column for column in self.columns if column.name == name), None)

    def namespaces(self) -> list[Namespace]:
        """Those of pods, by name."""
        found: dict[str, tuple[int, int]] = {}
        for shot in self.workloads:
            name = namespace(shot)
            if name is not None:
                workloads, tasks = found.get(name, (0, 0))
                found[name] = workloads + 1, tasks + shot.tasks
        return [Namespace(name, *found[name]) for name in sorted(found)]

    def lines(self, choice: Choice) -> list[Line]:
        """What is chosen, in the chosen order; made once for a snapshot and a choice."""
        if self._lines_of is not self.snapshot:
            self._lines_of = self.snapshot
            self._lines.clear()
        wanted = choice.signature
        found = self._lines.pop(wanted, None)
        if found is None:
            found = self._made(choice)
            if len(self._lines) >= _KEPT_ORDERS:
                del self._lines[next(iter(self._lines))]  # the one that was longest not looked at
        self._lines[wanted] = found
        return found

    def _made(self, choice: Choice) -> list[Line]:
        shots = [shot for shot in map(judged, self.workloads) if _is_chosen(shot, choice)]
        if choice.is_tree and shots:
            node = self.about.node
            return lines.tree(shots, node, choice.closed, lambda found: self._sorted(found, choice))
        return self._sorted(lines.flat(shots), choice)

    def _sorted(self, found: Iterable[Line], choice: Choice) -> list[Line]:
        column = self.column(choice.sort)
        key = order.by_danger if column is None else column.sort_key
        return order.in_order(found, key, choice.is_ascending)


def _is_chosen(shot: WorkloadSnapshot, choice: Choice) -> bool:
    if choice.namespace is not None and namespace(shot) != choice.namespace:
        return False
    return choice.matches(shot)
