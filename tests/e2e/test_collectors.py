"""Where events go while it runs: collectors that stop and die, renamed files, new filters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup
from support.command import assert_one_line, threadtrace
from support.puppet import Puppet
from support.stream import Event, Stream, counts, name_of
from support.waiting import wait_until

# Appends whole lines and nothing else, as a collector does that was told to keep all.
_COLLECTOR = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(listening.getsockname()[1], flush=True)
while True:
    connection, _ = listening.accept()
    rest = b""
    while data := connection.recv(65536):
        *lines, rest = (rest + data).split(b"\\n")
        with open(sys.argv[2], "ab") as file:
            file.write(b"".join(line + b"\\n" for line in lines))
"""


class Collector:
    """A process of its own, so that it can be stopped and killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        arguments = [str(self.port), str(self.path)]
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", _COLLECTOR, *arguments], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def events(self) -> list[Event]:
        data = self.path.read_bytes() if self.path.exists() else b""
        return [json.loads(line) for line in data.splitlines(keepends=True) if line.endswith(b"\n")]

    def numbers(self) -> list[int]:
        """Of events, each once, in the order in which they came first."""
        return list(dict.fromkeys(event["event"]["sequence"] for event in self.events()))


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    started = Collector(tmp_path / "collected.jsonl")
    try:
        yield started
    finally:
        started.kill()


def assert_complete(collector: Collector, stream: Stream) -> None:
    """Every event that standard output got is there, in order, and none else."""
    told = [event["event"]["sequence"] for event in stream.events]
    assert told == list(range(1, len(told) + 1))
    assert collector.numbers() == told


def test_a_collector_gets_what_standard_output_gets(
    host: None, cgroup: OwnCgroup, actor: Puppet, collector: Collector
) -> None:
    with Stream("--output", "-", "--output", f"tcp://127.0.0.1:{collector.port}") as stream:
        actor.do("forks", 37)
        stream.finish()
        assert stream.counts(cgroup.path) == counts(processes=37, exited=37)
        wait_until(lambda: len(collector.numbers()) == len(stream.events), 20, "all of it")
        assert collector.path.read_bytes().splitlines() == stream.lines


def test_one_that_dies_again_and_again(host: None, collector: Collector) -> None:
    with Stream("--output", "-", "--output", f"tcp://127.0.0.1:{collector.port}") as stream:
        for _ in range(3):
            seen = len(stream.events)
            wait_until(lambda at=seen: len(collector.numbers()) > at, 20, "it gets events")
            collector.kill()
            stream.wait_for_ticks(5)
            collector.start()
        stream.wait_for_ticks(2)
        wait_until(
            lambda: len(collector.numbers()) >= len(stream.events), 20, "it is up to date again"
        )
        stream.finish()
        wait_until(lambda: len(collector.numbers()) == len(stream.events), 20, "all of it")
        assert_complete(collector, stream)
        assert not stream.losses()


def test_one_that_is_stopped_and_then_killed(host: None, collector: Collector) -> None:
    """What lay in the kernel, between the two, is not lost with it."""
    with Stream(
        "--output", "-", "--output", f"tcp://127.0.0.1:{collector.port}", "--interval", "0.05"
    ) as stream:
        stream.wait_for_ticks(2)
        collector.send(signal.SIGSTOP)
        stream.wait_for_ticks(40)
        collector.kill()
        collector.start()
        stream.wait_for_ticks(2)
        stream.finish()
        wait_until(lambda: len(collector.numbers()) == len(stream.events), 20, "all of it")
        assert_complete(collector, stream)


def test_one_that_stops_reading_costs_events_and_no_ticks(
    host: None, collector: Collector, tmp_path: Path
) -> None:
    """The least important ones, and the loss tells how many and where. A file tells them all."""
    address, file = f"tcp://127.0.0.1:{collector.port}", tmp_path / "all.jsonl"
    outputs = ("--output", "-", "--output", str(file), "--output", address)
    with Stream("--all", "--buffer-bytes", "65536", *outputs) as stream:
        collector.send(signal.SIGSTOP)
        loss = stream.wait_for(
            lambda event: event["threadtrace"].get("output") == address, deadline_seconds=60
        )
        assert loss["threadtrace"]["where"] == "output"
        stream.wait_for_ticks(3)
        collector.send(signal.SIGCONT)
        stream.wait_for_ticks(3)
        stream.send(signal.SIGTERM)
        assert stream.end() == os.EX_IOERR
    told = [json.loads(line) for line in file.read_bytes().splitlines()]
    wait_until(lambda: collector.numbers()[-1:] == [len(told)], 20, "the last event")
    numbers = collector.numbers()
    lost = sum(
        event["threadtrace"]["lost_count"]
        for event in collector.events()
        if event["threadtrace"].get("output") == address
    )
    assert lost == len(told) - len(numbers) > 0
    missing = set(range(1, len(told) + 1)) - set(numbers)
    names = {name_of(told[number - 1]) for number in missing}
    assert "threadtrace.workload.rates" in names
    assert all(name.startswith(("threadtrace.workload.", "threadtrace.node.")) for name in names)


def test_a_unix_socket(host: None, tmp_path: Path) -> None:
    path = tmp_path / "collector.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(30)
        done = threadtrace("stream", "--duration", "0.3", "--output", f"unix:{path}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as reading:
            lines = reading.read().splitlines()
    assert json.loads(lines[0])["event"]["name"] == "threadtrace.started"
    assert len(lines) >= 3


@pytest.mark.parametrize(
    "output",
    [
        "tcp://localhost:5170",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:70000",
        "udp://127.0.0.1:514",
        "unix:",
        "",
    ],
)
def test_no_name_of_an_output(host: None, output: str) -> None:
    done = threadtrace("stream", "--duration", "0.1", "--output", output)
    assert_one_line(done, os.EX_USAGE, "--output")


def test_the_same_output_twice(host: None) -> None:
    done = threadtrace("stream", "--duration", "0.1", "--output", "-", "--output", "-")
    assert_one_line(done, os.EX_USAGE, "- was given twice")


def test_a_file_is_rotated_and_renamed(host: None, tmp_path: Path) -> None:
    """By the agent itself, and by somebody else; together the files hold every event."""
    path = tmp_path / "events.jsonl"
    options = ("--rotate-bytes", "65536", "--keep-files", "1000")
    with Stream("--all", "--output", "-", "--output", str(path), *options) as stream:
        wait_until(lambda: (tmp_path / "events.jsonl.2").exists(), 60, "it was rotated twice")
        path.rename(tmp_path / "events.jsonl.0")
        stream.wait_for_ticks(3)
        assert path.exists()
        stream.finish()
    files = sorted(tmp_path.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    numbers = [
        json.loads(line)["event"]["sequence"]
        for file in files
        for line in file.read_bytes().splitlines()
    ]
    assert sorted(numbers) == list(range(1, len(stream.events) + 1))
    assert all(file.stat().st_size <= 65536 for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_filters_and_their_reload(
    host: None, cgroup: OwnCgroup, actor: Puppet, tmp_path: Path
) -> None:
    filters = tmp_path / "filters.toml"
    filters.write_text('[event]\ndeny = ["threadtrace.workload.*"]\n')
    with Stream("--filters", str(filters)) as stream:
        actor.do("forks", 5)
        stream.wait_for_ticks(2)
        names = {name_of(event) for event in stream.events}
        assert names >= {"threadtrace.started", "threadtrace.node.limits"}
        assert not any(name.startswith("threadtrace.workload.") for name in names)
        filters.write_text("[event]\ndeny = 3\n")
        stream.send(signal.SIGHUP)
        stream.wait_until(lambda: b"stay as they were" in stream.errors, "the mistake is told")
        assert b"filters.toml:2: deny has to be a list" in stream.errors
        filters.write_text("")
        stream.send(signal.SIGHUP)
        stream.wait_until(lambda: b"was read again" in stream.errors, "it is read again")
        actor.do("forks", 7)
        stream.wait_for_counts(cgroup.path, counts(processes=7, exited=7))
        stream.finish()


def test_a_wrong_file_of_filters(host: None, tmp_path: Path) -> None:
    filters = tmp_path / "filters.toml"
    filters.write_text("[events]\n")
    done = threadtrace("stream", "--duration", "0.1", "--filters", str(filters))
    assert_one_line(done, os.EX_CONFIG, "filters.toml:1: unknown events")


def test_a_named_pipe_without_a_reader(host: None, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = threadtrace("stream", "--duration", "0.1", "--output", str(tmp_path / "pipe"))
    assert_one_line(done, os.EX_IOERR, "nobody reads that named pipe")
