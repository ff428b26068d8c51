"""The lines above the table: the node's limits, what happens a second, the verdict. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from threadtrace.clock import NANOSECONDS
from threadtrace.feed import About
from threadtrace.model.snapshot import Loss, NodeSnapshot
from threadtrace.screen import figures
from threadtrace.screen.columns import Cell, cropped
from threadtrace.screen.history import History
from threadtrace.screen.sources import rests_on, wrong_with
from threadtrace.screen.workload_columns import left_style, used_style
from threadtrace.text import printable

HeadLine = list[Cell]

_LOW_TERMINAL = 18
_LEAST_TABLE_LINES = 3
"""A heading, a row, and a line below: keys, or how many rows there are besides."""
_LEAST_BAR, _WIDEST_BAR = 6, 60
_LEAST_SPARKLINE, _WIDEST_SPARKLINE = 4, 40
_NAMES = {"pid_max": "pid_max", "threads_max": "threads-max"}
_NAME_CELLS, _PERCENT_CELLS = 12, 7


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
    """As many lines as a terminal of that height can spare, none wider than that."""
    if height < _LOW_TERMINAL:
        lines = _low_lines(facts, width)[: max(1, height - _LEAST_TABLE_LINES)]
    else:
        lines = [_title(facts, width), *_limits(facts.node, width), _rates(facts, width)]
        lines += _verdict(facts, width, 2 if height < 24 else 3)
        lines += _source_lines(facts, width)
    return [cropped(line, width) for line in lines]


def _low_lines(facts: HeadFacts, width: int) -> list[HeadLine]:
    """What matters most comes first."""
    lines = [_limits_in_short(facts.node), *_verdict(facts, width, 1), _rates(facts, width)]
    wrong = "; ".join(wrong_with(facts.note, facts.losses))
    return [*lines, [Cell(wrong, "warning")]] if wrong else lines


def _verdict(facts: HeadFacts, width: int, lines: int) -> list[HeadLine]:
    if facts.verdict is None:
        return []
    text, style = facts.verdict
    return [[Cell(line, style)] for line in figures.wrapped(text, width, lines)]


def _title(facts: HeadFacts, width: int) -> HeadLine:
    moment = ""
    if facts.time_ns:
        moment = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(facts.time_ns // NANOSECONDS))
    node = printable(facts.about.node) or "threadtrace"
    words = [printable(word) for word in (facts.source, moment, facts.status) if word]
    # How many rows there are, and that they stand still, is told longest.
    while len(words) > 1 and cell_len("  ".join(["", *words])) + min(16, cell_len(node)) > width:
        del words[-2]
    rest = "".join(f"  {word}" for word in words)
    name = figures.squeezed(node, max(4, width - cell_len(rest)))
    return [Cell(name, "bold"), Cell(rest)]


def _limits(node: NodeSnapshot | None, width: int) -> list[HeadLine]:
    limits = _node_limits(node)
    tasks = node.tasks if node else None
    seconds = node.seconds_to_exhaustion if node else None
    left = "" if seconds is None else f"  full in {figures.duration(seconds)}"
    numbers, bar = _room(tasks, [limit for _, limit in limits], width - len(left))
    lines = []
    for (name, limit), text in zip(limits, numbers):
        ratio = _ratio(tasks, limit)
        is_nearest = node is not None and node.nearest_limit == name
        line = [Cell(f"{_NAMES[name]:<{_NAME_CELLS}}", "bold" if is_nearest else "plain")]
        line.append(Cell(figures.bar(ratio, bar), used_style(ratio)))
        line.append(Cell(f"{_percent(ratio):>{_PERCENT_CELLS}}", used_style(ratio)))
        line.append(Cell(text, used_style(ratio)))
        if left and is_nearest:
            line.append(Cell(left, left_style(seconds)))
        lines.append(line)
    return lines


def _room(tasks: int | None, limits: Sequence[int | None], width: int) -> tuple[list[str], int]:
    """What is said of each limit beside its percentage, and how long the bars are.

    A bar comes before numbers, and short numbers before long ones; all are as wide, so that the
    bars can be compared.
    """
    space = width - _NAME_CELLS - _PERCENT_CELLS
    for number in (figures.count, figures.short_count):
        texts = [f"  {number(tasks)} of {number(limit)}" for limit in limits]
        longest = max(map(len, texts))
        if space - longest >= _LEAST_BAR:
            texts = [text.ljust(longest) for text in texts]
            return texts, min(_WIDEST_BAR, space - longest)
    return ["" for _ in limits], space if space >= _LEAST_BAR else 0


def _ratio(tasks: int | None, limit: int | None) -> float | None:
    return None if tasks is None or not limit else tasks / limit


def _limits_in_short(node: NodeSnapshot | None) -> HeadLine:
    """The nearest comes first, with the time that is left."""
    nearest = node.nearest_limit if node else None
    line: HeadLine = []
    for name, limit in sorted(_node_limits(node), key=lambda entry: entry[0] != nearest):
        ratio = _ratio(node.tasks if node else None, limit)
        line += [Cell(f"{_NAMES[name]} "), Cell(f"{_percent(ratio)}  ", used_style(ratio))]
        if node is not None and node.seconds_to_exhaustion is not None and name == nearest:
            seconds = node.seconds_to_exhaustion
            line.append(Cell(f"full in {figures.duration(seconds)}  ", left_style(seconds)))
    return line


def _node_limits(node: NodeSnapshot | None) -> list[tuple[str, int | None]]:
    if node is None:
        return [("pid_max", None), ("threads_max", None)]
    return [("pid_max", node.pid_max_usable), ("threads_max", node.threads_max)]


def _percent(ratio: float | None) -> str:
    """Never 100 % of what is not used up."""
    if ratio is None:
        return figures.UNKNOWN
    return (
        figures.share(ratio) if ratio > 9.99 else f"{min(ratio, 0.999 if ratio < 1 else ratio):.1%}"
    )


class _Rate(NamedTuple):
    text: str
    values: list[float | None]
    style: str


def _rates(facts: HeadFacts, width: int) -> HeadLine:
    if not facts.about.counts_births:
        return [Cell("births, exits and refusals are not counted", "dim")]
    rates = _node_rates(facts)
    # Refusals are what matters most: on a narrow terminal exits give way first, then births.
    for dropped in (1, 0):
        if sum(len(rate.text) + 2 for rate in rates) - 2 > width:
            del rates[dropped]
    spare = width - sum(len(rate.text) + 3 for rate in rates) + 2
    room = min(_WIDEST_SPARKLINE, spare // len(rates))
    line: HeadLine = []
    for rate in rates:
        if line:
            line.append(Cell("  "))
        line.append(Cell(rate.text, rate.style))
        if room >= _LEAST_SPARKLINE and rate.values:
            line.append(Cell(f" {figures.sparkline(rate.values, room)}", "spark"))
    return line


def _node_rates(facts: HeadFacts) -> list[_Rate]:
    node, history = facts.node, facts.history
    seconds = (node.interval_seconds or 1.0) if node else 1.0
    counts = node.counts if node else None
    born = (counts.threads_created + counts.processes_created) / seconds if counts else None
    exited = counts.exited / seconds if counts else None
    refused = counts.refused / seconds if counts else None
    rates = [
        _Rate(f"born {_number(born)}", history.births(), "plain"),
        _Rate(f"exited {_number(exited)}", history.exits(), "plain"),
    ]
    if not facts.about.counts_refusals:
        return [*rates, _Rate("refused not counted", [], "dim")]
    style = "danger" if refused else "plain"
    return [*rates, _Rate(f"refused {_number(refused)}", history.refusals(), style)]


def _number(per_second: float | None) -> str:
    if per_second is None:
        return figures.UNKNOWN
    if not per_second or per_second >= 10:
        return f"{per_second:,.0f}/s"
    return f"{max(0.1, per_second):.1f}/s"


def _source_lines(facts: HeadFacts, width: int) -> list[HeadLine]:
    if wrong := wrong_with(facts.note, facts.losses):
        return [[Cell(line, "warning")] for line in wrong]
    return [[Cell(rests_on(facts.about, width), "dim")]]
