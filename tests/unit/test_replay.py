"""A recording played: its pace, and moving about in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import workload
from replay_builders import (
    SECOND,
    START,
    Made,
    Playing,
    play,
    play_to_end,
    shown,
    through,
)

from support.heard import Heard
from support.recording import container, rates
from threadtrace.feeds.checkpoints import Checkpoints
from threadtrace.feeds.pace import Pace
from threadtrace.feeds.recording_index import RecordingIndex
from threadtrace.model.explosion import Explosion, State, Transition
from threadtrace.model.snapshot import EndedWorkload, Loss, Totals


def test_played_at_the_pace_of_the_recording(tmp_path: Path) -> None:
    made = Made().start().tick().tick(after=3).refused(before=1).tick()
    playing = play_to_end(made.file(tmp_path / "r"))
    assert playing.heard.told == through(str(tmp_path / "r")).told
    assert playing.time.waits == pytest.approx([1.0, 2.0, 1.0])
    assert playing.replay.duration_seconds == pytest.approx(4.0)
    assert playing.replay.position_seconds == pytest.approx(4.0)
    assert playing.replay.start_ns == START
    assert playing.replay.indexed_ratio == 1.0


@pytest.mark.parametrize(("speed", "seconds"), [(4.0, 0.25), (0.5, 2.0), (1e9, 1 / 64), (0, 8.0)])
def test_speed(tmp_path: Path, speed: float, seconds: float) -> None:
    async def body(playing: Playing) -> None:
        playing.replay.speed = speed
        await playing.to_end()

    playing = play(Made().tick().tick().tick().file(tmp_path / "r"), body)
    assert playing.time.waits == pytest.approx([seconds, seconds])


def test_a_long_gap_is_shortened(tmp_path: Path) -> None:
    path = Made().tick(after=5).tick(after=5.1).tick(after=9000).tick().file(tmp_path / "r")
    playing = play_to_end(path)
    assert playing.time.waits == pytest.approx([5.0, 1.0, 1.0])
    assert playing.replay.duration_seconds == pytest.approx(9010.1)


def test_paused_it_shows_the_first_tick_and_waits(tmp_path: Path) -> None:
    async def body(playing: Playing) -> None:
        replay = playing.replay
        replay.is_paused = True
        await playing.until(lambda: len(playing.heard.snapshots) == 1)
        await playing.settled()
        assert (len(playing.heard.snapshots), playing.time.waits) == (1, [])
        assert not replay.is_at_end
        replay.is_paused = False
        await playing.to_end()

    assert len(play(Made().ticks(3).file(tmp_path / "r"), body).heard.snapshots) == 3


def test_steps(tmp_path: Path) -> None:
    path = Made().ticks(9).file(tmp_path / "r")

    async def body(playing: Playing) -> None:
        replay = playing.replay
        replay.step(1)
        replay.is_paused = True
        await playing.until(lambda: bool(playing.heard.snapshots))
        for ticks, at in [(1, 1), (1, 2), (3, 5), (-1, 4), (-2, 2), (1, 3), (99, 8), (-99, 0)]:
            replay.step(ticks)
            assert ticks != 1 or replay.position_seconds == at
            await playing.settled()
            assert replay.position_seconds == pytest.approx(at)
            assert playing.heard.snapshots[-1].time_ns == START + at * SECOND
        assert len(playing.heard.starts) == 1 + 3, "only steps back begin anew"

    play(path, body)


def test_pace_keeps_what_has_passed_of_a_gap() -> None:
    pace = Pace()
    pace.restart(100.0)
    pace.change_speed(2.0, 101.0)
    assert pace.due(4.0) == pytest.approx(102.5), "a second of four has passed"
    pace.pause(True, 101.5)
    pace.pause(False, 201.5)
    assert pace.due(4.0) == pytest.approx(202.5)


def test_who_cannot_keep_up_does_not_hurry_afterwards() -> None:
    pace = Pace()
    pace.restart(100.0)
    pace.passed(101.0, 101.2)
    assert pace.due(1.0) == pytest.approx(102.0)
    pace.passed(102.0, 110.0)
    assert pace.due(1.0) == pytest.approx(111.0)


# Moving about.


def eventful() -> Made:
    """300 ticks, with all kinds of events."""
    made = Made().start()
    for number in range(300):
        if number == 20:
            made.explosion(Transition.STARTED, number=7)
        if number == 40:
            made.explosion(Transition.STARTED, number=8, workload=container(3))
        if number == 60:
            made.explosion(Transition.ENDED, number=7)
        if number in (100, 101, 102, 200):
            made.refused()
        ended = ()
        if number % 50 == 30:
            ended = (EndedWorkload(container(1 + number % 50), made.now_ns, Totals(), 5),)
        losses = (Loss("output", 2),) if number in (10, 150) else ()
        busy = workload()._replace(state=State.EXPLODING) if 20 <= number < 30 else rates(0)
        made.tick(busy, rates(0, 1 + number), rates(1 + number % 50), ended=ended, losses=losses)
    return made


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    return eventful().file(tmp_path_factory.mktemp("replay") / "long.gz", packed=True)


@pytest.mark.parametrize("seconds", [0, 1, 19, 45, 119, 120, 121, 170, 299])
def test_a_seek_shows_what_playing_would_have(long_recording: str, seconds: int) -> None:
    wanted = {told.time_ns: shown(told) for told in through(long_recording).snapshots}

    async def body(playing: Playing) -> None:
        replay = playing.replay
        replay.is_paused = True
        await playing.settled()
        for at in (250, seconds, 299, seconds):  # from both sides
            playing.heard.told.clear()
            replay.seek(at)
            assert replay.position_seconds == at
            await playing.settled()
            told = playing.heard
            assert len(told.starts) == 1
            assert told.told[0] is told.starts[0]
            assert told.starts[0].kernel_release == "6.12.1"
            times = [entry.time_ns for entry in told.snapshots]
            first = max(0, at - 120)
            assert times == [START + number * SECOND for number in range(first, at + 1)]
            for entry in told.snapshots[1:]:
                assert shown(entry) == wanted[entry.time_ns]
            before, (_, workloads) = told.snapshots[0], wanted[times[0]]
            assert shown(before)[1] == workloads
            lost = sum(loss.lost for entry in told.snapshots for loss in entry.losses)
            assert lost == 2 * (at >= 10) + 2 * (at >= 150)
            wanted_episodes = [7] * (20 <= at < 60) + [8] * (at >= 40)
            assert sorted(under_way(told)) == wanted_episodes

    small = Checkpoints(spacing_bytes=20_000)
    play(long_recording, body, checkpoints=small)
    assert 5 < len(small) <= 64


def under_way(heard: Heard) -> set[int]:
    found: dict[int, Explosion] = {}
    for entry in heard.explosions:
        found[entry.number] = entry
    return {number for number, entry in found.items() if entry.ended is None}


def test_it_plays_on_from_where_it_was_sent(long_recording: str) -> None:
    async def body(playing: Playing) -> None:
        playing.replay.is_paused = True
        await playing.settled()
        playing.replay.seek(297)
        await playing.settled()
        playing.heard.told.clear()
        playing.replay.is_paused = False
        await playing.to_end()
        assert [entry.time_ns for entry in playing.heard.snapshots] == [
            START + 298 * SECOND,
            START + 299 * SECOND,
        ]
        playing.replay.seek(1)
        await playing.until(lambda: not playing.replay.is_at_end)
        await playing.to_end()
        assert playing.heard.snapshots[-1].time_ns == START + 299 * SECOND

    play(long_recording, body)


def test_the_next_event_and_the_one_before(long_recording: str) -> None:
    async def body(playing: Playing) -> None:
        replay = playing.replay
        replay.is_paused = True
        await playing.settled()
        found = []
        for direction in (1, 1, 1, 1, -1, -1, -1):
            assert replay.next_event(direction)
            await playing.settled()
            found.append(replay.position_seconds)
        assert found == [19.5, 39.5, 99.5, 199.5, 99.5, 39.5, 19.5]
        assert playing.heard.explosions[-1].transition is Transition.STARTED
        assert not replay.next_event(-1)
        replay.seek(250)
        assert not replay.next_event(1)

    play(long_recording, body)


def test_a_window_with_very_many_rates_is_shorter(long_recording: str) -> None:
    index = RecordingIndex(long_recording)
    while not index.is_complete:
        index.advance()
    assert index.first_of_window(299, 120 * SECOND, 10_000) == 179
    assert index.first_of_window(299, 120 * SECOND, 30) == 290
    assert index.first_of_window(299, 120 * SECOND, 1) == 299
    index.text.close()


def test_checkpoints_are_thinned_out(long_recording: str) -> None:
    few = Checkpoints(most=5, spacing_bytes=1)
    index = RecordingIndex(long_recording, checkpoints=few)
    while not index.is_complete:
        index.advance()
    index.text.close()
    assert 3 <= len(few) <= 5
    assert few.before(0) is not None
    last = few.before(299)
    assert last is not None
    assert last.tick > 100

    async def body(playing: Playing) -> None:
        await playing.settled()
        playing.replay.is_paused = True
        playing.replay.seek(222)
        await playing.settled()

    playing = play(long_recording, body, checkpoints=Checkpoints(most=3, spacing_bytes=1))
    wanted = {told.time_ns: shown(told) for told in through(long_recording).snapshots}
    last_told = playing.heard.snapshots[-1]
    assert shown(last_told) == wanted[START + 222 * SECOND]
