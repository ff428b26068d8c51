"""Events for readers that come, go and are slow."""

from __future__ import annotations

import json
from typing import Any

import builders
import pytest
from test_explosion_events import LEAK

from support.stream import validate
from threadtrace.identity.workloads import HOST, KERNEL, Workload, identify
from threadtrace.model.explosion import Transition
from threadtrace.model.snapshot import EndedWorkload, Happenings, Snapshot, StartedWorkload, Totals
from threadtrace.output.relay import Listener, Relay
from threadtrace.output.relay_window import Line, RelayWindow

DETAILS = {
    "kernel_release": "6.1",
    "cgroup_mode": "v2",
    "pids_cgroup_version": 2,
    "hooks": [
        {"program": f"on_{name}", "kind": "raw_tracepoint", "target": name, "reason": "it is there"}
        for name in ("task_newtask", "sched_process_exit", "cgroup_mkdir", "cgroup_rmdir")
    ],
    "missing": [],
    "tracefs_mounted_privately": False,
    "node": {"tasks_count": 7},
    "interval_seconds": 1.0,
}
NOW = 1_700_000_000_000_000_000

Event = dict[str, Any]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def relay(max_bytes: int = 8 << 20, clock: Clock | None = None) -> Relay:
    return Relay(NOW, DETAILS, True, RelayWindow(max_bytes), clock or Clock())


def tick(*workloads: Workload, idle: tuple[Workload, ...] = ()) -> Snapshot:
    active = [builders.workload(workload) for workload in workloads]
    resting = [builders.workload(workload, counts=Totals()) for workload in idle]
    return builders.snapshot(*active, *resting)


def read(listener: Listener, max_bytes: int = 1 << 30) -> list[Event | None]:
    """Events, and None at the end of each tick."""
    raw = listener.read(max_bytes)
    return [json.loads(line) if line else None for line in raw.split(b"\n")[:-1]]


def names(told: list[Event | None]) -> list[str]:
    return ["" if event is None else event["event"]["name"][12:] for event in told]


def check(told: list[Event | None], first: int = 1) -> None:
    events = [event for event in told if event is not None]
    for event in events:
        validate(event)
    assert [event["event"]["sequence"] for event in events] == [
        first + index for index in range(len(events))
    ]
    assert len({event["agent"]["id"] for event in events}) == 1


def test_who_comes_is_told_all_that_there_is_and_then_what_happens() -> None:
    told = relay()
    told.on_snapshot(tick(builders.WEB, idle=(HOST, KERNEL)))
    listener = told.listen()
    begin = read(listener)
    check(begin)
    assert names(begin) == [
        "started",
        "node.limits",
        "workload.rates",
        "workload.rates",
        "workload.rates",
        "",
    ]
    assert read(listener) == []
    told.on_happenings(Happenings([StartedWorkload(identify("/a"), NOW)], [], []))
    assert names(read(listener)) == ["workload.started"], "at once"
    told.on_snapshot(tick(builders.WEB, idle=(HOST, KERNEL)))
    after = read(listener)
    check([*after], first=7)
    assert names(after) == ["node.limits", "workload.rates", ""]


def test_two_readers_have_runs_of_their_own() -> None:
    told = relay()
    told.on_snapshot(tick(HOST))
    one = told.listen()
    first = read(one)
    told.on_snapshot(tick(HOST))
    other = told.listen()
    second = read(other)
    told.on_snapshot(tick(HOST))
    first += read(one)
    second += read(other)
    check(first)
    check(second)
    assert len([event for event in first if event]) == len([event for event in second if event]) + 2
    assert first[0] is not None
    assert second[0] is not None
    assert first[0]["agent"]["id"] != second[0]["agent"]["id"]


def test_before_the_first_tick_there_is_nothing_but_the_start() -> None:
    told = relay()
    listener = told.listen()
    assert names(read(listener)) == ["started", ""]
    told.on_snapshot(tick(HOST, idle=(KERNEL,)))
    assert names(read(listener)) == ["node.limits", "workload.rates", "workload.rates", ""]


