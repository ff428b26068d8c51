"""Which columns stand at a width, and that a row is exactly as wide, whatever it holds."""

from __future__ import annotations

import itertools

import pytest
from builders import workload
from rich.cells import cell_len
from screen_builders import HOSTILE, IDLE, assert_shown, named, pod, with_state

from threadtrace.identity.workloads import identify
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import ProcessSnapshot, Totals, WorkloadSnapshot
from threadtrace.screen.columns import Cell, Column, cells, cropped, fit, heading
from threadtrace.screen.lines import Line, flat
from threadtrace.screen.workload_columns import left_style, owner_word, used_style, workload_columns

COLUMNS = workload_columns()
WIDTHS = (20, 40, 60, 80, 100, 120, 200, 400)


def titles(width: int) -> list[str]:
    return [placed.column.title for placed in fit(COLUMNS, width)]


def row(
    shot: WorkloadSnapshot, width: int = 200, columns: tuple[Column[Line], ...] = COLUMNS
) -> dict[str, Cell]:
    placed = fit(columns, width)
    found = cells(placed, flat([shot])[0])
    assert len(found) == len(placed)
    return {
        one.column.name: Cell(cell.text.strip(), cell.style) for one, cell in zip(placed, found)
    }


def test_columns_by_width() -> None:
    least = ["WORKLOAD", "STATE", "TASKS", "USED", "THR/s", "NET/s", "REF/s", "LEFT"]
    assert titles(80) == least
    assert set(titles(100)) == {*least, "TOP PROCESS"}
    assert titles(200) == [column.title for column in COLUMNS]
    assert titles(40) == ["WORKLOAD", "STATE", "TASKS", "USED"]
    assert titles(20)[0] == "WORKLOAD"


def test_what_stands_at_a_width_stands_at_a_wider_one() -> None:
    for width in range(20, 400):
        assert set(titles(width)) <= set(titles(width + 1))


@pytest.mark.parametrize("width", range(1, 401))
def test_columns_together_are_exactly_as_wide(width: int) -> None:
    placed = fit(COLUMNS, width)
    assert placed[0].start == 0
    for one, other in itertools.pairwise(placed):
        assert other.start == one.start + one.width + 1
    assert placed[-1].start + placed[-1].width == width
    if width >= 20:
        assert all(one.width >= one.column.width for one in placed[1:])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_row_fits_whatever_its_names_hold(name: str, width: int) -> None:
    processes = (ProcessSnapshot(4_194_304, name, 10**7, 10**7),)
    about = named(name, k8s_container_name=name, k8s_namespace=name)
    shots = [
        workload(about, processes=processes),
        workload(about, tasks=10**7, limit=1, growth=-1e9, processes=processes),
        workload(identify(f"/{name}"), counts=Totals(*[10**9] * 4), growth=1e9, tasks=10**9),
        workload(about, limit=0)._replace(limit_path=f"/{name}", limit_tasks=10**9),
        workload(about, limit=2**63)._replace(limit_path=f"/a/{name}"),
        with_state(workload(about), State.EXHAUSTED, 0.0),
        with_state(workload(about), State.RECOVERING, 1e12),
    ]
    placed = fit(COLUMNS, width)
    for line in flat(shots):
        for indented in (line, line._replace(depth=3), line._replace(depth=2, is_open=True)):
            found = cells(placed, indented)
            assert [cell_len(cell.text) for cell in found] == [one.width for one in placed]
            for cell, one in zip(found, placed):
                assert_shown(cell.text, one.width)


@pytest.mark.parametrize("width", [40, *WIDTHS[2:]])
def test_a_row_names_the_workload_and_its_tasks(width: int) -> None:
    found = row(workload(), width)
    assert found["workload"].text.startswith("shop/")
    assert found["workload"].text.endswith("/web")
    assert found["tasks"].text == "501"


@pytest.mark.parametrize("width", range(8, 200))
def test_titles_fit_also_with_the_mark_of_what_sorts(width: int) -> None:
    placed = fit(COLUMNS, width)
    for column in COLUMNS:
        for is_ascending in (True, False):
            found = heading(placed, column.name, is_ascending)
            assert [cell_len(cell.text) for cell in found] == [one.width for one in placed]
            marks = "".join(cell.text for cell in found if cell.style == "bold")
            if width >= 20 and column in [one.column for one in placed]:
                assert marks.strip()[-1] == ("▲" if is_ascending else "▼")


def test_markup_in_names_stays_text() -> None:
    assert "[bold red]x[/]" in row(workload(named(HOSTILE["escape"])), 300)["workload"].text


def test_all_that_a_row_tells() -> None:
    found = row(with_state(workload(), State.EXPLODING, 43.0))
    assert {name: cell.text for name, cell in found.items()} == {
        "workload": "shop/checkout-7d9f/web",
        "state": "EXPLODING",
        "tasks": "501",
        "used": "50%",
        "limit": "1,000 own",
        "threads": "997",
        "processes": "3.0",
        "exits": "499",
        "net": "+166",
        "refused": "13.0",
        "left": "43s",
        "process": "498 java[4242]",
    }
    assert found["left"].style == found["state"].style == found["refused"].style == "danger"


def test_a_workload_at_rest_is_calm() -> None:
    found = row(workload(counts=IDLE, growth=0.0, limit=None, processes=()))
    for name in ("used", "limit", "threads", "net", "refused", "left", "process"):
        assert found[name] == Cell("-", "dim"), name
    assert found["state"].text == ""
    assert found["workload"].style == "plain"


