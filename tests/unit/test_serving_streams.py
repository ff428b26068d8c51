"""Streams without end: coming back, being slow, and the end of the agent."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest
from serving_builders import AGENT_ID, QUICK, Told, line, lines, run, serving, until

from threadtrace.serving.history import History

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the agent is Linux only")

ALL_STREAMS = 16


def test_the_very_lines_from_now_on() -> None:
    async def test() -> None:
        async with serving() as served:
            early = await served.connect()
            early.ask("/v1/events")
            status, headers = await early.head()
            assert status == 200
            assert headers["content-type"] == "application/x-ndjson"
            served.tell(lines(7, 2))
            late = await served.connect()
            late.ask("/v1/events")
            await late.head()
            served.tell(lines(9, 2))
            assert [await early.line() for _ in range(4)] == lines(7, 4)
            assert [await late.line() for _ in range(2)] == lines(9, 2)

    run(test())


def test_coming_back_across_a_gap() -> None:
    async def test() -> None:
        async with serving() as served:
            read: list[bytes] = []
            for _ in range(5):
                peer = await served.connect()
                peer.ask(
                    f"/v1/events?after={99 + len(read)}&agent={AGENT_ID}" if read else "/v1/events"
                )
                await peer.head()
                served.tell(lines(100 + len(read), 3))
                read += [await peer.line() for _ in range(3)]
                peer.close()
                # Unread, while nobody is connected.
                served.tell(lines(100 + len(read), 4))
                peer = await served.connect()
                peer.ask(f"/v1/events?after={99 + len(read)}")
                await peer.head()
                read += [await peer.line() for _ in range(4)]
                peer.writer.transport.abort()
            assert read == lines(100, 35)

    run(test())


def test_what_is_not_kept_any_more() -> None:
    async def test() -> None:
        told = Told(history=History(max_seconds=10.0))
        async with serving(told) as served:
            served.tell(lines(1, 5), now=0.0)
            served.tell(lines(6, 5), now=100.0)
            for query in ("after=4", "after=11", "after=99999", f"after=6&agent={AGENT_ID}x"):
                answer = await served.get(f"/v1/events?{query}")
                assert answer.status == 410
                assert (answer.json["agent"], answer.json["oldest"]) == (AGENT_ID, 6)
            for after in (5, 10):
                answer = await served.get(f"/v1/events?after={after}", method="HEAD")
                assert answer.status == 200

    run(test())


def test_a_reader_gets_what_the_window_holds_then_its_stream_ends() -> None:
    async def test() -> None:
        told = Told(history=History(max_bytes=4_000_000))
        async with serving(told) as served:
            peer = await served.connect(limit=1 << 12)
            peer.ask("/v1/events")
            await peer.head()
            sent = 0
            while told.history.oldest is None or told.history.oldest < 3000:
                served.tell(lines(1 + sent, 100, "x" * 4000))
                sent += 100
                await asyncio.sleep(0)
            (channel,) = served.door.channels
            assert channel.transport is not None
            assert channel.transport.get_write_buffer_size() < 4 * QUICK.chunk_bytes
            read = 0
            while text := await peer.line():
                read += 1
                assert text == line(read, "x" * 4000)
            assert 0 < read < sent
            assert await peer.ended() == b""
            answer = await served.get(f"/v1/events?after={read}")
            assert answer.status == 410
            assert answer.json["oldest"] > read + 1

    run(test())


def test_each_view_is_a_run_of_its_own_and_is_closed() -> None:
    async def test() -> None:
        async with serving() as served:
            peers = [await served.connect() for _ in range(3)]
            for peer in peers:
                peer.ask("/v1/view")
                await peer.head()
                assert [await peer.line(), await peer.line()] == [b'{"view":1}\n', b"\n"]
            for number, view in enumerate(served.told.views):
                view.tell(b"%d\n" % number)
            served.server.tick()
            assert sorted([await peer.line() for peer in peers]) == [b"0\n", b"1\n", b"2\n"]
            peers[0].close()
            peers[1].writer.transport.abort()
            await until(lambda: sum(view.is_closed for view in served.told.views) == 2, "closed")
            assert served.door.streams == 1

    run(test())


def test_no_more_than_sixteen_and_room_for_another_when_one_goes() -> None:
    async def test() -> None:
        async with serving() as served:
            peers = []
            for number in range(ALL_STREAMS):
                peers.append(await served.connect())
                peers[-1].ask("/v1/view" if number % 2 else "/v1/events")
                assert (await peers[-1].head())[0] == 200
            for path in ("/v1/view", "/v1/events"):
                answer = await served.get(path)
                assert answer.status == 503
                assert answer.headers["retry-after"] == "1"
            assert (await served.get("/v1/why")).status == 200
            peers[3].close()
            await until(lambda: served.door.streams == ALL_STREAMS - 1, "one has gone")
            peer = await served.connect()
            peer.ask("/v1/view")
            assert (await peer.head())[0] == 200

    run(test())


def test_a_tick_makes_no_task() -> None:
    async def test() -> None:
        async with serving() as served:
            peers = [await served.connect() for _ in range(ALL_STREAMS)]
            for peer in peers:
                peer.ask("/v1/events")
                await peer.head()
            before = len(asyncio.all_tasks())
            for number in range(200):
                served.tell([line(1 + number)])
            assert len(asyncio.all_tasks()) == before
            for peer in peers:
                assert [await peer.line() for _ in range(200)] == lines(1, 200)
            assert len(asyncio.all_tasks()) == before

    run(test())


def test_at_the_end_readers_get_what_is_left_within_a_second() -> None:
    async def test() -> None:
        async with serving(limits=replace(QUICK, reap_seconds=1.0)) as served:
            loop = asyncio.get_running_loop()
            readers = [await served.connect() for _ in range(8)]
            for peer in readers:
                peer.ask("/v1/events")
                await peer.head()
            stuck = [await served.connect(limit=1) for _ in range(4)]
            served.told.view = [b"x" * 1000 + b"\n"] * 40_000
            for peer in stuck:
                peer.ask("/v1/view")
            silent = [await served.connect() for _ in range(20)]
            idle = await served.connect()
            assert (await served.get("/healthz")).status == 200
            idle.ask("/healthz")
            await idle.answer()
            served.tell(lines(1, 5))
            began = loop.time()
            await served.server.close()
            assert loop.time() - began < 1.0
            for peer in readers:
                assert [await peer.line() for _ in range(6)] == [*lines(1, 5), b""]
            for peer in (*silent, idle):
                assert await peer.ended() == b""
            with pytest.raises(ConnectionRefusedError):
                await served.connect()

    run(test())
