"""The columns of the table of workloads."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from threadtrace.identity.workloads import WorkloadKind, identify
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import WorkloadSnapshot
from threadtrace.screen import figures
from threadtrace.screen.columns import Cell, Column
from threadtrace.screen.limits import seconds_left, used_ratio
from threadtrace.screen.lines import Line
from threadtrace.text import printable

HIGH_RATIO, CRITICAL_RATIO = 0.8, 0.95
_SOON_SECONDS, _VERY_SOON_SECONDS = 600.0, 60.0

# Capitals are what calls in a terminal without colours.
_STATES = {
    State.EXHAUSTED: Cell("EXHAUSTED", "danger"),
    State.EXPLODING: Cell("EXPLODING", "danger"),
    State.GROWING: Cell("growing", "warning"),
    State.RECOVERING: Cell("recovering", "plain"),
}
_REFUSED = Cell("REFUSED", "danger")
_NOTHING = Cell(figures.UNKNOWN, "dim")
_NOT_COUNTED = Cell("?", "dim")
_QUIET = Cell("", "dim")

_SEVERITY = {State.EXHAUSTED: 5, State.EXPLODING: 4, State.GROWING: 2, State.RECOVERING: 1}
_REFUSED_SEVERITY = 3


def used_style(ratio: float | None) -> str:
    """How a share of a limit is shown."""
    if ratio is None or ratio < HIGH_RATIO:
        return "plain"
    return "danger" if ratio >= CRITICAL_RATIO else "warning"


def left_style(seconds: float | None) -> str:
    """How the time until a limit is used up is shown."""
    if seconds is None or seconds > _SOON_SECONDS:
        return "plain"
    return "danger" if seconds <= _VERY_SOON_SECONDS else "warning"


def owner_word(shot: WorkloadSnapshot) -> str:
    """Whose limit it is: ``own``, ``pod``, or the name of the cgroup that has it."""
    if shot.limit_path is None:
        return ""
    return "own" if shot.limit_path == shot.workload.cgroup_path else _word(shot.limit_path)


@lru_cache(maxsize=4096)
def _word(path: str) -> str:
    workload = identify(path)
    if workload.kind is WorkloadKind.POD:
        return "pod"
    if workload.kind is WorkloadKind.HOST:
        return "root"
    return workload.unit or path.rpartition("/")[2]


def _name(line: Line, width: int) -> Cell:
    mark = "" if line.is_open is None else "▾ " if line.is_open else "▸ "
    indent = "  " * line.depth + mark
    style = "plain" if line.is_open is None else "bold"
    state = line.shot.state
    if state in (State.EXHAUSTED, State.EXPLODING) or line.shot.counts.refused:
        style = "danger"
    return Cell(indent + figures.squeezed(line.label, max(4, width - len(indent))), style)


def _state(line: Line, width: int) -> Cell:
    del width
    cell = _STATES.get(line.shot.state) if line.shot.state else None
    if line.shot.counts.refused and line.shot.state not in (State.EXHAUSTED, State.EXPLODING):
        return _REFUSED
    return cell or _QUIET


def _severity(line: Line) -> int:
    severity = _SEVERITY.get(line.shot.state, 0) if line.shot.state else 0
    return max(severity, _REFUSED_SEVERITY) if line.shot.counts.refused else severity


def _tasks(line: Line, width: int) -> Cell:
    tasks = line.shot.tasks
    return Cell(figures.count(tasks) if tasks < 10**6 or width > 8 else figures.short_count(tasks))


def _used(line: Line, width: int) -> Cell:
    del width
    ratio = used_ratio(line.shot)
    return _NOTHING if ratio is None else Cell(figures.share(ratio), used_style(ratio))


def _limit(line: Line, width: int) -> Cell:
    shot = line.shot
    if shot.limit is None:
        return _NOTHING
    number = figures.count(shot.limit)
    if len(number) > width - 4:
        number = figures.short_count(shot.limit)
    return Cell(f"{number} {figures.squeezed(owner_word(shot), max(3, width - len(number) - 1))}")


def _counted(
    is_counted: bool, per_second: Callable[[WorkloadSnapshot], float], line: Line, width: int
) -> Cell:
    del width
    return _per_second(per_second(line.shot)) if is_counted else _NOT_COUNTED


def _per_second(per_second: float, sign: str = "") -> Cell:
    text = figures.rate(per_second, sign)
    return _NOTHING if text == figures.UNKNOWN else Cell(text)


def _refused(counts_refusals: bool, line: Line, width: int) -> Cell:
    del width
    if not counts_refusals:
        return _NOT_COUNTED
    per_second = line.shot.refused_per_second
    if not per_second:
        return _NOTHING
    return Cell(figures.rate(max(0.1, per_second)), "danger")


def _left(line: Line, width: int) -> Cell:
    del width
    seconds = seconds_left(line.shot)
    if seconds == 0:
        return Cell("none", "danger")
    return _NOTHING if seconds is None else Cell(figures.duration(seconds), left_style(seconds))


def _urgency(line: Line) -> float | None:
    """The less is left, the greater."""
    seconds = seconds_left(line.shot)
    return None if seconds is None else -seconds


def _top_process(line: Line, width: int) -> Cell:
    processes = line.shot.top_processes
    if not processes:
        return _NOTHING
    process = processes[0]
    number, pid = figures.short_count(process.threads), f"[{process.pid}]"
    room = max(3, width - len(number) - len(pid) - 1)
    return Cell(f"{number} {figures.squeezed(printable(process.name), room)}{pid}")


def _most_threads(line: Line) -> int:
    return line.shot.top_processes[0].threads if line.shot.top_processes else 0


def workload_columns(
    counts_births: bool = True, counts_refusals: bool = True
) -> tuple[Column[Line], ...]:
    """All of them, in the order in which they stand."""
    return (
        Column("workload", "WORKLOAD", _name, lambda x: x.label, 23, 0, 4, True),
        Column("state", "STATE", _state, _severity, 10, 1, 0, True, True),
        Column("tasks", "TASKS", _tasks, lambda x: x.shot.tasks, 7, 2),
        Column("used", "USED", _used, lambda x: used_ratio(x.shot), 5, 3),
        Column("limit", "OF LIMIT", _limit, lambda x: x.shot.limit, 14, 9, 1, True, True),
        Column(
            "threads",
            "THR/s",
            partial(_counted, counts_births, lambda x: x.threads_created_per_second),
            lambda x: x.shot.threads_created_per_second,
            6,
            5,
        ),
        Column(
            "processes",
            "PROC/s",
            partial(_counted, counts_births, lambda x: x.processes_created_per_second),
            lambda x: x.shot.processes_created_per_second,
            7,
            8,
        ),
        Column(
            "exits",
            "EXIT/s",
            partial(_counted, counts_births, lambda x: x.exited_per_second),
            lambda x: x.shot.exited_per_second,
            7,
            10,
        ),
        Column(
            "net",
            "NET/s",
            lambda x, _: _per_second(x.shot.growth_per_second, "+"),
            lambda x: x.shot.growth_per_second,
            7,
            6,
        ),
        Column(
            "refused",
            "REF/s",
            partial(_refused, counts_refusals),
            lambda x: x.shot.refused_per_second,
            6,
            4,
        ),
        Column("left", "LEFT", _left, _urgency, 6, 4),
        Column("process", "TOP PROCESS", _top_process, _most_threads, 18, 7, 2, True, True),
    )
