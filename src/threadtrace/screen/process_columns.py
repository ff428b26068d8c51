"""The tables below a workload: its processes, and the threads of one of them by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from threadtrace.model.details import ProcessDetails
from threadtrace.model.explosion import ThreadName
from threadtrace.screen import figures
from threadtrace.screen.columns import Cell, Column
from threadtrace.text import printable

_UNKNOWN = Cell("?", "dim")


class ProcessLine(NamedTuple):
    """One process."""

    key: str
    details: ProcessDetails


class ThreadLine(NamedTuple):
    """Threads whose names differ in their digits only."""

    key: str
    name: str
    threads: int
    share_ratio: float


def process_lines(processes: Sequence[ProcessDetails]) -> list[ProcessLine]:
    """A line for each."""
    return [ProcessLine(str(process.pid), process) for process in processes]


def thread_lines(names: Sequence[ThreadName]) -> list[ThreadLine]:
    """A line for each name."""
    total = sum(entry.threads for entry in names) or 1
    return [ThreadLine(e.name, e.name, e.threads, e.threads / total) for e in names]


def _command(line: ProcessLine, width: int) -> Cell:
    process = line.details
    name = printable(process.name)
    command = printable(process.command_line or "")
    # A thread group may call itself what it likes: then both are told.
    if command and name and name not in command:
        command = f"({name}) {command}"
    return Cell(figures.fitted(command or name or "?", width))


def _age(line: ProcessLine, width: int) -> Cell:
    del width
    seconds = line.details.age_seconds
    return _UNKNOWN if seconds is None else Cell(figures.duration(seconds))


def _created(line: ProcessLine, width: int) -> Cell:
    del width
    per_second = line.details.created_per_second
    if per_second is None:
        return _UNKNOWN
    text = figures.rate(per_second)
    return Cell(text, "dim" if text == figures.UNKNOWN else "plain")


PROCESS_COLUMNS: tuple[Column[ProcessLine], ...] = (
    Column("command", "COMMAND", _command, lambda x: x.details.name, 20, 0, 1, True),
    Column("pid", "PID", lambda x, _: Cell(str(x.details.pid)), lambda x: x.details.pid, 8, 1),
    Column(
        "threads",
        "THREADS",
        lambda x, _: Cell(figures.count(x.details.threads)),
        lambda x: x.details.threads,
        8,
        1,
    ),
    Column("births", "BIRTHS/s", _created, lambda x: x.details.created_per_second, 9, 2),
    Column("age", "AGE", _age, lambda x: x.details.age_seconds, 6, 3),
)

THREAD_COLUMNS: tuple[Column[ThreadLine], ...] = (
    Column(
        "name",
        "THREAD NAME (# stands for digits)",
        lambda x, _: Cell(printable(x.name) or "(no name)"),
        lambda x: x.name,
        20,
        0,
        1,
        True,
    ),
    Column(
        "threads", "THREADS", lambda x, _: Cell(figures.count(x.threads)), lambda x: x.threads, 8, 1
    ),
    Column(
        "share",
        "SHARE",
        lambda x, _: Cell(figures.share(x.share_ratio)),
        lambda x: x.share_ratio,
        6,
        2,
    ),
)
