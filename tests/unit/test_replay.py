"""A recording played: its pace, moving about in it, and files of every kind and condition."""

from __future__ import annotations

import asyncio
import gzip
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from builders import WEB, snapshot, workload
from test_explosion_events import LEAK

from support.heard import Heard
from support.recording import STARTED, container, rates, refusal
from threadtrace.errors import ThreadtraceError, UsageError
from threadtrace.feeds.checkpoints import Checkpoints
from threadtrace.feeds.pace import Pace
from threadtrace.feeds.play_through import play_through
from threadtrace.feeds.recording_index import RecordingIndex
from threadtrace.feeds.replay import Replay
from threadtrace.model.explosion import CreatingProcess, End, Explosion, State, Transition
from threadtrace.model.snapshot import EndedWorkload, Happenings, Loss, Snapshot, Totals
from threadtrace.output.events import EventWriter
from threadtrace.output.stream import EventStream
from threadtrace.probe.records import Limit
from threadtrace.report.faults import RecordingUnreadable, RecordingWithoutEvents

SECOND = 1_000_000_000
START = snapshot().time_ns
RECORD = Path(__file__).parents[1] / "data" / "pids-max-of-parent.jsonl.gz"


class Made:
    """A recording in the making; each tick a second after the one before."""

    def __init__(self, node: str = "", at: float = 0.0) -> None:
        self.lines: list[bytes] = []
        self.seconds = at
        environment = {"NODE_NAME": node} if node else {}
        self.stream = EventStream(EventWriter(environment), self, False)  # type: ignore[arg-type]

    def write(self, lines: list[bytes]) -> None:
        self.lines += lines

    def take_lost(self) -> int:
        return 0

    @property
    def now_ns(self) -> int:
        return START + round(self.seconds * SECOND)

    def start(self) -> Made:
        self.stream.on_start(self.now_ns, STARTED)
        return self

    def tick(self, *workloads: Any, after: float = 1.0, **changes: Any) -> Made:
        self.stream.on_snapshot(snapshot(*workloads)._replace(time_ns=self.now_ns, **changes))
        self.seconds += after
        return self

    def ticks(self, count: int) -> Made:
        """Workload 0 is always active, each other in one tick of fifty."""
        for number in range(count):
            self.tick(rates(0, 1 + number), rates(1 + number % 50))
        return self

    def between(self, before: float, **told: Any) -> Made:
        """That long before the next tick."""
        self.stream.on_happenings(
            Happenings(**{"started": [], "refusals": [], "explosions": []} | told)
        )
        return self

    def refused(self, before: float = 0.5) -> Made:
        return self.between(before, refusals=[refusal(1, self.now_ns - round(before * SECOND))])

    def explosion(self, transition: Transition, before: float = 0.5, **changes: Any) -> Made:
        return self.between(before, explosions=[self.leak(transition, before, **changes)])

    def leak(self, transition: Transition, before: float = 0.5, **changes: Any) -> Explosion:
        is_over = transition is Transition.ENDED
        return LEAK._replace(
            transition=transition,
            time_ns=self.now_ns - round(before * SECOND),
            state=State.QUIET if is_over else State.EXPLODING,
            ended=End.CALMED if is_over else None,
            victims=(),
            victims_count=0,
            **changes,
        )

    def file(self, path: Path, packed: bool = False) -> str:
        content = b"".join(self.lines)
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
        return str(path)


class HandTime:
    """A clock that goes on by itself whenever somebody waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.is_idle = False
        """Nothing is due, whatever the time."""

    def clock(self) -> float:
        return self.now

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        if event.is_set():
            return
        if seconds is None:
            self.is_idle = True
            await event.wait()
            self.is_idle = False
            return
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Playing:
    """A replay that runs beside a test."""

    def __init__(self, path: str, **options: Any) -> None:
        self.time = HandTime()
        self.heard = Heard()
        self.replay = Replay(path, clock=self.time.clock, wait=self.time.wait, **options)
        self.failed: BaseException | None = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let it run; fails where the condition does not come true."""
        deadline = asyncio.get_running_loop().time() + 300
        while not condition():
            if self._task.done():
                self._task.result()
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)

    async def settled(self) -> None:
        """All that was wanted is done, and nothing is due."""
        replay = self.replay
        await self.until(
            lambda: self.time.is_idle and replay.is_indexed and not replay._wake.is_set()
        )

    async def to_end(self) -> None:
        await self.until(lambda: self.replay.is_at_end)
        await self.settled()

    async def run(self, body: Callable[[Playing], Awaitable[None]]) -> None:
        self._task = asyncio.ensure_future(self.replay.run(self.heard))
        try:
            await body(self)
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def play(path: str, body: Callable[[Playing], Awaitable[None]], **options: Any) -> Playing:
    playing = Playing(path, **options)
    asyncio.run(playing.run(body))
    return playing


