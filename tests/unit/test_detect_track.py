"""The detector on curves of known shape: what is called, when, and what never is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.track import Observation, Track
from threadtrace.model.explosion import End, Forecast, Shape, State, Transition
from threadtrace.probe.records import Limit

Curve = Callable[[float], float]


def forecast_of(limit: int, curve: Curve) -> Callable[[float], Forecast]:
    """A limit of the workload's own, with the slope of the last second."""

    def forecast(time_s: float) -> Forecast:
        usage = int(curve(time_s))
        slope = curve(time_s) - curve(time_s - 1)
        seconds = (limit - usage) / slope if slope > 0 else None
        return Forecast(Limit.PIDS_MAX, "/a", limit, usage, seconds, "pids.max")

    return forecast


def called_after(
    curve: Curve,
    *,
    until: float = 600,
    step: float = 1.0,
    forecast: Callable[[float], Forecast] | None = None,
    process_ratio: float = 0.0,
    thresholds: Thresholds = Thresholds(),  # noqa: B008
) -> float | None:
    """Seconds from the onset at 0 until it is called, None if it never is."""
    track = Track(0.0, int(curve(0)), thresholds)
    for index in range(1, int(until / step) + 1):
        time_s = index * step
        seen = Observation(
            time_s,
            int(curve(time_s)),
            0,
            0,
            process_ratio,
            False,
            forecast(time_s) if forecast else None,
        )
        if track.observe(seen) is Transition.STARTED:
            return time_s
    return None


def leak(per_second: float) -> Curve:
    return lambda time_s: 10 + per_second * max(0.0, time_s)


def ramp(to: float, seconds: float) -> Curve:
    return lambda time_s: 10 + to * min(1.0, max(0.0, time_s) / seconds)


@pytest.mark.parametrize(
    ("per_second", "step", "within"),
    [
        (2_000, 0.01, 0.21),
        (1_000, 0.01, 0.215),
        (100, 1.0, 11),
        (20, 1.0, 21),
        (5, 1.0, 28),
        (1, 1.0, 181),
        (0.5, 1.0, 260),
        (0.1, 1.0, 3_000),
    ],
)
def test_a_leak_is_called_in_time(per_second: float, step: float, within: float) -> None:
    after = called_after(leak(per_second), step=step, until=3_600)
    assert after is not None
    assert after <= within


@pytest.mark.parametrize(
    ("curve", "step"),
    [
        pytest.param(ramp(200, 120), 1.0, id="pool of 200 that grows over two minutes"),
        pytest.param(
            lambda t: 10 + 200 * (1 - math.exp(-max(0, t) / 40)), 1.0, id="pool that saturates"
        ),
        pytest.param(ramp(500, 0.1), 0.01, id="pool of 500 at once"),
        pytest.param(ramp(500, 0.1), 1.0, id="the same, seen by ticks alone"),
        pytest.param(ramp(200, 0.25), 0.01, id="200 connections at once"),
        pytest.param(ramp(600, 5), 1.0, id="the shims of fifty containers"),
        pytest.param(lambda t: 10 + 300 * abs(t % 30 - 15) / 15, 1.0, id="sawtooth"),
        pytest.param(lambda t: 10 + 40 * (t % 2 >= 1), 1.0, id="build job"),
        pytest.param(lambda t: 300 - t / 10, 1.0, id="that shrinks"),
        pytest.param(lambda t: 10 + t / 60, 1.0, id="one a minute"),
        pytest.param(lambda t: 10 + 500 * (t > 1) + t / 10, 1.0, id="pool of 500, and a little"),
    ],
)
def test_what_comes_to_a_plateau_is_not_called(curve: Curve, step: float) -> None:
    assert called_after(curve, step=step) is None


def test_containers_that_start_at_once_are_no_burst() -> None:
    """Some threads for each process; the same without processes is a leak."""
    curve = ramp(450, 0.35)
    assert called_after(curve, step=0.01, process_ratio=0.25) is None
    assert called_after(curve, step=0.01) is not None


def test_a_leak_that_pauses_is_called_when_it_goes_on() -> None:
    def curve(time_s: float) -> float:
        rounds, rest = divmod(max(0.0, time_s), 23)
        return 10 + 80 * rounds + 10 * min(rest, 8)

    after = called_after(curve)
    assert after is not None
    assert after < 60
    assert after % 23 <= 9, "not while it pauses"


def test_a_small_limit_is_called_before_it_is_reached() -> None:
    curve = leak(5)
    after = called_after(curve, forecast=forecast_of(100, curve))
    assert after is not None
    assert curve(after) < 80, "half of the limit is used, and a leak would need 128 tasks"


def test_a_limit_that_is_full_but_not_by_growth_is_not_called() -> None:
    def full(time_s: float) -> Forecast:
        return Forecast(Limit.PIDS_MAX, "/a", 100, 100, None, "pids.max")

    track = Track(0.0, 95, Thresholds())
    for time_s in range(1, 60):
        assert track.observe(Observation(time_s, 100, 5, 5, 0.0, True, full(time_s))) is None


