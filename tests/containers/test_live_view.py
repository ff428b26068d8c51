"""The live view in a real terminal, over real containers that leak."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rich.cells import cell_len

from support.stream import THREADTRACE
from support.tmux import Tmux

from .node import NAMESPACE, POD, Node
from .runc_container import RuncPod, kubernetes_annotations

ONE_ROW = re.compile(r" 1 of [0-9,]+ workloads").search
HOSTILE = "\x1b[2J[red]\u202e\xff"


def top(hostroot: Path, directory: Path) -> list[str]:
    socket = str(directory / "socket")
    options = ["--interval", "0.2", "--host-root", str(hostroot), "--socket", socket]
    return [*THREADTRACE, "top", *options]


def row_of(screen: str, name: str) -> str:
    return next((line for line in screen.splitlines() if line.startswith(name)), "")


def test_a_leaking_pod_is_on_top_and_looked_into(node: Node, tmp_path: Path) -> None:
    """Named, sorted by danger, refused by the limit of its cgroup, opened down to its threads."""
    arguments = ("leak", "threads", "700", "--rate", "80", "--name", "worker-#", "--wait")
    with node.container("calm", "leak", "threads", "31"), node.container("app", *arguments) as app:
        app.wait_waiting()
        app.set_pids_limit(500)
        with Tmux(top(node.hostroot, tmp_path), 120, 40) as terminal:
            name = f"{NAMESPACE}/{POD}/app"
            terminal.wait_for(name)
            terminal.wait_for(f"{NAMESPACE}/{POD}/calm")
            app.begin()
            terminal.wait_for(lambda screen: "growing" in row_of(screen, name), "it grows")
            screen = terminal.wait_for("EXHAUSTED")
            assert "100%" in row_of(screen, name)
            heading = next(n for n, line in enumerate(screen.splitlines()) if "WORKLOAD" in line)
            assert screen.splitlines()[heading + 1].startswith(name)
            screen = terminal.wait_for("forks are refused: EAGAIN")
            assert "pids_max 500" in screen
            # The tree, one namespace, and down to the threads.
            terminal.type("t")
            screen = terminal.wait_for(f"▾ {POD}")
            assert f"▾ {NAMESPACE}" in screen
            terminal.type("t")
            terminal.wait_for(name)
            terminal.type("u")
            terminal.wait_for(re.compile(rf"{NAMESPACE}  \d workloads").search, "the namespace")
            terminal.type("Enter")
            terminal.wait_for(f"namespace {NAMESPACE}")
            terminal.type("Enter")
            screen = terminal.wait_for("500 of 500")
            assert "fork.refused" in terminal.wait_for("fork.refused")
            terminal.type("Enter")
            terminal.wait_for("THREAD NAME")
            terminal.wait_for(lambda screen: " 499 " in row_of(screen, "worker-#"), "its threads")
            terminal.resize(40, 10)
            terminal.wait_for("Esc back")
            terminal.resize(120, 40)
            terminal.wait_for("worker-#")
            terminal.type("Escape")
            terminal.wait_for("PID THREADS")
            terminal.type("Escape")
            terminal.wait_for(name)
            terminal.type("e")
            screen = terminal.wait_for("explosion.started")
            assert "fork.refused" in screen
            terminal.type("C-c")
            assert terminal.end() == 130


def test_names_that_are_long_or_hostile(runc_pod: RuncPod, tmp_path: Path) -> None:
    """They stay in their columns, and nothing that they hold reaches the terminal as a command."""
    pod = "p" * 240 + "-the-end-of-it"
    names = kubernetes_annotations(pod, NAMESPACE, runc_pod.uid, "app")
    arguments = ("leak", "threads", "53", "--name", HOSTILE)
    container = runc_pod.run(*arguments, annotations=names)
    assert container.wait_ready().refused == 0
    with Tmux(top(runc_pod.hostroot, tmp_path), 100, 30) as terminal:
        screen = terminal.wait_for(f"{NAMESPACE}/ppp")
        row = row_of(screen, f"{NAMESPACE}/ppp")
        assert row.startswith(f"{NAMESPACE}/ppp")
        assert "/app " in row
        assert "54" in row
        assert all(cell_len(line) <= 100 for line in screen.splitlines())
        terminal.type("/")
        terminal.type("-l", "pod:the-end")
        terminal.type("Enter")
        terminal.wait_for(ONE_ROW, "one row")
        terminal.type("Enter")
        screen = terminal.wait_for("PID THREADS")
        assert "-the-end-of-it/app" in screen
        terminal.type("Enter")
        screen = terminal.wait_for("[red]")
        assert "\\x1b[#J[red]" in screen
        assert "\u202e" not in screen
        terminal.type("q")
        assert terminal.end() == 0


def test_a_container_that_vanishes_while_it_is_looked_at(runc_pod: RuncPod, tmp_path: Path) -> None:
    names = kubernetes_annotations(POD, NAMESPACE, runc_pod.uid, "app")
    container = runc_pod.run("leak", "threads", "53", annotations=names)
    assert container.wait_ready().refused == 0
    with Tmux(top(runc_pod.hostroot, tmp_path)) as terminal:
        terminal.wait_for(f"{NAMESPACE}/{POD}/app")
        terminal.type("/")
        terminal.type("-l", f"ns:{NAMESPACE}")
        terminal.type("Enter")
        terminal.wait_for(ONE_ROW, "one row")
        terminal.type("Enter")
        terminal.wait_for("PID THREADS")
        terminal.type("Enter")
        terminal.wait_for("THREAD NAME")
        container.close()
        terminal.wait_for("it is gone; these are its last numbers")
        terminal.type("Escape")
        terminal.wait_for("gone; these are its last numbers")
        terminal.type("Escape")
        terminal.wait_for("no workload matches")
        os.kill(terminal.pid, 15)
        assert terminal.end() == 143
