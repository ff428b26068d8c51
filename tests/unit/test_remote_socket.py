"""An agent followed through its own socket, and what else may answer there."""

from __future__ import annotations

import asyncio
import json

import pytest
from remote_servers import BEGINNING, DEADLINE_SECONDS, following, run, saying, until

from support.heard import Heard
from threadtrace.errors import UnavailableError
from threadtrace.feeds import remote as remote_module
from threadtrace.feeds.remote import Remote
from threadtrace.feeds.transport import Broken, TooLate, transport_to, within


def test_what_is_asked() -> None:
    asked: list[bytes] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        if b"events" in asked[-1]:
            writer.write(BEGINNING)
            await reader.read()
        else:
            writer.write(b"{}\n")
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(meet, "127.0.0.1", 0)
        remote = Remote(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with following(remote) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
            assert await remote.inspect_workload("host") is None
        server.close()

    run(test())
    assert [json.loads(line) for line in asked] == [
        {"get": "events"},
        {"get": "workload", "key": "host"},
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b'{"error": "6 others\\u001b[2J listen"}\n', r": 6 others\\x1b\[2J listen$"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "use http:// or https:// instead of tcp://"),
        (b"220 mail.example.org ESMTP\r\n", "tells no events.*: forward the agent's socket"),
        (b"\n", "tells no events"),
        (b"", "it hung up: forward"),
        (b"x" * (1 << 21), "too long to be an event"),
    ],
)
def test_others_than_agents(said: bytes, words: str) -> None:
    async def test() -> None:
        async with saying(said) as port:
            with pytest.raises(UnavailableError, match=words) as raised:
                await Remote(f"tcp://127.0.0.1:{port}").run(Heard())
            assert str(raised.value).isprintable()

    run(test())


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "_SILENT_SECONDS", 0.1)

    async def test() -> None:
        async with saying(hangs_up=False) as port:
            with pytest.raises(UnavailableError, match=r"it said nothing for 0\.1 s"):
                await Remote(f"tcp://127.0.0.1:{port}").run(Heard())

    run(test())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b'{"error": "no such question"}\n', "no such question"),
        (b"[1]", "no agent of threadtrace"),
        (b"", "it hung up without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "use http:// or https:// instead of tcp://"),
        (b"{" * 100, "no agent of threadtrace"),
    ],
)
def test_no_answer(said: bytes, words: str) -> None:
    async def test() -> None:
        async with saying(said) as port:
            with pytest.raises(Broken, match=words):
                await transport_to(f"tcp://127.0.0.1:{port}").ask({"get": "why"})

    run(test())


@pytest.mark.parametrize("turns", range(6))
def test_what_is_cancelled_is_over(turns: int) -> None:
    """Also where what is waited for is done at that very moment."""

    async def test() -> None:
        come = asyncio.get_running_loop().create_future()
        is_waiting = asyncio.Event()

        async def wait() -> int:
            is_waiting.set()
            return await come

        waiting = asyncio.ensure_future(within(DEADLINE_SECONDS, wait(), "too late"))
        await is_waiting.wait()
        come.set_result(7)
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.cancel():
            await asyncio.wait({waiting})
            assert waiting.cancelled()
        else:
            assert waiting.result() == 7

    run(test())


def test_in_time_or_not() -> None:
    async def test() -> None:
        async def fail() -> None:
            raise TimeoutError(110, "Connection timed out")

        never = asyncio.Event()
        with pytest.raises(TooLate, match="too late"):
            await within(0.01, never.wait(), "too late")
        with pytest.raises(OSError, match="Connection timed out"):
            await within(DEADLINE_SECONDS, fail(), "too late")
        assert await within(DEADLINE_SECONDS, asyncio.sleep(0, 7), "too late") == 7
        assert len(asyncio.all_tasks()) == 2, "this and its caller's"

    run(test())
