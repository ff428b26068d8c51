"""The view's side and the agent's side of HTTP together: the server of ``stream --listen``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from remote_servers import BEGINNING, LINES, WHY, following, make_certificates, run, until

from support.heard import Heard
from threadtrace.errors import UnavailableError
from threadtrace.feeds import remote as remote_module
from threadtrace.feeds.remote import CONNECTED, Remote
from threadtrace.feeds.token import Token
from threadtrace.feeds.transport import Access, transport_to
from threadtrace.questions import Question, WrongQuestion
from threadtrace.serving.addresses import Listening, listen_on, parse_address
from threadtrace.serving.history import History
from threadtrace.serving.limits import Limits
from threadtrace.serving.server import Server
from threadtrace.serving.sources import Sources
from threadtrace.serving.tls import ServerTls
from threadtrace.serving.token import TokenFile

A_TOKEN = "a-token-of-some-length"
SECOND_TICK = b"".join(LINES[3:10]) + b"\n"


class Recorded:
    """A stream of recorded lines: a tick at once, another when it is told to go on."""

    def __init__(self) -> None:
        self.pending = BEGINNING
        self.is_closed = False

    def read(self, max_bytes: int) -> bytes:
        part, self.pending = self.pending[:max_bytes], self.pending[max_bytes:]
        return part

    def close(self) -> None:
        self.is_closed = True


class Agent:
    """The server of an agent, and what it was asked."""

    def __init__(self, server: Server, listening: list[Listening]) -> None:
        self.server = server
        self.asked: list[Question] = []
        self.streams: list[Recorded] = []
        self.address = listening[0].address

    def go_on(self) -> None:
        for stream in self.streams:
            stream.pending += SECOND_TICK
        self.server.tick()


@asynccontextmanager
async def serving(
    address: str = "127.0.0.1:0",
    token: TokenFile | None = None,
    tls: ServerTls | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Agent]:
    listening = listen_on([parse_address(address)])
    agent: Agent

    def answer(question: Question) -> dict[str, Any]:
        agent.asked.append(question)
        if question.get("pid") == 13:
            raise WrongQuestion("no luck")
        return {}

    def listen() -> Recorded:
        agent.streams.append(Recorded())
        return agent.streams[-1]

    questions = {"why": lambda _: WHY, "workload": answer, "process": answer}
    sources = Sources(
        questions=questions,
        snapshot=lambda: None,
        metrics=lambda _: (b"", "text/plain"),
        health=lambda: None,
        is_ready=lambda: True,
        listen=listen,
        history=History(),
    )
    server = Server(listening, sources, token, tls, limits)
    agent = Agent(server, listening)
    await server.start()
    try:
        yield agent
    finally:
        await server.close()


def test_a_view_and_questions() -> None:
    async def test() -> None:
        async with serving() as agent:
            remote = Remote(f"http://{agent.address}")
            async with following(remote) as heard:
                await until(lambda: heard.snapshots, "the first tick")
                before = len(heard.snapshots)
                agent.go_on()
                await until(lambda: len(heard.snapshots) > before, "the second tick")
                for key in ("unit:None:ssh.service", "cgroup:/a b+c&d=e%41/\u00fc", "host"):
                    await remote.inspect_workload(key)
                    assert agent.asked[-1]["key"] == key
                await remote.inspect_process(4711)
                assert agent.asked[-1]["pid"] == 4711
                assert await remote.inspect_process(13) is None, "an error is no answer"
            await until(lambda: agent.streams[0].is_closed, "the reader is gone")

    run(test())


def test_why_through_tls_and_with_a_token(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    file = tmp_path / "token"
    file.write_text(A_TOKEN + "\n")
    certificate = str(tmp_path / "here.pem")
    tls = ServerTls(certificate, certificate + ".key")

    async def test() -> None:
        async with serving(token=TokenFile(str(file)), tls=tls) as agent:
            url, ca_file = f"https://{agent.address}", str(tmp_path / "ca.pem")
            transport = transport_to(url, Access(Token(str(file)), ca_file))
            assert await transport.ask({"get": "why"}) == WHY
            await transport.close()
            for token, words in (
                (None, "it wants a token: give it by --token-file"),
                (Token(None, "another"), "does not take the token of THREADTRACE_TOKEN"),
            ):
                with pytest.raises(UnavailableError, match=words):
                    await Remote(url, Access(token, ca_file)).run(Heard())
            with pytest.raises(UnavailableError, match=r"https:// (reaches a server|where it)"):
                await Remote(f"http://{agent.address}").run(Heard())
            assert not agent.streams

    run(test())


def test_tls_where_none_is_spoken_is_told_at_once() -> None:
    async def test() -> None:
        # Where the rest of a line is waited for, the client gives up first, with other words.
        async with serving(limits=Limits(head_seconds=600)) as agent:
            with pytest.raises(UnavailableError, match="TLS failed"):
                await Remote(f"https://{agent.address}").run(Heard())

    run(test())


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"

    async def test() -> None:
        async with serving(f"unix:{path}") as agent:
            async with following(Remote(f"http+unix:{path}")) as heard:
                await until(lambda: heard.snapshots, "a tick")
            assert len(agent.streams) == 1

    run(test())


def test_too_many_readers() -> None:
    async def test() -> None:
        async with serving(limits=Limits(streams=1)) as agent:
            url = f"http://{agent.address}"
            async with following(Remote(url)) as heard:
                await until(lambda: heard.snapshots, "a tick")
                with pytest.raises(UnavailableError, match=r"\(503\): 1 others get events already"):
                    await Remote(url).run(Heard())

    run(test())


def test_an_agent_that_ends_and_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(remote_module, "_LONGEST_PAUSE_SECONDS", 0.05)
    heard = Heard()

    async def test() -> None:
        async with serving() as agent:
            address = str(agent.address)
            remote = Remote(f"http://{address}")
            running = asyncio.ensure_future(remote.run(heard))
            await until(lambda: heard.snapshots, "a tick")
        await until(lambda: "lost: " in remote.state, "it is missed")
        assert "it hung up" in remote.state or "refused" in remote.state
        async with serving(address):
            await until(lambda: remote.state == CONNECTED, "it is followed again")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert len(heard.starts) == 2

    run(test())
