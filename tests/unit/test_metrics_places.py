"""Who has a series, for how long, and that no count is lost or told twice."""

from __future__ import annotations

import random

import pytest

from support.metrics import WEB, active, ended, pod, refused, resting, series, tick
from threadtrace.identity.workloads import identify
from threadtrace.metrics.labels import OTHER
from threadtrace.metrics.tally import Metrics
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import Happenings, Totals, WorkloadSnapshot

CREATED = "threadtrace_threads_created_total"
COMMON = ("", OTHER.container)


def names(metrics: Metrics, metric: str = "threadtrace_tasks") -> set[str]:
    """Of the pods that have a series and are there."""
    return {pod for pod, _ in series(metrics, metric) if pod}


def settle(metrics: Metrics, *workloads: WorkloadSnapshot) -> None:
    """Those are there, and ten seconds later they are not new any more."""
    metrics.on_snapshot(tick(*workloads))
    metrics.on_snapshot(tick(seconds=10))


def full(places: int, tasks: int = 20, **changes: object) -> Metrics:
    """All places are taken, by pods with that many tasks."""
    metrics = Metrics("node-1", places)
    metrics.on_snapshot(tick(*(resting(pod(n), tasks) for n in range(places)), **changes))  # type: ignore[arg-type]
    assert len(names(metrics)) == places
    return metrics


def test_places_go_to_the_largest_at_first() -> None:
    metrics = Metrics("node-1", 3)
    metrics.on_snapshot(tick(*(resting(pod(n), tasks=1 + n) for n in range(7))))
    assert names(metrics) == {"checkout-4", "checkout-5", "checkout-6"}
    assert series(metrics, "threadtrace_tasks")[COMMON] == 1 + 2 + 3 + 4


@pytest.mark.parametrize(
    "dangerous",
    [
        active(pod(99), state=State.EXPLODING),
        active(pod(99), Totals(0, 0, 0, 1)),
        active(pod(99), growth=5.0),
        active(pod(99), Totals(0, 500, 500), tasks=1),
        active(pod(99), tasks=20_000),
    ],
    ids=["explodes", "is refused", "grows", "storms", "holds much"],
)
def test_who_is_dangerous_takes_the_place_of_who_is_quiet(dangerous: WorkloadSnapshot) -> None:
    metrics = full(3)
    settle(metrics, active(pod(99), tasks=1))
    assert names(metrics) == {"checkout-0", "checkout-1", "checkout-2"}
    metrics.on_snapshot(tick(active(pod(1), tasks=21), active(pod(2), tasks=22), dangerous))
    assert names(metrics) == {"checkout-1", "checkout-2", "checkout-99"}


def test_an_equal_waits_and_has_to_be_much_larger() -> None:
    metrics = full(2)
    settle(metrics, active(pod(98), tasks=1), active(pod(99), tasks=1))
    metrics.on_snapshot(tick(active(pod(98), tasks=41)))
    assert names(metrics) == {"checkout-0", "checkout-1"}, "they have just got their places"
    metrics.on_snapshot(tick(active(pod(99), tasks=40), seconds=50))
    assert names(metrics) == {"checkout-0", "checkout-1"}, "not more than twice as large"
    metrics.on_snapshot(tick(active(pod(98), tasks=41)))
    assert "checkout-98" in names(metrics)


def test_who_was_dangerous_keeps_the_place_for_a_minute() -> None:
    metrics = Metrics("node-1", 1)
    metrics.on_snapshot(tick(active(pod(1), Totals(0, 0, 0, 1)), active(pod(2))))
    metrics.on_snapshot(tick(resting(pod(1)), active(pod(2), growth=9.0), seconds=59))
    assert names(metrics) == {"checkout-1"}
    metrics.on_snapshot(tick(resting(pod(1)), active(pod(2), growth=9.0), seconds=2))
    assert names(metrics) == {"checkout-2"}


