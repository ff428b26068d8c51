"""Results as text for a terminal, and as docs/overhead.md."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Result, Row

_DOCUMENT = Path(__file__).parent.parent / "docs/overhead.md"

_INTRODUCTION = """\
# Overhead

What threadtrace costs the node that it watches, measured beside the tools that it is compared
with, in the same run on the same machine. `make bench` (as root) measures all of it anew and
rewrites this page; `make bench ARGS="births storm"` measures some and only prints.

Figures of several rounds are *smallest - median - largest (number of rounds)*. Comparisons
alternate between both sides, so that other load on the machine meets both.
"""


def as_text(result: Result) -> str:
    lines = [f"{result.name}"]
    for row in result.rows:
        lines.append(f"  {row.what}: {row.figure}{_verdict(row)}")
        if row.peer:
            lines.append(f"      beside: {row.peer}")
    return "\n".join(lines)


def write_document(
    results: Sequence[Result], machine: Sequence[tuple[str, str]], command: str
) -> Path:
    parts = [_INTRODUCTION, "## Results\n", _table(results), "## Method\n"]
    parts += [_method(result) for result in results]
    parts += ["## Machine\n", _machine(machine, command)]
    _DOCUMENT.parent.mkdir(exist_ok=True)
    _DOCUMENT.write_text("\n".join(parts), encoding="utf-8")
    return _DOCUMENT


def _verdict(row: Row) -> str:
    if row.is_met is None:
        return ""
    return f"  [{'reaches' if row.is_met else 'MISSES'} {row.target}]"


def _table(results: Sequence[Result]) -> str:
    lines = ["| what | measured | to reach | | beside |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        for row in result.rows:
            met = {None: "", True: "yes", False: "no"}[row.is_met]
            cells = (row.what.strip(), row.figure, row.target, met, row.peer)
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _method(result: Result) -> str:
    return f"### {result.name}\n\n{result.method.strip()}\n"


def _machine(machine: Sequence[tuple[str, str]], command: str) -> str:
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in machine]
    lines.append(f"| command | `{command}` |")
    lines.append(f"| day | {time.strftime('%Y-%m-%d', time.gmtime())} |")
    return "\n".join(lines) + "\n"
