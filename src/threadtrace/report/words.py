"""Numbers, times and names as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from threadtrace.text import printable

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_SECOND = 253_402_300_799  # the end of the year 9999, the last that datetime knows


def moment_of(time_ns: int) -> datetime:
    """In UTC, whole seconds."""
    return _EPOCH + timedelta(seconds=min(time_ns // _NS, _LAST_SECOND))


def rfc3339(time_ns: int) -> str:
    """As events write it."""
    return f"{moment_of(time_ns):%Y-%m-%dT%H:%M:%S}.{time_ns % _NS:09d}Z"


def day_and_time(time_ns: int) -> str:
    """``2026-11-24 03:24:24``."""
    return f"{moment_of(time_ns):%Y-%m-%d %H:%M:%S}"


def short_time(time_ns: int, within: tuple[int, int]) -> str:
    """The time of day; with the date where what is told of spans more than one day."""
    first, last = (moment_of(limit).date() for limit in within)
    return f"{moment_of(time_ns):{'%H:%M:%S' if first == last else '%m-%d %H:%M:%S'}}"


def duration(nanoseconds: int) -> str:
    """``14 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    seconds = max(0, round(nanoseconds / _NS))
    if seconds < 1:
        return "less than 1 s"
    if seconds < 60:
        return f"{seconds} s"
    for unit, size, bound, smaller, small in (
        ("min", 60, 3_600, "s", 1),
        ("h", 3_600, 86_400, "min", 60),
    ):
        if seconds < bound:
            return _in_two_units(seconds, unit, size, smaller, small)
    return _in_two_units(seconds, "d", 86_400, "h", 3_600)


def _in_two_units(seconds: int, unit: str, size: int, smaller: str, small: int) -> str:
    whole, rest = divmod(seconds, size)
    return f"{whole} {unit} {rest // small} {smaller}" if rest >= small else f"{whole} {unit}"


def plural(count: int, noun: str) -> str:
    """``1 task``, ``2,000 tasks``."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(ratio: float) -> str:
    """``97 %``, ``1.4 %``; never 0 or 100 of what is not."""
    if 0 < ratio < 0.001:
        return "less than 0.1 %"
    if ratio < 0.1:
        return f"{ratio:.1%}".replace("%", " %").replace(".0 ", " ")
    if 0.99 < ratio < 1:
        return f"{int(ratio * 1000) / 10:.1f} %".replace("100.0", "99.9").replace(".0 ", " ")
    return f"{ratio:.0%}".replace("%", " %")


def rate(per_second: float) -> str:
    """``48/s``, ``0.7/s``."""
    return f"{per_second:,.0f}/s" if per_second >= 9.95 else f"{per_second:.1f}/s"


def short_name(name: str, width: int = 64) -> str:
    """Printable, on one line; the middle of a long name left out, since names differ at the end."""
    shown = printable(name)
    if len(shown) <= width:
        return shown
    tail = (width - 1) // 2
    return f"{shown[: width - 1 - tail]}…{shown[-tail:]}"


def limit_words(name: str, owner: str | None, value: int | None, width: int = 64) -> str:
    """``pids_max 300 of /kubepods/pod1``; the node's own limits need no owner."""
    text = printable(name)
    if value is not None:
        text += f" {value:,}"
    if owner in ("PID namespace level 0", "node"):
        return f"{text} of the node"
    return text if owner is None else f"{text} of {short_name(owner, width)}"


def joined(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
