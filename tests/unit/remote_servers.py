"""Servers that a view of an agent elsewhere may meet: an agent's routes, and strangers."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from support.heard import Heard
from threadtrace.feeds.remote import Remote

DEADLINE_SECONDS = 20.0
RECORD = Path(__file__).parents[1] / "data" / "pids-max-of-parent.jsonl.gz"
LINES = gzip.decompress(RECORD.read_bytes()).splitlines(keepends=True)
BEGINNING = b"".join(LINES[:3]) + b"\n"
"""A whole tick."""

WHY = {
    "answer": "this node can fork",
    "state": "healthy",
    "causes": [],
    "causes_count": 0,
    "explosions": [],
    "missing": [],
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 3 * DEADLINE_SECONDS))


async def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_SECONDS:g} s: {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def following(remote: Remote, heard: Heard | None = None) -> AsyncIterator[Heard]:
    heard = heard or Heard()
    running = asyncio.ensure_future(remote.run(heard))
    try:
        yield heard
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def beginning_and_no_end(request: web.Request) -> web.StreamResponse:
    """A tick; then nothing, until the reader leaves."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(BEGINNING)
    await asyncio.Event().wait()
    return response


class AgentServer:
    """The routes of an agent that a view uses, in a thread and a loop of its own."""

    def __init__(
        self,
        view: Handler = beginning_and_no_end,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        unix: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.view, self.token = view, token
        self.answers: dict[str, Any] = {"/v1/why": WHY, "/v1/workload": {}, "/v1/process": {}}
        self.requests: list[web.BaseRequest] = []
        self.connections: set[Any] = set()
        self.port = 0
        self._tls, self._unix, self._host = tls, unix, host
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ready = threading.Event()
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self._host}:{self.port}"

    def __enter__(self) -> AgentServer:
        self._thread.start()
        assert self._is_ready.wait(DEADLINE_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._end is not None
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.01)
        await runner.setup()
        site: web.BaseSite
        if self._unix is not None:
            site = web.UnixSite(runner, str(self._unix))
        else:
            site = web.TCPSite(runner, self._host, 0, ssl_context=self._tls)
        await site.start()
        if self._unix is None:
            self.port = runner.addresses[0][1]
        self._is_ready.set()
        await self._end.wait()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        assert request.transport is not None
        self.connections.add(request.transport)
        given = request.headers.get("Authorization")
        if self.token is not None and given != f"Bearer {self.token}":
            headers = {"WWW-Authenticate": "Bearer"}
            return web.json_response({"error": "a token is needed"}, status=401, headers=headers)
        if request.path == "/v1/view":
            return await self.view(request)  # type: ignore[arg-type]
        if request.path in self.answers:
            return web.json_response(self.answers[request.path])
        return web.json_response({"error": "no such path"}, status=404)


@asynccontextmanager
async def saying(*parts: bytes, hangs_up: bool = True) -> AsyncIterator[int]:
    """The port of one who says that to whoever comes, whatever it asks."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                await reader.read(1 << 16)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                if not hangs_up:
                    await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_certificates(directory: Path) -> Path:
    """A CA (ca.pem) and, for two hosts, a certificate of it (NAME.pem) with its key (.pem.key)."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca = directory / "ca.pem"
    openssl(
        *("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", str(ca), "-days", "2"),
        *("-subj", "/CN=test", "-addext", "keyUsage=critical,keyCertSign"),
    )
    for host, name in (("here", "IP:127.0.0.1"), ("there", "DNS:node-8.example")):
        path = directory / f"{host}.pem"
        openssl("req", *key, "-keyout", f"{path}.key", "-out", f"{path}.csr", "-subj", "/CN=agent")
        (directory / "names").write_text(f"subjectAltName={name}\n")
        openssl(
            *("x509", "-req", "-in", f"{path}.csr", "-CA", str(ca), "-CAkey", f"{ca}.key"),
            *("-CAcreateserial", "-days", "2", "-out", str(path)),
            *("-extfile", str(directory / "names")),
        )
    return directory