def play_to_end(path: str, **options: Any) -> Playing:
    return play(path, Playing.to_end, **options)


def through(path: str, node: str | None = None) -> Heard:
    heard = Heard()
    play_through(path, heard, node)
    return heard


def shown(told: Snapshot) -> Any:
    """Of a tick, without what has no order."""
    by_key = {entry.workload.key: entry for entry in told.workloads}
    return told._replace(workloads=()), by_key


# Pace.


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


# Files.


@pytest.mark.parametrize("packed", [True, False])
def test_plain_or_packed(tmp_path: Path, packed: bool) -> None:
    path = Made().start().ticks(30).file(tmp_path / "r.part", packed=packed)
    playing = play_to_end(path)
    assert playing.heard.told == through(path).told
    assert len(playing.heard.snapshots) == 30
    assert playing.replay.notes == play_through(path, Heard()).notes
    assert playing.replay.notes.is_compressed is packed


def test_several_members_padding_and_a_large_piece(tmp_path: Path) -> None:
    one, other = Made().start().ticks(3), Made(at=3)
    other.tick(*(rates(number) for number in range(3000)))
    path = tmp_path / "r.gz"
    content = gzip.compress(b"".join(one.lines)) + gzip.compress(b"".join(other.lines))
    path.write_bytes(content + b"\0" * 100)
    playing = play_to_end(str(path))
    assert [len(entry.workloads) for entry in playing.heard.snapshots][-1] == 3000
    assert not playing.replay.notes.is_cut_off
    assert playing.replay.notes.damage is None


@pytest.mark.parametrize("packed", [True, False])
def test_cut_off(tmp_path: Path, packed: bool) -> None:
    path = Path(Made().start().ticks(200).file(tmp_path / "r", packed=packed))
    path.write_bytes(path.read_bytes()[:-700])
    playing = play_to_end(str(path))
    assert len(playing.heard.snapshots) > 100
    assert playing.replay.notes.is_cut_off


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    path = Path(Made().start().ticks(500).file(tmp_path / "r", packed=True))
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 40):
        content[place] ^= 0x55
    path.write_bytes(content)
    playing = play_to_end(str(path))
    notes = playing.replay.notes
    assert playing.heard.snapshots
    assert notes.damage or notes.not_json or notes.is_cut_off


@pytest.mark.parametrize("packed", [True, False])
def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """What came is shown while more is to come."""
    made = Made().start().ticks(15)
    content = b"".join(made.lines)
    content = gzip.compress(content) if packed else content
    inside, outside = os.pipe()
    usual = os.dup(0)
    os.dup2(inside, 0)
    try:

        async def body(playing: Playing) -> None:
            assert playing.replay.indexed_ratio is None
            await playing.until(lambda: playing.replay._silent_polls > 0)
            os.write(outside, content[:1])
            await playing.until(lambda: playing.replay._silent_polls == 0)
            os.write(outside, content[1:])
            if not packed:
                await playing.until(lambda: len(playing.heard.snapshots) == 15)
            os.close(outside)
            await playing.to_end()

        assert len(content) < 65_536
        playing = play("-", body)
    finally:
        os.dup2(usual, 0)
        os.close(usual)
        os.close(inside)
    assert len(playing.heard.snapshots) == 15


def test_several_runs(tmp_path: Path) -> None:
    """The second begins before the first ends, as where files were joined in the wrong order."""
    first, second = Made(at=100).start().ticks(5), Made().start().ticks(5)
    first.lines += second.lines
    path = first.file(tmp_path / "r")
    playing = play_to_end(path)
    assert len(playing.heard.starts) == 2
    assert len(playing.heard.snapshots) == 10
    assert playing.time.waits == pytest.approx([1.0] * 9)
    assert playing.replay.duration_seconds == pytest.approx(9.0)

    async def body(playing: Playing) -> None:
        await playing.settled()
        playing.replay.is_paused = True
        for at in (7, 2):
            playing.replay.seek(at)
            await playing.settled()
            assert playing.heard.snapshots[-1].time_ns == START + (at % 5 + 100 * (at < 5)) * SECOND

    play(path, body)


