"""A plain table of the node, for terminals and pipes. Renders snapshots, computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from threadtrace.model.snapshot import NodeSnapshot, Snapshot, WorkloadSnapshot
from threadtrace.text import printable

_UNKNOWN = "-"
_HIGH, _CRITICAL = 0.8, 0.95


def render(
    snapshot: Snapshot,
    workloads: Sequence[WorkloadSnapshot],
    notes: Sequence[str],
    width: int,
    rows: int,
    counts_refusals: bool = True,
    verdict: str | None = None,
) -> RenderableType:
    """One frame.

    Args:
        snapshot: of the node.
        workloads: in the order to be shown.
        notes: lines of warning above the table.
        width: of the terminal, in columns.
        rows: how many workloads fit.
        counts_refusals: False where a refusal cannot be seen, which is not none.
        verdict: the last refusal in words.
    """
    parts: list[RenderableType] = [_head(snapshot.node, counts_refusals)]
    parts += [Text(printable(note), style="yellow") for note in notes]
    if verdict:
        parts.append(Text(printable(verdict), style="bold red"))
    parts.append(_table(workloads[: max(1, rows)], width))
    hidden = len(workloads) - max(1, rows)
    if hidden > 0:
        parts.append(Text(f"{hidden} more workloads", style="dim"))
    return Group(*parts)


def head_lines(notes: Sequence[str], width: int) -> int:
    """Lines that everything but the workloads takes."""
    notes_lines = sum(1 + len(note) // max(1, width) for note in notes)
    return 2 + notes_lines + 1 + 1


def _head(node: NodeSnapshot, counts_refusals: bool) -> Text:
    head = Text(f"{_number(node.tasks)} tasks   ")
    head.append(_limit("pid_max", node.tasks, node.pid_max_usable, "usable"))
    head.append("   ")
    head.append(_limit("threads-max", node.tasks, node.threads_max, ""))
    head.append("\n")
    seconds = node.interval_seconds or 1.0
    counts = node.counts
    head.append(
        f"threads {counts.threads_created / seconds:,.0f}/s  "
        f"processes {counts.processes_created / seconds:,.0f}/s  "
        f"exits {counts.exited / seconds:,.0f}/s  "
    )
    per_second = f"{counts.refused / seconds:,.0f}/s" if counts_refusals else _UNKNOWN
    refused = f"refused {per_second}"
    head.append(refused, style="bold red" if counts.refused else "")
    return head


def _limit(name: str, used: int | None, limit: int | None, remark: str) -> Text:
    text = Text(f"{name} ")
    if used is None or not limit:
        return text.append(_UNKNOWN)
    text.append(f"{used / limit:.1%}", style=_style(used / limit))
    return text.append(f" of {limit:,} {remark}".rstrip())


def _table(workloads: Sequence[WorkloadSnapshot], width: int) -> Table:
    columns = [column for column in _COLUMNS if width >= column.min_terminal_width]
    table = Table(box=None, pad_edge=False, expand=True, header_style="reverse")
    for column in columns:
        table.add_column(
            column.title,
            justify=column.justify,
            no_wrap=True,
            overflow="ellipsis",
            ratio=column.ratio,
            min_width=column.min_width,
        )
    for workload in workloads:
        table.add_row(*(column.cell(workload) for column in columns))
    return table


def _share(workload: WorkloadSnapshot) -> Text:
    ratio = workload.limit_used_ratio
    if ratio is None:
        return Text(_UNKNOWN)
    return Text(f"{workload.limit:,} {ratio:.0%}", style=_style(ratio))


def _refused(workload: WorkloadSnapshot) -> Text:
    refused = workload.counts.refused
    return Text(f"{refused:,}", style="bold red") if refused else Text(_UNKNOWN)


def _top_process(workload: WorkloadSnapshot) -> Text:
    if not workload.top_processes:
        return Text(_UNKNOWN)
    process = workload.top_processes[0]
    return Text(f"{process.threads:,} {printable(process.name)}[{process.pid}]")


def _rate(per_second: float, sign: str = "") -> str:
    if not round(per_second, 1):
        return _UNKNOWN
    return f"{per_second:{sign},.0f}" if abs(per_second) >= 100 else f"{per_second:{sign},.1f}"


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _style(ratio: float) -> str:
    if ratio >= _CRITICAL:
        return "bold red"
    return "yellow" if ratio >= _HIGH else ""


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[WorkloadSnapshot], Text]
    min_width: int
    min_terminal_width: int = 0
    """On a narrower terminal the column gives way."""
    ratio: int | None = None
    justify: Literal["left", "right"] = "right"


_COLUMNS = (
    _Column("WORKLOAD", lambda w: Text(printable(w.workload.name)), 24, 0, 3, "left"),
    _Column("TASKS", lambda w: Text(f"{w.tasks:,}"), 6),
    _Column("LIMIT", _share, 5),
    _Column("THR/s", lambda w: Text(_rate(w.threads_created_per_second)), 6),
    _Column("PROC/s", lambda w: Text(_rate(w.processes_created_per_second)), 6, 90),
    _Column("EXIT/s", lambda w: Text(_rate(w.exited_per_second)), 6, 100),
    _Column("NET/s", lambda w: Text(_rate(w.growth_per_second, "+")), 6),
    _Column("REFUSED", _refused, 7),
    _Column("TOP PROCESS", _top_process, 16, 80, 2, "left"),
)
