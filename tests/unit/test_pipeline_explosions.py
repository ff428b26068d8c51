"""Forecasts and explosions out of ticks: the limits that bind, gaps, clocks, ends."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from test_pipeline import SECOND, Node, named

from threadtrace.model.explosion import End, Explosion, State, Transition
from threadtrace.model.snapshot import Snapshot
from threadtrace.probe.records import Counts, Limit

SLICE, SERVICE = "/system.slice", "/system.slice/a.service"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.cgroup(SLICE, tasks=3)
    return made


class Leak:
    """A service that gains threads, below the limit of its slice."""

    def __init__(self, node: Node, limit: str = "max") -> None:
        self._node = node
        self._limit = limit
        self.tasks = 3
        service = node.tree.id_of_path(SERVICE)
        assert service is not None
        self._service = service
        node.cgroup(SLICE, tasks=3, limit=limit)
        node.tick(0)

    def grow(self, tasks: int, seconds: float = 1.0) -> Snapshot:
        """Gain so many, and take a tick."""
        self.tasks += tasks
        self._node.tasks = 97 + self.tasks
        self._node.cgroup(SERVICE, self.tasks)
        self._node.cgroup(SLICE, self.tasks, self._limit)
        self._node.source.cgroups[self._service] = Counts(self.tasks - 3, 0, 0, 0)
        return self._node.tick(seconds)


def called(snapshots: list[Snapshot]) -> list[Explosion]:
    return [
        explosion
        for snapshot in snapshots
        for explosion in snapshot.explosions
        if explosion.transition is Transition.STARTED
    ]


def test_the_limit_above_is_used_up_first(node: Node) -> None:
    leak = Leak(node, "1000")
    for _ in range(10):
        snapshot = leak.grow(5)
    entry = named(snapshot, "a.service")
    assert entry.state is State.GROWING
    assert entry.forecast is not None
    assert (entry.forecast.limit, entry.forecast.owner) == (Limit.PIDS_MAX, SLICE)
    assert entry.forecast.seconds == pytest.approx((1_000 - 53) / 5, rel=0.05)
    assert snapshot.node.seconds_to_exhaustion == pytest.approx((32_468 - 150) / 5, rel=0.05)


def test_what_does_not_grow_has_no_time_left(node: Node) -> None:
    leak = Leak(node, "1000")
    snapshots = [leak.grow(0) for _ in range(20)]
    assert named(snapshots[-1], "a.service").forecast is None
    assert snapshots[-1].node.seconds_to_exhaustion is None


@pytest.mark.parametrize("step_seconds", [0, -3_600, 3_600])
def test_a_clock_that_jumps_changes_nothing(node: Node, step_seconds: int) -> None:
    leak = Leak(node)
    snapshots = [leak.grow(5) for _ in range(10)]
    node.realtime_ns += step_seconds * SECOND
    snapshots += [leak.grow(5) for _ in range(20)]
    (explosion,) = called(snapshots)
    assert explosion.evidence.rule == "leak"
    assert explosion.tasks - explosion.tasks_at_start == explosion.counts.threads_created == 130
    assert explosion.duration_seconds == pytest.approx(26, abs=1)


def test_a_minute_without_looks_is_no_explosion(node: Node) -> None:
    leak = Leak(node)
    snapshots = [leak.grow(1) for _ in range(20)]
    snapshots += [leak.grow(5_000, seconds=60)]
    snapshots += [leak.grow(index % 2) for index in range(30)]
    assert called(snapshots) == []
    snapshots = [leak.grow(20) for _ in range(20)]
    assert len(called(snapshots)) == 1, "but what goes on is called"


@pytest.mark.parametrize("was_followed", [False, True])
def test_a_growth_after_a_rest_begins_with_it(node: Node, was_followed: bool) -> None:
    leak = Leak(node)
    if was_followed:
        snapshots = [leak.grow(10) for _ in range(5)] + [leak.grow(-50)]
    for _ in range(180):
        leak.grow(0)
    snapshots = [leak.grow(16) for _ in range(20)]
    (explosion,) = called(snapshots)
    assert explosion.evidence.growing_seconds == pytest.approx(15, abs=1)
    assert explosion.evidence.growth_per_second == pytest.approx(16, rel=0.1)


def test_a_pool_that_is_complete_has_no_time_left(node: Node) -> None:
    leak = Leak(node, "1000")
    leak.grow(0)
    snapshots = [leak.grow(150) for _ in range(4)]
    assert snapshots[-1].node.seconds_to_exhaustion is not None
    snapshots = [leak.grow(0) for _ in range(5)]
    assert snapshots[-1].node.seconds_to_exhaustion is None
    entry = named(snapshots[-1], "a.service")
    assert entry.forecast is None


def test_an_episode_ends_with_its_workload(node: Node) -> None:
    leak = Leak(node)
    snapshots = [leak.grow(100) for _ in range(10)]
    assert len(called(snapshots)) == 1
    assert named(snapshots[-1], "a.service").state is State.EXPLODING
    node.remove(SERVICE)
    node.cgroup(SLICE, tasks=0)
    snapshots = [node.tick() for _ in range(12)]
    (end,) = (e for s in snapshots for e in s.explosions if e.transition is Transition.ENDED)
    assert end.ended in (End.GONE, End.FELL_BACK)
    assert end.state is State.QUIET


def test_the_end_of_the_agent_ends_what_is_under_way(node: Node) -> None:
    leak = Leak(node)
    for _ in range(10):
        leak.grow(100)
    assert node.pipeline.diagnose().explosions
    last = node.pipeline.tick(is_last=True)
    assert [entry.ended for entry in last.explosions if entry.ended] == [End.AGENT_STOPPED]
    assert node.pipeline.diagnose().explosions == ()


def test_updates_are_at_most_one_a_second(node: Node) -> None:
    leak = Leak(node)
    told = []
    for _ in range(200):
        told += leak.grow(50, seconds=0.1).explosions
    times = [explosion.time_ns for explosion in told]
    assert [entry.transition for entry in told][:2] == [Transition.STARTED, Transition.UPDATED]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.999 * SECOND