def test_explosions_under_way_are_told_to_who_comes() -> None:
    told = relay()
    started = LEAK._replace(transition=Transition.STARTED, number=1)
    over = started._replace(number=2)
    told.on_happenings(Happenings([], [], [started, over]))
    ended = over._replace(transition=Transition.ENDED, ended=None)
    told.on_snapshot(tick(HOST)._replace(explosions=(ended,)))
    begin = read(told.listen())
    assert names(begin) == ["started", "node.limits", "workload.rates", "explosion.updated", ""]
    ids = [event["threadtrace"].get("explosion_id") for event in begin if event is not None]
    (same,) = [event for event in read(told.listen()) if event and "explosion" in str(event)]
    assert same["threadtrace"]["explosion_id"] == ids[-1], "for all readers"


def test_nothing_is_kept_while_nobody_listens() -> None:
    told = relay()
    told.on_snapshot(tick(HOST))
    assert told.window.size == 0
    listener = told.listen()
    told.on_snapshot(tick(HOST))
    assert told.window.size > 0
    listener.close()
    assert told.window.size == 0
    told.on_snapshot(tick(HOST))
    assert told.window.size == 0


def test_who_is_too_slow_is_told_what_it_missed_and_everything_anew() -> None:
    told = relay(max_bytes=20_000)
    told.on_snapshot(tick(HOST))
    slow, quick = told.listen(), told.listen()
    check(read(slow))
    read(quick)
    gone = identify("/gone")
    for _ in range(50):
        told.on_snapshot(tick(HOST, gone))
        assert "loss" not in names(read(quick))
    told.on_snapshot(tick(HOST)._replace(ended=(EndedWorkload(gone, NOW, Totals(), 1),)))
    read(quick)
    anew = read(slow)
    check(anew)
    assert names(anew) == ["started", "loss", "node.limits", "workload.rates", ""]
    loss = anew[1]
    assert loss is not None
    assert loss["threadtrace"] == {"where": "connection", "lost_count": 50 * 3 + 3}
    told.on_snapshot(tick(HOST))
    assert names(read(slow)) == ["node.limits", "workload.rates", ""]


def test_time_bounds_what_is_kept() -> None:
    clock = Clock()
    told = relay(clock=clock)
    slow = told.listen()
    read(slow)
    told.on_snapshot(tick(HOST))
    clock.now = 121.0
    told.on_snapshot(tick(HOST))
    assert names(read(slow))[:2] == ["started", "loss"]


def test_a_tick_beyond_all_bounds_is_told() -> None:
    told = relay(max_bytes=1_000)
    listener = told.listen()
    read(listener)
    told.on_snapshot(tick(*(identify(f"/{number}") for number in range(50))))
    assert names(read(listener)).count("workload.rates") == 50


def test_pieces_make_the_same_lines() -> None:
    told = relay()
    told.on_snapshot(tick(*(identify(f"/{number}") for number in range(50))))
    listener = told.listen()
    pieces = []
    while piece := listener.read(3_000):
        assert piece.endswith(b"\n")
        assert len(piece) < 5_000
        pieces.append(piece)
    assert len(pieces) > 10
    check([json.loads(line) if line else None for line in b"".join(pieces).split(b"\n")[:-1]])


@pytest.mark.parametrize(
    "name",
    [
        '/"sequence":77}',
        '/","agent":{"name":"threadtrace","version":"0","id":"x"',
        '/\\","sequence":5',
        "/" + "x" * 5_000,
    ],
)
def test_names_that_look_like_an_envelope(name: str) -> None:
    told = relay()
    told.on_snapshot(tick(identify(name)))
    begin = read(told.listen())
    check(begin)
    rates = begin[2]
    assert rates is not None
    shown = rates["process"]["linux"]["cgroup"]
    assert len(shown) >= min(len(name), 1_024)
    assert (identify(name).cgroup_path or "").startswith(shown)


def test_window_drops_whole_batches_but_never_the_last() -> None:
    window = RelayWindow(max_bytes=500, max_seconds=10)
    line = Line(b"h" * 50, b"m", b"t")
    window.add([line], True, 0)
    window.add([line], True, 1)
    window.add([line] * 9, False, 2)
    assert window.batch(0) is window.batch(1) is None
    batch = window.batch(2)
    assert batch is not None
    assert (batch.first_line, batch.end_line, window.end_line) == (2, 11, 11)
    assert window.batch(3) is None
    window.add([line], True, 13)
    assert window.batch(2) is None, "too old"
    window.clear()
    assert (window.end_number, window.batch(3)) == (4, None)
