"""The Unix socket on which a running agent answers questions and tells its events.

Who asks may do so when no process can be started any more; so does the agent answer: some system
calls in its own loop, and it never waits for who asks. docs/remote.md describes the protocol.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from threadtrace.connection import MAX_REQUEST_BYTES, Connection, Stream
from threadtrace.questions import Handler, WrongQuestion
from threadtrace.unix_socket import SocketFile

MAX_CONNECTIONS = 8
MAX_LISTENERS = 6
"""So that there is always room for a question."""

EVENTS = "events"

_ACCEPTED_AT_ONCE = 8
_BACKLOG = 8
_PATIENCE_SECONDS = 10.0


class Broadcast(Protocol):
    """Tells events to any number of listeners."""

    def listen(self) -> Stream:
        """One more."""


class AnswerSocket:
    """Listens, for this user only.

    What grows: at most 8 connections. Where another comes, the oldest that does not listen to
    events gives way; each question has 10 seconds to be asked and its answer to be taken.
    """

    def __init__(
        self,
        path: Path,
        handlers: Mapping[str, Handler],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind it, in the place of one that a dead agent left behind.

        Args:
            path: of the socket.
            handlers: what answers, by the value of ``get``.
            clock: monotonic, in seconds.

        Raises:
            OSError: it cannot be made; EADDRINUSE where another agent answers there.
        """
        self._handlers = handlers
        self._clock = clock
        self.broadcast: Broadcast | None = None
        """Where events come from; None: nowhere yet."""
        self._connections: dict[int, Connection] = {}  # oldest first
        self._answers: dict[bytes, bytes] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            self._file = SocketFile(self._socket, str(path))
        except OSError:
            self._socket.close()
            raise
        self._socket.listen(_BACKLOG)
        self._epoll = select.epoll()
        self._epoll.register(self._socket, select.EPOLLIN)

    def fileno(self) -> int:
        """A descriptor that is readable while there is something to do."""
        return self._epoll.fileno()

    def serve(self) -> None:
        """Do what can be done now; then what ``tick`` does."""
        self._answers.clear()
        ready = dict(self._epoll.poll(0))
        is_called = ready.pop(self._socket.fileno(), 0)
        for fd, events in ready.items():
            if fd in self._connections:
                self._go_on(self._connections[fd], events)
        if is_called:  # last: a new connection may get the number of one that gives way
            self._accept()
        self.tick()

    def tick(self) -> None:
        """Send what is new to who listens, and let go who had its time. Once a tick at least."""
        now = self._clock()
        for connection in list(self._connections.values()):
            if connection.deadline is not None and now >= connection.deadline:
                self._drop(connection)
            elif connection.is_listening and not connection.has_more:
                self._go_on(connection, select.EPOLLOUT)

    def close(self) -> None:
        """Hang up, stop listening, and remove the file, if it is still this one's."""
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._epoll.close()
        self._socket.close()
        self._file.remove()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                asking, _ = self._socket.accept()
            except OSError:  # nobody is left, or the one who asked has gone
                return
            if len(self._connections) >= MAX_CONNECTIONS:
                self._drop(next(c for c in self._connections.values() if not c.is_listening))
            connection = Connection(asking, self._clock() + _PATIENCE_SECONDS)
            self._connections[asking.fileno()] = connection
            self._epoll.register(asking, select.EPOLLIN)
            self._go_on(connection, select.EPOLLIN)

    def _go_on(self, connection: Connection, events: int) -> None:
        """Receive or send; hang up when all is sent, or nobody is there any more."""
        try:
            if connection.is_asking:
                request = connection.read_request()
                if request is not None:
                    self._respond(connection, request)
            elif events & (select.EPOLLHUP | select.EPOLLERR):
                self._drop(connection)
                return
            else:
                connection.send()
        except OSError:
            self._drop(connection)
            return
        if connection.is_done:
            self._drop(connection)
            return
        wanted = select.EPOLLIN if connection.is_asking else 0
        self._epoll.modify(connection, wanted | (select.EPOLLOUT if connection.has_more else 0))

    def _respond(self, connection: Connection, request: bytes) -> None:
        """An answer, the events, or what is wrong with the request."""
        try:
            question = _question(request)
            if question["get"] == EVENTS:
                connection.listen(self._stream())
                return
            answer = self._answers.get(request)
            if answer is None:
                answer = self._answers[request] = _line(self._answer(question))
        except WrongQuestion as error:
            answer = _line({"error": str(error)})
        connection.answer(answer)

    def _stream(self) -> Stream:
        if self.broadcast is None:
            raise WrongQuestion("this agent tells no events")
        listeners = sum(connection.is_listening for connection in self._connections.values())
        if listeners >= MAX_LISTENERS:
            raise WrongQuestion(f"{listeners} others listen to this agent already: end one of them")
        return self.broadcast.listen()

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        handler = self._handlers.get(question["get"])
        if handler is None:
            known = ", ".join([*self._handlers, EVENTS])
            raise WrongQuestion(f'"get" must be one of {known}')
        try:
            return handler(question)
        except OSError as error:
            raise WrongQuestion(f"it cannot be read: {error.strerror or error}") from None

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection.fileno()]
        with contextlib.suppress(OSError):
            self._epoll.unregister(connection)
        connection.close()


def _question(request: bytes) -> dict[str, Any]:
    if len(request) > MAX_REQUEST_BYTES:
        raise WrongQuestion(f"a request has at most {MAX_REQUEST_BYTES:,} bytes")
    try:
        question = orjson.loads(request)
    except orjson.JSONDecodeError:
        raise WrongQuestion('a request is one line of JSON, such as {"get": "why"}') from None
    if not isinstance(question, dict) or not isinstance(question.get("get"), str):
        raise WrongQuestion('a request is an object that says what to "get"')
    return question


def _line(answer: dict[str, Any]) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE)
