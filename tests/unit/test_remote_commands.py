"""``why --connect`` and ``top --connect``: what is shown, how they end, how they fail.

A server in a thread stands for the agent.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from remote_servers import DEADLINE_SECONDS, WHY, AgentServer

from support.waiting import wait_until
from threadtrace.cli.main import main
from threadtrace.feeds import inquiry

A_TOKEN = "a-token-of-some-length"

Fails = Callable[..., str]


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THREADTRACE_TOKEN", raising=False)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must fail with that code; its one line."""

    def run(code: int, *words: str) -> str:
        assert main(words) == code
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.count("\n") == 1, shown.err
        return shown.err

    return run


@pytest.mark.parametrize(
    ("state", "code"), [("healthy", 0), ("pressure", 1), ("refusing", 2), ("unknown", 3)]
)
def test_why(state: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with AgentServer() as server:
        server.answers["/v1/why"] = {**WHY, "state": state, "answer": f"it is {state}\x1b[2J"}
        assert main(["why", "--connect", server.url]) == code
        assert capsys.readouterr() == (f"it is {state}\\x1b[2J\n", "")
        assert main(["why", "--connect", server.url, "--json"]) == code
        shown = capsys.readouterr()
        assert json.loads(shown.out) == server.answers["/v1/why"]
        assert shown.err == ""


def test_why_with_a_token(
    tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    file = tmp_path / "token"
    file.write_text(A_TOKEN + "\n")
    with AgentServer(token=A_TOKEN) as server:
        command = ["why", "--connect", server.url]
        assert "--token-file FILE" in fails(os.EX_UNAVAILABLE, *command)
        assert main([*command, "--token-file", str(file)]) == 0
        monkeypatch.setenv("THREADTRACE_TOKEN", "another-token")
        capsys.readouterr()
        assert "not take the token of THREADTRACE_TOKEN" in fails(os.EX_UNAVAILABLE, *command)
        assert main([*command, "--token-file", str(file)]) == 0
        monkeypatch.setenv("THREADTRACE_TOKEN", A_TOKEN)
        assert main(command) == 0


def test_why_through_a_unix_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "http.sock"
    with AgentServer(unix=path):
        assert main(["why", "--connect", f"http+unix:{path}"]) == 0
    assert capsys.readouterr().out == "this node can fork\n"


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
def test_why_through_the_agents_own_socket(
    scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if scheme == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "a.sock"))
        url = f"unix:{tmp_path / 'a.sock'}"
    else:
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    asked: list[bytes] = []

    def answer() -> None:
        meeting, _ = listening.accept()
        with meeting:
            asked.append(meeting.recv(4096))
            meeting.sendall(json.dumps(WHY).encode() + b"\n")

    with listening:
        listening.listen()
        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        assert main(["why", "--connect", url]) == 0
        answering.join(DEADLINE_SECONDS)
    assert capsys.readouterr().out == "this node can fork\n"
    assert asked == [b'{"get":"why"}\n']


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"answer": "yes"},
        {**WHY, "state": "excellent"},
        {**WHY, "state": ["healthy"]},
        {**WHY, "causes": [{}]},
        {**WHY, "causes": 7},
        {**WHY, "causes_count": "many"},
        {**WHY, "missing": ["everything"]},
        {**WHY, "answer": 7},
        {**WHY, "nearest_limit": {"limit_owner": "x"}},
        ["healthy"],
    ],
)
def test_answers_of_others(answer: Any, fails: Fails) -> None:
    with AgentServer() as server:
        server.answers["/v1/why"] = answer
        said = fails(os.EX_UNAVAILABLE, "why", "--connect", server.url)
    assert "another version" in said


