"""The plain table: what must stand on a row, at any width, whatever the names hold."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from builders import NAMES, WEB, snapshot, workload
from rich.console import Console

from threadtrace.identity.workloads import HOST
from threadtrace.model.danger import by_danger
from threadtrace.model.snapshot import ProcessSnapshot, Totals
from threadtrace.output import table

IDLE = Totals()


def drawn(*entries: object, width: int = 120, notes: tuple[str, ...] = (), rows: int = 50) -> str:
    output = io.StringIO()
    console = Console(
        file=output, width=width, force_terminal=True, color_system="truecolor", _environ={}
    )
    shot = snapshot(*entries)  # type: ignore[arg-type]
    console.print(table.render(shot, by_danger(shot.workloads), notes, width, rows))
    return output.getvalue()


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
def test_a_row_names_the_workload_and_fits(width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, width=width)
    console.print(table.render(snapshot(workload()), [workload()], (), width, 50))
    lines = output.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    row = next(line for line in lines if line.startswith("shop/checkout-7d9f"))
    assert "501" in row


def test_the_head_tells_the_limit_and_the_rates() -> None:
    output = io.StringIO()
    Console(file=output, width=120).print(table.render(snapshot(), [], (), 120, 5))
    text = output.getvalue()
    assert "31,635 tasks" in text
    assert "97.4% of 32,468 usable" in text
    assert "refused 13/s" in text


def test_escape_codes_and_markup_in_names_do_nothing() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J[bold red]x[/]\n\u202e"
    about = replace(WEB, names=replace(NAMES, k8s_pod_name=hostile))
    entry = workload(about, processes=(ProcessSnapshot(1, hostile, 1, 1),))
    for width in (80, 200):
        text = drawn(entry, width=width, notes=(hostile,))
        for code in ("\x1b]0", "\x1b[2J", "\x07", "\u202e"):
            assert code not in text
    assert "[bold red]x[/]" in drawn(entry, width=200)


def test_rows_that_do_not_fit_are_counted() -> None:
    entries = [workload(replace(WEB, key=f"container:{number}")) for number in range(30)]
    assert "20 more workloads" in drawn(*entries, rows=10)


def test_who_creates_most_stands_beside_who_holds_most() -> None:
    storm = workload(replace(WEB, key="a"), counts=Totals(0, 2000, 2000, 0), growth=0, tasks=2)
    large = workload(replace(WEB, key="b"), counts=IDLE, growth=0, tasks=20_000)
    some = workload(replace(WEB, key="c"), counts=IDLE, growth=0, tasks=40)
    dead = workload(replace(WEB, key="d"), counts=IDLE, growth=0, tasks=0)
    order = [entry.workload.key for entry in by_danger([dead, some, storm, large])]
    assert order == ["b", "a", "c", "d"]


def test_refusals_that_cannot_be_seen_are_not_none() -> None:
    output = io.StringIO()
    Console(file=output, width=120).print(table.render(snapshot(), [], (), 120, 5, False))
    assert "refused -" in output.getvalue()


def test_danger_first() -> None:
    refused = workload(replace(WEB, key="a"), growth=0, tasks=1)
    leaking = workload(replace(WEB, key="b"), counts=IDLE, growth=50.0, tasks=10)
    large = workload(HOST, counts=IDLE, growth=0.2, tasks=20_000)
    small = workload(replace(WEB, key="d"), counts=IDLE, growth=-500.0, tasks=5)
    keys = [entry.workload.key for entry in by_danger([small, large, leaking, refused])]
    assert keys == ["a", "b", "host", "d"]
