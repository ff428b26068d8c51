"""Beside the tables of a drill-down: history, limits up the tree, what happened. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.cells import cell_len

from threadtrace.clock import NANOSECONDS
from threadtrace.identity.workloads import Workload
from threadtrace.model.details import LimitLevel, ProcessInspection
from threadtrace.model.explosion import Explosion
from threadtrace.model.snapshot import WorkloadSnapshot
from threadtrace.output.explosions import describe_explosion
from threadtrace.report.limits import NODE_OWNER, NODES_PID_NAMESPACE
from threadtrace.report.words import plural
from threadtrace.screen import figures
from threadtrace.screen.columns import Cell, cropped
from threadtrace.screen.history import SECONDS, History
from threadtrace.screen.limits import seconds_left
from threadtrace.screen.news import Entry
from threadtrace.screen.query import state_word
from threadtrace.screen.workload_columns import left_style, used_style
from threadtrace.text import printable

PanelLine = list[Cell]

_PLOT_LINES = 4
_SHOWN_ENTRIES = 8


def title_lines(shot: WorkloadSnapshot, width: int) -> list[PanelLine]:
    """Who it is, in two lines."""
    workload = shot.workload
    about = [f"{workload.kind.value}", _runtime(workload), workload.container_id or ""]
    if workload.names is not None and workload.names.image_name:
        about.append(f"image {workload.names.image_name}")
    about.append(f"cgroup {workload.cgroup_path}" if workload.cgroup_path else "no cgroup known")
    state = state_word(shot)
    style = "danger" if state in ("exploding", "exhausted", "refused") else "plain"
    name = figures.squeezed(workload.name, max(8, width - 14))
    first = [Cell(name, "bold"), Cell("  "), Cell(state, style)]
    words = "  ".join(word for word in about if word)
    return _within([first, [Cell(figures.squeezed(words, width), "dim")]], width)


def _runtime(workload: Workload) -> str:
    """As its files or its path say; a bare id is only what docker would have made."""
    runtime = workload.runtime or ""
    if workload.names is not None and workload.names.runtime:
        return workload.names.runtime
    return runtime if runtime in (workload.cgroup_path or "") else ""


def number_lines(shot: WorkloadSnapshot, width: int) -> list[PanelLine]:
    """What it holds and does."""
    counts = [
        plural(shot.tasks, "task"),
        f"{shot.tasks_peak:,} at most",
        f"threads {figures.rate_in_words(shot.threads_created_per_second)}",
        f"processes {figures.rate_in_words(shot.processes_created_per_second)}",
        f"exits {figures.rate_in_words(shot.exited_per_second)}",
        f"net {figures.rate_in_words(shot.growth_per_second, '+')}",
    ]
    lines = [[Cell(line)] for line in _flowed(counts, width)]
    if shot.counts.refused:
        refused = f"refused {figures.rate_in_words(max(0.1, shot.refused_per_second))}"
        lines.append([Cell(refused, "danger")])
    forecast = shot.forecast
    if seconds_left(shot) == 0:
        lines.append([Cell("its limit is used up", "danger")])
    elif forecast is not None and forecast.seconds is not None:
        text = f"{forecast.limit.name.lower()} is used up in {figures.duration(forecast.seconds)}"
        lines.append([Cell(text, left_style(forecast.seconds))])
    return _within(lines, width)


def history_lines(history: History, shot: WorkloadSnapshot, width: int) -> list[PanelLine]:
    """Two minutes of tasks, births and refusals."""
    key = shot.workload.key
    tasks = history.tasks(key)
    if not tasks:
        text = f"tasks: {shot.tasks:,}, unchanged for two minutes"
        return _within([[Cell(text, "dim")]], width)
    known = [value for value in tasks if value is not None]
    room = min(width, SECONDS)
    lowest, highest = min(known, default=0), max(known, default=0)
    lines: list[PanelLine] = [
        [Cell(f"tasks, the last two minutes: {lowest:,.0f} to {highest:,.0f}", "bold")]
    ]
    lines += [[Cell(line, "spark")] for line in figures.plot(tasks, room, _PLOT_LINES)]
    lines.append([Cell(figures.time_axis(SECONDS // 60, room), "dim")])
    births = history.workload_births(key)
    lines.append([Cell(f"births, up to {_most(births)}", "bold")])
    lines.append([Cell(figures.sparkline(births, room), "spark")])
    refusals = history.workload_refusals(key)
    if any(refusals):
        lines.append([Cell(f"refused, up to {_most(refusals)}", "bold")])
        lines.append([Cell(figures.sparkline(refusals, room), "danger")])
    return _within(lines, width)


def limit_lines(limits: Sequence[LimitLevel], width: int) -> list[PanelLine]:
    """Each limit with its owner, the nearest first; the one that is used most is what matters."""
    lines: list[PanelLine] = [[Cell("limits that the next task counts against", "bold")]]
    if not limits:
        return _within([*lines, [Cell("none is known", "dim")]], width)
    for level in limits:
        name = level.limit.name.lower()
        numbers = f"{figures.count(level.usage)} of {figures.count(level.value)}"
        shown = f"{figures.share(level.used_ratio):>5}  {name:<13}{numbers}"
        room = width - cell_len(shown) - 2
        line = [Cell(shown, used_style(level.used_ratio))]
        if room >= 8:
            line.append(Cell(f"  {figures.squeezed(_owner(level.owner), room)}", "dim"))
        lines.append(line)
    worst = max(limits, key=lambda level: level.used_ratio or 0.0)
    if (worst.used_ratio or 0.0) >= 0.5:
        lines += [[Cell(line)] for line in figures.wrapped(f"change {worst.knob}", width, 3)]
    return _within(lines, width)


def _owner(owner: str) -> str:
    return "the node" if owner in (NODES_PID_NAMESPACE, NODE_OWNER) else owner


def news_lines(
    explosion: Explosion | None, entries: Sequence[Entry], width: int
) -> list[PanelLine]:
    """The explosion that is under way, and what was told of it before; newest first."""
    lines: list[PanelLine] = []
    if explosion is not None:
        text = describe_explosion(explosion)
        lines += [[Cell(line, "danger")] for line in figures.wrapped(text, width, 6)]
        for entry in explosion.thread_names:
            text = f"{entry.threads:>7,}  {printable(entry.name)}"
            lines.append([Cell(figures.fitted(text, width), "plain")])
    lines.append([Cell("what happened to it", "bold")])
    if not entries:
        lines.append([Cell("nothing since this view began", "dim")])
    for told in entries[:_SHOWN_ENTRIES]:
        clock = moment(told.time_ns)
        text = figures.fitted(f"{clock} {told.event}: {told.text}", width)
        lines.append([Cell(text, told.style)])
    return _within(lines, width)


def inspection_lines(found: ProcessInspection, width: int) -> list[PanelLine]:
    """Who the process is."""
    process = found.process
    facts = [
        f"PID {process.pid}",
        f"parent {figures.UNKNOWN if found.parent_pid is None else found.parent_pid}",
        f"uid {figures.UNKNOWN if found.uid is None else found.uid}",
        f"{process.threads:,} threads",
        f"births {figures.rate_in_words(process.created_per_second)}",
        f"age {figures.duration(process.age_seconds)}",
    ]
    command = printable(process.command_line or process.name or "?")
    lines: list[PanelLine] = [[Cell(line, "bold")] for line in figures.wrapped(command, width, 3)]
    return _within(lines + [[Cell(line)] for line in _flowed(facts, width)], width)


def moment(time_ns: int) -> str:
    """Of the day, UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(time_ns // NANOSECONDS))


def _within(lines: Sequence[PanelLine], width: int) -> list[PanelLine]:
    return [cropped(line, width) for line in lines]


def _most(values: Sequence[float | None]) -> str:
    return figures.rate_in_words(max((value for value in values if value), default=0.0))


def _flowed(words: Sequence[str], width: int) -> list[str]:
    """As many on a line as fit."""
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1]) + 2 + cell_len(word) <= width:
            lines[-1] += "  " + word
        else:
            lines.append(word)
    return lines