def test_nobody_is_there(fails: Fails, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        for url, words in (
            (f"http://{address}", "run threadtrace stream --listen IP:"),
            (f"https://{address}", "run threadtrace stream --listen IP:"),
            (f"tcp://{address}", "forward the agent's socket with ssh -L"),
            (f"unix:{tmp_path}/none", "start threadtrace stream or threadtrace top there"),
            (f"http+unix:{tmp_path}/none", "run threadtrace stream --listen unix:"),
        ):
            said = fails(os.EX_UNAVAILABLE, "why", "--connect", url)
            assert said.startswith("threadtrace: no answer from ")
            assert words in said
            assert words in fails(os.EX_UNAVAILABLE, "top", "--connect", url, "--once")


def test_nobody_answers(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "_PATIENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        said = fails(os.EX_UNAVAILABLE, "why", "--connect", url)
    assert "it did not answer within 0.1 s" in said


def test_why_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that fails is told and the next one waited for; Ctrl-C ends it."""
    with AgentServer() as server:

        def asked() -> int:
            return sum(request.path == "/v1/why" for request in server.requests)

        def watch() -> None:
            wait_until(lambda: asked() >= 2, DEADLINE_SECONDS, "two answers")
            server.answers.pop("/v1/why")
            number = asked()
            wait_until(lambda: asked() > number + 1, DEADLINE_SECONDS, "an answer that is none")
            server.answers["/v1/why"] = {**WHY, "answer": "again"}
            number = asked()
            wait_until(lambda: asked() > number + 1, DEADLINE_SECONDS, "answers again")
            os.kill(os.getpid(), signal.SIGINT)

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        code = main(["why", "--connect", server.url, "--watch", "0.1"])
        watching.join(DEADLINE_SECONDS)
        assert code == 128 + signal.SIGINT
        assert len(server.connections) == 1, "one connection serves all questions"
    shown = capsys.readouterr()
    assert shown.out.startswith("this node can fork\nthis node can fork\n")
    assert shown.out.endswith("again\n")
    assert "it does not know /v1/why; asked again in 0.1 s\n" in shown.err


def test_ctrl_c_while_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:

        def interrupt() -> None:
            meeting, _ = mute.accept()
            with meeting:
                meeting.recv(4096)
                os.kill(os.getpid(), signal.SIGINT)
                meeting.recv(4096)

        interrupting = threading.Thread(target=interrupt, daemon=True)
        interrupting.start()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert main(["why", "--connect", url]) == 128 + signal.SIGINT
        interrupting.join(DEADLINE_SECONDS)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["why", "--token-file", "x"], "--token-file goes with --connect"),
        (["why", "--ca-file", "x"], "--ca-file goes with --connect"),
        (["top", "--token-file", "x"], "--token-file goes with --connect"),
        (["top", "--replay", "x", "--ca-file", "x"], "--ca-file goes with --connect"),
        (["why", "--connect", "nowhere"], "is no address of an agent"),
        (["why", "--connect", "http://n:1", "--max-cgroups", "7"], "--max-cgroups says how"),
        (["why", "--connect", "http://n:1", "--refusal-hook", "off"], "--refusal-hook says how"),
        (["why", "--connect", "http://n:1", "--socket", "/x"], "exclude each other"),
        (["top", "--connect", "http://n:1", "--interval", "2"], "--interval says how"),
        (["top", "--connect", "http://n:1", "--ca-file", "x"], "--ca-file goes with https://"),
        (["top", "--connect", "http://x:secret@n:1"], "give its token by --token-file"),
    ],
)
def test_wrong_usage(words: list[str], said: str, fails: Fails) -> None:
    line = fails(os.EX_USAGE, *words)
    assert said in line
    assert "secret" not in line


def test_a_token_file_without_a_token(fails: Fails, tmp_path: Path) -> None:
    file = str(tmp_path / "token")
    for command in ("why", "top"):
        url = "http://127.0.0.1:9752"
        said = fails(os.EX_NOINPUT, command, "--connect", url, "--token-file", file)
        assert f"--token-file {file}: No such file or directory: name a file" in said
        Path(file).write_text("")
        said = fails(os.EX_NOINPUT, command, "--connect", url, "--token-file", file)
        assert "it is empty" in said
        Path(file).unlink()


def test_a_token_in_the_open_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look_up(host: str, port: int, *_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setenv("THREADTRACE_TOKEN", A_TOKEN)
    with AgentServer(token=A_TOKEN) as server:
        assert main(["why", "--connect", f"http://node-7.example:{server.port}"]) == 0
        warning = capsys.readouterr().err
        assert "unencrypted" in warning
        assert A_TOKEN not in warning
        assert main(["why", "--connect", server.url]) == 0
        assert capsys.readouterr().err == ""


def test_top(capfd: pytest.CaptureFixture[str]) -> None:
    with AgentServer() as server:
        assert main(["top", "--connect", server.url, "--once", "--json"]) == 0
        shown = capfd.readouterr()
        sample = json.loads(shown.out)
        assert sample["workloads"]
        assert shown.err == ""


def test_top_is_told_why_not(fails: Fails) -> None:
    async def busy(request: web.Request) -> web.StreamResponse:
        error = {"error": "16 others read already"}
        return web.json_response(error, status=503, headers={"Retry-After": "5"})

    with AgentServer(busy) as server:
        said = fails(os.EX_UNAVAILABLE, "top", "--connect", server.url, "--once")
    assert "it cannot serve this now (503): 16 others read already: try again later" in said
