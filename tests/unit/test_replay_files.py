"""Recordings of every kind and in every condition, played."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import orjson
import pytest
from builders import WEB, workload
from replay_builders import (
    RECORD,
    SECOND,
    START,
    Made,
    Playing,
    play,
    play_to_end,
    through,
)

from support.heard import Heard
from support.recording import rates
from threadtrace.errors import ThreadtraceError, UsageError
from threadtrace.feeds.play_through import play_through
from threadtrace.feeds.replay import Replay
from threadtrace.model.explosion import CreatingProcess, Transition
from threadtrace.probe.records import Limit
from threadtrace.report.faults import RecordingUnreadable, RecordingWithoutEvents


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
