"""Who is slow, silent, malformed or gone: others are served at once, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import resource
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest
from serving_builders import (
    QUICK,
    TOKEN,
    Peer,
    Served,
    Told,
    lines,
    make_certificate,
    run,
    serving,
    soon,
    until,
)

from threadtrace.serving.addresses import IpAddress
from threadtrace.serving.channel import Phase
from threadtrace.serving.door import forget_frames
from threadtrace.serving.tls import ServerTls
from threadtrace.serving.token import TokenFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the agent is Linux only")

# Older ones leave tasks in circles.
IS_TIDY_AIOHTTP = tuple(map(int, aiohttp.__version__.split(".")[:2])) >= (3, 14)
LARGE = {"text": "x" * 8_000_000}
ONE_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def address_of(served: Served) -> tuple[str, int]:
    address = served.addresses[0]
    assert isinstance(address, IpAddress)
    return address.host, address.port


def test_headers_must_come_in_time() -> None:
    async def test() -> None:
        async with serving(limits=replace(QUICK, head_seconds=0.2)) as served:
            loop = asyncio.get_running_loop()
            silent, slow, second = [await served.connect() for _ in range(3)]
            second.ask("/healthz")
            await second.answer()
            began = loop.time()
            second.send(b"GET /hea")
            while loop.time() < began + 10 and not slow.reader.at_eof():
                slow.send(b"x")
                await asyncio.sleep(0.02)
            assert loop.time() - began < 5
            for peer in (silent, slow, second):
                assert await peer.ended() == b""
            await until(lambda: not served.door.channels, "nobody is left")

    run(test())


def test_who_asks_nothing_any_more_is_let_go() -> None:
    async def test() -> None:
        async with serving(limits=replace(QUICK, idle_seconds=0.2)) as served:
            peer = await served.connect()
            peer.ask("/healthz")
            assert (await peer.answer()).status == 200
            assert await peer.ended() == b""

    run(test())


@pytest.mark.parametrize("path", ["/v1/snapshot", "/v1/view"])
def test_who_takes_nothing_is_cut(path: str) -> None:
    async def test() -> None:
        told = Told(snapshot=LARGE, view=[b"x" * 99 + b"\n"] * 80_000)
        async with serving(told, limits=replace(QUICK, stall_seconds=0.3)) as served:
            peer = await served.connect(limit=1)
            peer.ask(path)
            await until(lambda: any(c.has_pending for c in served.door.channels), "it is stuck")
            await until(lambda: not served.door.channels, "it is cut")
            await until(lambda: all(view.is_closed for view in told.views), "its view is closed")

    run(test())


def test_twenty_four_that_read_a_byte_at_a_time_hold_up_nobody() -> None:
    async def test() -> None:
        told = Told(snapshot=LARGE, view=[b"x" * 99 + b"\n"] * 80_000)
        async with serving(told) as served:
            loop = asyncio.get_running_loop()
            slow = []
            for number in range(24):
                one = socket.socket()
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.setblocking(False)
                await loop.sock_connect(one, address_of(served))
                path = b"/v1/snapshot" if number % 2 else b"/v1/view"
                await loop.sock_sendall(one, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                slow.append(one)
            await until(lambda: sum(c.has_pending for c in served.door.channels) == 24, "all stuck")
            worst = 0.0
            for _ in range(20):
                for one in slow:
                    assert len(one.recv(1)) == 1
                for path in ("/healthz", "/metrics", "/v1/why"):
                    began = loop.time()
                    assert (await served.get(path)).status == 200
                    worst = max(worst, loop.time() - began)
            assert worst < 3.0  # milliseconds, where nobody else runs
            for channel in served.door.channels:
                if channel.transport is not None:
                    assert channel.transport.get_write_buffer_size() < 4 * QUICK.chunk_bytes
            for one in slow:
                one.close()
            await until(lambda: not served.door.channels, "all are seen to be gone")

    run(test())


def test_health_is_told_while_strangers_take_all_places() -> None:
    async def test() -> None:
        async with serving() as served:
            strangers = [await served.connect() for _ in range(QUICK.connections)]
            for number, peer in enumerate(strangers):
                peer.send(ONE_REQUEST[: number % 20])
            for _ in range(10):
                assert (await served.get("/healthz")).body == b"ok\n"
            assert len(served.door.channels) <= QUICK.connections
            # The oldest went, not those who came last.
            assert strangers[0].reader.at_eof()
            strangers[-1].send(ONE_REQUEST[(QUICK.connections - 1) % 20 :])
            assert (await strangers[-1].answer()).status == 200

    run(test())


def test_health_is_told_while_all_places_are_busy_and_others_are_told_so() -> None:
    async def test() -> None:
        told = Told(snapshot=LARGE)
        async with serving(told) as served:
            for _ in range(QUICK.connections):
                peer = await served.connect(limit=1)
                peer.ask("/v1/snapshot")
            await until(
                lambda: sum(c.has_pending for c in served.door.channels) == QUICK.connections,
                "all are busy",
            )
            for _ in range(20):
                assert (await served.get("/healthz")).body == b"ok\n"
                answer = await served.get("/v1/why")
                assert answer.status == 503
                assert answer.headers["retry-after"] == "1"
            more = [await served.connect() for _ in range(30)]
            assert (await served.get("/readyz")).status == 200
            assert len(served.door.channels) <= QUICK.connections + QUICK.reserve
            for peer in more:
                peer.close()

    run(test())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 9000,
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        ONE_REQUEST[:-2] + b"a: b\r\n" * 1400 + b"\r\n",
        ONE_REQUEST[:-2] + b"a: " + b"b" * 8192 + b"\r\n\r\n",
        ONE_REQUEST * 3 + b"x" * 9000,
        b"x" * 3_000_000,
    ],
)
def test_a_head_that_is_too_long(head: bytes) -> None:
    async def test() -> None:
        async with serving() as served:
            peer = await served.connect()
            peer.send(head)
            for _ in range(head.startswith(ONE_REQUEST * 3) * 3):
                assert (await peer.answer()).status == 200
            if len(head) < 20_000:
                answer = await peer.answer()
                assert answer.status == 431
                assert answer.json["error"]
            await peer.ended()
            peer.close()
            await until(lambda: not served.door.channels, "it is gone")

    run(test())


def test_a_head_that_just_fits() -> None:
    async def test() -> None:
        async with serving() as served:
            peer = await served.connect()
            rest = b" HTTP/1.1\r\nHost: x\r\n\r\n"
            peer.send(b"GET /" + b"x" * (QUICK.head_bytes - 5 - len(rest)) + rest)
            assert (await peer.answer()).status == 404

    run(test())


def malformed(seed: int) -> bytes:
    """No request, in one of many ways, with the end of a head."""
    chance = random.Random(seed)
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 60)))
    kinds: list[bytes] = [
        noise,
        b"GET " + noise,
        b"GET / HTTP/1.1\r\n" + noise,
        b"GET / HTTP/1.1\r\nHost: x\r\n" + noise + b": y",
        b"GET / HTTP/9.9\r\nHost: x",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost : x",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + noise,
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise,
        b"GET /\x00 HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1\nHost: x",
        b"GET  /  HTTP/1.1\r\nHost: x",
        b"get / HTTP/1.1\r\nHost: x",
        b"GET http://[ HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key1: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: " + noise,
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade",
        b"CONNECT / HTTP/1.1\r\nHost: x",
        ONE_REQUEST[: chance.randrange(len(ONE_REQUEST))] + noise,
    ]
    return chance.choice(kinds) + chance.choice([b"\r\n\r\n", b"\n\n", b"\r\n\r\n" + noise])


async def talk(served: Served, seed: int, requests: int) -> int:
    """Send so many of them, over as many connections as it takes; some hang up without a word."""
    loop, sent, address = asyncio.get_running_loop(), 0, address_of(served)
    while sent < requests:
        with socket.socket() as one:
            one.setblocking(False)
            await loop.sock_connect(one, address)
            try:
                while sent < requests:
                    sent += 1
                    await loop.sock_sendall(one, malformed(seed * 1_000_003 + sent))
                    if sent % 7 == 0:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        break
                    if sent % 5 == 0:
                        break
                    if not await loop.sock_recv(one, 1 << 16):
                        break
            except ConnectionError as error:
                forget_frames(error)
    return sent


def test_ten_thousand_malformed_requests_leave_nothing_behind(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    process = psutil.Process()

    async def test() -> None:
        limits = replace(QUICK, head_seconds=0.3, idle_seconds=0.3, linger_seconds=0.3)
        async with serving(limits=limits) as served:
            crowd = 50

            async def round_of(requests: int, seed: int) -> None:
                talks = (talk(served, seed + one, requests // crowd) for one in range(crowd))
                assert sum(await soon(asyncio.gather(*talks))) == requests
                await until(lambda: not served.door.channels, "all are gone")
                await asyncio.sleep(0)

            await round_of(1000, 0)
            # What can only be found by looking for it is not found by an agent, which seldom does.
            gc.collect()
            if IS_TIDY_AIOHTTP:
                gc.disable()
            try:
                descriptors = process.num_fds()
                tasks = len(asyncio.all_tasks())
                objects, resident = len(gc.get_objects()), process.memory_info().rss
                await round_of(10_000, 1000)
                await until(lambda: process.num_fds() == descriptors, "descriptors as before")
                await until(lambda: len(asyncio.all_tasks()) == tasks, "tasks as before")
                grown = len(gc.get_objects()) - objects
                assert process.memory_info().rss - resident < 4 << 20
                if IS_TIDY_AIOHTTP:
                    assert grown < 1000
            finally:
                gc.enable()
            assert (await served.get("/healthz")).body == b"ok\n"

    run(test())
    captured = capsys.readouterr()
    assert captured.err == ""
    assert caplog.text == ""


def test_connections_that_break_at_any_moment() -> None:
    async def test() -> None:
        told = Told(snapshot=LARGE)
        told.history.add(lines(1, 2000, "x" * 500), 0.0)
        async with serving(told) as served:
            loop, chance = asyncio.get_running_loop(), random.Random(5)
            paths = ("/v1/snapshot", "/v1/view", "/v1/events?after=0", "/healthz", "/nothing")
            for number in range(400):
                with socket.socket() as one:
                    one.setblocking(False)
                    await loop.sock_connect(one, address_of(served))
                    request = f"GET {chance.choice(paths)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                    await loop.sock_sendall(one, request[: chance.choice([3, 10, 999])])
                    for _ in range(chance.randrange(6)):
                        await asyncio.sleep(0)
                    if number % 2:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await until(lambda: not served.door.channels, "all are gone")
            assert all(view.is_closed for view in told.views)
            assert (await served.get("/healthz")).body == b"ok\n"

    run(test())


def test_who_has_to_go_before_being_greeted_is_gone() -> None:
    async def test() -> None:
        async with serving(limits=replace(QUICK, connections=4, reserve=1)) as served:
            loop = asyncio.get_running_loop()
            clients = [socket.create_connection(address_of(served), timeout=10) for _ in range(40)]
            for client in clients:
                client.sendall(ONE_REQUEST)
                client.setblocking(False)
            answered = 0
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    answered += bool(await soon(loop.sock_recv(client, 4096)))
            assert answered >= 4
            await until(lambda: len(asyncio.all_tasks()) <= 2 * 4 + 1, "their tasks have ended")
            for client in clients:
                client.close()

    run(test())


def test_without_a_descriptor_who_comes_waits() -> None:
    async def test() -> None:
        async with serving() as served:
            loop = asyncio.get_running_loop()
            clients = [socket.socket() for _ in range(3)]
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                for client in clients:
                    client.setblocking(False)
                    await loop.sock_connect(client, address_of(served))
                    await loop.sock_sendall(client, ONE_REQUEST)
                await until(lambda: served.door.is_resting, "nobody can be accepted")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for client in clients:
                assert (await soon(loop.sock_recv(client, 4096))).startswith(b"HTTP/1.1 200")
                client.close()
            assert not served.door.is_resting

    run(test())


def test_strangers_to_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate, key = make_certificate(tmp_path, "one")

    async def test() -> None:
        tls = ServerTls(str(certificate), str(key))
        limits = replace(QUICK, head_seconds=0.5)
        async with serving(tls=tls, trusted=certificate, limits=limits) as served:
            secret, served.tls = served.tls, None
            silent = [await served.connect() for _ in range(QUICK.connections + 20)]
            served.tls = secret
            assert (await served.get("/healthz")).body == b"ok\n"
            assert len(served.door.channels) <= QUICK.connections
            served.tls = None
            plain = await served.connect()
            plain.ask("/healthz")
            await plain.ended()
            for number in range(50):
                peer = await served.connect()
                peer.send(malformed(number))
                if number % 3:
                    peer.writer.transport.abort()
            for peer in silent:
                await peer.ended()
            await until(lambda: not served.door.channels, "all are gone")
            served.tls = secret
            assert (await served.get("/healthz")).body == b"ok\n"

    run(test())
    assert caplog.text == ""


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """From the moment that it is called, whatever makes a thread or a process fails."""
    tried: list[str] = []

    def forbid(name: str) -> Callable[..., None]:
        def fail(*_: object, **__: object) -> None:
            tried.append(name)
            raise RuntimeError(f"{name}: no thread can be made")

        return fail

    def begin() -> None:
        monkeypatch.setattr(threading.Thread, "start", forbid("Thread.start"))
        monkeypatch.setattr(ThreadPoolExecutor, "submit", forbid("submit"))
        for name in ("run_in_executor", "getaddrinfo", "getnameinfo"):
            monkeypatch.setattr(asyncio.BaseEventLoop, name, forbid(name))
        for name in ("fork", "posix_spawn"):
            monkeypatch.setattr(os, name, forbid(name))
        monkeypatch.setattr(socket, "getaddrinfo", forbid("getaddrinfo"))

    yield begin
    assert tried == []


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("with_tls", [False, True])
def test_no_thread_is_ever_made(
    tmp_path: Path, no_threads: Callable[[], None], with_tls: bool
) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    (tmp_path / "token").write_text(TOKEN)

    async def everything(served: Served) -> None:
        bearer = f"Authorization: Bearer {TOKEN}"
        paths = ("/healthz", "/readyz", "/metrics", "/v1/snapshot", "/v1/why", "/nothing")
        for path in (*paths, "/v1/workload?key=x", "/v1/process?pid=1", "/v1/events?after=77"):
            for headers in ((bearer,), (), ("Accept-Encoding: gzip, br", bearer)):
                for method in ("GET", "HEAD", "POST"):
                    await served.get(path, *headers, method=method)
        peers: list[Peer] = []
        for path in ("/v1/events", "/v1/view"):
            peers.append(await served.connect())
            peers[-1].ask(path, bearer)
            await peers[-1].head()
        served.tell(lines(1, 9))
        assert await peers[0].line()
        for number in range(40):
            peers.append(await served.connect())
            peers[-1].send(malformed(number))
        peers[-1].writer.transport.abort()
        served.server.reload()

    async def test() -> None:
        told = Told(snapshot=LARGE)
        before = threads()
        no_threads()
        async with serving(
            told,
            token=TokenFile(str(tmp_path / "token")),
            tls=ServerTls(str(certificate), str(key)) if with_tls else None,
            trusted=certificate if with_tls else None,
        ) as served:
            await everything(served)
            assert threads() == before
            assert any(channel.phase is Phase.ANSWERING for channel in served.door.channels)
        assert threads() == before

    run(test())
