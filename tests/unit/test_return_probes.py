"""Returns that no return probe saw are counted, and clones under way are not taken for them."""

from __future__ import annotations

from threadtrace.probe.skipped import ReturnProbes


def test_nothing_missed() -> None:
    probes = ReturnProbes()
    assert [probes.missed(100 * n, 100 * n) for n in range(20)] == [0] * 20


def test_clones_under_way_while_reading_are_not_missed() -> None:
    probes = ReturnProbes()
    under_way = (0, 3, 1, 0, 2, 4, 2, 0, 1, 1, 5, 0)
    assert {probes.missed(100 * n, 100 * n - open_) for n, open_ in enumerate(under_way)} == {0}


def test_missed_for_good_is_told_after_five_readings_and_once() -> None:
    probes = ReturnProbes()
    for n in range(10):
        probes.missed(100 * n, 100 * n)
    told = [probes.missed(1000 + n, 1000 + n - 7) for n in range(8)]
    assert told == [0, 0, 0, 0, 7, 7, 7, 7]


def test_what_was_born_before_the_second_program_was_attached_is_not_missed() -> None:
    probes = ReturnProbes()
    assert {probes.missed(50 + 10 * n, 10 * n) for n in range(12)} == {0}


def test_a_number_once_told_does_not_shrink() -> None:
    probes = ReturnProbes()
    probes.missed(0, 0)
    for _ in range(5):
        highest = probes.missed(100, 90)
    assert highest == 10
    assert probes.missed(200, 200) == 10
