"""Ticks in time, and what happens when there is no time for them."""

from __future__ import annotations

from typing import Any

from threadtrace.heart import Heart
from threadtrace.model.snapshot import Happenings


class Slow:
    """An agent whose ticks take as long as it is told, by the test's clock."""

    answers = None
    descriptors = ()

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.tick_seconds = 0.0
        self.ticks: list[float] = []
        self.pipeline = self
        self.look_due_ns = None

    def clock(self) -> float:
        return self.now_s

    def handle_records(self) -> Happenings:
        return Happenings([], [], [])

    def before_tick(self) -> None:
        self.ticks.append(self.now_s)

    def tick(self, is_last: bool) -> Any:
        self.now_s += self.tick_seconds
        return "snapshot"

    def on_happenings(self, happened: Happenings) -> None:
        pass

    def on_snapshot(self, snapshot: Any) -> None:
        pass

    def live(self, heart: Heart, seconds: float) -> None:
        until = self.now_s + seconds
        while self.now_s < until:
            self.now_s += heart.beat()

    def intervals(self) -> list[float]:
        return [round(after - before, 6) for before, after in zip(self.ticks, self.ticks[1:])]


def heart_of(agent: Slow, said: list[tuple[str, bool]] | None = None) -> Heart:
    tell = (lambda words, is_slowed: said.append((words, is_slowed))) if said is not None else None
    others = {} if tell is None else {"on_pace": tell}
    return Heart(agent, agent, 1.0, agent.clock, **others)  # type: ignore[arg-type]


def test_ticks_come_in_time() -> None:
    agent = Slow()
    agent.tick_seconds = 0.2
    heart = heart_of(agent)
    agent.live(heart, 100.0)
    assert set(agent.intervals()) == {1.0}
    assert len(agent.ticks) == 100
    assert heart.ticking.ticks == 100
    assert round(heart.ticking.tick_seconds, 6) == 0.2
    assert heart.ticking.lag_seconds < 1e-6


def test_a_late_tick_is_not_made_up_for() -> None:
    agent = Slow()
    heart = heart_of(agent)
    agent.live(heart, 5.0)
    agent.now_s += 7.3
    agent.live(heart, 5.0)
    assert agent.intervals()[:4] == [1.0] * 4
    assert max(agent.intervals()) == 8.3
    assert min(agent.intervals()) >= 0.7 - 1e-6, "one, not seven at once"


def test_starved_it_ticks_less_often_and_says_so_once_a_step() -> None:
    agent = Slow()
    said: list[tuple[str, bool]] = []
    heart = heart_of(agent, said)
    agent.tick_seconds = 3.0
    agent.live(heart, 120.0)
    assert heart.ticking.interval_seconds == 8.0
    assert agent.intervals()[-1] == 8.0
    assert [is_slowed for _, is_slowed in said] == [True] * 3
    assert "a tick takes 3.00 s" in said[0][0]
    assert said[-1][0].endswith("a sample every 8 s from now on")
    agent.tick_seconds = 0.01
    agent.live(heart, 300.0)
    assert heart.ticking.interval_seconds == 1.0
    assert said[-1] == ("a sample every 1 s again", False)


def test_the_first_tick_may_take_long() -> None:
    agent = Slow()
    agent.tick_seconds = 5.0
    heart = heart_of(agent)
    agent.now_s += heart.beat()
    agent.tick_seconds = 0.01
    agent.live(heart, 20.0)
    assert heart.ticking.interval_seconds == 1.0


def test_another_interval_counts_at_once() -> None:
    agent = Slow()
    heart = heart_of(agent)
    agent.live(heart, 3.0)
    heart.set_interval(0.25)
    agent.live(heart, 3.0)
    assert agent.intervals()[-5:] == [0.25] * 5
    assert heart.ticking.interval_seconds == 0.25
