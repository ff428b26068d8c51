"""A running agent, followed and asked through its HTTP server (``stream --listen``)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.test_connect import Collector, following, run, until
from e2e.test_elsewhere import elsewhere  # noqa: F401
from support.cgroups import OwnCgroup
from support.command import Completed, assert_one_line, threadtrace
from support.puppet import Puppet
from support.stream import THREADTRACE, Stream
from support.tmux import Tmux
from threadtrace.errors import UnavailableError
from threadtrace.feeds.remote import CONNECTED, Remote
from threadtrace.feeds.token import Token
from threadtrace.feeds.transport import Access
from threadtrace.identity.workloads import identify
from threadtrace.probe.records import Limit

DEADLINE_SECONDS = 20
HERE = {"NODE_NAME": "node-under-test"}
# A Mac's own module, which urllib looks for where it takes the machine for one.
SCPROXY = """
import sys, types
sys.modules["_scproxy"] = types.ModuleType("_scproxy")
sys.modules["_scproxy"]._get_proxy_settings = sys.modules["_scproxy"]._get_proxies = dict
"""

A_TOKEN = "a-token-of-some-length"


@pytest.fixture
def address() -> str:
    """Where the test's agent listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text(A_TOKEN + "\n")
    return str(file)


@pytest.fixture
def agent(host: None, tmp_path: Path, address: str, token_file: str) -> Iterator[Stream]:
    listen = ("--listen", address, "--token-file", token_file)
    with Stream("--socket", str(tmp_path / "agent.sock"), *listen, environment=HERE) as running:
        yield running


def access(token_file: str) -> Access:
    return Access(Token(token_file))


def test_snapshots_and_a_closer_look(
    agent: Stream, address: str, token_file: str, cgroup: OwnCgroup, actor: Puppet
) -> None:
    cgroup.set_limit(500)
    actor.do("threads", 100)
    agent.wait_for_ticks(2)

    async def test() -> None:
        remote = Remote(f"http://{address}", access(token_file))
        async with following(remote) as told:
            await until(lambda: told.snapshots, "the first snapshot")
            assert told.starts[0].node == "node-under-test"
            first = told.last(cgroup.path)
            assert first is not None, "workloads at rest are told at once"
            assert first.tasks == 101
            actor.do("threads", 111)
            await until(
                lambda: (found := told.last(cgroup.path)) is not None and found.tasks == 212,
                "all threads are told",
            )
            details = await remote.inspect_workload(identify(cgroup.path).key)
            assert details is not None
            assert (details.processes[0].pid, details.processes[0].threads) == (actor.pid, 212)
            level = details.limits[0]
            assert (level.limit, level.value, level.usage) == (Limit.PIDS_MAX, 500, 212)
            inspection = await remote.inspect_process(actor.pid)
            assert inspection is not None
            assert sum(count for _, count in inspection.thread_names) == 212
            assert await remote.inspect_workload("cgroup:/none") is None

    run(test())
    agent.finish()


def test_without_a_free_pid(
    agent: Stream, address: str, token_file: str, cgroup: OwnCgroup, actor: Puppet
) -> None:
    """Neither does the agent need one for who comes by HTTP."""
    alone = cgroup.child("alone")
    alone.add(agent.pid)
    alone.set_limit(1)

    async def test() -> None:
        remote = Remote(f"http://{address}", access(token_file))
        async with following(remote) as told:
            await until(lambda: told.snapshots, "the first snapshot")
            actor.do("threads", 211)
            await until(
                lambda: (found := told.last(cgroup.path)) is not None and found.tasks == 212,
                "all threads are told",
            )
            assert await remote.inspect_process(actor.pid) is not None

    run(test())
    assert why(address, token_file)["source"] == "agent"
    assert (alone.refused, alone.tasks) == (0, 1)
    agent.finish()


def ask(address: str, *arguments: str, environment: dict[str, str] | None = None) -> Completed:
    return threadtrace("why", "--connect", f"http://{address}", *arguments, environment=environment)