def test_who_holds_much_is_not_put_out_by_who_grows_a_little() -> None:
    metrics = full(2)
    holder = pod(7)
    settle(metrics, resting(holder))
    metrics.on_snapshot(tick(active(holder, tasks=25_000), *(resting(pod(n)) for n in range(2))))
    for number in range(100, 130):
        crowd = [active(pod(number + more), growth=1.5) for more in range(5)]
        settle(metrics, *crowd)
        metrics.on_snapshot(tick(active(holder, tasks=25_000), *crowd, seconds=50))
        assert "checkout-7" in names(metrics)


def test_who_holds_much_gets_a_place_also_at_rest() -> None:
    metrics = full(2)
    settle(metrics, resting(pod(7)))
    metrics.on_snapshot(tick(resting(pod(7), tasks=25_000)))
    assert "checkout-7" in names(metrics)


def test_who_lost_the_place_is_told_as_it_was_and_goes_on_there() -> None:
    metrics = Metrics("node-1", 1)
    metrics.on_snapshot(tick(active(pod(1), Totals(10, 0, 0))))
    metrics.on_snapshot(tick(active(pod(1)), active(pod(2), state=State.EXPLODING), seconds=1))
    metrics.on_snapshot(tick(active(pod(1), Totals(100, 0, 0)), active(pod(2), Totals())))
    found = series(metrics, CREATED)
    assert found["checkout-1", "web"] == 17
    assert found[COMMON] == 100
    assert names(metrics) == {"checkout-2"}
    again = active(pod(1), Totals(1_000, 0, 0), state=State.EXPLODING)
    metrics.on_snapshot(tick(again, resting(pod(2)), seconds=90))
    assert series(metrics, CREATED)["checkout-1", "web"] == 1_017


def test_the_dead_are_told_for_five_minutes() -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick(active(pod(1), Totals(997, 0, 0)), ended=ended(pod(1))))
    metrics.on_snapshot(tick(seconds=299))
    assert series(metrics, CREATED)["checkout-1", "web"] == 997
    assert not names(metrics), "the dead hold nothing"
    metrics.on_snapshot(tick(seconds=2))
    assert set(series(metrics, CREATED)) == {COMMON}


def test_no_more_of_the_dead_than_of_the_living() -> None:
    metrics = Metrics("node-1", 3)
    for number in range(50):
        about = pod(number)
        metrics.on_snapshot(tick(active(about, state=State.EXPLODING), ended=ended(about)))
    found = set(series(metrics, CREATED))
    assert found == {COMMON, *((f"checkout-{n}", "web") for n in (47, 48, 49))}


def test_a_restarted_container_goes_on_in_the_same_series() -> None:
    metrics = Metrics("node-1", 10)
    for life in range(5):
        now = pod(1, life=life)
        metrics.on_snapshot(tick(active(now, Totals(10, 0, 0)), ended=ended(now)))
        metrics.on_snapshot(tick(seconds=40))
    assert series(metrics, CREATED)["checkout-1", "web"] == 50


def test_two_lives_at_the_same_time_are_one_series() -> None:
    metrics = Metrics("node-1", 1)
    old, new = pod(1, life=0), pod(1, life=1)
    metrics.on_snapshot(tick(active(old, tasks=5)))
    metrics.on_snapshot(tick(active(old, tasks=5), active(new, tasks=6), ended=ended(old)))
    metrics.on_snapshot(tick(active(new, tasks=6)))
    assert series(metrics, "threadtrace_tasks")["checkout-1", "web"] == 6
    assert series(metrics, CREATED)["checkout-1", "web"] == 4 * 7


def test_names_that_come_late() -> None:
    metrics = Metrics("node-1", 10)
    nameless = WEB.__class__(WEB.kind, WEB.key, WEB.cgroup_path, WEB.container_id)
    metrics.on_snapshot(tick(active(nameless, Totals(10, 0, 0))))
    assert series(metrics, CREATED) == {COMMON: 10}, "no series for a name of a moment"
    metrics.on_snapshot(tick(active(WEB, Totals(20, 0, 0))))
    assert series(metrics, CREATED) == {COMMON: 10, ("checkout-7d9f", "web"): 20}


