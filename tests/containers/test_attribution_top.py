"""`threadtrace top` on a node with real containers: the one that leaks stands first."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

from support.stream import START_SECONDS, THREADTRACE
from support.terminal import Terminal

from .prerequisites import require
from .processes import wait_until

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
        assert idle.wait_ready().refused == 0
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
        # Before what grows stands what was refused, should there be any on the node.
        first = next(entry for entry in sample["workloads"] if not entry["refused_count"])
        assert first.get("k8s") == {
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


class View:
    """What a terminal of 200 by 30 shows."""

    def __init__(self, terminal: Terminal) -> None:
        import pyte

        self._terminal = terminal
        self._screen = pyte.Screen(200, 30)
        self._stream = pyte.ByteStream(self._screen)
        self._shown = 0

    def lines(self) -> list[str]:
        output = self._terminal.output
        self._stream.feed(output[self._shown :])
        self._shown = len(output)
        return [line.rstrip() for line in self._screen.display]

    def first_row(self) -> str:
        """The row below the table's heading; "" while there is none."""
        lines = self.lines()
        heading = next((at for at, line in enumerate(lines) if "WORKLOAD" in line), len(lines))
        return "".join(lines[heading + 1 : heading + 2])

    def wait_until(self, condition: Callable[[], bool], deadline_seconds: float, what: str) -> None:
        wait_until(condition, deadline_seconds, lambda: "\n".join([what, *self.lines()]))


def test_live_view_shows_a_leak_within_two_seconds(containerd_cri: Containerd) -> None:
    require(importlib.util.find_spec("pyte"), "the Python package pyte", "pip install pyte")
    command = [*THREADTRACE, "top", "--host-root", str(containerd_cri.hostroot)]
    with (
        containerd_cri.pod(POD, NAMESPACE) as pod,
        pod.container("idle", "leak", "threads", "211") as idle,
        pod.container("app", *LEAK) as container,
    ):
        assert idle.wait_ready().refused == 0
        container.wait_waiting()
        with Terminal(command, rows=30, columns=200) as terminal:
            view = View(terminal)
            idle_name, name = f"{NAMESPACE}/{POD}/idle", f"{NAMESPACE}/{POD}/app"
            view.wait_until(
                lambda: any(idle_name in line for line in view.lines()),
                START_SECONDS,
                "the view stands",
            )
            assert name not in view.first_row()

            container.begin()
            view.wait_until(lambda: name in view.first_row(), 2, "the leak is on the first row")
            view.wait_until(
                lambda: f"leak[{container.pid}]" in view.first_row(), 5, "the process is named"
            )
            terminal.press(b"\x03")  # Ctrl-C
            assert terminal.end() == 130
            assert terminal.is_as_before()
