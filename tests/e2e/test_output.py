"""Where events go: pipes that close, disks that fill, signals in between."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup
from support.command import assert_one_line, in_private_mounts, threadtrace
from support.puppet import Puppet
from support.stream import THREADTRACE, Event, Stream, counts, validate
from support.waiting import wait_until

READER_GONE, IO_ERROR = 141, os.EX_IOERR


def test_reader_that_closes_the_pipe(host: None) -> None:
    with subprocess.Popen(
        [*THREADTRACE, "stream", "--interval", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            first = json.loads(process.stdout.readline())
            assert first["event"]["name"] == "threadtrace.started"
            process.stdout.close()
            assert process.wait(10) == READER_GONE
            assert process.stderr.read() == b""
        finally:
            process.kill()


@pytest.mark.parametrize("command", [("doctor",), ("doctor", "--json"), ("--help",)])
def test_text_that_nobody_reads(host: None, command: tuple[str, ...]) -> None:
    _write_to_nobody(command)


_PRINTING = [
    ("top", "--once"),
    ("top", "--once", "--json"),
    ("doctor",),
    ("doctor", "--json"),
    ("--help",),
    ("--version",),
]


@pytest.mark.parametrize("command", _PRINTING)
def test_full_standard_output(host: None, command: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*THREADTRACE, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == IO_ERROR
    assert "unexpected" not in done.stderr
    assert "not be written" in done.stderr or "No space left" in done.stderr


@pytest.mark.parametrize("command", ["top --once", "top --once --json", "doctor", "stream"])
def test_closed_standard_output(host: None, command: str) -> None:
    program = " ".join(THREADTRACE)
    done = subprocess.run(
        ["sh", "-c", f"exec {program} {command} >&-"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert_one_line(done, IO_ERROR, "standard output is closed")


def test_closed_standard_error(host: None, tmp_path: Path) -> None:
    """Words for people go nowhere then: not to standard output, nor into a file of events."""
    path = tmp_path / "events.jsonl"
    command = (
        f"stream --duration 0.2 --interval 0.1 --listen 127.0.0.1:0 --output {path} --output -"
    )
    done = subprocess.run(
        ["sh", "-c", f"exec {' '.join(THREADTRACE)} {command} 2>&- <&-"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    for text in (done.stdout, path.read_bytes()):
        lines = text.splitlines()
        assert len(lines) > 2
        for line in lines:
            json.loads(line)


@pytest.mark.parametrize("command", [("stream",), ("top",), ("top", "--json"), ("top", "--once")])
def test_pipe_that_nobody_reads_from(host: None, command: tuple[str, ...]) -> None:
    _write_to_nobody((*command, "--interval", "0.1"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(host: None, cgroup: OwnCgroup, actor: Puppet, number: signal.Signals) -> None:
    with Stream() as stream:
        actor.do("forks", 37)
        stream.send(number)
        assert stream.end() == 128 + number
        stream.check()
    assert stream.errors == b""
    assert stream.counts(cgroup.path) == counts(processes=37, exited=37)


@pytest.mark.parametrize(
    ("number", "codes"),
    # Before its handlers are set, SIGTERM ends it as it ends any process.
    [(signal.SIGTERM, {143, -signal.SIGTERM}), (signal.SIGINT, {130})],
)
def test_signal_while_it_starts(host: None, number: signal.Signals, codes: set[int]) -> None:
    with Stream(wait=False) as stream:
        children = Path(f"/proc/{stream.pid}/task/{stream.pid}/children")
        wait_until(lambda: children.read_text().strip(), 20, "the loader runs")
        stream.send(number)
        assert stream.end() in codes
        assert not stream.rest
        assert stream.errors.strip() == b""


def test_signal_while_nobody_reads(host: None) -> None:
    """A reader that hangs does not hold up the end for ever."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*THREADTRACE, "stream", "--all", "--interval", "0.05"],
        stdout=writer,
        stderr=subprocess.DEVNULL,
    )
    room = select.poll()
    room.register(writer, select.POLLOUT)
    try:
        wait_until(lambda: not room.poll(0), 60, "the pipe is full")
        process.send_signal(signal.SIGTERM)
        # What was still to be written is lost, and the exit code tells it.
        assert process.wait(15) in (128 + signal.SIGTERM, IO_ERROR)
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


def test_duration(host: None) -> None:
    done = threadtrace("stream", "--duration", "0.5", "--interval", "0.2")
    assert (done.returncode, done.stderr) == (0, b"")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ticks = [event for event in events if event["event"]["name"] == "threadtrace.node.limits"]
    assert 3 <= len(ticks) <= 4
    total = sum(event["threadtrace"]["interval_seconds"] for event in ticks)
    assert 0.5 <= total < 1.5


