"""A running agent, followed through its socket by another process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.cgroups import OwnCgroup
from support.command import threadtrace
from support.puppet import Puppet
from support.stream import THREADTRACE, Stream, path_of, validate
from support.waiting import wait_until
from threadtrace.answering import MAX_CONNECTIONS, MAX_LISTENERS
from threadtrace.errors import UnavailableError
from threadtrace.feed import About
from threadtrace.feeds.remote import CONNECTED, Remote
from threadtrace.identity.workloads import identify
from threadtrace.model.explosion import Shape, Transition
from threadtrace.model.snapshot import Happenings, Snapshot, WorkloadSnapshot
from threadtrace.probe.records import Limit

DEADLINE_SECONDS = 20
WINDOW_BYTES = 8 << 20
HERE = {"NODE_NAME": "node-under-test"}

Event = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's agent answers."""
    return tmp_path / "agent.sock"


@pytest.fixture
def agent(host: None, path: Path) -> Iterator[Stream]:
    with Stream("--socket", str(path), environment=HERE) as running:
        yield running


class Collector:
    """Keeps what a feed tells."""

    def __init__(self) -> None:
        self.starts: list[About] = []
        self.happened: list[Happenings] = []
        self.snapshots: list[Snapshot] = []

    def on_start(self, about: About) -> None:
        self.starts.append(about)

    def on_happenings(self, happened: Happenings) -> None:
        self.happened.append(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def last(self, path: str) -> WorkloadSnapshot | None:
        """Of the cgroup with that path, in the newest snapshot."""
        found = self.snapshots[-1].workloads if self.snapshots else ()
        return next((entry for entry in found if entry.workload.cgroup_path == path), None)


async def until(
    condition: Callable[[], Any], what: str, deadline_seconds: float = DEADLINE_SECONDS
) -> None:
    end = time.monotonic() + deadline_seconds
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_seconds:g} s: {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def following(remote: Remote) -> AsyncIterator[Collector]:
    collector = Collector()
    running = asyncio.ensure_future(remote.run(collector))
    try:
        yield collector
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 3 * DEADLINE_SECONDS))


@contextmanager
def connected(path: Path, request: bytes = b"") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(DEADLINE_SECONDS)
        asking.connect(str(path))
        asking.sendall(request)
        yield asking


def answer_to(path: Path, request: bytes) -> Any:
    with connected(path, request) as asking:
        return json.loads(b"".join(iter(lambda: asking.recv(1 << 16), b"")))


