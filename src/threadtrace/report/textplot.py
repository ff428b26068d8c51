"""Plots of characters, for Markdown: one row a workload, one column a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.report.model import RefusalPlot, TaskPlot
from threadtrace.report.words import rate, short_name, short_time

_COLUMNS = 60
_NAME_WIDTH = 34
_BLOCKS = " ▁▂▃▄▅▆▇█"


def task_lines(plot: TaskPlot) -> list[str]:
    """Each workload's tasks against the lowest limit in sight; without one, against the highest."""
    highest = max(max(filter(None, layer.tasks), default=1) for layer in plot.layers)
    full = min((mark.value for mark in plot.limits), default=highest)
    scale = max(full, highest)
    lines = [f"{_plain(plot.title)}; a full block is {scale:,}"]
    lines += [f"limit: {_plain(mark.label, 100)}" for mark in plot.limits]
    for layer in plot.layers:
        row = _row(layer.tasks, scale)
        peak = max(filter(None, layer.tasks), default=0)
        lines.append(f"{_name(layer.name)} {row} {peak:>7,}")
    if len(plot.layers) > 1:
        sums = [sum(filter(None, here)) for here in zip(*(layer.tasks for layer in plot.layers))]
        lines.append(f"{_name('all together')} {_row(sums, max(scale, *sums))} {max(sums):>7,}")
    return [*lines, _time_line(plot.times_ns)]


def refusal_lines(plot: RefusalPlot) -> list[str]:
    """Refused clones a second against the highest."""
    highest = max(filter(None, plot.refused_per_second))
    row = _row(plot.refused_per_second, highest)
    return [f"{_name('refused a second, all')} {row} {rate(highest):>7}"]


def _row(values: Sequence[float | None], scale: float) -> str:
    """The highest of each column; what is there at all shows."""
    row = ""
    for column in range(_COLUMNS):
        first = column * len(values) // _COLUMNS
        last = max(first + 1, (column + 1) * len(values) // _COLUMNS)
        top = max((value for value in values[first:last] if value is not None), default=0)
        level = round(top / scale * (len(_BLOCKS) - 1))
        row += _BLOCKS[min(max(level, 1 if top else 0), len(_BLOCKS) - 1)]
    return row


def _time_line(times_ns: Sequence[int]) -> str:
    within = times_ns[0], times_ns[-1]
    first, last = (short_time(moment, within) for moment in within)
    return f"{'UTC':>{_NAME_WIDTH}} {first}{last:>{_COLUMNS - len(first)}}"


def _name(name: str) -> str:
    return _plain(name, _NAME_WIDTH).ljust(_NAME_WIDTH)


def _plain(name: str, width: int = 64) -> str:
    """Nothing may end the block of code in which it stands."""
    return short_name(name.replace("`", "'"), width)
