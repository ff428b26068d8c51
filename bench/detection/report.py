"""The results as Markdown, written into docs/detection.md between two marks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bench.detection.judging import Outcome, Summary, summarize
from bench.detection.latency import Delays
from bench.detection.schedule import Found
from threadtrace.text import printable

_DOCUMENT = Path(__file__).parents[2] / "docs/detection.md"
_BEGIN, _END = "<!-- make bench-detection writes below -->", "<!-- and above -->"
_EMPTY = f"# Detection\n\n{_BEGIN}\n{_END}\n"
_METHOD = """\
Each workload is real and runs in a cgroup of its own, below an agent that writes its events each
second. *Delay*: from the first leaked thread to the call. *Lead*: from the call to the first clone
that is refused; 0 where that came first. *Poll*: `pids.current` of every cgroup of the workload
that has a `pids.max`, asked every 10 seconds, with an alarm at 80 %; its lead is the mean over the
ten seconds at which the poll may begin, 0 where it had not fired. *Saw*: the largest share of a
limit that it met. The half *fit* was used to choose the detector's thresholds, the half *report*
was not. Those named `namespace` are refused by the pid_max of a PID namespace of their own, which
no cgroup shows. Of a steady leak into a limit of its own a poll sees the last fifth, whole where
the leak is slow; five times that is all of the time, which no detector can have. The storm holds
few tasks at a time, and is never refused: it takes the processors.
"""


def as_markdown(
    found: Found, delays: Sequence[Delays], machine: Sequence[tuple[str, str]], command: str
) -> str:
    parts = [_METHOD]
    if found.outcomes:
        parts += [_summaries(found.outcomes), "### Malign\n", _malign(found.outcomes)]
        parts += ["### Benign\n", _benign(found.outcomes)]
    if delays:
        parts += ["### Onset to line\n", _delays(delays)]
    if found.strays:
        names = ", ".join(f"`{_cell(name)}`" for name in sorted(set(found.strays)))
        parts.append(f"Called besides, of what else ran on the machine: {names}.\n")
    rows = [*machine, ("command", f"`{command}`"), ("day", time.strftime("%Y-%m-%d"))]
    parts += ["### Machine\n", _table(("", ""), rows)]
    return "\n".join(parts)


def write_document(text: str) -> Path:
    """Raises RuntimeError where the page has no marks."""
    page = _DOCUMENT.read_text(encoding="utf-8") if _DOCUMENT.exists() else _EMPTY
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise RuntimeError(f"{_DOCUMENT} has lost its marks {_BEGIN} and {_END}")
    _DOCUMENT.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")
    return _DOCUMENT


def _summaries(outcomes: Sequence[Outcome]) -> str:
    halves = {
        "all": list(outcomes),
        "half *report*": [one for one in outcomes if one.workload.half == "report"],
        "half *fit*": [one for one in outcomes if one.workload.half == "fit"],
    }
    head = ("", *halves)
    columns = [_summary(summarize(half)) for half in halves.values()]
    names = list(columns[0])
    return _table(head, [(name, *(column[name] for column in columns)) for name in names])


def _summary(found: Summary) -> dict[str, str]:
    return {
        "malign called": f"{found.called} of {found.malign}",
        "false alarms": f"{found.false_alarms} of {found.benign}",
        "median delay": _seconds(found.median_delay),
        "median lead": _seconds(found.median_lead),
        "sum of leads": _seconds(found.lead_sum),
        "poll: malign called in time": f"{found.poll_called:.1f} of {found.malign}",
        "poll: false alarms": f"{found.poll_false_alarms} of {found.benign}",
        "poll: median lead": _seconds(found.median_poll_lead),
        "poll: sum of leads": _seconds(found.poll_lead_sum),
        "median lead, compared": _times(found.median_ratio),
        "sum of leads, compared": _times(found.lead_ratio),
    }


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f} times the poll's"


def _malign(outcomes: Sequence[Outcome]) -> str:
    head = (
        "workload", "", "half", "called", "delay", "refused after", "lead", "poll's lead", "saw",
        "tasks",
    )  # fmt: skip
    rows = [
        (
            f"`{one.workload.name}`",
            _cell(one.workload.what),
            one.workload.half,
            _called(one),
            _seconds(one.delay),
            _seconds(one.refused_after),
            _seconds(one.lead),
            _seconds(one.poll_lead),
            _saw(one),
            f"{one.tasks_peak:,}",
        )
        for one in outcomes
        if one.workload.label == "malign"
    ]
    return _table(head, rows)


def _benign(outcomes: Sequence[Outcome]) -> str:
    head = ("workload", "", "half", "called", "poll", "saw", "tasks", "created", "seconds")
    rows = [
        (
            f"`{one.workload.name}`",
            _cell(one.workload.what),
            one.workload.half,
            _called(one),
            "ALARM" if one.poll_alarms else "no",
            _saw(one),
            f"{one.tasks_peak:,}",
            f"{one.births:,}",
            f"{one.seconds:.0f}",
        )
        for one in outcomes
        if one.workload.label == "benign"
    ]
    return _table(head, rows)


def _delays(delays: Sequence[Delays]) -> str:
    head = ("threads/s", "called", "median", "95 %", "largest")
    fast = [one for one in delays if one.rate >= 100]
    rows = [_delay_row(f"{one.rate:,}", one.runs, one.seconds) for one in delays]
    if len(fast) > 1:
        together = tuple(second for one in fast for second in one.seconds)
        name = " and ".join(f"{one.rate:,}" for one in fast)
        rows.append(_delay_row(name, sum(one.runs for one in fast), together))
    return _table(head, rows)


def _delay_row(name: str, runs: int, seconds: Sequence[float]) -> tuple[str, ...]:
    called = f"{len(seconds)} of {runs}"
    if not seconds:
        return (name, called, "-", "-", "-")
    ordered = sorted(seconds)
    high = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    figures = (statistics.median(ordered), high, ordered[-1])
    return (name, called, *(f"{figure * 1000:,.0f} ms" for figure in figures))


def _called(one: Outcome) -> str:
    is_right = one.is_called == (one.workload.label == "malign")
    text = _cell(one.shape or "yes") if one.is_called else "no"
    if one.calls_before_onset:
        text += ", BEFORE ONSET"
        is_right = True
    again = f" ({one.episodes} times)" if one.episodes > 1 else ""
    return f"{text if is_right else text.upper()}{again}"


def _saw(one: Outcome) -> str:
    return "no limit" if one.poll_most_used is None else f"{one.poll_most_used:.0%}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} s" if value >= 1 or value == 0 else f"{value * 1000:.0f} ms"


def _cell(text: str) -> str:
    return printable(text).replace("|", "/").replace("`", "'").replace("<", "&lt;")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
