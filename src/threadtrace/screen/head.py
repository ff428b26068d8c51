"""The lines above the table: the node's limits, what happens a second, the verdict. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from threadtrace.clock import NANOSECONDS
from threadtrace.feed import About
from threadtrace.model.refusal import REFUSAL_PROGRAMS
from threadtrace.model.snapshot import Loss, NodeSnapshot
from threadtrace.screen import figures
from threadtrace.screen.columns import Cell
from threadtrace.screen.history import History
from threadtrace.screen.workload_columns import left_style, used_style
from threadtrace.text import printable

HeadLine = list[Cell]

_LOW_TERMINAL, _NARROW_TERMINAL = 18, 60
_LEAST_BAR, _WIDEST_BAR = 10, 60
_NAMES = {"pid_max": "pid_max", "threads_max": "threads-max"}


class HeadFacts(NamedTuple):
    """What the head tells of."""

    about: About
    source: str
    """Where the numbers come from: live, a file, an agent elsewhere."""
    status: str
    """Of the table: how many rows, how they are chosen and sorted."""
    time_ns: int
    """Of the snapshot, since the epoch; 0 before the first."""
    node: NodeSnapshot | None
    history: History
    verdict: tuple[str, str] | None
    """A line and its style."""
    losses: Sequence[Loss]
    note: str = ""
    """Something about the source that the user should know."""


def head_lines(facts: HeadFacts, width: int, height: int) -> list[HeadLine]:
    """As many lines as a terminal of that height can spare."""
    lines = [_title(facts, width)]
    if height < _LOW_TERMINAL:
        lines = [_limits_in_short(facts.node)]
        lines.append(_rates(facts, width))
    else:
        lines += _limits(facts.node, width)
        lines.append(_rates(facts, width))
    if facts.verdict is not None:
        text, style = facts.verdict
        room = 1 if height < _LOW_TERMINAL else 2 if height < 40 else 3
        lines += [[Cell(line, style)] for line in figures.wrapped(text, width, room)]
    if height >= _LOW_TERMINAL or facts.note or facts.losses:
        lines.append(_source_line(facts, width))
    return lines


def _title(facts: HeadFacts, width: int) -> HeadLine:
    about = facts.about
    moment = ""
    if facts.time_ns:
        seconds = facts.time_ns // NANOSECONDS
        moment = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
    node = printable(about.node)
    words = [word for word in (facts.source, moment, facts.status) if word]
    rest = "  ".join(words)
    room = max(4, width - cell_len(rest) - 4)
    name = figures.squeezed(node, room) if node else "threadtrace"
    return [Cell(name, "bold"), Cell("  " + rest)]


def _limits(node: NodeSnapshot | None, width: int) -> list[HeadLine]:
    lines = []
    for name, limit in _node_limits(node):
        tasks = node.tasks if node else None
        ratio = tasks / limit if tasks is not None and limit else None
        numbers = f"{figures.count(tasks)} of {figures.count(limit)}"
        seconds = node.seconds_to_exhaustion if node else None
        is_nearest = node is not None and node.nearest_limit == name
        left = f"  full in {figures.duration(seconds)}" if is_nearest and seconds else ""
        shown = f" {_percent(ratio):>6}  {numbers}"
        space = width - 12 - len(shown) - 14
        room = min(_WIDEST_BAR, space)
        line = [Cell(f"{_NAMES[name]:<12}", "bold" if is_nearest else "plain")]
        if room >= _LEAST_BAR:
            line.append(Cell(figures.bar(ratio, room), used_style(ratio)))
        line.append(Cell(shown, used_style(ratio)))
        if left:
            line.append(Cell(left, left_style(seconds)))
        lines.append(line)
    return lines


def _limits_in_short(node: NodeSnapshot | None) -> HeadLine:
    line = []
    for name, limit in _node_limits(node):
        tasks = node.tasks if node else None
        ratio = tasks / limit if tasks is not None and limit else None
        line.append(Cell(f"{_NAMES[name]} "))
        line.append(Cell(f"{_percent(ratio)}  ", used_style(ratio)))
    if node is not None and node.seconds_to_exhaustion:
        seconds = node.seconds_to_exhaustion
        line.append(Cell(f"full in {figures.duration(seconds)}", left_style(seconds)))
    return line


def _node_limits(node: NodeSnapshot | None) -> list[tuple[str, int | None]]:
    if node is None:
        return [("pid_max", None), ("threads_max", None)]
    return [("pid_max", node.pid_max_usable), ("threads_max", node.threads_max)]


def _percent(ratio: float | None) -> str:
    return figures.UNKNOWN if ratio is None else f"{ratio:.1%}"


def _rates(facts: HeadFacts, width: int) -> HeadLine:
    node, history = facts.node, facts.history
    seconds = (node.interval_seconds or 1.0) if node else 1.0
    counts = node.counts if node else None
    born = (counts.threads_created + counts.processes_created) / seconds if counts else None
    exited = counts.exited / seconds if counts else None
    refused = counts.refused / seconds if counts else None
    if not facts.about.counts_births:
        return [Cell("births, exits and refusals are not counted", "dim")]
    parts = [
        ("born", _number(born), history.births(), "plain"),
        ("exited", _number(exited), history.exits(), "plain"),
    ]
    if facts.about.counts_refusals:
        style = "danger" if refused else "plain"
        parts.append(("refused", _number(refused), history.refusals(), style))
    else:
        parts.append(("refused", "not counted", [], "dim"))
    texts = [f"{name} {number}" for name, number, _, _ in parts]
    spare = width - sum(map(len, texts)) - 2 * len(parts) - len(parts)
    room = min(40, spare // len(parts))
    line = []
    for text, (_, _, values, style) in zip(texts, parts):
        line.append(Cell(text, style))
        if room >= 4 and values:
            line.append(Cell(f" {figures.sparkline(values, room)}", "spark"))
        line.append(Cell("  "))
    return line


def _number(per_second: float | None) -> str:
    if per_second is None:
        return figures.UNKNOWN
    return f"{per_second:,.0f}/s" if per_second >= 10 or not per_second else f"{per_second:.1f}/s"


def _source_line(facts: HeadFacts, width: int) -> HeadLine:
    if facts.note:
        return [Cell(figures.squeezed(facts.note, width), "warning")]
    if facts.losses:
        lost = ", ".join(f"{loss.lost:,} {loss.where}" for loss in facts.losses)
        return [Cell(figures.squeezed(f"lost: {lost} (e tells more)", width), "warning")]
    about = facts.about
    words = []
    if about.hooks:
        words.append(f"{len(about.hooks)} hooks, refusals by {_refusal_hook(about)}")
    words.append("nothing lost")
    if about.missing:
        words.append("not seen: " + ", ".join(str(entry.get("what")) for entry in about.missing))
    return [Cell(figures.fitted(printable("; ".join(words)), width).rstrip(), "dim")]


def _refusal_hook(about: About) -> str:
    """How refused clones are seen."""
    if not about.counts_refusals:
        return "nothing"
    kinds = [hook.get("kind") for hook in about.hooks if hook.get("program") in REFUSAL_PROGRAMS]
    return str(kinds[0]).replace("_", " ") if kinds else "nothing"
