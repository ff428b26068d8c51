"""The window of the stream's own lines."""

from __future__ import annotations

import pytest
from serving_builders import AGENT_ID, line, lines

from threadtrace.serving.history import History, sequence_of


def test_a_line_tells_its_number_and_its_agent() -> None:
    history = History()
    assert (history.agent_id, history.oldest, history.newest) == (None, None, None)
    history.add([line(41)], 0.0)
    assert (history.agent_id, history.oldest, history.newest) == (AGENT_ID, 41, 41)
    assert sequence_of(line(123456789)) == 123456789


def test_reading_on_from_anywhere() -> None:
    history, all_lines = History(), lines(1000, 30)
    for start in range(0, 30, 7):
        history.add(all_lines[start : start + 7], 0.0)
    history.add([], 0.0)
    for after in range(999, 1030):
        read, position = b"", after
        while page := history.read(position, 300):
            if not page.lines:
                break
            assert page.last_sequence > position
            assert len(page.lines) <= 300 + len(all_lines[0])
            read += page.lines
            position = page.last_sequence
        assert read == b"".join(all_lines[after - 999 :])
        assert position == 1029
    assert history.read(998, 300) is None
    assert history.read(1030, 300) is None


def test_nothing_yet() -> None:
    history = History("id")
    assert history.holds(0)
    assert not history.holds(1)
    page = history.read(0, 100)
    assert page is not None
    assert page.lines == b""


def test_bounded_by_bytes_and_time() -> None:
    size = len(line(100)) + 60
    history = History(max_bytes=size * 20, max_seconds=10.0)
    for number in range(100, 200):
        history.add([line(number)], 0.0)
        history.end_turn()
    assert history.size <= size * 21
    assert (history.oldest, history.newest) == (180, 199)
    history.add(lines(200, 100), 0.0)
    assert (history.oldest, history.newest) == (200, 299)
    history.end_turn()
    history.add([line(300)], 11.0)
    assert (history.oldest, history.newest) == (300, 300)
    history.end_turn()
    history.add([line(301)], 1000.0)
    assert (history.oldest, history.newest) == (301, 301)


def test_what_readers_could_not_read_yet_stays_for_some_seconds() -> None:
    history = History(max_bytes=1000)
    for number in range(100, 200):
        history.add([line(number)], number / 100)
    assert history.oldest == 100
    history.end_turn()
    history.add([line(200)], 2.0)
    assert history.oldest is not None
    assert history.oldest > 190
    for number in range(201, 300):
        history.add([line(number)], number / 10)
    assert history.oldest > 240


@pytest.mark.parametrize("next_number", [1, 3, 5, 90])
def test_numbers_that_do_not_follow_begin_anew(next_number: int) -> None:
    history = History()
    history.add(lines(1, 3), 0.0)
    history.add([line(next_number)], 0.0)
    assert (history.oldest, history.newest) == (next_number, next_number)
    assert history.size == len(line(next_number)) + 60
