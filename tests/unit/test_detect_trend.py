"""A number over time: its base is kept, its slope bears outliers."""

from __future__ import annotations

import random

import pytest

from threadtrace.detect.trend import Trend


def test_slope_of_too_few_samples_is_not_known() -> None:
    trend = Trend(0.0, 5)
    trend.add(1.0, 6)
    assert trend.slope(0.0) is None
    trend.add(2.0, 7)
    assert trend.slope(0.0) == 1.0
    assert trend.slope(1.5) is None


def test_a_third_of_the_samples_may_be_far_off() -> None:
    trend = Trend(0.0, 0)
    for second in range(1, 13):
        trend.add(second, 10_000 if second % 4 == 0 else 3 * second)
    assert trend.slope(0.0) == pytest.approx(3, abs=0.5)


def test_base_and_length_after_an_hour() -> None:
    trend = Trend(0.0, 50)
    for second in range(1, 5_400):
        trend.add(second, 40 if second == 4_800 else 50 + second // 10)
    assert trend.lowest() == (4_800.0, 40), "thinning out keeps the lowest"
    assert len(trend._points) <= 96
    assert trend._points[0].time_s >= 1_790, "what is older than an hour is forgotten"


def test_the_last_of_several_lowest_counts() -> None:
    trend = Trend(0.0, 5)
    for time_s, value in ((1, 9), (2, 5), (3, 8)):
        trend.add(time_s, value)
    assert trend.lowest() == (2, 5)


def test_a_second_sample_of_one_moment_takes_the_place_of_the_first() -> None:
    trend = Trend(0.0, 5)
    trend.add(1.0, 6)
    trend.add(1.0, 7)
    assert trend.last == (1.0, 7)
    assert trend.before(0.5) == (0.0, 5)
    assert trend.before(-1.0) == (0.0, 5), "the first, where all are later"


def test_the_lowest_is_always_the_last_of_the_lowest() -> None:
    chance = random.Random(7)
    trend = Trend(0.0, 50)
    for second in range(1, 9_000):
        trend.add(second * chance.choice([0.01, 0.5, 1.0, 1.0]) + second, chance.randrange(40, 60))
        points = trend._points
        assert trend.lowest() == min(reversed(points), key=lambda point: point.value)