def test_what_cannot_be_seen_is_not_shown_as_none() -> None:
    for width in (80, 200):
        found = row(workload(), width, workload_columns(counts_refusals=False))
        assert found["refused"].text == "?"
        assert found["threads"].text == "997"
        found = row(workload(), width, workload_columns(counts_births=False))
        assert found["threads"].text == "?"


def test_a_single_refusal_in_a_long_interval_is_seen() -> None:
    shot = workload(counts=Totals(0, 0, 0, 1))._replace(interval_seconds=3_600.0)
    assert row(shot)["refused"] == Cell("0.1", "danger")
    assert row(shot)["state"].text == "REFUSED"


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_an_interval_of_no_length_divides_nothing(seconds: float) -> None:
    assert row(workload()._replace(interval_seconds=seconds))["threads"].text == "-"


def test_states_by_what_is_worst() -> None:
    refused, calm = workload(), workload(counts=IDLE)
    assert row(with_state(refused, State.EXPLODING))["state"].text == "EXPLODING"
    assert row(with_state(refused, State.GROWING))["state"].text == "REFUSED"
    assert row(with_state(refused, State.QUIET))["state"].text == "REFUSED"
    assert row(with_state(calm, State.GROWING))["state"].text == "growing"
    assert row(with_state(calm, State.QUIET))["state"].text == ""
    state = next(column for column in COLUMNS if column.name == "state")
    ranked = [
        with_state(calm),
        with_state(calm, State.RECOVERING),
        with_state(calm, State.GROWING),
        with_state(refused),
        with_state(calm, State.EXPLODING),
        with_state(calm, State.EXHAUSTED),
    ]
    ranks = [state.sort_key(line) for line in flat(ranked)]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


def test_no_time_left_is_most_urgent_and_shown() -> None:
    left = next(column for column in COLUMNS if column.name == "left")
    now, soon = with_state(workload(), None, 0.0), with_state(workload(), None, 30.0)
    assert row(now)["left"] == Cell("none", "danger")
    assert row(with_state(workload(), State.EXHAUSTED))["left"] == Cell("none", "danger")
    keys = [left.sort_key(line) for line in flat([now, soon, with_state(workload(), None, None)])]
    assert keys[0] > keys[1]
    assert keys[2] is None


def test_a_limit_of_nothing_is_used_up() -> None:
    found = row(workload(limit=0, tasks=0))
    assert found["used"] == Cell("100%", "danger")
    assert found["limit"].text == "0 own"


def test_a_limit_lowered_below_what_is_there() -> None:
    assert row(workload(limit=100))["used"] == Cell("501%", "danger")
    assert row(workload(limit=1, tasks=10**7))["used"].text == ">999%"


def test_a_limit_longer_than_its_column_is_no_other_number() -> None:
    assert row(workload(limit=2**63), 140)["limit"].text == "9.22E own"


def test_whose_limit_it_is() -> None:
    assert owner_word(workload()) == "own"
    assert owner_word(workload(limit=None)) == ""
    owners = {
        "/": "root",
        "/kubepods/burstable/podb53dfa9e-2dc9-b890-f7fa-db2770857b03": "pod",
        "/system.slice/kubelet.service": "kubelet.service",
        "/kubepods/burstable": "burstable",
    }
    for path, word in owners.items():
        assert owner_word(workload()._replace(limit_path=path)) == word


def test_the_top_process_keeps_its_pid() -> None:
    processes = (ProcessSnapshot(4_194_304, "a-very-long-name-of-a-process", 1_234, 0),)
    for width in (99, 100, 120, 200):
        text = row(workload(processes=processes), width)["process"].text
        assert text.startswith("1,234 ")
        assert text.endswith("[4194304]")


def test_styles_of_nearness() -> None:
    assert [used_style(ratio) for ratio in (None, 0.5, 0.8, 0.95, 3.0)] == [
        "plain",
        "plain",
        "warning",
        "danger",
        "danger",
    ]
    assert [left_style(seconds) for seconds in (None, 601, 600, 60, 0.0)] == [
        "plain",
        "plain",
        "warning",
        "danger",
        "danger",
    ]


def test_which_way_a_column_sorts_first() -> None:
    ascending = [column.name for column in COLUMNS if column.begins_ascending]
    assert ascending == ["workload"], "all others begin with the largest"


def test_a_line_is_cropped_in_cells() -> None:
    line = [Cell("日本", "bold"), Cell("abc", "danger"), Cell("z")]
    assert cropped(line, 8) == line
    assert cropped(line, 6) == [Cell("日本", "bold"), Cell("a…", "danger")]
    assert cropped(line, 4) == [Cell("日本", "bold")]
    assert cropped(line, 3) == [Cell("日…", "bold")]
    assert cropped(line, 0) == []


def test_groups_are_marked_and_indented() -> None:
    placed = fit(COLUMNS, 120)
    shot = pod("shop", "web", counts=IDLE)
    opened = Line("group:shop", "shop", shot, 1, True)
    assert cells(placed, opened)[0].text.startswith("  ▾ shop")
    assert cells(placed, opened._replace(is_open=False))[0].text.startswith("  ▸ shop")
    assert cells(placed, opened)[0].style == "bold"