def why(address: str, token_file: str) -> dict[str, Any]:
    done = ask(address, "--json", "--token-file", token_file)
    assert done.returncode in range(4), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_why(agent: Stream, address: str, token_file: str, cgroup: OwnCgroup) -> None:
    agent.wait_for_ticks(1)
    answer = why(address, token_file)
    assert answer["source"] == "agent"
    done = ask(address, environment={"THREADTRACE_TOKEN": A_TOKEN})
    assert done.returncode in range(4)
    assert (done.stdout.count(b"\n") >= 1, done.stderr) == (True, b"")
    assert_one_line(ask(address), os.EX_UNAVAILABLE, "--token-file FILE")
    wrong = ask(address, environment={"THREADTRACE_TOKEN": "another-token"})
    assert_one_line(wrong, os.EX_UNAVAILABLE, "does not take the token of THREADTRACE_TOKEN")


def test_one_sample(agent: Stream, address: str, token_file: str) -> None:
    url = f"http://{address}"
    done = threadtrace("top", "--connect", url, "--token-file", token_file, "--once", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["workloads"]


def test_the_live_view(
    agent: Stream, address: str, token_file: str, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("threads", 211)
    view = [*THREADTRACE, "top", "--connect", f"http://{address}", "--token-file", token_file]
    with Tmux([*view, "--filter", f"cgroup:{cgroup.path}"], 140, 30) as terminal:
        terminal.wait_for(" 212 ")
        terminal.type("Enter")
        terminal.wait_for("PID THREADS")
        terminal.wait_for(f" {actor.pid} ")
        agent.kill()
        terminal.wait_for("lost: ")
        terminal.type("q")
        assert terminal.end() == 0, terminal.screen()
        assert "Unclosed" not in terminal.screen()


def test_an_agent_that_starts_again_is_followed_again(
    host: None, tmp_path: Path, address: str
) -> None:
    words = ("--socket", str(tmp_path / "agent.sock"), "--listen", address)

    async def test() -> None:
        remote = Remote(f"http://{address}")
        with Stream(*words) as first:
            async with following(remote) as told:
                await until(lambda: told.snapshots, "the first agent is followed")
                first.send(signal.SIGKILL)
                first.end()
                await until(lambda: remote.state != CONNECTED, "the loss is told")
                assert await remote.inspect_process(1) is None
                seen = len(told.snapshots)
                with Stream(*words, wait=False):
                    await until(lambda: len(told.snapshots) > seen, "the second one is followed")
                    assert (remote.state, len(told.starts)) == (CONNECTED, 2)

    run(test())


def test_through_tls(host: None, tmp_path: Path, address: str, token_file: str) -> None:
    certificate, key = str(tmp_path / "agent.pem"), str(tmp_path / "agent.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate),
            *("-days", "2", "-subj", "/CN=agent", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    listen = ("--listen", address, "--token-file", token_file)
    tls = ("--tls-cert", certificate, "--tls-key", key)
    with Stream("--socket", str(tmp_path / "agent.sock"), *listen, *tls) as agent:
        agent.wait_for_ticks(1)

        async def test() -> None:
            url = f"https://{address}"
            async with following(Remote(url, Access(Token(token_file), certificate))) as told:
                await until(lambda: len(told.snapshots) > 2, "snapshots")
            with pytest.raises(UnavailableError, match="is not trusted"):
                await Remote(url, access(token_file)).run(Collector())

        run(test())
        agent.finish()


def test_from_what_is_not_linux(
    agent: Stream,
    address: str,
    elsewhere: list[str],  # noqa: F811
) -> None:
    """As near to a Mac as a Linux machine gets; the token comes in the environment."""
    agent.wait_for_ticks(1)
    environment = {**os.environ, "THREADTRACE_TOKEN": A_TOKEN}

    def run_there(*words: str) -> Completed:
        script = SCPROXY + elsewhere[-1]
        command = [*elsewhere[:-1], script, *words, "--connect", f"http://{address}", "--json"]
        return subprocess.run(
            command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, env=environment
        )

    done = run_there("why")
    assert done.returncode in range(4), done.stderr
    assert (json.loads(done.stdout)["source"], done.stderr) == ("agent", b"")
    done = run_there("top", "--once")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["workloads"]


def test_a_view_that_ends_leaves_nothing(agent: Stream, address: str, token_file: str) -> None:
    """At the agent: the place of a reader is free again."""

    async def test() -> None:
        for _ in range(40):
            async with following(Remote(f"http://{address}", access(token_file))) as told:
                await until(lambda told=told: told.snapshots, "a snapshot")
        await asyncio.sleep(0)

    run(test())
    agent.finish()