def test_file_is_appended_to_and_private(host: None, tmp_path: Path) -> None:
    path = tmp_path / "events"
    for _ in range(2):
        done = threadtrace("stream", "--duration", "0.1", "--output", str(path))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    lines = path.read_bytes().splitlines()
    started = [line for line in lines if b'"threadtrace.started"' in line]
    assert len(started) == 2
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["/nonexistent/events", "/"])
def test_file_that_cannot_be_opened(host: None, path: str) -> None:
    done = threadtrace("stream", "--duration", "0.1", "--output", path)
    assert_one_line(done, IO_ERROR, path, "--output")


def test_full_disk(host: None, tmp_path: Path) -> None:
    """ENOSPC, in a small file system that only the agent's mount namespace has."""
    size = 16 << 20
    prefix = in_private_mounts(
        f"mount -t tmpfs -o size={size} none {tmp_path}\n"
        f"head -c {size - 16 * 1024} /dev/zero > {tmp_path}/filler"
    )
    inner = Path(f"/proc/{{pid}}/root{tmp_path}")

    def make_room(pid: int) -> None:
        Path(str(inner).format(pid=pid), "filler").unlink()

    _fill(prefix, tmp_path / "events", make_room, lambda pid: Path(str(inner).format(pid=pid)))


@pytest.mark.parametrize("buffer_bytes", [1 << 16, 16 << 20])
def test_file_size_limit(host: None, tmp_path: Path, buffer_bytes: int) -> None:
    """EFBIG, without a signal that kills."""
    before = ["prlimit", f"--fsize={16 * 1024}:unlimited"]

    def make_room(pid: int) -> None:
        infinite = resource.RLIM_INFINITY
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (infinite, infinite))

    _fill(before, tmp_path / "events", make_room, lambda _: tmp_path, buffer_bytes)


def _fill(
    before: list[str],
    path: Path,
    make_room: Callable[[int], None],
    directory_of: Callable[[int], Path],
    buffer_bytes: int = 1 << 16,
) -> None:
    """Run it into the limit until more waits than a small buffer holds, lift the limit, end it.

    Another reader tells how much there was meanwhile.
    """
    options = ["--all", "--interval", "0.05", "--buffer-bytes", str(buffer_bytes)]
    process = subprocess.Popen(
        [*before, *THREADTRACE, "stream", *options, "--output", "-", "--output", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told: list[bytes] = []
    assert process.stderr is not None
    assert process.stdout is not None
    reading = threading.Thread(target=told.extend, args=(process.stdout,), daemon=True)
    reading.start()
    try:
        assert b"events wait" in process.stderr.readline()
        wait_until(lambda: sum(map(len, told)) > 3 * (1 << 16), 60, "more than a buffer holds")
        make_room(process.pid)
        assert b"can be written again" in process.stderr.readline()
        file = directory_of(process.pid) / path.name
        os_file = file.open("rb")  # outlives the mount namespace
        process.send_signal(signal.SIGTERM)
        errors = process.stderr.read()
        process.wait(20)
        reading.join(20)
    finally:
        process.kill()
        process.wait()
    with os_file:
        data = os_file.read()
    assert data.endswith(b"\n")
    events: list[Event] = [json.loads(line) for line in data.splitlines()]
    for event in events[:50] + events[-50:]:
        validate(event)
    numbers = [event["event"]["sequence"] for event in events]
    assert numbers == sorted(set(numbers))
    lost = numbers[-1] - len(numbers)
    assert lost == sum(_lost_count(event, path) for event in events), "the gaps are told as lost"
    if buffer_bytes == 1 << 16:
        assert lost > 0
        assert process.returncode == IO_ERROR
        assert f"{lost:,} events to {path}".encode() in errors
        kept = {event["event"]["name"] for event in events} - {"threadtrace.workload.rates"}
        assert "threadtrace.started" in kept
    else:
        assert lost == 0
        assert process.returncode == 128 + signal.SIGTERM
        assert errors == b""


def _lost_count(event: Event, path: Path) -> int:
    if event["threadtrace"].get("output") != str(path):
        return 0
    return int(event["threadtrace"]["lost_count"])


def test_a_reload_in_the_last_moment_is_no_other_end(host: None) -> None:
    with subprocess.Popen(
        [*THREADTRACE, "stream", "--interval", "0.1", "--duration", "0.3"],
        stdout=subprocess.PIPE,
        start_new_session=True,  # no terminal that a hang-up could be of
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        try:
            wait_until(lambda: _has_ended(process, signal.SIGHUP), 30, "its end")
        finally:
            process.kill()
            drain.join()
    assert process.returncode == 0


def _has_ended(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    process.send_signal(number)
    return process.poll() is not None


def _write_to_nobody(command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*THREADTRACE, *command],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (READER_GONE, b"")
