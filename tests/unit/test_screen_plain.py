"""The table as text: it fits, and demands what has always been demanded of it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from builders import NAMES, WEB, snapshot, workload
from rich.cells import cell_len
from rich.console import Console, Group
from screen_builders import FORBIDDEN, HOSTILE, IDLE, explosion, named, pod, refusal

from threadtrace.feed import About
from threadtrace.model.snapshot import Happenings, Loss, ProcessSnapshot, WorkloadSnapshot
from threadtrace.screen.board import Board, Choice, chosen
from threadtrace.screen.plain import frame

WIDTHS = (20, 40, 60, 80, 100, 120, 200, 400)


def board_of(*shots: WorkloadSnapshot, about: About = About("node-1")) -> Board:  # noqa: B008
    board = Board()
    board.on_start(about)
    board.on_snapshot(snapshot(*shots))
    return board


def lines_of(
    *shots: WorkloadSnapshot,
    width: int = 120,
    height: int | None = None,
    notes: tuple[str, ...] = (),
    about: About = About("node-1"),  # noqa: B008
    query: str = "",
) -> list[str]:
    board = board_of(*shots, about=about)
    choice = chosen(query, "danger")
    return [line.plain for line in frame(board, choice, "live", notes, width, height)]


def many(count: int) -> list[WorkloadSnapshot]:
    return [workload(replace(WEB, key=f"container:{number}")) for number in range(count)]


def table_of(lines: list[str]) -> list[str]:
    """Below the heading."""
    start = next(n for n, line in enumerate(lines) if line.startswith("WORKLOAD"))
    return lines[start + 1 :]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_names_the_workload_and_fits(width: int) -> None:
    lines = lines_of(workload(), width=width)
    assert all(cell_len(line) <= width for line in lines)
    (row,) = table_of(lines)
    assert row.startswith("shop/")
    if width >= 40:
        assert "501" in row


def test_the_head_tells_the_limit_and_the_rates() -> None:
    text = "\n".join(lines_of())
    for part in ("31,635 of 32,468", "97.4%", "refused 13/s"):
        assert part in text


@pytest.mark.parametrize("width", [*range(20, 120, 7), 400])
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_do_nothing_but_stand_there(name: str, width: int) -> None:
    about = named(name, k8s_container_name=name)
    processes = (ProcessSnapshot(1, name, 1, 1),)
    board = board_of(workload(about, processes=processes), about=About(name))
    board.on_happenings(Happenings([], [refusal(about)], [explosion(about)]))
    output = io.StringIO()
    console = Console(
        file=output,
        width=width,
        force_terminal=True,
        color_system="truecolor",
        markup=False,
        highlight=False,
        emoji=False,
        _environ={},
    )
    lines = frame(board, Choice(), name, (name,), width)
    console.print(Group(*lines))
    text = output.getvalue()
    assert len(text.splitlines()) == len(lines), "no line is broken in two"
    assert all(cell_len(line.plain) <= width for line in lines)
    assert not set("".join(line.plain for line in lines)) & set(FORBIDDEN)
    for code in ("\x1b]0", "\x1b[2J", "\x07", "\u202e"):
        assert code not in text


def test_markup_in_names_is_shown() -> None:
    hostile = replace(WEB, names=replace(NAMES, k8s_pod_name=HOSTILE["escape"]))
    assert "[bold red]x[/]" in "\n".join(lines_of(workload(hostile), width=300))


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("height", range(5, 61))
def test_a_picture_is_no_higher_than_the_terminal(width: int, height: int) -> None:
    missing = tuple({"what": "x", "effect": "y" * 50, "remedy": "z"} for _ in range(5))
    for about in (About("n"), About("n", missing=missing)):
        for notes in ((), ("word " * 40,) * 5):
            for count in (0, 1, 2, 100):
                lines = lines_of(*many(count), width=width, height=height, notes=notes, about=about)
                assert len(lines) <= height
                assert all(cell_len(line) <= width for line in lines)
                rows = table_of(lines)
                if count == 100:
                    shown = len(rows) - 1
                    assert shown >= 1
                    assert rows[-1] == f"{100 - shown} more workloads"
                elif count:
                    assert rows, "at least one row, whatever there is to be noted"


def test_rows_that_do_not_fit_are_counted() -> None:
    lines = lines_of(*many(30), height=21)
    rows = table_of(lines)
    assert len(lines) == 21
    assert rows[-1] == f"{30 - (len(rows) - 1)} more workloads"
    exactly = lines_of(*many(len(rows)), height=21)
    assert "more" not in exactly[-1], "all of them just fit"
    assert len(table_of(lines_of(*many(500)))) == 500, "files get all rows"


def test_refusals_that_cannot_be_seen_are_not_none() -> None:
    lines = lines_of(workload(), about=About("n", counts_refusals=False), width=200)
    assert any("refused not counted" in line for line in lines)
    (row,) = table_of(lines)
    assert " ? " in row


def test_danger_first() -> None:
    shots = [
        pod("a", "small", counts=IDLE, growth=-500.0, tasks=5),
        pod("a", "large", counts=IDLE, growth=0.2, tasks=20_000, limit=None),
        pod("a", "leaking", counts=IDLE, growth=50.0, tasks=10),
        pod("a", "refused", growth=0.0, tasks=1),
    ]
    rows = table_of(lines_of(*shots))
    assert [row.split("/")[1] for row in rows] == ["refused", "leaking", "large", "small"]


def test_the_verdict_and_losses_stand_above() -> None:
    board = board_of(workload())
    board.on_happenings(Happenings([], [refusal(time_ns=snapshot().time_ns)], []))
    board.on_snapshot(snapshot(workload())._replace(losses=(Loss("recorder", 3),)))
    lines = frame(board, Choice(), "live", ("a note",), 120, 30)
    text = "\n".join(line.plain for line in lines)
    assert "forks are refused: EAGAIN" in text
    assert "lost: 3 recorder" in text
    assert "a note" in text
    verdict = next(line for line in lines if "EAGAIN" in line.plain)
    assert verdict.spans, "in colour"


def test_how_many_of_how_many() -> None:
    shots = pod("a", "x"), pod("a", "y"), pod("b", "z")
    assert "3 workloads" in lines_of(*shots)[0]
    assert "2 of 3 workloads" in lines_of(*shots, query="ns=a")[0]
    assert lines_of(pod("a", "x"))[0].endswith(" 1 workload")
    assert lines_of()[0].endswith(" 0 workloads")


def test_before_the_first_tick() -> None:
    for height in (5, 40, None):
        lines = frame(Board(), Choice(), "live", (), 80, height)
        assert any(line.plain.startswith("WORKLOAD") for line in lines)


def test_readable_without_colour() -> None:
    (row,) = table_of(lines_of(workload(), width=200))
    assert "REFUSED" in row
    assert " 50%" in row