def test_several_nodes(tmp_path: Path) -> None:
    one, other = Made("one").start().ticks(3), Made("other").start().ticks(5)
    made = Made()
    made.lines = [other.lines[0], *one.lines, *other.lines[1:]]
    path = made.file(tmp_path / "r")
    for node, ticks in ((None, 3), ("one", 3), ("other", 5)):
        playing = play_to_end(path, node=node)
        assert len(playing.heard.snapshots) == ticks
        assert playing.heard.told == through(path, node).told
        assert playing.replay.node == (node or "one")
        assert {about.node for about in playing.heard.starts} == {node or "one"}
        assert playing.heard.starts[0].kernel_release == "6.12.1", "told before the first tick"


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", RecordingWithoutEvents, "is empty"),
        (b"no json\n{}\n", RecordingWithoutEvents, "holds no event"),
        (gzip.compress(b""), RecordingWithoutEvents, "is empty"),
        (b"".join(Made().start().lines), RecordingWithoutEvents, "no tick to show"),
    ],
)
def test_nothing_to_show(
    tmp_path: Path, content: bytes, error: type[ThreadtraceError], words: str
) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        play_to_end(str(path))
    with pytest.raises(error, match=words):
        through(str(path))


def test_no_such_node(tmp_path: Path) -> None:
    path = Made("one").ticks(3).file(tmp_path / "r")
    for run in (lambda: play_to_end(path, node="two"), lambda: through(path, "two")):
        with pytest.raises(UsageError, match=r"--node: no tick of two in it; there are one"):
            run()


def test_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(RecordingUnreadable, match="cannot read"):
            Replay(str(path))


def test_hostile_lines(tmp_path: Path) -> None:
    made = Made().start().tick(workload())
    event = orjson.loads(made.lines[-1])
    event["threadtrace"] = [1]
    far = {**orjson.loads(made.lines[1]), "timestamp": "9999-12-31T23:59:59.000000000Z"}
    far["event"]["name"] = "threadtrace.fork.refused"
    made.lines += [
        b"\xff\xfe\n",
        b"\n",
        b"x" * 3_000_000 + b"\n",
        orjson.dumps(event) + b"\n",
        orjson.dumps(far) + b"\n",
        b"[" * 2_000 + b"\n",
    ]
    made.ticks(3)
    made.lines += [b"y" * 2_000_000]
    made.lines[0] = b"\xef\xbb\xbf" + made.lines[0]
    path = made.file(tmp_path / "r")
    playing = play_to_end(path)
    assert len(playing.heard.starts) == 1
    assert len(playing.heard.snapshots) == 4
    assert playing.replay.notes.too_long == 2
    assert playing.replay.duration_seconds == pytest.approx(3.0)
    assert playing.heard.told == through(path).told


# A closer look.


def test_what_a_recording_knows_of_a_workload_and_a_process(tmp_path: Path) -> None:
    made = Made().start()
    process = CreatingProcess(4242, "java", 7, 4000, "java -jar web.jar", "sh")
    made.tick(workload()).explosion(Transition.STARTED, process=process).tick(workload())

    async def body(playing: Playing) -> None:
        replay = playing.replay
        assert await replay.inspect_workload(WEB.key) is None
        await playing.to_end()
        details = await replay.inspect_workload(WEB.key)
        assert details is not None
        (told,) = details.processes
        assert (told.pid, told.threads, told.command_line) == (4242, 498, "java -jar web.jar")
        assert told.created_per_second == 997
        assert details.processes_count is None
        assert [(level.limit, level.value) for level in details.limits] == [
            (Limit.PIDS_MAX, 1000),
            (Limit.PIDS_MAX, 1000),
            (Limit.PID_MAX, 32_468),
            (Limit.THREADS_MAX, 1_545_000),
        ]
        assert [level.owner for level in details.limits][:2] == [WEB.cgroup_path, "/kubepods/pod1"]
        found = await replay.inspect_process(4242)
        assert found is not None
        assert found.process == told
        assert found.parent_pid == 4000
        assert [entry.name for entry in found.thread_names] == ["pool-#-thread-#"]
        assert await replay.inspect_workload("none") is None
        assert await replay.inspect_process(1) is None

    play(made.file(tmp_path / "r"), body)


def test_a_real_recording() -> None:
    playing = play_to_end(str(RECORD))
    assert playing.heard.told == through(str(RECORD)).told
    assert playing.heard.refusals


def test_many_workloads_and_no_thread(tmp_path: Path) -> None:
    made = Made().start()
    for number in range(120):
        made.tick(*(rates(entry, 1 + number) for entry in range(2000)))
    path = made.file(tmp_path / "r.gz", packed=True)

    async def body(playing: Playing) -> None:
        replay = playing.replay
        replay.is_paused = True
        await playing.until(lambda: bool(playing.heard.snapshots))
        assert not replay.is_indexed, "the first frame comes before all was looked through"
        await playing.settled()
        replay.seek(119)
        await playing.settled()
        assert threading.active_count() == 1

    last = play(path, body).heard.snapshots[-1]
    assert len(last.workloads) == 2000
    assert all(entry.counts.threads_created == 120 for entry in last.workloads)
