"""An agent followed through its HTTP server, and what else may answer there."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from remote_servers import BEGINNING, LINES, AgentServer, following, run, saying, until

from support.heard import Heard
from threadtrace.errors import UnavailableError
from threadtrace.feeds import remote as remote_module
from threadtrace.feeds import transport
from threadtrace.feeds.remote import CONNECTED, Remote
from threadtrace.feeds.token import Token
from threadtrace.feeds.transport import Access

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def test_a_view_and_a_closer_look() -> None:
    async def test(server: AgentServer) -> None:
        server.answers["/v1/process"] = {
            "process": {"pid": 7, "name": "java", "threads": 3},
            "thread_names": [{"name": "http-#", "count": 3}],
            "limits": [],
        }
        remote = Remote(server.url)
        async with following(remote) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
            assert remote.state == CONNECTED
            found = await remote.inspect_process(7)
            assert found is not None
            assert (found.process.pid, found.thread_names) == (7, (("http-#", 3),))
            key = "cgroup:/a b+c&d=e/\u00fc%41"
            assert await remote.inspect_workload(key) is None
        asked = [request for request in server.requests if request.path == "/v1/workload"]
        assert [dict(request.query) for request in asked] == [{"key": key}]
        assert [request.path_qs for request in server.requests[:2]] == [
            "/v1/view",
            "/v1/process?pid=7",
        ]
        for request in server.requests:
            assert request.headers["Accept-Encoding"] == "identity"
            assert request.headers["Host"] == f"127.0.0.1:{server.port}"
            assert "Authorization" not in request.headers
        assert len(server.connections) == 2, "one for the view, one kept for questions"
        assert await remote.inspect_process(7) is None, "nothing is opened any more"

    with AgentServer() as server:
        run(test(server))


def test_what_comes_in_pieces_is_put_together() -> None:
    async def test() -> None:
        whole = BEGINNING + b"".join(LINES[3:]) + b"\n"
        pieces = [chunk(whole[begin : begin + 777]) for begin in range(0, len(whole), 777)]
        async with saying(HEAD, *pieces, hangs_up=False) as port:
            remote = Remote(f"http://127.0.0.1:{port}")
            async with following(remote):
                await until(lambda: remote.notes.events == len(LINES), "all events")

    run(test())


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_neither_proxies_nor_netrc(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def test(server: AgentServer) -> None:
        async with following(Remote(server.url)) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
        assert "Authorization" not in server.requests[0].headers

    with AgentServer() as server:
        run(test(server))


def test_an_ip_address_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("no thread, no look-up")

    async def test(server: AgentServer) -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)
        for url in (server.url, f"http://localhost:{server.port}"):
            remote = Remote(url)
            async with following(remote) as heard:
                await until(lambda heard=heard: heard.snapshots, "a snapshot")
                await remote.inspect_process(1)

    with AgentServer() as server:
        run(test(server))


def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def look_up(host: str, port: int, *rest: Any) -> list[Any]:
        if host == "silent.example":
            is_over.wait()
        if host != "node-7.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.2)

    async def test(server: AgentServer) -> None:
        async with following(Remote(f"http://node-7.example:{server.port}")) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
        assert server.requests[0].headers["Host"] == f"node-7.example:{server.port}"
        with pytest.raises(UnavailableError, match=r"node-8.example cannot be looked up \(Name"):
            await Remote("http://node-8.example:9752").run(Heard())
        with pytest.raises(UnavailableError, match=r"did not answer within 0\.2 s"):
            await Remote("http://silent.example:9752").run(Heard())

    with AgentServer() as server:
        run(test(server))  # asyncio waits for its own threads: this one is none
    is_over.set()


def test_a_look_up_without_a_free_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    async def test() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(
            UnavailableError, match=r"no thread can be started.*give its IP address"
        ):
            await Remote("http://node-7.example:9752").run(Heard())

    run(test())


def test_a_token_goes_to_that_server_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-some-length\n")

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(stranger.url + "/v1/view")

    async def test() -> None:
        access = Access(Token(str(file)))
        async with following(Remote(server.url, access)) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
        server.view = elsewhere
        with pytest.raises(UnavailableError, match="which is not followed") as raised:
            await Remote(server.url, access).run(Heard())
        assert "\n" not in str(raised.value)
        assert not stranger.requests

    with (
        AgentServer(token="a-token-of-some-length") as server,
        AgentServer() as stranger,
    ):
        run(test())


def test_a_token_that_changes_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "_FIRST_PAUSE_SECONDS", 0.01)
    file = tmp_path / "token"
    file.write_text("the-first-token")
    ends = threading.Event()

    async def until_it_ends(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(BEGINNING)
        while not ends.is_set():
            await asyncio.sleep(0.005)
        return response

    async def test() -> None:
        remote = Remote(server.url, Access(Token(str(file))))
        async with following(remote) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
            server.token = "the-second-token"
            ends.set()
            await until(lambda: "does not take the token" in remote.state, "it is refused")
            assert str(file) in remote.state
            assert "first-token" not in remote.state
            ends.clear()
            file.write_text("the-second-token")
            await until(lambda: len(heard.starts) == 2, "it is followed again")
            ends.set()

    with AgentServer(until_it_ends, token="the-first-token") as server:
        run(test())


def test_no_token() -> None:
    async def test() -> None:
        with pytest.raises(UnavailableError, match=r"--token-file FILE .*THREADTRACE_TOKEN"):
            await Remote(server.url).run(Heard())
        remote = Remote(server.url)
        assert await remote.inspect_process(1) is None
        await remote.close()

    with AgentServer(token="a-token-of-some-length") as server:
        run(test())


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"

    async def test() -> None:
        async with following(Remote(f"http+unix:{path}")) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
        with pytest.raises(UnavailableError, match="--listen unix:"):
            await Remote(f"http+unix:{path}.other").run(Heard())

    with AgentServer(unix=path):
        run(test())


def status(code: int, body: str = "", **headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {code} Some Words",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


BUSY = '{"error": "16 others read already"}'
NDJSON = {"Content-Type": "application/x-ndjson"}
# aiohttp without its own C code waits for a whole head.
NO_SERVER = "speaks no HTTP: use https:// .*, tcp:// for|hung up without an answer"
NO_AGENT = "no agent of threadtrace, or another version"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (status(503, BUSY), r"\(503\): 16 others read already: try again later"),
        (status(429), r"\(429\): Some Words: try again"),
        (status(404), NO_AGENT),
        (status(500, '{"error": "\\u001b[2J\\n"}'), r"answered 500: \\x1b\[2J\\n: is an agent"),
        (status(418, "<html>"), "answered 418: Some Words"),
        (status(301, Location="http://other.example/\x1b"), "redirects to|speaks no HTTP"),
        (status(302, Location="http://other.example/" + "a" * 1000), "redirects to .*…, which is"),
        (status(204), "answered 204"),
        (status(200, "<html>", **{"Content-Type": "text/html"}), NO_AGENT),
        (status(200, "x", **{**NDJSON, "Content-Encoding": "gzip"}), NO_AGENT),
        (status(200, "hello\n", **NDJSON), "tells no events"),
        (status(200, "\n\n\n", **NDJSON), "tells no events"),
        (status(200, "{}\n", **NDJSON), "tells no events"),
        (status(200, "", **NDJSON), "it hung up"),
        (HEAD + b"zz\r\nhello", "speaks no HTTP|sent what is no HTTP in the middle"),
        (HEAD + b"5\r\nhel", "it hung up"),
        (b"220 mail.example.org ESMTP\r\n", NO_SERVER),
        (b'{"error": "a request is one line of JSON"}\n', NO_SERVER),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "speaks no HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", NO_SERVER),
        (b"", r"hung up without an answer \(https://"),
    ],
)
def test_others_than_agents(said: bytes, words: str) -> None:
    async def test() -> None:
        async with saying(said) as port:
            with pytest.raises(UnavailableError, match=words) as raised:
                await Remote(f"http://127.0.0.1:{port}").run(Heard())
            assert f"no events from http://127.0.0.1:{port}: " in str(raised.value)
            assert str(raised.value).isprintable()
            assert len(str(raised.value)) < 500

    run(test())


@pytest.mark.parametrize(
    "said", [[], [HEAD], [b"HTTP/1.1 100 Continue\r\n\r\n"], [status(500)[:-6]]]
)
def test_silence(said: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "_SILENT_SECONDS", 0.3)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.2)

    async def test() -> None:
        async with saying(*said, hangs_up=False) as port:
            with pytest.raises(UnavailableError, match=r"did not answer within|said nothing for"):
                await Remote(f"http://127.0.0.1:{port}").run(Heard())

    run(test())


def test_a_line_without_an_end() -> None:
    async def test() -> None:
        async with saying(HEAD, *[chunk(b"x" * 65_536)] * 17, hangs_up=False) as port:
            with pytest.raises(UnavailableError, match="too long to be an event"):
                await Remote(f"http://127.0.0.1:{port}").run(Heard())

    run(test())


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=r"refused: run threadtrace stream --listen IP:"):
            run(Remote(url).run(Heard()))


def test_an_agent_that_starts_again_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(remote_module, "_LONGEST_PAUSE_SECONDS", 0.02)
    # What comes at once, and what once the reader has had that.
    runs = [
        (HEAD + chunk(BEGINNING), b"0\r\n\r\n"),
        (HEAD + chunk(BEGINNING), b""),
        (status(503, BUSY), b""),
        (HEAD + chunk(BEGINNING), b"no chunk\r\n"),
        (HEAD + chunk(BEGINNING), b""),
    ]
    states: list[str] = []
    heard = Heard()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        at_once, then = runs.pop(0)
        told = len(heard.snapshots) + (BEGINNING in at_once)
        writer.write(at_once)
        await until(lambda: len(heard.snapshots) == told, "it is told")
        writer.write(then)
        if not runs:
            await reader.read()
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(meet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        remote = Remote(f"http://127.0.0.1:{port}")
        remote.on_state = lambda: states.append(remote.state)
        async with following(remote, heard):
            await until(lambda: not runs and remote.state == CONNECTED, "all runs are told")
        server.close()

    run(test())
    reasons = [state for state in states if state != CONNECTED]
    assert len(reasons) == 4
    expected = ["it hung up", "it hung up", "16 others", "no HTTP in the middle"]
    for state, words in zip(reasons, expected, strict=True):
        assert state.startswith("lost: ")
        assert words in state
        assert "trying again in" in state
