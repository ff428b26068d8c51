"""rsyslog and syslog-ng with the configurations of deploy/log-shippers keep the stream as it is.

Only addresses and paths are replaced. Lines come as the agent sends them: JSON, a newline after
each, up to 16 KiB.
"""

from __future__ import annotations

import gzip
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.command import threadtrace
from support.stream import MAX_LINE_BYTES
from support.waiting import wait_until

from .packages import Program, program

ROOT = Path(__file__).parents[2]
SHIPPERS = ROOT / "deploy/log-shippers"
RECORDED = ROOT / "docs/examples/night.jsonl.gz"
PORT = 5170
FILE = "/var/log/threadtrace/events.jsonl"
DEADLINE_SECONDS = 30

# What would be changed on the way: octets as in RFC 6587, headers and priorities as in RFC 3164 and
# 5424, blanks at either end, escapes, percent signs and dollars of templates, other scripts.
ODD_TEXTS = (
    '{"message":"plain"}',
    '  {"message":"blanks around"}  ',
    '16 {"message":"an octet count?"}',
    '<13>{"message":"a priority?"}',
    "<165>1 2026-11-24T03:15:00Z host app 1 - - a header?",
    "Nov 24 03:15:00 host app[1]: a header?",
    '{"message":"%rawmsg% $MSG ${MESSAGE} \\\\ \\" \\n \\u0000 #011"}',
    '{"message":"\ta tab and \x01\x1b[31m controls, which the agent escapes, and \x7f"}',
    '{"message":"日本語 ünïcödé 🧵"}',
)


@dataclass(frozen=True)
class Shipper:
    """A program, its configuration, and how it stays in the foreground."""

    program: Program
    configuration: str
    check: list[str]
    arguments: list[str]
    """{} in both stands for the test's directory: rsyslog leaves the one where it was started."""

    def command(self, arguments: list[str], place: Path) -> list[str]:
        return [self.program.path, *(word.format(place) for word in arguments)]


def rsyslog(directory: Path) -> Shipper:
    found = program("rsyslogd", "rsyslog", directory)
    modules = str(found.directory("usr/lib/*-linux-gnu*/rsyslog"))
    shared = ["-f", "{}/shipper.conf", "-M", modules]
    return Shipper(found, "rsyslog.conf", ["-N1", *shared], ["-n", "-i", "{}/shipper.pid", *shared])


def syslog_ng(directory: Path) -> Shipper:
    found = program("syslog-ng", "syslog-ng-core", directory)
    modules = str(found.directory("usr/lib/syslog-ng/[0-9]*"))
    shared = [
        *("--cfgfile", "{}/shipper.conf", "--module-path", modules),
        *("--persist-file", "{}/persist"),
    ]
    files = ["--pidfile", "{}/shipper.pid", "--control", "{}/control"]
    return Shipper(
        found,
        "syslog-ng.conf",
        ["--syntax-only", *shared],
        ["--foreground", "--no-caps", *files, *shared],
    )


@pytest.fixture(scope="module", params=[rsyslog, syslog_ng], ids=lambda made: made.__name__)
def shipper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shipper:
    made: Shipper = request.param(tmp_path_factory.mktemp("packages"))
    return made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(shipper: Shipper, place: Path, port: int) -> Iterator[Path]:
    """It, with its configuration in that directory; the file that it writes."""
    text = (SHIPPERS / shipper.configuration).read_text()
    for before, after in (
        (str(PORT), str(port)),
        (FILE, f"{place}/events.jsonl"),
        ("/var/spool/rsyslog", str(place)),
    ):
        text = text.replace(before, after)
    (place / "shipper.conf").write_text(text)
    environment = shipper.program.environment
    checked = subprocess.run(
        shipper.command(shipper.check, place),
        cwd=place,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr.decode()
    with (place / "shipper.log").open("wb") as log:
        process = subprocess.Popen(
            shipper.command(shipper.arguments, place),
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield place / "events.jsonl"
        assert process.poll() is None, (place / "shipper.log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE_SECONDS)


def connected(port: int) -> socket.socket:
    def connection() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except ConnectionRefusedError:
            return None

    found = wait_until(connection, DEADLINE_SECONDS, f"a shipper listens on port {port}")
    assert found is not None
    return found


def wait_for(file: Path, expected: bytes) -> None:
    def size() -> int:
        return file.stat().st_size if file.exists() else 0

    wait_until(
        lambda: size() >= len(expected),
        DEADLINE_SECONDS,
        lambda: f"{len(expected):,} bytes arrive ({size():,} have)",
    )
    arrived = file.read_bytes()
    if arrived != expected:
        got, wanted = arrived.splitlines(), expected.splitlines()
        for number, (one, other) in enumerate(zip(got, wanted)):
            assert one == other, f"line {number} is another"
        assert len(got) == len(wanted)
    assert arrived == expected


def longest_lines() -> list[bytes]:
    """JSON of the length that an event may have, less and more than what buffers often hold."""
    lines = []
    for size in (4095, 4096, 8095, 8096, 8097, 8192, 16383, MAX_LINE_BYTES):
        empty = json.dumps({"message": ""}, separators=(",", ":"))
        lines.append(
            json.dumps({"message": "x" * (size - len(empty))}, separators=(",", ":")).encode()
        )
        assert len(lines[-1]) == size
    return lines


def test_lines_arrive_byte_for_byte(shipper: Shipper, tmp_path: Path) -> None:
    recorded = gzip.decompress(RECORDED.read_bytes()).splitlines()[:5_000]
    lines = [*longest_lines(), *(text.encode() for text in ODD_TEXTS), *recorded]
    sent = b"".join(line + b"\n" for line in lines)
    port = free_port()
    with running(shipper, tmp_path, port) as file, connected(port) as connection:
        connection.sendall(sent)
        wait_for(file, sent)


def test_lines_that_come_in_pieces_are_one(shipper: Shipper, tmp_path: Path) -> None:
    line = longest_lines()[-1] + b"\n"
    port = free_port()
    with running(shipper, tmp_path, port) as file, connected(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(line), 1000):
            connection.sendall(line[start : start + 1000])
        wait_for(file, line)


def test_an_agent_that_connects_again_goes_on_in_the_same_file(
    shipper: Shipper, tmp_path: Path
) -> None:
    first, second = b'{"event":{"sequence":1}}\n', b'{"event":{"sequence":2}}\n'
    port = free_port()
    with running(shipper, tmp_path, port) as file:
        with connected(port) as connection:
            connection.sendall(first)
            wait_for(file, first)
        with connected(port) as connection:
            connection.sendall(second)
            wait_for(file, first + second)


def test_the_agent_itself(shipper: Shipper, host: None, tmp_path: Path) -> None:
    """What it sends to a shipper is what it writes to a file of its own."""
    port = free_port()
    own = tmp_path / "own.jsonl"
    with running(shipper, tmp_path, port) as file:
        connected(port).close()
        done = threadtrace(
            *("stream", "--interval", "0.2", "--duration", "2", "--all"),
            *("--output", str(own), "--output", f"tcp://127.0.0.1:{port}"),
            *("--socket", str(tmp_path / "socket")),
        )
        assert (done.returncode, done.stderr) == (0, b"")
        wait_for(file, own.read_bytes())
    assert b"threadtrace.started" in own.read_bytes()
