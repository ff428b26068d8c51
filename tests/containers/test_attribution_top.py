"""`threadtrace top` on a node with real containers: the one that leaks stands first."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.stream import START_SECONDS, THREADTRACE

from .prerequisites import require
from .processes import ProcessHandle, run, wait_until

if TYPE_CHECKING:
    from .cri import Containerd

POD, NAMESPACE = "web-0", "shop"
LEAK = ("leak", "threads", "9000", "--rate", "600", "--name", "worker", "--limit", "30", "--wait")


def test_once_json(containerd_cri: Containerd) -> None:
    with (
        containerd_cri.pod(POD, NAMESPACE) as pod,
        pod.container("idle", "leak", "threads", "211") as idle,
        pod.container("app", *LEAK) as container,
    ):
        idle.wait_ready()
        container.wait_waiting()
        container.begin()
        done = subprocess.run(
            [*THREADTRACE, "top", "--once", "--json", "--host-root", containerd_cri.hostroot],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        sample = json.loads(done.stdout)
        first = sample["workloads"][0]
        assert first["k8s"] == {
            "namespace": {"name": NAMESPACE},
            "pod": {"name": POD, "uid": pod.uid},
            "container": {"name": "app"},
        }
        assert first["container"]["id"] == container.id
        assert first["process"]["linux"]["cgroup"] == container.cgroup_path
        assert first["threads_created_count"] > 100
        assert first["top_processes"][0]["pid"] == container.pid
        assert first["top_processes"][0]["name"] == "leak"
        by_id = {
            workload["container"]["id"]: workload
            for workload in sample["workloads"]
            if "container" in workload
        }
        quiet = by_id[idle.id]
        assert (quiet["tasks_count"], quiet["threads_created_count"]) == (212, 0)


class Terminal:
    """A tmux server of its own with one window, 200 by 30."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "tmux.sock"
        self._configuration = directory / "tmux.conf"

    def start(self, *command: str) -> None:
        # Without a client tmux may go back to its default size.
        self._configuration.write_text(
            "set-option -g default-size 200x30\nset-option -g window-size manual\n"
        )
        size = ("-x", "200", "-y", "30")
        self._tmux("-f", str(self._configuration), "new-session", "-d", *size, *command)

    def lines(self) -> list[str]:
        return self._tmux("capture-pane", "-p").splitlines()

    def first_row(self) -> str:
        """The row below the table's heading; "" while there is none."""
        lines = self.lines()
        heading = next((at for at, line in enumerate(lines) if "WORKLOAD" in line), len(lines))
        return "".join(lines[heading + 1 : heading + 2])

    def press(self, key: str) -> None:
        self._tmux("send-keys", key)

    def server(self) -> ProcessHandle:
        return ProcessHandle(int(self._tmux("display-message", "-p", "#{pid}")))

    def close(self) -> None:
        with suppress(RuntimeError):  # it ended with its last window
            self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        return run(["tmux", "-S", self._socket, *arguments])


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    require(shutil.which("tmux"), "the program tmux", "apt-get install tmux")
    made = Terminal(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_live_view_shows_a_leak_within_two_seconds(
    containerd_cri: Containerd, terminal: Terminal
) -> None:
    with (
        containerd_cri.pod(POD, NAMESPACE) as pod,
        pod.container("idle", "leak", "threads", "211") as idle,
        pod.container("app", *LEAK) as container,
    ):
        idle.wait_ready()
        container.wait_waiting()
        command = [*THREADTRACE, "top", "--host-root", str(containerd_cri.hostroot)]
        terminal.start(*command)
        wait_until(
            lambda: any(f"{NAMESPACE}/{POD}/idle" in line for line in terminal.lines()),
            START_SECONDS,
            lambda: "the view stands:\n" + "\n".join(terminal.lines()),
        )
        assert f"{NAMESPACE}/{POD}/app" not in terminal.first_row()

        begun = time.monotonic()
        container.begin()
        wait_until(
            lambda: f"{NAMESPACE}/{POD}/app" in terminal.first_row(),
            2.0 - (time.monotonic() - begun),
            lambda: "the leak is on the first row:\n" + "\n".join(terminal.lines()),
        )
        wait_until(
            lambda: f"leak[{container.pid}]" in terminal.first_row(),
            5,
            lambda: "the process is named:\n" + "\n".join(terminal.lines()),
        )
        server = terminal.server()
        try:
            terminal.press("C-c")
            assert server.ended(10), "the view ends, and with it its window and tmux"
        finally:
            server.close()
