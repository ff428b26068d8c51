"""What a limit that is full means for who holds it and for who suffers."""

from __future__ import annotations

from builders import WEB, workload
from screen_builders import with_state

from threadtrace.model.explosion import State
from threadtrace.model.snapshot import WorkloadSnapshot
from threadtrace.screen.limits import judged, seconds_left


def below_a_full_limit(tasks: int) -> WorkloadSnapshot:
    return workload(tasks=tasks, limit=620)._replace(limit_tasks=620, limit_path="/pod")


def test_who_holds_a_full_limit_is_exhausted_for_as_long_as_it_is_full() -> None:
    holder = below_a_full_limit(619)
    assert judged(holder).state is State.EXHAUSTED
    assert judged(holder._replace(state=State.RECOVERING)).state is State.EXHAUSTED
    assert judged(holder._replace(limit_tasks=619)) is not None
    assert judged(holder._replace(limit_tasks=619)).state is None


def test_who_suffers_is_not_but_nothing_is_left() -> None:
    victim = below_a_full_limit(1)
    assert judged(victim).state is None
    assert seconds_left(victim) == 0


def test_another_limits_forecast_does_not_hide_that_nothing_is_left() -> None:
    assert seconds_left(with_state(below_a_full_limit(300), None, 111_600.0)) == 0


def test_a_state_that_the_agent_tells_stays() -> None:
    shot = workload(WEB)._replace(state=State.EXHAUSTED)
    assert judged(shot) is shot
