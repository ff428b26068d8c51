"""The live view over an agent that runs elsewhere: what it says when that one does not answer."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup
from support.puppet import Puppet
from support.stream import THREADTRACE, Stream
from support.tmux import Tmux
from support.waiting import wait_until


@pytest.fixture
def socket(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


def agent(socket: str) -> Stream:
    """One that answers at that socket."""
    running = Stream("--interval", "0.2", "--socket", socket)
    wait_until(lambda: os.path.exists(socket), 10, "the agent's socket")
    return running


def test_an_agent_is_watched_looked_into_and_missed(
    host: None, socket: str, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("threads", 211)
    with agent(socket) as running:
        view = [*THREADTRACE, "top", "--connect", f"unix:{socket}"]
        with Tmux([*view, "--filter", f"cgroup:{cgroup.path}"], 140, 30) as terminal:
            screen = terminal.wait_for(" 212 ")
            assert " 1 of " in screen
            terminal.type("Enter")
            terminal.wait_for("PID THREADS")
            terminal.wait_for(f" {actor.pid} ")
            # It says nothing any more: that is seen on every screen.
            running.send(signal.SIGSTOP)
            terminal.wait_for("no sample for")
            terminal.type("Escape")
            terminal.wait_for("WORKLOAD")
            terminal.wait_for("no sample for")
            running.send(signal.SIGCONT)
            terminal.wait_for(lambda shown: "no sample for" not in shown, "it goes on")
            terminal.type("Enter")
            terminal.wait_for("PID THREADS")
            running.kill()
            terminal.wait_for("lost: ")
            terminal.type("Escape")
            terminal.wait_for("trying again")
            with agent(socket):
                terminal.wait_for(lambda shown: "lost" not in shown.replace("nothing lost", ""), "")
                terminal.wait_for(" 212 ")
            terminal.type("q")
            assert terminal.end() == 0


def test_nobody_answers(socket: str) -> None:
    """The terminal is not even touched."""
    with Tmux([*THREADTRACE, "top", "--connect", f"unix:{socket}"]) as terminal:
        assert terminal.end() == os.EX_UNAVAILABLE
        assert "start threadtrace stream or threadtrace top there, as root" in " ".join(
            terminal.screen().split()
        )
