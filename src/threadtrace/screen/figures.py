"""Numbers, bars and names as short text of a known width in terminal cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells, set_cell_size

from threadtrace.text import printable

UNKNOWN = "-"

_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = "▏▎▍▌▋▊▉"
_FULL, _EMPTY = "█", "░"
_ELLIPSIS = "…"
_FACTORS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: int | None) -> str:
    """``21,317``; unknown is not 0."""
    return UNKNOWN if value is None else f"{value:,}"


def short_count(value: int | None) -> str:
    """At most five characters: ``9,999``, ``10.5k``, ``1.54M``."""
    if value is None:
        return UNKNOWN
    if abs(value) < 10_000:
        return f"{value:,}"
    for factor, unit in _FACTORS:
        # What would be rounded to 1,000 of a unit is one of the next.
        if abs(value) >= factor * 0.9995:
            number = value / factor
            digits = 0 if abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
            return f"{number:.{digits}f}{unit}"
    return str(value)


def rate(per_second: float | None, sign: str = "") -> str:
    """At most six characters and a sign: ``0.3``, ``45.0``, ``1,203``; a dash for nothing."""
    if per_second is None or not math.isfinite(per_second) or not round(per_second, 1):
        return UNKNOWN
    if abs(per_second) < 99.95:
        return f"{per_second:{sign},.1f}"
    if abs(per_second) < 9_999.5:
        return f"{per_second:{sign},.0f}"
    return ("+" if sign and per_second > 0 else "") + short_count(round(per_second))


def rate_in_words(per_second: float | None, sign: str = "") -> str:
    """With its unit, where it stands in a sentence: ``45.0/s``, ``0/s``; a dash for unknown."""
    if per_second is None or not math.isfinite(per_second):
        return UNKNOWN
    text = rate(per_second, sign)
    return f"{'0' if text == UNKNOWN else text}/s"


def share(ratio: float | None) -> str:
    """At most five characters: ``97%``, ``>999%``; never 100 % of what is not used up."""
    if ratio is None or math.isnan(ratio):
        return UNKNOWN
    percent = ratio * 100
    if percent >= 999.5:
        return ">999%"
    if 99 < percent < 100:
        return "99%"
    return f"{percent:.0f}%" if percent >= 0.95 or not ratio else "<1%"


def duration(seconds: float | None) -> str:
    """At most six characters: ``0.4s``, ``43s``, ``12m``, ``5h``, ``3d``."""
    if seconds is None or math.isnan(seconds):
        return UNKNOWN
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    for length, unit in ((120, "s"), (7_200, "m"), (172_800, "h")):
        if seconds < length:
            return f"{seconds / {'s': 1, 'm': 60, 'h': 3_600}[unit]:.0f}{unit}"
    return f"{min(seconds / 86_400, 99_999):.0f}d"


def bar(ratio: float | None, width: int) -> str:
    """A horizontal bar of that many cells; never full before the limit is reached."""
    if ratio is None or math.isnan(ratio) or width < 1:
        return " " * max(0, width)
    eighths = int(max(0.0, min(1.0, ratio)) * width * 8)
    if ratio < 1:
        eighths = min(eighths, width * 8 - 1)
    full, part = divmod(eighths, 8)
    text = _FULL * full + (_EIGHTHS[part - 1] if part else "")
    return text + _EMPTY * (width - len(text))


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The last values as columns, as many as there are cells; each the largest of its share.

    Args:
        values: oldest first; None where nothing is known.
        width: in cells.
    """
    columns = _largest_of_shares(values, width)
    top = max((value for value in columns if value), default=0.0)
    text = ""
    for value in columns:
        if value is None:
            text += " "
        elif value <= 0 or top <= 0:
            text += _BLOCKS[1]
        else:
            text += _BLOCKS[max(1, min(8, round(value / top * 8)))]
    return text.rjust(width)


def plot(values: Sequence[float | None], width: int, height: int) -> list[str]:
    """The same, several lines high, top line first; the bottom stands for 0."""
    columns = _largest_of_shares(values, width)
    top = max((value for value in columns if value), default=0.0)
    lines = []
    for row in reversed(range(height)):
        line = ""
        for value in columns:
            level = 0 if value is None or top <= 0 else round(value / top * height * 8)
            if value is not None and row == 0:
                level = max(level, 1)
            line += _BLOCKS[max(0, min(8, level - row * 8))]
        lines.append(line.rjust(width))
    return lines


def time_axis(minutes: int, width: int) -> str:
    """What stands below a plot that ends now: when it begins, and that."""
    begin, end = f"-{minutes}m", "now"
    if width < len(begin) + len(end):
        return end.rjust(width)[-width:] if width > 0 else ""
    return begin + end.rjust(width - len(begin))


def fitted(text: str, width: int) -> str:
    """Exactly that many cells, cut at the end."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + _ELLIPSIS if width > 0 else ""


def right(text: str, width: int) -> str:
    """Exactly that many cells, the text at the right; cut at the end where it is too long."""
    length = cell_len(text)
    return " " * (width - length) + text if length <= width else fitted(text, width)


def squeezed(name: str, width: int) -> str:
    """A name of at most that many cells that keeps its beginning and its end.

    Of ``namespace/pod/container`` the pod gives way first: its middle tells least.
    """
    name = printable(name)
    if cell_len(name) <= width:
        return name
    head, slash, tail = name.rpartition("/")
    first, first_slash, pod = head.partition("/")
    around = cell_len(first) + cell_len(tail) + 2
    if slash and first_slash and first and width - around >= 6:
        return f"{first}/{_cut_in_the_middle(pod, width - around)}/{tail}"
    return _cut_in_the_middle(name, width)


def wrapped(text: str, width: int, lines: int) -> list[str]:
    """Into so many lines at most, between words where that is possible."""
    found: list[str] = []
    words = printable(text).split(" ")
    while words and len(found) < lines:
        line = words.pop(0)
        while words and cell_len(line) + 1 + cell_len(words[0]) <= width:
            line += " " + words.pop(0)
        if cell_len(line) > width:
            line, *rest = chop_cells(line, width)
            words.insert(0, "".join(rest))
        found.append(line)
    if words and found:
        found[-1] = fitted(found[-1] + " " + " ".join(words), width)
    return found


def _cut_in_the_middle(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    if width < 3:
        return fitted(text, width)
    begin = (width - 1) * 2 // 3
    end = text[-(width - 1 - begin) :]
    while cell_len(end) > width - 1 - begin:
        end = end[1:]
    return set_cell_size(text, begin).rstrip() + _ELLIPSIS + end


def _largest_of_shares(values: Sequence[float | None], width: int) -> list[float | None]:
    values = [None if value is None or not math.isfinite(value) else value for value in values]
    if len(values) <= width:
        return list(values)
    columns: list[float | None] = []
    for number in range(width):
        part = values[number * len(values) // width : (number + 1) * len(values) // width]
        known = [value for value in part if value is not None]
        columns.append(max(known) if known else None)
    return columns
