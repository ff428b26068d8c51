"""What people chose to see of what a feed tells."""

from __future__ import annotations

import pytest
from builders import WEB, snapshot, workload
from screen_builders import IDLE, NOW, SECOND, explosion, named, pod, refusal

from threadtrace.errors import UsageError
from threadtrace.feed import About
from threadtrace.identity.workloads import HOST, identify
from threadtrace.model.snapshot import Happenings, Loss, Snapshot, StartedWorkload, WorkloadSnapshot
from threadtrace.screen.board import DANGER, Board, Choice, Namespace, chosen
from threadtrace.screen.query import QueryError

SHOTS = (
    pod("shop", "web-1", "app", tasks=10, counts=IDLE, growth=0.0),
    pod("bank", "web-1", "app", tasks=700, counts=IDLE, growth=0.0),
    pod("bank", "web-1", "proxy", tasks=5, counts=IDLE, growth=0.0),
    workload(identify("/system.slice/kubelet.service"), tasks=20, counts=IDLE, growth=0.0),
)


def board_of(*shots: WorkloadSnapshot, seconds: float = 0.0) -> Board:
    board = Board()
    board.on_start(About("node-1"))
    board.on_snapshot(at(seconds, *shots))
    return board


def at(seconds: float, *shots: WorkloadSnapshot) -> Snapshot:
    return snapshot(*shots)._replace(time_ns=NOW + round(seconds * SECOND))


def names(board: Board, choice: Choice) -> list[str]:
    return [line.label for line in board.lines(choice)]


def test_an_empty_node() -> None:
    for board in (Board(), board_of()):
        assert board.lines(Choice()) == board.lines(Choice(is_tree=True)) == []
        assert board.namespaces() == []
        assert board.workload("x") is None
    assert Board().node is None
    assert board_of().node is not None


def test_danger_first_unless_chosen_otherwise() -> None:
    board = board_of(*SHOTS)
    assert names(board, Choice())[0] == "bank/web-1/app"
    choice = Choice()
    choice.sort_by(board.column("workload"))
    assert names(board, choice)[0] == "bank/web-1/app"
    assert names(board, choice)[-1] == "shop/web-1/app", "from A to Z"
    choice.sort_by(board.column("tasks"))
    assert [line.shot.tasks for line in board.lines(choice)] == [700, 20, 10, 5]
    choice.sort_by(board.column("tasks"))
    assert [line.shot.tasks for line in board.lines(choice)] == [5, 10, 20, 700]
    choice.sort_by(None)
    assert (choice.sort, choice.is_ascending) == (DANGER, False)
    assert board.column(DANGER) is None


@pytest.mark.parametrize("name", ["state", "limit", "process", "used", "left", "refused"])
def test_what_is_sorted_by_a_number_begins_with_the_largest(name: str) -> None:
    assert not chosen("", name).is_ascending
    assert chosen("", "workload").is_ascending


def test_a_command_line() -> None:
    assert (chosen("", DANGER).sort, chosen("", DANGER).query) == (DANGER, "")
    choice = chosen("ns:bank", "tasks")
    assert names(board_of(*SHOTS), choice) == ["bank/web-1/app", "bank/web-1/proxy"]
    with pytest.raises(UsageError, match="--sort: there is no column cpu: there are danger, work"):
        chosen("", "cpu")
    with pytest.raises(UsageError, match="--filter: tasks is a number: write tasks>0"):
        chosen("tasks:1", DANGER)


def test_a_wrong_filter_leaves_what_was_shown() -> None:
    choice = chosen("ns:bank", DANGER)
    with pytest.raises(QueryError):
        choice.filter("tasks>")
    assert choice.query == "ns:bank"
    assert len(names(board_of(*SHOTS), choice)) == 2


def test_namespaces() -> None:
    board = board_of(*SHOTS, workload(HOST))
    assert board.namespaces() == [Namespace("bank", 2, 705), Namespace("shop", 1, 10)]
    assert names(board, Choice(namespace="shop")) == ["shop/web-1/app"]
    assert names(board, Choice(namespace="gone")) == []
    both = chosen("proxy", DANGER)
    both.namespace = "shop"
    assert names(board, both) == []


def test_a_tree_of_what_matches() -> None:
    choice = chosen("web-1", DANGER)
    choice.is_tree = True
    lines = board_of(*SHOTS).lines(choice)
    assert lines[0].label == "node-1"
    assert lines[0].shot.tasks == 715
    assert "kubelet.service" not in [line.label for line in lines]
    choice.filter("nobody")
    assert board_of(*SHOTS).lines(choice) == []


@pytest.mark.parametrize("column", [column.name for column in Board().columns])
def test_a_tree_and_a_flat_table_can_be_sorted_by_every_column(column: str) -> None:
    board = board_of(*SHOTS, workload(HOST, limit=None, processes=()))
    for is_tree in (True, False):
        choice = chosen("", column)
        choice.is_tree = is_tree
        assert len(board.lines(choice)) >= 5


def test_paused_the_rows_stay_while_news_come() -> None:
    board = board_of(*SHOTS)
    board.pause(True)
    board.on_snapshot(at(1, SHOTS[0])._replace(losses=(Loss("recorder", 1),)))
    board.on_happenings(Happenings([StartedWorkload(WEB, NOW)], [], []))
    assert board.is_paused
    assert len(board.workloads) == 4
    assert board.ticks == 2
    assert len(board.news.log) == 2
    board.pause(False)
    assert len(board.workloads) == 1


def test_paused_before_the_first_tick_it_still_shows_one() -> None:
    board = Board()
    board.pause(True)
    board.on_snapshot(at(0, *SHOTS))
    assert len(board.workloads) == 4


def test_another_run_begins_anew() -> None:
    board = board_of(*SHOTS)
    board.on_happenings(Happenings([], [refusal()], [explosion()]))
    assert board.news.verdict() is not None
    board.on_start(About("other", counts_refusals=False))
    assert board.news.verdict() is None
    assert board.news.explosions == board.news.log == []
    assert board.snapshot is None
    assert board.ticks == 0
    assert board.about.node == "other"


def test_another_run_while_paused_is_shown_and_goes_on_paused() -> None:
    board = board_of(*SHOTS)
    board.pause(True)
    board.on_start(About("other"))
    board.on_snapshot(at(1, SHOTS[0], SHOTS[1]))
    board.on_snapshot(at(2, SHOTS[0]))
    assert len(board.workloads) == 2
    births = board.history.births()
    assert not any(value is not None for value in births), "the first tick is no rate"
    board.pause(False)
    assert len(board.workloads) == 1
    assert len([value for value in board.history.births() if value is not None]) == 1


def test_a_workload_by_its_key() -> None:
    board = board_of(*SHOTS, workload(named("x")))
    found = board.workload(named("x").key)
    assert found is not None
    assert found.workload == named("x")


def test_thousands_of_workloads_and_a_clock_that_goes_back() -> None:
    shots = [pod(f"ns{n % 5}", f"p{n}", tasks=n) for n in range(2_000)]
    board = board_of(*shots)
    board.on_snapshot(at(-3_600, *shots[:1_000]))
    assert len(board.lines(Choice())) == 1_000
    tree = board.lines(Choice(is_tree=True))
    assert len(tree) == 1 + 5 + 1_000 + 1_000
    assert tree[0].shot.tasks == sum(range(1_000))
