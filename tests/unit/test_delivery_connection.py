"""Collectors behind sockets: real sockets, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from threadtrace.delivery import connection
from threadtrace.delivery.buffer import Rank
from threadtrace.delivery.connection import ConnectionOutlet

DEADLINE_SECONDS = 20
BUFFER_BYTES = 1 << 25


def lines(first: int, count: int) -> list[bytes]:
    return [b'{"n":%d}\n' % number for number in range(first, first + count)]


@pytest.fixture(autouse=True)
def _soon_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PROVEN_SECONDS", 0.05)


class Collector:
    """Listens, and reads when it is told to."""

    def __init__(
        self, path: Path | None = None, port: int = 0, receive_bytes: int | None = None
    ) -> None:
        family = socket.AF_INET if path is None else socket.AF_UNIX
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_bytes is not None:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._listening.bind(("127.0.0.1", port) if path is None else str(path))
        self._listening.listen()
        self._listening.setblocking(False)
        self.connections: list[socket.socket] = []
        self.received = b""

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        taken, _ = await asyncio.wait_for(loop.sock_accept(self._listening), DEADLINE_SECONDS)
        taken.setblocking(False)
        self.connections.append(taken)
        self.received = b""

    async def read_until(self, is_enough: Callable[[bytes], bool]) -> bytes:
        loop = asyncio.get_running_loop()
        while not is_enough(self.received):
            part = await asyncio.wait_for(
                loop.sock_recv(self.connections[-1], 1 << 16), DEADLINE_SECONDS
            )
            if not part:
                break
            self.received += part
        return self.received

    def reset(self) -> None:
        """As a process that is killed: what it had not read is gone."""
        taken = self.connections.pop()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        taken.close()

    def close(self) -> None:
        for taken in self.connections:
            taken.close()
        self._listening.close()


def outlet_to(collector: Collector, buffer_bytes: int = BUFFER_BYTES) -> ConnectionOutlet:
    return ConnectionOutlet(
        "tcp://collector", buffer_bytes, socket.AF_INET, ("127.0.0.1", collector.port)
    )


async def until(condition: Callable[[], bool], what: str) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    try:
        await asyncio.wait_for(wait(), DEADLINE_SECONDS)
    except asyncio.TimeoutError:
        pytest.fail(f"not within {DEADLINE_SECONDS} s: {what}")


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 3 * DEADLINE_SECONDS))  # type: ignore[arg-type]


def test_lines_arrive_in_order_and_the_end_is_a_hang_up() -> None:
    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        outlet.start()
        outlet.write(lines(0, 5), Rank.KEPT)
        await collector.accept()
        outlet.write(lines(5, 5), Rank.RATES)
        await outlet.finish(DEADLINE_SECONDS)
        assert await collector.read_until(lambda _: False) == b"".join(lines(0, 10))
        assert (outlet.written, outlet.take_lost()) == (10, 0)
        outlet.close()
        collector.close()

    run(work)


def test_a_collector_that_hangs_up_at_the_end_is_no_trouble(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        outlet.start()
        outlet.write(lines(0, 10), Rank.RATES)
        await collector.accept()
        await outlet.finish(DEADLINE_SECONDS)
        assert await collector.read_until(lambda _: False) == b"".join(lines(0, 10))
        collector.close()
        for _ in range(10):  # other outputs are not done yet
            await asyncio.sleep(0)
        assert (outlet.written, outlet.state.is_connected, outlet.has_pending) == (10, True, False)
        outlet.close()

    run(work)
    assert capsys.readouterr().err == ""


def test_a_unix_socket(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "collector"
        collector = Collector(path)
        outlet = ConnectionOutlet("unix:collector", BUFFER_BYTES, socket.AF_UNIX, str(path))
        outlet.start()
        await collector.accept()
        outlet.write(lines(0, 10), Rank.RATES)
        assert await collector.read_until(lambda data: data.count(b"\n") == 10)
        outlet.close()
        collector.close()

    run(work)


def test_a_collector_that_comes_later(capsys: pytest.CaptureFixture[str]) -> None:
    heard = ""

    def said() -> str:
        nonlocal heard
        heard += capsys.readouterr().err
        return heard

    async def work() -> None:
        collector = Collector()
        port = collector.port
        outlet = outlet_to(collector)
        collector.close()
        outlet.start()
        outlet.write(lines(0, 10), Rank.RATES)
        await until(lambda: "refused" in said(), "it was told that nobody is there")
        later = Collector(port=port)
        await later.accept()
        assert await later.read_until(lambda data: data.count(b"\n") == 10) == b"".join(
            lines(0, 10)
        )
        await until(lambda: "again" in said(), "it is told that it works")
        outlet.close()
        later.close()

    run(work)
    assert said().count("Connection refused") == 1, "said once"


def test_one_that_does_not_read_costs_a_buffer_and_no_time() -> None:
    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector, 1 << 16)
        outlet.start()
        await collector.accept()
        await until(lambda: outlet.state.is_connected, "connected")
        kept = [b'{"kept":%d}\n' % number for number in range(20)]
        outlet.write(kept, Rank.KEPT)
        for start in range(0, 400_000, 1_000):
            outlet.write(lines(start, 1_000), Rank.RATES)
            await asyncio.sleep(0)
        lost = outlet.take_lost()
        assert lost > 0
        assert outlet.buffer.size <= 1 << 16
        outlet.write([b"last\n"], Rank.KEPT)
        received = await collector.read_until(lambda data: data.endswith(b"last\n"))
        assert received.startswith(b"".join(kept))
        assert received.count(b"\n") == 20 + 400_000 - lost + 1
        outlet.close()
        collector.close()

    run(work)


def test_what_a_killed_collector_had_not_read_is_sent_again() -> None:
    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        outlet.start()
        await collector.accept()
        outlet.write(lines(0, 100), Rank.RATES)
        await until(lambda: not outlet.has_pending, "the kernel has it all")
        collector.reset()
        await until(lambda: not outlet.state.is_connected, "the break was noticed")
        outlet.write(lines(100, 5), Rank.RATES)
        await collector.accept()
        received = await collector.read_until(lambda data: data.count(b"\n") >= 105)
        assert received == b"".join(lines(0, 105))
        assert (outlet.written, outlet.take_lost()) == (105, 0)
        outlet.close()
        collector.close()

    run(work)


def test_so_much_is_sent_again_and_no_more() -> None:
    async def work() -> None:
        collector = Collector(receive_bytes=16_384)
        outlet = outlet_to(collector)
        outlet.start()
        await collector.accept()
        count = 100_000
        outlet.write(lines(0, count), Rank.RATES)
        await collector.read_until(lambda data: data.count(b"\n") == count)
        await until(lambda: not outlet.has_pending, "all is on its way")
        collector.reset()
        await collector.accept()
        outlet.write([b"last\n"], Rank.RATES)
        received = await collector.read_until(lambda data: data.endswith(b"last\n"))
        assert (1 << 18) - 20 < len(received) < 400_000
        first = int(received.split(b"}", 1)[0].split(b":")[1])
        assert received == b"".join(lines(first, count - first)) + b"last\n"
        outlet.close()
        collector.close()

    run(work)


def test_nobody_is_there_at_the_end() -> None:
    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        collector.close()
        outlet.start()
        outlet.write(lines(0, 10), Rank.KEPT)
        await outlet.finish(0.2)
        assert outlet.take_lost() == 10
        outlet.close()

    run(work)


def test_a_collector_that_talks_is_not_listened_to() -> None:
    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        outlet.start()
        await collector.accept()
        loop = asyncio.get_running_loop()
        talk = loop.create_task(loop.sock_sendall(collector.connections[-1], b"x" * 1_000_000))
        outlet.write(lines(0, 10), Rank.KEPT)
        assert await collector.read_until(lambda data: data.count(b"\n") == 10)
        await asyncio.wait_for(talk, DEADLINE_SECONDS)
        outlet.close()
        collector.close()

    run(work)


def test_one_that_read_fast_before_it_stopped_and_died_loses_nothing() -> None:
    """Its receive buffer has grown meanwhile; all that lay in there is sent again."""

    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        outlet.start()
        await collector.accept()
        padding = b"x" * 600
        told = 0

        async def tell(count: int) -> None:
            nonlocal told
            rest = range(told, told + count)
            outlet.write([b'{"n":%d,"p":"%b"}\n' % (n, padding) for n in rest], Rank.KEPT)
            told += count

        for _ in range(40):
            await tell(500)
            await collector.read_until(lambda data: data.count(b"\n") == told)
        await tell(12_000)
        await asyncio.sleep(0.2)  # as much as the kernel takes
        before = collector.received
        collector.reset()
        await collector.accept()
        await tell(1)
        last = b'{"n":%d,' % (told - 1)
        after = await collector.read_until(lambda data: last in data and data.endswith(b"\n"))
        numbers = {int(line[5 : line.index(b",")]) for line in (before + after).splitlines()}
        assert not set(range(told)) - numbers
        assert (outlet.written, outlet.take_lost()) == (told, 0)
        outlet.close()
        collector.close()

    run(work)


def test_a_collector_that_talks_at_the_end_gets_everything() -> None:
    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        outlet.start()
        await collector.accept()
        outlet.write([b"y" * 999 + b"\n"] * 2_000, Rank.KEPT)
        loop = asyncio.get_running_loop()
        finishing = loop.create_task(outlet.finish(DEADLINE_SECONDS))
        received = 0
        while part := await loop.sock_recv(collector.connections[-1], 1 << 16):
            await loop.sock_sendall(collector.connections[-1], b"noise\n")
            received += len(part)
        assert received == 2_000_000
        collector.close()
        await asyncio.wait_for(finishing, DEADLINE_SECONDS)
        assert (outlet.written, outlet.take_lost()) == (2_000, 0)
        outlet.close()

    run(work)


def test_one_that_accepts_and_hangs_up_is_asked_less_and_less_often(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_PROVEN_SECONDS", 60.0)
    monkeypatch.setattr(connection, "_FIRST_PAUSE_SECONDS", 0.02)

    async def work() -> None:
        collector = Collector()
        outlet = outlet_to(collector)
        outlet.start()
        outlet.write(lines(0, 5), Rank.KEPT)
        moments = []
        for _ in range(7):
            await collector.accept()
            moments.append(asyncio.get_running_loop().time())
            collector.reset()
        assert moments[-1] - moments[-2] > 0.3, "after 0.64 s, less up to a half"
        outlet.close()
        collector.close()

    run(work)
    assert capsys.readouterr().err.count("\n") == 1, "said once"


def test_a_unix_socket_with_a_full_queue_is_not_connected(tmp_path: Path) -> None:
    async def work() -> None:
        path = str(tmp_path / "collector")
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
            listening.bind(path)
            listening.listen(0)
            first.connect(path)
            outlet = ConnectionOutlet("unix:x", BUFFER_BYTES, socket.AF_UNIX, path)
            outlet.start()
            outlet.write(lines(0, 5), Rank.KEPT)
            for _ in range(50):
                await asyncio.sleep(0.002)
            assert (outlet.state.is_connected, outlet.written, len(outlet.buffer)) == (False, 0, 5)
            outlet.close()

    run(work)