def why(path: Path) -> dict[str, Any]:
    done = threadtrace("why", "--json", "--socket", str(path))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_snapshots_are_those_of_the_agent(
    agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    cgroup.set_limit(500)
    actor.do("threads", 100)
    agent.wait_for_ticks(2)

    async def test() -> None:
        async with following(Remote(f"unix:{path}")) as told:
            await until(lambda: told.snapshots, "the first snapshot")
            assert told.starts[0].node == "node-under-test"
            assert told.starts[0].hooks
            first = told.last(cgroup.path)
            assert first is not None, "workloads at rest are told at once"
            assert first.tasks == 101
            actor.do("threads", 111)
            await until(
                lambda: (found := told.last(cgroup.path)) is not None and found.tasks == 212,
                "all threads are told",
            )
            found = told.last(cgroup.path)
            assert found is not None
            assert (found.limit, found.limit_path, found.limit_tasks) == (500, cgroup.path, 212)
            assert (found.top_processes[0].pid, found.top_processes[0].threads) == (actor.pid, 212)
            created = sum(
                entry.counts.threads_created
                for snapshot in told.snapshots[1:]
                for entry in snapshot.workloads
                if entry.workload.cgroup_path == cgroup.path
            )
            assert created == 111

    run(test())


def test_a_closer_look(agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet) -> None:
    cgroup.set_limit(500)
    actor.do("name", b"pool-7-\xff".hex())
    actor.do("threads", 211)
    agent.wait_for_ticks(1)

    async def test() -> None:
        remote = Remote(f"unix://{path}")
        details = await remote.inspect_workload(identify(cgroup.path).key)
        assert details is not None
        assert (details.processes[0].pid, details.processes[0].threads) == (actor.pid, 212)
        level = details.limits[0]
        assert (level.limit, level.owner, level.value, level.usage) == (
            Limit.PIDS_MAX,
            cgroup.path,
            500,
            212,
        )
        inspection = await remote.inspect_process(actor.pid)
        assert inspection is not None
        assert inspection.thread_names == (("pool-#-\ufffd", 212),)
        assert inspection.limits == details.limits
        actor.kill()
        assert await remote.inspect_process(actor.pid) is None
        assert await remote.inspect_workload("cgroup:/none") is None

    run(test())


def test_each_connection_is_a_run_of_the_contract(
    agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    with connected(path, b'{"get": "events"}\n') as one:
        actor.do("forks", 23)
        with connected(path, b'{"get": "events"}\n') as other:
            actor.do("forks", 7)
            runs = [_whole_ticks(reader, 5) for reader in (one, other)]
    for events in runs:
        for event in events:
            validate(event)
        assert [event["event"]["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert len({event["agent"]["id"] for event in events}) == 1
        assert events[0]["event"]["name"] == "threadtrace.started"
    ids = {events[0]["agent"]["id"] for events in (*runs, agent.events)}
    assert len(ids) == 3


def _whole_ticks(reader: socket.socket, ticks: int) -> list[Event]:
    received = b""
    while received.count(b"\n\n") < ticks:
        part = reader.recv(1 << 16)
        assert part
        received += part
    whole = received[: received.rindex(b"\n\n")]
    return [json.loads(line) for line in whole.split(b"\n") if line]


def test_an_explosion_under_way_is_told_to_who_comes_late(
    agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    for _ in range(60):
        actor.do("threads", 30)
        agent.wait_for_ticks(1)
        if cgroup.path in map(path_of, agent.named("explosion.started")):
            break

    async def test() -> None:
        async with following(Remote(f"unix:{path}")) as told:
            await until(lambda: told.snapshots, "the first snapshot")
            happened = [entry for one in told.happened for entry in one.explosions]
            happened += [entry for one in told.snapshots for entry in one.explosions]
            (explosion,) = [one for one in happened if one.workload.cgroup_path == cgroup.path]
            assert explosion.transition is Transition.UPDATED
            assert explosion.shape is Shape.LEAK

    run(test())


def test_who_does_not_read_is_told_a_loss_and_holds_nothing_up(
    agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    before = psutil.Process(agent.pid).memory_info().rss
    with connected(path, b'{"get": "events"}\n') as reader:
        index = 0
        while sum(map(len, agent.lines)) < 2 * WINDOW_BYTES:
            for _ in range(200):
                index += 1
                actor.do("visit", f"{cgroup.directory}/{index}-{'n' * 200}", 1)
        agent.wait_for_ticks(2)
        assert why(path)["source"] == "agent"
        grown = psutil.Process(agent.pid).memory_info().rss - before
        assert grown < 4 * WINDOW_BYTES

        events = _until_loss(reader)
    loss = events[-1]
    assert loss["threadtrace"]["where"] == "connection"
    assert loss["threadtrace"]["lost_count"] > 0
    assert "too slow" in loss["message"]
    # All of it anew, as a run of its own: what was before may be gone.
    assert loss["event"]["sequence"] == 2
    assert events[-2]["event"]["name"] == "threadtrace.started"
    assert events[-2]["agent"]["id"] == loss["agent"]["id"] != events[0]["agent"]["id"]


def _until_loss(reader: socket.socket) -> list[Event]:
    received = b""
    while b'"threadtrace.loss"' not in received or not received.endswith(b"\n"):
        part = reader.recv(1 << 20)
        assert part
        received += part
    events = [json.loads(line) for line in received.split(b"\n") if line]
    (index,) = [
        index
        for index, event in enumerate(events)
        if event["event"]["name"] == "threadtrace.loss"
        and event["threadtrace"]["where"] == "connection"
    ]
    return events[: index + 1]


def test_the_view_answers_too(host: None, path: Path) -> None:
    command = [*THREADTRACE, "top", "--batch", "--interval", "0.1", "--socket", str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as view:
        try:
            wait_until(path.is_socket, DEADLINE_SECONDS, "it listens")
            wait_until(lambda: _tells_events(path), DEADLINE_SECONDS, "it tells events")
            assert answer_to(path, b'{"get": "why"}\n')["source"] == "agent"
        finally:
            view.send_signal(signal.SIGTERM)
            view.wait(DEADLINE_SECONDS)
    assert not path.exists()


def test_of_those_that_say_nothing_the_oldest_gives_way(agent: Stream, path: Path) -> None:
    mute = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(MAX_CONNECTIONS)]
    try:
        for one in mute:
            one.settimeout(DEADLINE_SECONDS)
            one.connect(str(path))
        agent.wait_for_ticks(1)
        begin = time.monotonic()
        assert answer_to(path, b'{"get": "why"}\n')["source"] == "agent"
        assert time.monotonic() - begin < 2
        assert mute[0].recv(1) == b"", "hung up"
        mute[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            mute[1].recv(1)
    finally:
        for one in mute:
            one.close()


def test_there_is_room_for_a_question_beside_those_who_listen(agent: Stream, path: Path) -> None:
    listening = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(MAX_LISTENERS)]
    try:
        for one in listening:
            one.settimeout(DEADLINE_SECONDS)
            one.connect(str(path))
            one.sendall(b'{"get": "events"}\n')
            assert one.recv(1 << 20)
        assert "others listen" in answer_to(path, b'{"get": "events"}\n')["error"]
        assert answer_to(path, b'{"get": "why"}\n')["source"] == "agent"
        listening.pop().close()
        wait_until(
            lambda: _tells_events(path), DEADLINE_SECONDS, "the place of one that left is free"
        )
    finally:
        for one in listening:
            one.close()


def _tells_events(path: Path) -> bool:
    with connected(path, b'{"get": "events"}\n') as asking:
        return b"threadtrace.started" in asking.recv(1 << 16)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "one line of JSON"),
        (b"\xff\xfe\x00\n", "one line of JSON"),
        (b"[1, 2]\n", "object"),
        (b'{"get": 7}\n', "object"),
        (b'{"get": "everything"}\n', "why, workload, process, events"),
        (b'{"get": "workload", "key": 7}\n', "key"),
        (b'{"get": "process", "pid": "1"}\n', "pid"),
        (b'{"get": "process", "pid": -1}\n', "pid"),
        (b"x" * 5_000, "4,096 bytes"),
        (b"[" * 4_000 + b"\n", "JSON"),
    ],
)
def test_wrong_requests(agent: Stream, path: Path, request_: bytes, words: str) -> None:
    assert words in answer_to(path, request_)["error"]
    agent.wait_for_ticks(1)


def test_half_a_request_that_ends(agent: Stream, path: Path) -> None:
    with connected(path, b'{"get": "process", "pid": 1}') as asking:
        asking.shutdown(socket.SHUT_WR)
        answer = json.loads(b"".join(iter(lambda: asking.recv(1 << 16), b"")))
    assert answer["process"]["pid"] == 1


def test_an_agent_that_starts_again_is_followed_again(host: None, path: Path) -> None:
    async def test() -> None:
        remote = Remote(f"unix:{path}")
        states: list[str] = []
        remote.on_state = lambda: states.append(remote.state)
        with Stream("--socket", str(path)) as first:
            async with following(remote) as told:
                await until(lambda: told.snapshots, "the first agent is followed")
                first.send(signal.SIGKILL)
                first.end()
                await until(lambda: remote.state != CONNECTED, "the loss is told")
                assert "trying again" in remote.state
                assert await remote.inspect_process(1) is None
                seen = len(told.snapshots)
                with Stream("--socket", str(path), wait=False):
                    await until(lambda: len(told.snapshots) > seen, "the second one is followed")
                    assert remote.state == CONNECTED
                    assert len(told.starts) == 2
        assert states[0] == states[-1] == CONNECTED
        assert len(states) >= 3

    run(test())


@pytest.mark.parametrize("hindrance", ["nothing there", "a stranger", "not allowed"])
def test_where_no_agent_answers(host: None, path: Path, hindrance: str) -> None:
    url, words = f"unix:{path}", "start threadtrace stream"
    if hindrance == "not allowed":
        path.parent.chmod(0o700)
        words = "run this as root"

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()

    async def test() -> None:
        if hindrance == "a stranger":
            await asyncio.start_unix_server(stranger, path)
        if hindrance == "not allowed":
            os.seteuid(65_534)
        try:
            with pytest.raises(UnavailableError, match=words):
                await Remote(url).run(Collector())
        finally:
            os.seteuid(0)

    run(test())


def test_through_a_forwarded_port(agent: Stream, path: Path) -> None:
    """As ssh -L does it."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while part := await reader.read(1 << 16):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(path))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async def test() -> None:
        server = await asyncio.start_server(forward, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        remote = Remote(f"tcp://localhost:{port}")
        async with following(remote) as told:
            await until(lambda: len(told.snapshots) > 2, "snapshots")
            inspection = await remote.inspect_process(agent.pid)
            assert inspection is not None
            assert inspection.process.pid == agent.pid
        server.close()

    run(test())


def test_an_agent_without_a_free_pid_still_tells(
    agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    alone = cgroup.child("alone")
    alone.add(agent.pid)
    alone.set_limit(1)

    async def test() -> None:
        remote = Remote(f"unix:{path}")
        async with following(remote) as told:
            await until(lambda: told.snapshots, "the first snapshot")
            actor.do("threads", 211)
            await until(
                lambda: (found := told.last(cgroup.path)) is not None and found.tasks == 212,
                "all threads are told",
            )
            assert await remote.inspect_process(actor.pid) is not None
        assert answer_to(path, b'{"get": "why"}\n')["source"] == "agent"

    run(test())
    assert alone.refused == 0
    assert alone.tasks == 1
    agent.send(signal.SIGTERM)
    agent.end()
