"""Danger first, unknown last, and rows that do not jump about under a cursor."""

from __future__ import annotations

from dataclasses import replace

from builders import WEB, workload
from screen_builders import IDLE, pod, with_state

from threadtrace.identity.workloads import HOST
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import Totals, WorkloadSnapshot
from threadtrace.screen.lines import Line, flat, tree
from threadtrace.screen.order import by_danger, held, in_order, pinned
from threadtrace.screen.workload_columns import workload_columns


def shot(key: str, **changes: object) -> WorkloadSnapshot:
    return workload(replace(WEB, key=key), **{"growth": 0, "counts": IDLE, **changes})  # type: ignore[arg-type]


def keys(lines: list[Line]) -> str:
    return " ".join(line.key for line in lines)


def rows(names: str) -> list[Line]:
    return flat([shot(name) for name in names.split()])


def test_danger_first() -> None:
    found = [
        shot("d", growth=-500.0, tasks=5),
        workload(HOST, counts=IDLE, growth=0.2, tasks=20_000),
        shot("b", growth=50.0, tasks=10),
        shot("a", counts=Totals(0, 0, 0, 13), tasks=1),
        with_state(shot("x", tasks=3), State.EXPLODING),
    ]
    assert keys(in_order(flat(found), by_danger, False)) == "x a b host d"
    assert keys(in_order(flat(found), by_danger, True)) == "d host b a x"


def test_who_creates_most_stands_beside_who_holds_most() -> None:
    found = [
        shot("d", tasks=0),
        shot("c", tasks=40),
        shot("a", counts=Totals(0, 2_000, 2_000, 0), tasks=2),
        shot("b", tasks=20_000),
    ]
    assert keys(in_order(flat(found), by_danger, False)) == "b a c d"


def test_what_is_not_known_stands_last_whichever_way() -> None:
    limits = {"a": 10, "b": None, "c": 0, "d": 30}
    lines = flat([shot(name, limit=limit, tasks=5) for name, limit in limits.items()])
    for name in ("limit", "used"):
        key = next(column.sort_key for column in workload_columns() if column.name == name)
        for is_ascending in (True, False):
            assert keys(in_order(lines, key, is_ascending))[-1] == "b"
    limit = next(column.sort_key for column in workload_columns() if column.name == "limit")
    assert keys(in_order(lines, limit, True)) == "c a d b"
    assert keys(in_order(lines, limit, False)) == "d a c b"


def test_every_column_can_sort_whatever_is_known() -> None:
    found = [
        with_state(shot("a", limit=None, processes=()), None),
        with_state(shot("b", limit=0), State.EXHAUSTED, 0.0),
        with_state(shot("c", limit=7), State.GROWING, 1e9),
        workload(HOST),
    ]
    for column in workload_columns():
        for is_ascending in (True, False):
            assert len(in_order(flat(found), column.sort_key, is_ascending)) == 4


def test_equal_ones_keep_their_order() -> None:
    assert keys(in_order(rows("c a b"), lambda _: 1, False)) == "c a b"
    assert keys(in_order(rows("c a b"), lambda _: 1, True)) == "c a b"


def test_held_rows_stay_while_others_come_and_go() -> None:
    assert keys(held(rows("c b a"), ["a", "b", "c"])) == "a b c"
    assert keys(held(rows("new c a"), ["a", "b", "c"])) == "a c new"
    assert keys(held(rows("x y"), ["a", "b"])) == "x y"
    assert keys(held(rows("x y"), [])) == "x y"
    assert held([], ["a"]) == []
    assert keys(held(rows("b a"), ["a", "a", "b"])) == "a b", "no row twice"


def test_held_rows_of_a_tree_stay_in_their_groups() -> None:
    def in_tree(*shots: WorkloadSnapshot) -> list[Line]:
        return tree(shots, "n", set(), lambda lines: in_order(lines, lambda line: line.label, True))

    before = [line.key for line in in_tree(pod("a", "p", "x"), pod("b", "p", "x"))]
    now = in_tree(pod("a", "p", "new"), pod("a", "p", "x"), pod("b", "p", "x"), pod("c", "p", "x"))
    found = held(now, before)
    assert sorted(line.key for line in found) == sorted(line.key for line in now)
    assert found.index(now[3]) == found.index(now[2]) + 1, "in its pod, not behind the others"
    assert [line.depth for line in found] == [line.depth for line in now]


def test_a_pinned_row_stays_and_others_flow_around_it() -> None:
    assert keys(pinned(rows("a b c d"), "d", 1)) == "a d b c"
    assert keys(pinned(rows("a b c d"), "a", 2)) == "b c a d"
    assert keys(pinned(rows("a b"), "a", 99)) == "b a"
    assert keys(pinned(rows("a b"), "b", -1)) == "b a"
    assert keys(pinned(rows("a b"), "gone", 0)) == "a b"
    assert keys(pinned(rows("a b"), None, 0)) == "a b"
    assert pinned([], "a", 0) == []
