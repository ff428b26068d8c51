"""A server with sources of a test's own, and who asks it over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from threadtrace.questions import Question, WrongQuestion
from threadtrace.serving.addresses import Address, UnixAddress, listen_on, parse_addresses
from threadtrace.serving.door import Door
from threadtrace.serving.history import History
from threadtrace.serving.limits import Limits
from threadtrace.serving.server import Server
from threadtrace.serving.sources import Sources
from threadtrace.serving.tls import ServerTls
from threadtrace.serving.token import TokenFile

PATIENCE_SECONDS = 60.0
AGENT_ID = "5a0f3c52-6d7e-4a37-9c55-000000000001"
TOKEN = "0123456789abcdef-of-a-test"
QUICK = replace(Limits(), reap_seconds=0.02)

T = TypeVar("T")


def line(sequence: int, text: str = "") -> bytes:
    """As the outputs get it, with words that stand in the way of who searches carelessly."""
    return orjson.dumps(
        {
            "timestamp": "2026-01-01T00:00:00.000000000Z",
            "event": {"name": "threadtrace.node.limits", "sequence": sequence},
            "message": f'"sequence":7 "id":"no" {text}',
            "agent": {"name": "threadtrace", "version": "0.1.0", "id": AGENT_ID},
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def lines(first: int, count: int, text: str = "") -> list[bytes]:
    return [line(first + index, text) for index in range(count)]


class View:
    """A run for one reader: a line for each tick that it reads."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._news = deque(told.view)
        self.is_closed = False

    def read(self, max_bytes: int) -> bytes:
        news, size = [], 0
        while self._news and size < max_bytes:
            news.append(self._news.popleft())
            size += len(news[-1])
        return b"".join(news)

    def tell(self, text: bytes) -> None:
        self._news.append(text)

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Told:
    """What the sources tell, for a test to change."""

    snapshot: dict[str, Any] | None = field(default_factory=lambda: {"node": {}, "workloads": []})
    trouble: str | None = None
    is_ready: bool = True
    view: list[bytes] = field(default_factory=lambda: [b'{"view":1}\n', b"\n"])
    views: list[View] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    history: History = field(default_factory=History)
    fault: Exception | None = None

    def sources(self) -> Sources:
        return Sources(
            questions={"why": self._why, "workload": self._workload, "process": self._process},
            snapshot=self._snapshot,
            metrics=self._metrics,
            health=lambda: self.trouble,
            is_ready=lambda: self.is_ready,
            listen=self._listen,
            history=self.history,
        )

    def _why(self, _: Question) -> dict[str, Any]:
        self.made.append("why")
        if self.fault is not None:
            raise self.fault
        return {"answer": "nothing is refused", "number": len(self.made)}

    def _workload(self, question: Question) -> dict[str, Any]:
        if not isinstance(question["key"], str):
            raise WrongQuestion('"key" must be the key of a workload, as text')
        return {"key": question["key"]} if question["key"] == "container:ab" else {}

    def _process(self, question: Question) -> dict[str, Any]:
        if type(question["pid"]) is not int:
            raise WrongQuestion('"pid" must be the number of a process')
        return {"pid": question["pid"]} if question["pid"] == 4711 else {}

    def _snapshot(self) -> dict[str, Any] | None:
        self.made.append("snapshot")
        return self.snapshot

    def _metrics(self, accept: str) -> tuple[bytes, str]:
        self.made.append("metrics")
        kind = "application/openmetrics-text" if "openmetrics" in accept else "text/plain"
        return b"threadtrace_tasks 1\n", f"{kind}; version=0.0.4; charset=utf-8"

    def _listen(self) -> View:
        self.views.append(View(self))
        return self.views[-1]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Peer:
    """One who is connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._lines: list[bytes] = []
        self._partial = b""

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(self, path: str, *headers: str, method: str = "GET") -> None:
        self.send("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        text = (await soon(self.reader.readuntil(b"\r\n\r\n"))).decode()
        first, *rest = text.rstrip("\r\n").split("\r\n")
        pairs = (header.partition(": ") for header in rest)
        return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}

    async def answer(self, has_body: bool = True) -> Answer:
        status, headers = await self.head()
        size = int(headers.get("content-length", 0)) if has_body else 0
        return Answer(status, headers, await soon(self.reader.readexactly(size)))

    async def line(self) -> bytes:
        """One of a stream in chunks; nothing at its end."""
        while not self._lines:
            size = int((await soon(self.reader.readuntil(b"\r\n"))).strip(), 16)
            chunk = (await soon(self.reader.readexactly(size + 2)))[:-2]
            if not size:
                return b""
            self._partial += chunk
            *whole, self._partial = self._partial.split(b"\n")
            self._lines += [text + b"\n" for text in whole]
        return self._lines.pop(0)

    async def ended(self) -> bytes:
        """What still comes until the other side hangs up; empty where it was cut, too."""
        with contextlib.suppress(ConnectionError):
            return await soon(self.reader.read(-1))
        return b""

    def close(self) -> None:
        self.writer.close()


@dataclass
class Served:
    """A server that runs."""

    server: Server
    told: Told
    addresses: list[Address]
    tls: ssl.SSLContext | None = None
    peers: list[Peer] = field(default_factory=list)

    @property
    def door(self) -> Door:
        door = self.server._door
        assert door is not None
        return door

    def tell(self, news: Sequence[bytes], now: float = 0.0) -> None:
        self.told.history.add(news, now)
        self.server.tick()

    async def connect(self, index: int = 0, limit: int = 1 << 16) -> Peer:
        address = self.addresses[index]
        if isinstance(address, UnixAddress):
            opened = asyncio.open_unix_connection(address.path, limit=limit)
        else:
            opened = asyncio.open_connection(address.host, address.port, ssl=self.tls, limit=limit)
        peer = Peer(*await soon(opened))
        self.peers.append(peer)
        return peer

    async def get(self, path: str, *headers: str, index: int = 0, method: str = "GET") -> Answer:
        """On a connection of its own."""
        peer = await self.connect(index)
        peer.ask(path, *headers, "Connection: close", method=method)
        try:
            answer = await peer.answer(method != "HEAD")
            assert await peer.ended() == b""
        finally:
            peer.close()
        return answer


@contextlib.asynccontextmanager
async def serving(
    told: Told | None = None,
    listen: Sequence[str] = ("127.0.0.1:0",),
    token: TokenFile | None = None,
    tls: ServerTls | None = None,
    trusted: Path | None = None,
    limits: Limits = QUICK,
) -> AsyncIterator[Served]:
    """A server until the test is over; who is still connected then is hung up."""
    told = told or Told()
    listening = listen_on(parse_addresses(listen, token is not None))
    server = Server(listening, told.sources(), token, tls, limits)
    context = None
    if trusted is not None:
        context = ssl.create_default_context(cafile=str(trusted))
    await server.start()
    served = Served(server, told, [socket.address for socket in listening], context)
    try:
        yield served
    finally:
        for peer in served.peers:
            peer.close()
        await soon(server.close())


async def soon(awaited: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    return await asyncio.wait_for(awaited, PATIENCE_SECONDS)


async def until(condition: Callable[[], object], what: str) -> None:
    """Let the loop run until it holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while not condition():
        if loop.time() > end:
            raise TimeoutError(what)
        await asyncio.sleep(0.002)


def run(test: Coroutine[Any, Any, T]) -> T:
    """A whole test, which leaves no task behind."""

    async def whole() -> T:
        result = await asyncio.wait_for(test, 120)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, left
        return result

    return asyncio.run(whole())


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key
