"""The agent's socket: requests in pieces, readers that stall, places that are taken."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from threadtrace.questions import Question, WrongQuestion

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the agent is Linux only")

PATIENCE_SECONDS = 10.0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Endless:
    """As many bytes as anybody takes."""

    def __init__(self) -> None:
        self.told = 0
        self.is_closed = False

    def read(self, max_bytes: int) -> bytes:
        self.told += max_bytes
        return b"x" * max_bytes

    def close(self) -> None:
        self.is_closed = True


class Quiet(Endless):
    """Only what it is given."""

    news = b""

    def read(self, max_bytes: int) -> bytes:
        news, self.news = self.news, b""
        return news


class Broadcast:
    def __init__(self, make: Callable[[], Endless]) -> None:
        self.make = make
        self.streams: list[Endless] = []

    def listen(self) -> Endless:
        self.streams.append(self.make())
        return self.streams[-1]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asked() -> list[Question]:
    return []


@pytest.fixture
def server(tmp_path: Path, clock: Clock, asked: list[Question]) -> Iterator[Any]:
    from threadtrace.answering import AnswerSocket

    def why(question: Question) -> dict[str, Any]:
        asked.append(question)
        return {"answer": "yes"}

    def large(question: Question) -> dict[str, Any]:
        return {"answer": "y" * (4 << 20)}

    def wrong(question: Question) -> dict[str, Any]:
        raise WrongQuestion("not that")

    def unreadable(question: Question) -> dict[str, Any]:
        raise OSError(5, "Input/output error")

    handlers = {"why": why, "large": large, "wrong": wrong, "unreadable": unreadable}
    running = AnswerSocket(tmp_path / "agent.sock", handlers, clock)
    yield running
    running.close()
    assert not (tmp_path / "agent.sock").exists()


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., socket.socket]]:
    made = []

    def connecting(request: bytes = b"") -> socket.socket:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.append(asking)
        asking.connect(str(tmp_path / "agent.sock"))
        asking.setblocking(False)
        if request:
            asking.sendall(request)
        return asking

    yield connecting
    for asking in made:
        asking.close()


def received(asking: socket.socket) -> bytes | None:
    """What is there; None when nothing is, b"" when the other side hung up."""
    try:
        return asking.recv(1 << 16)
    except BlockingIOError:
        return None


def test_a_request_in_pieces(server: Any, connect: Any, asked: list[Question]) -> None:
    asking = connect()
    for piece in (b'{"get"', b': "why"', b"}"):
        asking.sendall(piece)
        server.serve()
        assert received(asking) is None
    asking.sendall(b"\n")
    server.serve()
    assert json.loads(received(asking) or b"") == {"answer": "yes"}
    assert received(asking) == b""
    assert asked == [{"get": "why"}]


def test_those_who_ask_the_same_at_once_share_an_answer(
    server: Any, connect: Any, asked: list[Question]
) -> None:
    several = [connect(b'{"get": "why"}\n') for _ in range(5)]
    server.serve()
    assert all(received(asking) for asking in several)
    assert len(asked) == 1
    connect(b'{"get": "why"}\n')
    server.serve()
    assert len(asked) == 2


def test_an_answer_that_is_larger_than_the_socket(server: Any, connect: Any) -> None:
    asking = connect(b'{"get": "large"}\n')
    whole = b""
    for _ in range(10_000):
        server.serve()
        part = received(asking)
        if part == b"":
            break
        whole += part or b""
    assert len(json.loads(whole)["answer"]) == 4 << 20


def test_failures_are_answers(server: Any, connect: Any) -> None:
    several = [connect(b'{"get": "%b"}\n' % name) for name in (b"wrong", b"unreadable", b"events")]
    server.serve()
    said = [json.loads(received(asking) or b"")["error"] for asking in several]
    assert said == [
        "not that",
        "it cannot be read: Input/output error",
        "this agent tells no events",
    ]


@pytest.mark.parametrize("request_", [b"", b'{"get": "why"', b'{"get": "large"}\n'])
def test_each_request_has_its_time(
    server: Any, connect: Any, clock: Clock, request_: bytes
) -> None:
    asking = connect(request_)
    clock.now += 1
    server.serve()
    clock.now += PATIENCE_SECONDS - 0.1
    server.tick()
    assert server._connections
    clock.now += 0.1
    server.tick()
    assert not server._connections
    while part := received(asking):
        assert part


def test_who_listens_has_no_end_and_holds_nothing_up(
    server: Any, connect: Any, clock: Clock
) -> None:
    server.broadcast = Broadcast(Endless)
    asking = connect(b'{"get": "events"}\n')
    server.serve()
    (stream,) = server.broadcast.streams
    told = stream.told
    for _ in range(50):  # nobody reads
        clock.now += PATIENCE_SECONDS
        server.serve()
        server.tick()
    assert stream.told <= told + (1 << 18)
    while received(asking):
        pass
    server.serve()
    assert stream.told > told, "who reads again is told more"
    asking.close()
    server.serve()
    assert stream.is_closed
    assert not server._connections


def test_news_are_sent_at_the_tick(server: Any, connect: Any) -> None:
    server.broadcast = Broadcast(Quiet)
    asking = connect(b'{"get": "events"}\n')
    server.serve()
    (stream,) = server.broadcast.streams
    assert received(asking) is None
    stream.news = b"something\n"
    server.tick()
    assert received(asking) == b"something\n"
    asking.shutdown(socket.SHUT_WR)  # as of who has nothing more to ask
    server.serve()
    stream.news = b"more\n"
    server.serve()
    assert received(asking) == b"more\n"


def test_nothing_is_ready_while_nothing_happens(server: Any, connect: Any) -> None:
    """Else the agent's loop would turn without rest."""
    import select

    server.broadcast = Broadcast(Quiet)
    poller = select.poll()
    poller.register(server.fileno(), select.POLLIN)
    listening, half = connect(b'{"get": "events"}\nand more'), connect(b"{")
    server.serve()
    assert poller.poll(0) == []
    listening.sendall(b"even more")
    listening.shutdown(socket.SHUT_WR)
    server.serve()
    assert poller.poll(0) == []
    half.close()
    assert poller.poll(0)
    server.serve()
    assert poller.poll(0) == []


def test_the_oldest_that_does_not_listen_gives_way(server: Any, connect: Any) -> None:
    from threadtrace.answering import MAX_CONNECTIONS, MAX_LISTENERS

    server.broadcast = Broadcast(Quiet)
    listening = [connect(b'{"get": "events"}\n') for _ in range(MAX_LISTENERS)]
    server.serve()
    mute = [connect() for _ in range(MAX_CONNECTIONS - MAX_LISTENERS)]
    server.serve()
    asking = connect(b'{"get": "events"}\n')
    server.serve()
    assert b"others listen" in (received(asking) or b"")
    assert received(mute[0]) == b""
    assert received(mute[1]) is None
    assert all(received(one) is None for one in listening)
