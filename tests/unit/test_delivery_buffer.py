"""What waits is bounded, and what matters most is dropped last."""

from __future__ import annotations

from threadtrace.delivery.buffer import OVERHEAD_BYTES, LineBuffer, Rank

LINE_BYTES = 80
COST = LINE_BYTES + OVERHEAD_BYTES


def line(number: int) -> bytes:
    return b"%0*d\n" % (LINE_BYTES - 1, number)


def lines(first: int, count: int) -> list[bytes]:
    return [line(number) for number in range(first, first + count)]


def numbers(buffer: LineBuffer) -> list[int]:
    return [int(entry.line) for entry in buffer.take(1 << 30)]


def test_first_in_first_out() -> None:
    buffer = LineBuffer(100 * COST)
    buffer.add(lines(0, 3), Rank.RATES)
    buffer.add(lines(3, 3), Rank.KEPT)
    assert buffer.size == 6 * COST
    assert [int(entry.line) for entry in buffer.take(2 * LINE_BYTES)] == [0, 1]
    assert numbers(buffer) == [2, 3, 4, 5]
    assert not buffer
    assert (buffer.size, buffer.lost) == (0, 0)


def test_a_line_longer_than_asked_for_is_taken_alone() -> None:
    buffer = LineBuffer(100 * COST)
    buffer.add(lines(0, 2), Rank.RATES)
    assert [int(entry.line) for entry in buffer.take(1)] == [0]


def test_the_oldest_rates_go_first() -> None:
    buffer = LineBuffer(10 * COST)
    buffer.add(lines(0, 2), Rank.KEPT)
    buffer.add(lines(2, 4), Rank.RATES)
    buffer.add(lines(6, 2), Rank.COMINGS)
    buffer.add(lines(8, 3), Rank.RATES)
    assert buffer.lost == 2, "eleven are one too many; nine tenths of ten stay"
    assert numbers(buffer) == [0, 1, 4, 5, 6, 7, 8, 9, 10]


def test_then_comings_and_then_what_is_kept() -> None:
    buffer = LineBuffer(10 * COST)
    buffer.add(lines(0, 3), Rank.RATES)
    buffer.add(lines(3, 3), Rank.COMINGS)
    buffer.add(lines(6, 12), Rank.KEPT)
    assert numbers(buffer) == list(range(9, 18))
    assert buffer.lost == 9


def test_one_that_is_larger_than_the_buffer_is_lost() -> None:
    buffer = LineBuffer(COST - 1)
    buffer.add([line(1)], Rank.KEPT)
    assert not buffer
    assert (buffer.size, buffer.lost) == (0, 1)


def test_put_back_stands_first_in_its_order() -> None:
    buffer = LineBuffer(100 * COST)
    buffer.add(lines(0, 4), Rank.RATES)
    taken = buffer.take(2 * LINE_BYTES)
    buffer.put_back(taken)
    assert numbers(buffer) == [0, 1, 2, 3]


def test_what_is_put_back_may_be_too_much() -> None:
    buffer = LineBuffer(10 * COST)
    buffer.add(lines(0, 5), Rank.RATES)
    taken = buffer.take(1 << 20)
    buffer.add(lines(5, 8), Rank.KEPT)
    buffer.put_back(taken)
    assert buffer.lost == 4
    assert numbers(buffer) == [4, *range(5, 13)]


def test_every_line_is_either_there_or_counted() -> None:
    buffer = LineBuffer(50 * COST)
    for start in range(0, 5_000, 7):
        buffer.add(lines(start, 7), Rank(start % 3))
        assert buffer.size <= 50 * COST
    assert len(buffer) + buffer.lost == 5_005


def test_drop_all() -> None:
    buffer = LineBuffer(100 * COST)
    buffer.add(lines(0, 4), Rank.KEPT)
    buffer.drop_all()
    assert (len(buffer), buffer.size, buffer.lost) == (0, 0, 4)
