"""Who is new waits for a series: who lives a moment makes none, and counts all the same."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from support.metrics import active, ended, pod, resting, series, tick
from threadtrace.identity.workloads import Workload, identify
from threadtrace.metrics import places
from threadtrace.metrics.labels import OTHER
from threadtrace.metrics.tally import Metrics
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import Totals, WorkloadSnapshot

CREATED = "threadtrace_threads_created_total"
NODES = "threadtrace_node_threads_created_total"
COMMON = ("", OTHER.container)
UNIT = identify("/system.slice/kubelet.service")


def names(metrics: Metrics) -> set[str]:
    """Of the pods that have a series and are there."""
    return {pod for pod, _ in series(metrics, "threadtrace_tasks") if pod}


def test_who_is_new_has_a_series_after_ten_seconds() -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick(active(pod(0))))
    for _ in range(10):
        metrics.on_snapshot(tick(active(pod(1), growth=9.0), active(pod(2), tasks=20_000)))
        assert names(metrics) == {"checkout-0"}
    assert series(metrics, CREATED)[COMMON] == 10 * (7 + 7)
    metrics.on_snapshot(tick(active(pod(1)), resting(pod(2))))
    assert names(metrics) == {"checkout-0", "checkout-1", "checkout-2"}
    assert series(metrics, CREATED)["checkout-1", "web"] == 7, "nothing is told twice"


def test_who_is_new_and_rests_has_a_series_after_ten_seconds() -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick())
    metrics.on_snapshot(tick(resting(pod(1))))
    metrics.on_snapshot(tick(resting(pod(1)), seconds=9))
    assert not names(metrics)
    metrics.on_snapshot(tick(resting(pod(1))))
    assert names(metrics) == {"checkout-1"}


@pytest.mark.parametrize(
    "harmful",
    [active(pod(1), state=State.EXPLODING), active(pod(1), Totals(0, 0, 0, 1))],
    ids=["explodes", "is refused"],
)
def test_who_does_harm_has_a_series_at_once(harmful: WorkloadSnapshot) -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick())
    metrics.on_snapshot(tick(harmful))
    assert names(metrics) == {"checkout-1"}


def test_who_was_there_before_the_agent_is_never_new() -> None:
    metrics = Metrics("node-1", 1)
    metrics.on_snapshot(tick(active(pod(1), tasks=9), active(pod(2)), resting(pod(3), tasks=1)))
    metrics.on_snapshot(tick(active(pod(1), tasks=9), ended=ended(pod(2))))
    metrics.on_snapshot(tick(resting(pod(1), tasks=9), active(pod(3), tasks=9)))
    assert names(metrics) == {"checkout-3"}, "it had no place then, and gets the one that is free"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pod(1), pod(1, life=1)),
        (pod(1, is_sandbox=True), pod(1, life=1, is_sandbox=True)),
        (UNIT, UNIT),
    ],
    ids=["a container", "a pod", "a unit"],
)
def test_who_is_called_as_another_was_goes_on_at_once(before: Workload, after: Workload) -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick(active(before), ended=ended(before)))
    (own,) = set(series(metrics, CREATED)) - {COMMON}
    metrics.on_snapshot(tick(seconds=60))
    metrics.on_snapshot(tick(active(after)))
    assert series(metrics, CREATED) == {COMMON: 0, own: 7 + 7}


def test_who_is_called_as_another_is_counts_there_at_once() -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick(active(pod(1))))
    metrics.on_snapshot(tick(active(pod(1)), active(pod(1, life=1))))
    assert series(metrics, CREATED) == {COMMON: 0, ("checkout-1", "web"): 3 * 7}


def test_another_container_of_a_pod_that_has_a_series_is_new() -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick(active(pod(1))))
    metrics.on_snapshot(tick(active(pod(1)), active(pod(1, "job", life=1))))
    assert set(series(metrics, CREATED)) == {COMMON, ("checkout-1", "web")}


def test_who_is_gone_and_comes_again_is_new_again() -> None:
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick())
    metrics.on_snapshot(tick(active(pod(1)), seconds=1))
    metrics.on_snapshot(tick(ended=ended(pod(1)), seconds=9))
    metrics.on_snapshot(tick(active(pod(1)), seconds=9))
    assert not names(metrics)
    metrics.on_snapshot(tick(active(pod(1)), seconds=10))
    assert names(metrics) == {"checkout-1"}


def test_who_waited_without_hope_of_a_place_waited_all_the_same() -> None:
    metrics = Metrics("node-1", 1)
    metrics.on_snapshot(tick(active(pod(0))))
    for _ in range(7):
        metrics.on_snapshot(tick(active(pod(0)), active(pod(1), tasks=1), seconds=10))
        assert names(metrics) == {"checkout-0"}
    metrics.on_snapshot(tick(active(pod(0)), active(pod(1), tasks=1, growth=2.0)))
    assert names(metrics) == {"checkout-1"}, "it is not new when it begins to grow"


def test_a_name_that_comes_when_there_is_no_place_does_not_make_it_new() -> None:
    metrics = Metrics("node-1", 1)
    # Until they have names, the head of their ids is the same.
    nameless = [replace(pod(n), names=None) for n in (1, 2)]
    metrics.on_snapshot(tick(*(active(about, state=State.EXPLODING) for about in nameless)))
    metrics.on_snapshot(tick(active(pod(1)), active(nameless[1]), seconds=61))
    assert not names(metrics)
    metrics.on_snapshot(tick(active(pod(1), growth=2.0), active(nameless[1])))
    assert names(metrics) == {"checkout-1"}


def test_a_free_place_is_not_kept_from_who_rests_by_larger_ones_that_are_new() -> None:
    metrics = Metrics("node-1", 3)
    metrics.on_snapshot(tick())
    for second in range(11):
        passing = [identify(f"/ci/job-{second}-{n}") for n in range(3)]
        crowd = [resting(about, tasks=5) for about in passing]
        metrics.on_snapshot(tick(resting(pod(1), tasks=1), *crowd, ended=ended(*passing)))
    assert names(metrics) == {"checkout-1"}


def test_of_too_many_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_MAX_KNOWN", 50)
    metrics = Metrics("node-1", 10)
    metrics.on_snapshot(tick())
    lasting = [active(pod(n)) for n in range(5)]
    for second in range(11):
        # Nobody says that these are gone.
        passing = [active(identify(f"/ci/job-{second}-{n}"), tasks=1) for n in range(4)]
        metrics.on_snapshot(tick(*lasting, *passing))
    assert names(metrics) == {f"checkout-{n}" for n in range(5)}
    for second in range(100):
        metrics.on_snapshot(tick(active(identify(f"/ci/late-{second}"))))
    assert len(metrics._places._first_s) == 50


@pytest.mark.parametrize("seconds", [1.0, 0.25])
def test_many_that_live_a_moment_make_no_series(seconds: float) -> None:
    """Twenty new cgroups a second for five minutes: few names, and no count is lost."""
    chance = random.Random(997)
    metrics = Metrics("node-1", 100)
    lasting = [pod(n) for n in range(7)]
    metrics.on_snapshot(tick(*(active(about) for about in lasting), tasks=10_000))
    node, made, told = 7 * len(lasting), 0, set(series(metrics, CREATED))
    until_s: dict[Workload, float] = {}
    for step in range(int(300 / seconds)):
        now_s = step * seconds
        for _ in range(int(20 * seconds)):
            until_s[identify(f"/ci/job-{made}")] = now_s + chance.uniform(0, 8)
            made += 1
        entries = [active(about, Totals(chance.randrange(20), 1, 1)) for about in lasting]
        entries += [active(about, Totals(chance.randrange(9), 1, 1), 2) for about in until_s]
        gone = [about for about, end_s in until_s.items() if end_s <= now_s]
        for about in gone:
            del until_s[about]
        metrics.on_snapshot(tick(*entries, seconds=seconds, ended=ended(*gone), tasks=10_000))
        node += sum(entry.counts.threads_created for entry in entries)
        if now_s % 5 == 0:
            found = series(metrics, CREATED)
            told |= set(found)
            assert sum(found.values()) == node, "no series was dropped with its counts"
            assert series(metrics, NODES, "node") == {("node-1",): node}
    assert made == 6_000
    assert told == {COMMON, *((f"checkout-{n}", "web") for n in range(7))}
    assert len(metrics._places._first_s) == len(until_s) + len(lasting)
