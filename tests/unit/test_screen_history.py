"""Two minutes, second by second, whatever the interval and whatever the clock does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import WEB, node, snapshot, workload
from screen_builders import IDLE, NOW, SECOND

from threadtrace.model.snapshot import Snapshot, Totals, WorkloadSnapshot
from threadtrace.screen.history import SECONDS, History

HOUR = 3_600.0


def tick(
    at_seconds: float,
    *shots: WorkloadSnapshot,
    interval: float = 1.0,
    born: int = 0,
    refused: int = 0,
) -> Snapshot:
    """So long after the beginning."""
    counts = Totals(born, 0, born, refused)
    return snapshot(*(shot._replace(interval_seconds=interval) for shot in shots))._replace(
        time_ns=NOW + round(at_seconds * SECOND),
        node=node()._replace(interval_seconds=interval, counts=counts),
    )


def known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def test_a_value_a_second_newest_last() -> None:
    history = History()
    for second in range(5):
        history.add(tick(second, born=second))
    assert history.births()[-5:] == history.exits()[-5:] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(history.births()) == SECONDS
    assert known(history.births()[:-5]) == [], "before, nothing is known"


def test_older_than_two_minutes_is_forgotten() -> None:
    history = History()
    for second in range(1_000):
        history.add(tick(second, born=second))
    assert history.births() == [float(second) for second in range(880, 1_000)]


def test_before_the_first_tick_nothing_is_known() -> None:
    assert History().births() == [None] * SECONDS
    assert History().tasks("container:x") == []


def test_of_many_ticks_a_second_the_largest_is_kept() -> None:
    history = History()
    for number in range(60):
        born = 10 if number == 7 else 0
        history.add(tick(number * 0.05, born=born, refused=number == 30, interval=0.05))
    assert history.births()[-3:] == [200.0, 0.0, 0.0]
    assert history.refusals()[-3:] == [0.0, 20.0, 0.0]


def test_seconds_that_no_tick_ended_in_are_those_of_the_next() -> None:
    history = History()
    history.add(tick(0, born=1))
    history.add(tick(1.99, born=2, interval=1.99))
    history.add(tick(3.01, born=3, interval=1.02))
    assert len(known(history.births())) == 4
    history = History()
    history.add(tick(0, born=10, interval=10.0))
    history.add(tick(10, born=50, interval=10.0))
    assert known(history.births()) == [1.0] * 10 + [5.0] * 10


def test_an_interval_of_an_hour_fills_the_two_minutes() -> None:
    history = History()
    for hour in range(3):
        shot = workload(tasks=hour)
        history.add(tick(hour * HOUR, shot, interval=HOUR, born=7_200))
        assert history.births() == [2.0] * SECONDS
        assert history.tasks(WEB.key) == [float(hour)] * SECONDS


def test_a_gap_longer_than_the_interval_is_not_filled() -> None:
    history = History()
    history.add(tick(0, born=1))
    history.add(tick(60, born=2))
    values = history.births()
    assert values[-1] == 2.0
    assert values[-61] == 1.0
    assert len(known(values)) <= 3, "nothing is known of the time in between"


@pytest.mark.parametrize("jump", [-HOUR, -60.0, -2.0, HOUR, 1e6])
def test_a_clock_that_is_set_begins_anew(jump: float) -> None:
    history = History()
    for second in range(100):
        history.add(tick(second, workload(tasks=5), born=5))
    for second in range(100, 110):
        history.add(tick(second + jump, workload(tasks=7), born=7))
    for values in (history.births(), history.tasks(WEB.key)):
        assert values[-10:] == [7.0] * 10
    assert set(known(history.births())) <= {5.0, 7.0}


def test_a_clock_that_is_drawn_back_a_little_keeps_what_is_known() -> None:
    history = History()
    for second in (0, 1, 2, 3, 2.5, 3.5, 4.5):
        history.add(tick(second, born=5))
    assert known(history.births()) == [5.0] * 5


def test_only_what_changes_is_kept() -> None:
    history = History()
    rest = workload(replace(WEB, key="rest"), counts=IDLE)
    history.add(tick(0, workload(tasks=100), rest))
    assert history.tasks("rest") == []
    assert known(history.tasks(WEB.key)) == [100.0]
    for second in range(1, 119):
        history.add(tick(second, workload(counts=IDLE, tasks=90), rest))
    assert known(history.tasks(WEB.key))[-1] == 90.0
    assert known(history.workload_births(WEB.key))[0] == 1_000.0
    assert known(history.workload_refusals(WEB.key))[0] == 13.0
    for second in range(119, 130):
        history.add(tick(second, workload(counts=IDLE, tasks=90), rest))
    assert history.tasks(WEB.key) == [], "it has rested for two minutes"
    assert not history._tracks


def test_what_was_nothing_for_long_is_nothing_but_in_gaps() -> None:
    history = History()
    for second in (0, 1, 4):
        history.add(tick(second))
    assert history.refusals()[-5:] == [0.0, 0.0, None, 0.0, 0.0]
    history.add(tick(4, refused=7))
    history.add(tick(5))
    assert history.refusals()[-7:] == [None, 0.0, 0.0, None, 0.0, 7.0, 0.0]
    assert history.births()[-7:] == [None, 0.0, 0.0, None, 0.0, 0.0, 0.0]
    history.add(tick(7, refused=3))
    assert history.refusals()[-4:] == [7.0, 0.0, 3.0, 3.0]


def test_a_workload_that_is_gone_is_forgotten() -> None:
    history = History()
    history.add(tick(0, workload()))
    for second in range(1, 121):
        history.add(tick(second))
    assert not history._tracks


def test_one_that_comes_back_has_a_gap() -> None:
    history = History()
    history.add(tick(0, workload(tasks=100)))
    for second in range(1, 50):
        history.add(tick(second))
    history.add(tick(50, workload(tasks=3)))
    values = history.tasks(WEB.key)
    assert values[-1] == 3.0
    assert values[-51] == 100.0
    assert known(values[-40:-5]) == []


def test_held_it_tells_what_was() -> None:
    history = History()
    for second in range(10):
        history.add(tick(second, workload(tasks=second), born=second))
    history.hold(True)
    before = history.births(), history.tasks(WEB.key)
    for second in range(10, 15):
        history.add(tick(second, workload(tasks=second), born=second))
    assert (history.births()[5:], history.tasks(WEB.key)[5:]) == (before[0][5:], before[1][5:])
    history.hold(False)
    assert history.births()[-1] == 14.0


@pytest.mark.parametrize("interval", [0.0, -1.0])
def test_an_interval_of_no_length(interval: float) -> None:
    history = History()
    history.add(tick(0, workload(), interval=interval, born=5))
    assert known(history.births()) == [0.0]


def test_ten_million_tasks_are_exact() -> None:
    history = History()
    history.add(tick(0, workload(tasks=10**7 + 1)))
    assert known(history.tasks(WEB.key)) == [10**7 + 1]
