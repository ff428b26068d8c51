"""From a refusal or an explosion to a record on disk, and from there to a report."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.cgroups import OwnCgroup
from support.command import assert_one_line, threadtrace
from support.puppet import Puppet
from support.stream import Stream, path_of, validate
from support.waiting import wait_until

LIMIT = 60


def records(directory: Path, pattern: str = "threadtrace-*.jsonl.gz") -> list[Path]:
    return sorted(directory.glob(pattern))


def events_of(record: Path) -> list[dict[str, Any]]:
    with gzip.open(record, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def refused(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> int:
    """Provoke refusals, and wait until they are told."""
    cgroup.set_limit(LIMIT)
    count = actor.do("keep", 2 * LIMIT).refused
    assert count
    stream.wait_until(lambda: bool(stream.refused(cgroup.path)), "refusals are counted")
    return count


def test_a_refusal_is_recorded_and_reported(
    host: None, tmp_path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    with Stream("--record-dir", str(tmp_path)) as stream:
        count = refused(stream, cgroup, actor)
        stream.wait_for_ticks(30)  # seconds enough for a plot
        stream.finish()
    (record,) = records(tmp_path)
    assert record.stat().st_mode & 0o777 == 0o600
    events = events_of(record)
    for event in events:
        validate(event)
    sequence = [event["event"]["sequence"] for event in events]
    assert sequence == sorted(set(sequence))
    told = [
        event["threadtrace"]
        for event in events
        if event["event"]["name"] == "threadtrace.fork.refused" and path_of(event) == cgroup.path
    ]
    assert sum(1 + entry["suppressed_count"] for entry in told) == count

    done = threadtrace("report", str(record), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert cgroup.path in done.stdout.decode()
    for format_, words in (("md", b"pids_max"), ("html", b"<svg")):
        done = threadtrace("report", str(record), "--format", format_)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout


def test_what_a_killed_agent_recorded_is_completed_by_the_next(
    host: None, tmp_path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    with Stream("--record-dir", str(tmp_path)) as stream:
        refused(stream, cgroup, actor)
        wait_until(
            lambda: any(part.stat().st_size for part in records(tmp_path, "*.part")),
            10,
            "the record is begun",
        )
        os.kill(stream.pid, signal.SIGKILL)
        stream.process.wait(10)
    assert records(tmp_path) == []
    with Stream("--record-dir", str(tmp_path)) as stream:
        stream.finish()
    (record,) = records(tmp_path)
    names = {event["event"]["name"] for event in events_of(record)}
    assert {"threadtrace.started", "threadtrace.fork.refused"} <= names


def as_a_file(directory: Path) -> Path:
    directory.write_text("")
    return directory


def missing(directory: Path) -> Path:
    return directory / "not" / "there"


@pytest.mark.parametrize("spoil", [as_a_file, missing])
def test_a_directory_that_cannot_take_records(
    host: None, tmp_path: Path, spoil: Callable[[Path], Path]
) -> None:
    directory = spoil(tmp_path / "records")
    done = threadtrace("stream", "--duration", "0.1", "--record-dir", str(directory))
    assert done.returncode == os.EX_IOERR
    assert str(directory).encode() in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_wrong_thresholds_are_told_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.toml"
    file.write_text("[defaults]\nleak_tasks = 5\nleak_task = 6\n")
    done = threadtrace("stream", "--thresholds", str(file))
    assert_one_line(done, os.EX_CONFIG, f"{file}:3:", "leak_task", "leak_tasks")


def test_thresholds_of_one_workload(
    host: None, tmp_path: Path, cgroup: OwnCgroup, actor: Puppet, puppet_program: Path
) -> None:
    """One of two that do the same is watched, with thresholds that it soon reaches."""
    watched, ignored = cgroup.child("watched"), cgroup.child("ignored")
    file = tmp_path / "thresholds.toml"
    file.write_text(
        "[defaults]\ndetect = false\n"
        f'[workload."{watched.path}"]\ndetect = true\njump_tasks = 40\n'
        "burst_seconds = 0.05\n"
    )
    with Stream("--thresholds", str(file)) as stream, Puppet(puppet_program) as other:
        watched.add(actor.pid)
        ignored.add(other.pid)
        for _ in range(200):
            actor.do("threads", 2)
            other.do("threads", 2)
            if stream.named("explosion.started"):
                break
            stream.wait_for_ticks()
        stream.finish()
    called = stream.named("explosion.started")
    assert [path_of(event) for event in called] == [watched.path]
    assert called[0]["threadtrace"]["evidence"]["threshold"] == 40
