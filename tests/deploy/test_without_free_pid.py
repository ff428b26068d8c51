"""What docs/deployment.md says of a node on which nothing can be started, tried where nothing can.

The agent and a shell that is open already are in a cgroup whose pids.max is what it holds.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup
from support.http import get
from support.stream import THREADTRACE, Stream, name_of
from support.waiting import wait_until

from .test_log_shippers import free_port

SHELL = 'read line; exec "$@"'
CANNOT = "import os\ntry:\n    os.fork()\nexcept OSError as error:\n    print(error.errno)\n"


class Starved:
    """A running agent for which no PID is left, and how it is reached."""

    def __init__(self, agent: Stream, port: int, cgroup: OwnCgroup) -> None:
        self.agent = agent
        self.port = port
        self.cgroup = cgroup

    def get(self, path: str) -> tuple[int, bytes]:
        return get(self.port, path)


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        yield listening


@pytest.fixture
def shell(cgroup: OwnCgroup, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Open before there is no PID left; it executes what it was told to after a line of input."""
    command = [*THREADTRACE, "why", "--socket", str(tmp_path / "socket"), "--json"]
    with subprocess.Popen(
        ["sh", "-c", SHELL, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        cgroup.add(process.pid)
        yield process
        process.kill()


@pytest.fixture
def starved(
    cgroup: OwnCgroup,
    shell: subprocess.Popen[str],
    collector: socket.socket,
    tmp_path: Path,
) -> Iterator[Starved]:
    port = free_port()
    with Stream(
        *("--all", "--listen", f"127.0.0.1:{port}", "--socket", str(tmp_path / "socket")),
        *("--output", "-", "--output", f"tcp://127.0.0.1:{collector.getsockname()[1]}"),
    ) as agent:
        cgroup.add(agent.pid)
        cgroup.set_limit(cgroup.tasks)
        yield Starved(agent, port, cgroup)


def test_nothing_can_be_started_there(starved: Starved, cgroup: OwnCgroup) -> None:
    prefix = f'echo $$ >"{cgroup.directory}/cgroup.procs"; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", prefix, "sh", sys.executable, "-c", CANNOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "11\n"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/why", "/v1/snapshot"])
def test_answers(path: str, starved: Starved) -> None:
    status, body = starved.get(path)
    assert status == 200
    assert body
    assert starved.cgroup.refused == 0


def test_why_is_told_to_a_shell_that_gives_way(
    starved: Starved, shell: subprocess.Popen[str]
) -> None:
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write("now\n")
    shell.stdin.flush()
    assert "state" in json.dumps(json.loads(shell.stdout.read()))
    assert starved.cgroup.refused == 0


def test_goes_on_telling_and_connects_again(starved: Starved, collector: socket.socket) -> None:
    for _ in range(2):
        connection, _ = collector.accept()
        with connection, connection.makefile("rb") as lines:
            while b"threadtrace.node.limits" not in lines.readline():
                pass
    before = len(starved.agent.events)
    starved.agent.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: any(
            name_of(event) == "threadtrace.node.limits" for event in starved.agent.events[before:]
        ),
        20,
        "the agent ticks after a reload",
    )
    assert starved.cgroup.refused == 0
