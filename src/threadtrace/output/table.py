"""A plain table of the node, for terminals and pipes. Renders snapshots, computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from threadtrace.model.snapshot import NodeSnapshot, Snapshot, WorkloadSnapshot
from threadtrace.text import printable

_UNKNOWN = "-"
_HIGH, _CRITICAL = 0.8, 0.95


def render(
    snapshot: Snapshot, workloads: Sequence[WorkloadSnapshot], notes: Sequence[str], rows: int
) -> RenderableType:
    """One frame.

    Args:
        snapshot: of the node.
        workloads: in the order to be shown.
        notes: lines of warning above the table.
        rows: how many workloads fit.
    """
    parts: list[RenderableType] = [_head(snapshot.node)]
    parts += [Text(printable(note), style="yellow") for note in notes]
    parts.append(_table(workloads[: max(1, rows)]))
    hidden = len(workloads) - max(1, rows)
    if hidden > 0:
        parts.append(Text(f"{hidden} more workloads", style="dim"))
    return Group(*parts)


def head_lines(notes: Sequence[str], console: Console) -> int:
    """Lines that everything but the workloads takes."""
    notes_lines = sum(1 + len(note) // max(1, console.width) for note in notes)
    return 2 + notes_lines + 1 + 1


def _head(node: NodeSnapshot) -> Text:
    head = Text()
    head.append(_limit("ids", node.tasks, node.pid_max_usable, f"pid_max {_number(node.pid_max)}"))
    head.append("   ")
    head.append(_limit("threads", node.tasks, node.threads_max, "threads-max"))
    head.append("\n")
    seconds = node.interval_seconds or 1.0
    counts = node.counts
    head.append(
        f"threads {counts.threads_created / seconds:,.0f}/s  "
        f"processes {counts.processes_created / seconds:,.0f}/s  "
        f"exits {counts.exited / seconds:,.0f}/s  "
    )
    refused = f"refused {counts.refused / seconds:,.0f}/s"
    head.append(refused, style="bold red" if counts.refused else "")
    return head


def _limit(label: str, used: int | None, limit: int | None, name: str) -> Text:
    if used is None or not limit:
        return Text(f"{label} {_number(used)} of {_UNKNOWN} ({name})")
    text = Text(f"{label} {used:,} of {limit:,} ({name}) ")
    return text.append(f"{used / limit:.1%}", style=_style(used / limit))


def _table(workloads: Sequence[WorkloadSnapshot]) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="reverse")
    # The name gives way last: without it a row says nothing.
    table.add_column("WORKLOAD", no_wrap=True, overflow="ellipsis", ratio=3, min_width=24)
    for title in ("TASKS", "LIMIT", "THR/s", "PROC/s", "EXIT/s", "NET/s", "REFUSED"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("TOP PROCESS", no_wrap=True, overflow="ellipsis", ratio=2, min_width=8)
    for workload in workloads:
        table.add_row(*_row(workload))
    return table


def _row(workload: WorkloadSnapshot) -> list[Text]:
    refused = workload.counts.refused
    return [
        Text(printable(workload.workload.name)),
        Text(f"{workload.tasks:,}"),
        _share(workload),
        Text(_rate(workload.threads_created_per_second)),
        Text(_rate(workload.processes_created_per_second)),
        Text(_rate(workload.exited_per_second)),
        Text(_rate(workload.growth_per_second, "+")),
        Text(f"{refused:,}" if refused else _UNKNOWN, style="bold red" if refused else ""),
        _top_process(workload),
    ]


def _share(workload: WorkloadSnapshot) -> Text:
    ratio = workload.limit_used_ratio
    if ratio is None:
        return Text(_UNKNOWN)
    return Text(f"{workload.limit:,} {ratio:.0%}", style=_style(ratio))


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
