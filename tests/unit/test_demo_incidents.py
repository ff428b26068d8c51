"""How fast the demo's workloads grow."""

from __future__ import annotations

import itertools

import pytest

from threadtrace.demo.incidents import incident_a, incident_b
from threadtrace.demo.roles.leak import due_count


def test_growth_is_steady_or_faster_and_faster() -> None:
    assert [due_count(20, 0, seconds) for seconds in (0, 1, 2, 3)] == [0, 20, 40, 60]
    storm = [due_count(8, 1, seconds) for seconds in range(5)]
    steps = [later - earlier for earlier, later in itertools.pairwise(storm)]
    assert steps == sorted(steps)
    assert steps[-1] > 7 * steps[0]


@pytest.mark.parametrize("seconds", [10, 30, 600])
def test_all_threads_come_within_the_time(seconds: float) -> None:
    for incident in (incident_a(seconds), incident_b(seconds)):
        due = 0
        for actor in incident.actors:
            if actor.is_culprit:
                _, per_second, doubles_every, _ = actor.arguments
                due += due_count(float(per_second), float(doubles_every), max(3, seconds - 9))
        assert due == pytest.approx(430, abs=3)