def test_a_workload_that_is_refused_after_it_took_the_limit_is_exhausted() -> None:
    full = Forecast(Limit.PIDS_MAX, "/a", 100, 100, None, "pids.max")
    track = Track(0.0, 1, Thresholds())
    assert track.observe(Observation(0.02, 100, 5_000, 0, 0.0, True, full)) is Transition.STARTED
    assert track.state is State.EXHAUSTED
    assert track.episode is not None
    assert track.episode.evidence.rule == "refused"


def storm(track: Track, since: int, until: int, per_second: float) -> list[Transition | None]:
    return [
        track.observe(Observation(time_s, 12, per_second, per_second, 1.0, False, None))
        for time_s in range(since, until)
    ]


def test_a_storm_is_called_and_calms() -> None:
    track = Track(0.0, 10, Thresholds())
    told = storm(track, 1, 30, 5_000)
    assert told.index(Transition.STARTED) == 5
    assert track.episode is not None
    assert track.episode.shape is Shape.STORM
    told = storm(track, 30, 60, 10)
    assert told[-1] is None, "over, and not called again"
    assert told.index(Transition.ENDED) == 9
    assert track.ended is End.CALMED


def test_a_shell_loop_is_no_storm() -> None:
    track = Track(0.0, 10, Thresholds())
    assert set(storm(track, 1, 120, 1_500)) == {None}


def exploding(tasks_per_second: float = 100) -> tuple[Track, float]:
    track = Track(0.0, 10, Thresholds())
    time_s = 0.0
    while not track.is_called:
        time_s += 1
        track.observe(
            Observation(time_s, int(10 + tasks_per_second * time_s), 0, 0, 0.0, False, None)
        )
    return track, time_s


def follow(track: Track, since_s: float, seconds: int, curve: Curve) -> list[Transition | None]:
    return [
        track.observe(Observation(since_s + index, int(curve(index)), 0, 0, 0.0, False, None))
        for index in range(1, seconds + 1)
    ]


def test_an_episode_ends_when_the_tasks_are_given_back() -> None:
    track, time_s = exploding()
    told = follow(track, time_s, 5, lambda _: 20)
    assert Transition.ENDED in told
    assert track.ended is End.FELL_BACK


def test_an_episode_ends_on_a_plateau_but_not_in_a_pause() -> None:
    track, time_s = exploding()
    top = track.tasks_peak
    assert Transition.ENDED not in follow(track, time_s, 30, lambda _: top)
    assert track.state is State.RECOVERING
    grown = follow(track, time_s + 30, 10, lambda second: top + 100 * second)
    assert Transition.STARTED not in grown, "the same episode"
    assert track.state is State.EXPLODING
    told = follow(track, time_s + 40, 80, lambda _: top + 1_000)
    assert Transition.ENDED in told
    assert track.ended is End.PLATEAU


def test_a_gap_makes_no_explosion() -> None:
    track = Track(0.0, 10, Thresholds())
    for time_s in range(1, 10):
        track.observe(Observation(time_s, 10 + time_s % 2, 0, 0, 0.0, False, None))
    track.forget_gap(70.0, 5_000)
    told = follow(track, 70, 60, lambda second: 5_000 + second % 3)
    assert set(told) == {None}


def test_a_gap_does_not_hide_a_workload_that_fills_a_limit() -> None:
    """A fork bomb may starve the agent while it explodes."""
    full = Forecast(Limit.PIDS_MAX, "/a", 3_000, 3_000, None, "pids.max")
    track = Track(0.0, 2, Thresholds())
    track.observe(Observation(1.0, 40, 0, 0, 1.0, False, None))
    track.forget_gap(9.0, 3_000)
    assert track.observe(Observation(9.0, 3_000, 0, 0, 1.0, True, full)) is Transition.STARTED


def test_what_settles_higher_is_dropped_after_an_hour() -> None:
    track = Track(0.0, 10, Thresholds())
    for time_s in range(1, 4_000, 7):
        track.observe(Observation(time_s, 60, 0, 0, 0.0, False, None))
        assert track.is_done == (time_s > 3_600), time_s


def test_what_breathes_is_remembered() -> None:
    track = Track(0.0, 10, Thresholds())
    for time_s in range(1, 40):
        track.observe(Observation(time_s, 10 + 30 * (time_s % 10 < 5), 0, 0, 0.0, False, None))
    assert track.gained == 0
    assert not track.is_done
    for time_s in range(40, 800):
        track.observe(Observation(time_s, 10, 0, 0, 0.0, False, None))
    assert track.is_done, "after ten minutes"


def test_thresholds_are_used() -> None:
    patient = Thresholds(leak_tasks=1_000, jump_tasks=100_000)
    after = called_after(leak(20), thresholds=patient)
    assert after is not None
    assert after >= 50