def test_who_explodes_does_not_wait_for_a_name() -> None:
    metrics = Metrics("node-1", 1)
    nameless = WEB.__class__(WEB.kind, WEB.key, WEB.cgroup_path, WEB.container_id)
    metrics.on_snapshot(tick(active(nameless, Totals(10, 0, 0), state=State.EXPLODING)))
    metrics.on_snapshot(tick(active(WEB, Totals(20, 0, 0), state=State.EXPLODING)))
    first = ("", "container 40c03570b6f4")
    assert series(metrics, CREATED) == {COMMON: 0, first: 10, ("checkout-7d9f", "web"): 20}


def test_a_name_that_never_comes_is_done_without() -> None:
    metrics = Metrics("node-1", 10)
    nameless = WEB.__class__(WEB.kind, WEB.key, WEB.cgroup_path, WEB.container_id)
    for _ in range(4):
        metrics.on_snapshot(tick(active(nameless, Totals(10, 0, 0)), seconds=12))
    assert series(metrics, CREATED)["", "container 40c03570b6f4"] == 10


def test_a_crowded_node_is_surveyed_from_time_to_time() -> None:
    crowd = [resting(pod(n), 30 + n) for n in range(997)]
    metrics = Metrics("node-1", 2)
    metrics.on_snapshot(tick(*crowd))
    assert names(metrics) == {"checkout-995", "checkout-996"}
    metrics.on_snapshot(tick(*crowd[:-2], ended=ended(pod(995), pod(996))))
    assert not names(metrics)
    metrics.on_snapshot(tick(*crowd[:-2], seconds=10))
    assert names(metrics) == {"checkout-993", "checkout-994"}


class _Sums:
    """What a Prometheus would add up: increases, also of series that end and begin again."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, ...], float] = {}
        self.total = 0.0

    def scrape(self, found: dict[tuple[str, ...], float]) -> None:
        for labels, now in found.items():
            before = self.last.get(labels, 0.0)
            assert now >= before, f"{labels} went back"
            self.total += now - before
        self.last = dict(found)


@pytest.mark.parametrize("seed", range(7))
def test_no_count_is_lost_or_told_twice(seed: int) -> None:
    """Workloads come, go, restart, are renamed and refused: the increases are the node's."""
    chance = random.Random(seed)
    metrics = Metrics("node-1", 5)
    births, refusals = _Sums(), _Sums()
    alive = {n: pod(n) for n in range(20)}
    node = told = 0
    for step in range(60):
        known = [*alive.values(), identify("/system.slice/a.service")]
        entries = []
        for about in known:
            counts = Totals(chance.randrange(50), 0, 0, chance.random() < 0.05)
            growth = chance.choice((0.0, 0.0, 2.0))
            busy = active(about, counts, 1 + chance.randrange(300), growth)
            entries.append(busy if chance.random() < 0.7 else resting(about))
        unattributed = chance.randrange(3)
        late = [refused(chance.choice(known), chance.randrange(9)) for _ in range(step % 3)]
        early = [refused(chance.choice(known), chance.randrange(9)) for _ in range(step % 2)]
        told += sum(1 + one.suppressed for one in (*late, *early))
        gone = [alive.pop(n) for n in list(alive) if chance.random() < 0.03]
        summed = Totals(*map(sum, zip(*(entry.counts for entry in entries))))
        node += summed.threads_created + unattributed
        metrics.on_happenings(Happenings([], early, []))
        metrics.on_snapshot(
            tick(
                *entries,
                seconds=chance.choice((1.0, 1.0, 30.0)),
                counts=summed._replace(threads_created=summed.threads_created + unattributed),
                refusals=tuple(late),
                ended=ended(*gone),
                tasks=10_000,
            )
        )
        for about in gone:
            number = int(about.names.k8s_pod_name.rpartition("-")[2])  # type: ignore[union-attr]
            alive[number] = pod(number, life=step + 1)
        births.scrape(series(metrics, CREATED))
        refusals.scrape(
            series(metrics, "threadtrace_forks_refused_total", "pod", "container", "limit")
        )
        assert births.total == node
        assert refusals.total == told
        assert len(series(metrics, CREATED)) <= 2 * 5 + 1
        assert len(metrics._places.by_key) <= len(alive) + 1
        assert len(metrics._places._first_s) <= len(alive) + 1
