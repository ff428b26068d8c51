"""The flight recorder: what it keeps, when it writes it down, and what it leaves alone."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import stat
import tracemalloc
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from support.recording import (
    Recording,
    events_of,
    explosion,
    names_of,
    rates,
    refusal,
    with_options,
)
from threadtrace.model.explosion import Transition
from threadtrace.model.snapshot import Happenings, Loss
from threadtrace.output.record_window import MEMBER_BYTES, Window
from threadtrace.probe.records import Limit

SCHEMA = json.loads(files("threadtrace").joinpath("schema/events.schema.json").read_text())
NAME = re.compile(r"threadtrace-20261124T\d{6}Z-[0-9a-f]{8}-(explosion|refused)(-\d+)?\.jsonl\.gz")


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def test_nothing_is_written_while_nothing_happens(recording: Recording) -> None:
    for _ in range(200):
        recording.tick(rates(1), rates(2, 0))
    recording.recorder.close()
    assert recording.names() == []
    assert recording.recorder.take_lost() == 0


def test_a_ban_is_no_trigger(recording: Recording) -> None:
    """Some programs ask again and again for what a security module forbids."""
    banned = refusal()._replace(limit=Limit.OTHER, error=errno.EPERM)
    recording.recorder.on_happenings(Happenings([], [banned], []))
    assert recording.names() == []


def test_a_refusal_writes_what_was_before_and_after(recording: Recording) -> None:
    for _ in range(5):
        recording.tick(rates(1), rates(2, 0))
    recording.refuse()
    assert recording.only().name.endswith("-refused.jsonl.gz.part")
    assert names_of(recording.only())[-1] == "fork.refused", "on disk at once"
    recording.tick(rates(3))
    assert names_of(recording.only())[-1] == "workload.rates", "with each tick"
    recording.until_calm()
    assert NAME.fullmatch(recording.only().name)
    assert stat.S_IMODE(recording.only().stat().st_mode) == 0o600
    events = events_of(recording.only())
    names = names_of(recording.only())
    assert names[0] == "started"
    assert names.count("started") == 1
    assert names.index("fork.refused") == 1 + 5 + 5 + 1, "node, active ones, and idle ones once"
    assert names[-1] == "node.limits"
    sequence = [event["event"]["sequence"] for event in events]
    assert sequence == list(range(1, len(events) + 1)), "in order and without a gap"
    assert recording.only().name[29:37] == events[0]["agent"]["id"][:8]
    assert recording.recorder.take_lost() == 0


def test_events_follow_the_schema(recording: Recording) -> None:
    recording.tick(rates(1), rates(2, 0), losses=(Loss("output", 3),))
    recording.explode(Transition.STARTED)
    recording.tick(rates(1), refusals=(refusal(4),))
    recording.explode(Transition.ENDED)
    recording.until_calm()
    validator = Draft202012Validator(SCHEMA)
    events = events_of(recording.only())
    assert "threadtrace.explosion.ended" in {event["event"]["name"] for event in events}
    for event in events:
        assert [error.message for error in validator.iter_errors(event)] == []


def test_its_run_is_its_own(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    other = recording.start()
    recording.refuse()
    other.on_happenings(Happenings([], [refusal()], []))
    first, second = (events_of(tmp_path / name)[0]["agent"]["id"] for name in recording.names())
    assert first != second


def test_idle_workloads_once_a_minute(recording: Recording) -> None:
    for _ in range(181):
        recording.tick(rates(1), rates(2, 0))
    recording.refuse()
    recording.recorder.close()
    told = [
        event["threadtrace"]["workload"]["name"]
        for event in events_of(recording.only())
        if event["event"]["name"] == "threadtrace.workload.rates"
    ]
    assert sum(name.startswith("container 00000001") for name in told) == 181
    assert sum(name.startswith("container 00000002") for name in told) == 4


def test_the_last_ten_minutes(recording: Recording) -> None:
    for _ in range(1500):
        recording.tick(rates(2, 0))
    recording.refuse()
    recording.recorder.close()
    limits = [
        event
        for event in events_of(recording.only())
        if event["event"]["name"] == "threadtrace.node.limits"
    ]
    # A member goes when its last line is too old; it begins with a key frame.
    assert 600 <= len(limits) <= 600 + 61
    assert names_of(recording.only())[1:4] == ["node.limits", "workload.rates", "node.limits"]


def test_a_record_goes_on_while_it_explodes(recording: Recording) -> None:
    recording.explode(Transition.STARTED)
    assert "-explosion." in recording.only().name
    for _ in range(300):
        recording.tick(rates(1))
    recording.explode(Transition.UPDATED)
    recording.explode(Transition.STARTED, 2)
    recording.explode(Transition.ENDED)
    recording.until_calm()
    assert recording.only().suffix == ".part", "the second goes on"
    recording.explode(Transition.ENDED, 2)
    recording.until_calm(59)
    assert recording.only().suffix == ".part"
    recording.until_calm(1)
    assert NAME.fullmatch(recording.only().name), "60 seconds later, and one file for both"


def test_an_explosion_told_with_a_tick(recording: Recording) -> None:
    recording.tick(explosions=(explosion(Transition.STARTED),))
    assert "-explosion." in recording.only().name
    assert names_of(recording.only())[-1] == "explosion.started"


def test_half_an_hour_at_most(recording: Recording) -> None:
    recording.explode(Transition.STARTED)
    recording.until_calm(1799)
    assert recording.only().suffix == ".part"
    recording.until_calm(1)
    assert NAME.fullmatch(recording.only().name)
    recording.explode(Transition.UPDATED)
    recording.until_calm(10)
    assert len(recording.names()) == 1, "what goes on begins no other"
    recording.explode(Transition.STARTED, 2)
    assert len(recording.names()) == 2
    recording.recorder.close()


def test_refusals_that_do_not_end_are_one_record(recording: Recording) -> None:
    for _ in range(40):
        recording.refuse()
        recording.tick(seconds=60.0)
    assert len(recording.names()) == 1
    assert NAME.fullmatch(recording.only().name)
    recording.tick(seconds=539.0)
    recording.refuse()
    assert len(recording.names()) == 1, "599 seconds without any"
    recording.tick(seconds=600.0)
    recording.refuse()
    assert len(recording.names()) == 2
    recording.recorder.close()


def test_an_explosion_during_refusals_is_a_trigger_of_its_own(recording: Recording) -> None:
    recording.refuse()
    recording.until_calm()
    recording.explode(Transition.STARTED)
    recording.recorder.close()
    assert [name.split("-")[3] for name in recording.names()] == [
        "refused.jsonl.gz",
        "explosion.jsonl.gz",
    ]


def test_the_end_of_the_agent_completes_the_record(recording: Recording) -> None:
    recording.refuse()
    recording.tick(rates(1))
    recording.recorder.on_happenings(Happenings([], [refusal(9)], []))
    recording.recorder.close()
    assert NAME.fullmatch(recording.only().name)
    assert names_of(recording.only())[-1] == "fork.refused", "what waited is there too"
    recording.recorder.close()
    assert recording.recorder.take_lost() == 0


def test_two_records_of_one_second(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for _ in range(3):
        recording.explode(Transition.STARTED)
        recording.explode(Transition.ENDED)
        recording.recorder.close()
    names = recording.names()
    assert len(names) == 3
    assert all(map(NAME.fullmatch, names)), names


def test_a_clock_that_goes_back(recording: Recording) -> None:
    """What is bounded by time is so by the monotonic clock; the other only names."""
    for _ in range(30):
        recording.tick(rates(1))
    recording.time.realtime_ns -= 3600 * 1_000_000_000
    recording.tick(rates(1))
    recording.refuse()
    recording.time.realtime_ns -= 3600 * 1_000_000_000
    recording.until_calm()
    path = recording.only()
    assert path.name.startswith("threadtrace-20261123T23")
    assert names_of(path).count("workload.rates") == 31
    recording.time.advance(600)
    recording.refuse()
    recording.recorder.close()
    assert len(recording.names()) == 2


def test_the_bound_of_bytes(tmp_path: Path) -> None:
    """10,000 active workloads: no more memory than was allowed, and the record tells of the cut."""
    limit = 2 * 1024 * 1024
    workloads = [rates(number, 1 + number % 8191) for number in range(10_000)]
    recording = Recording(tmp_path, with_options(max_window_bytes=limit))
    recording.tick(*workloads)
    tracemalloc.start()
    try:
        for _ in range(12):
            recording.tick(*workloads)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Lines that wait to be compressed, and names of what Python keeps beside.
    assert kept < limit + 512 * 1024
    recording.refuse()
    recording.recorder.close()
    path = recording.only()
    assert path.stat().st_size <= limit + MEMBER_BYTES
    events = events_of(path)
    names = [event["event"]["name"] for event in events]
    assert names[-2:] == ["threadtrace.fork.refused", "threadtrace.loss"]
    sequence = [event["event"]["sequence"] for event in events]
    assert events[-1]["threadtrace"] == {"where": "recorder", "lost_count": sequence[1] - 2}
    assert sequence[1:] == list(range(sequence[1], sequence[-1] + 1)), "only the oldest went"
    Draft202012Validator(SCHEMA).validate(events[-1])


def test_the_cut_is_forgotten_with_its_time() -> None:
    window = Window(600.0, 10_000)
    line = os.urandom(1000).hex().encode() + b"\n"
    for second in range(100):
        window.add(line, second)
        window.seal(second)
    assert window.bytes_kept <= 10_000
    assert window.cut_lines() == window.first_line > 0
    window.seal(630.0)
    assert 0 < window.cut_lines() < window.first_line
    window.seal(700.5)
    assert window.cut_lines() == 0
    assert window.first_line == window.end_line == 100


def test_members_of_a_window() -> None:
    window = Window(600.0, 1 << 20)
    for number in range(5000):
        window.add(b"%063d\n" % number, number / 100)
    window.seal(50.0)
    members = list(window.since(0))
    assert [member.first_line for member in members] == [0, 1024, 2048, 3072, 4096]
    assert list(window.since(4096)) == members[4:]
    together = gzip.decompress(b"".join(member.data for member in members))
    assert together.splitlines() == [b"%063d" % number for number in range(5000)]


def test_a_full_file_ends_the_record(tmp_path: Path) -> None:
    options = with_options(max_window_bytes=50_000, max_file_bytes=100_000)
    recording = Recording(tmp_path, options)
    workloads = [rates(number, number) for number in range(1, 300)]
    recording.explode(Transition.STARTED)
    for _ in range(100):
        recording.tick(*workloads)
    path = recording.only()
    assert NAME.fullmatch(path.name)
    assert 80_000 < path.stat().st_size <= 100_000
    assert events_of(path)
    assert recording.recorder.take_lost() == 0, "it ended, nothing failed"
