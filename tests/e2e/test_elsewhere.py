"""Replays where nothing of Linux, root or bcc is: as on the laptop of whoever reads the recording.

An ordinary user, no /proc, no /sys, and none of the functions that only Linux has. That is as near
to a Mac as a Linux machine gets.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.requirements import require
from support.tmux import Tmux

TOP = Path(__file__).parents[2]
RECORDING = TOP / "docs/examples/night.jsonl.gz"

ELSEWHERE = """
import os, select, signal, socket, sys

for module, names in (
    (os, "pipe2 pidfd_open setns unshare eventfd memfd_create sched_getaffinity splice".split()),
    (select, ["epoll"]),
    (socket, ["AF_NETLINK", "SO_PEERCRED"]),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "darwin"
for name in ("bcc", "psutil", "resource"):
    sys.modules[name] = None
from threadtrace.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> list[str]:
    """What stands before the words of a command."""
    require(os.geteuid() == 0, "kernel", "root", "run the tests as root")
    require(shutil.which("setpriv"), "kernel", "setpriv", "apt-get install util-linux")
    copy = tmp_path / "src"
    shutil.copytree(TOP / "src", copy)  # where an ordinary user may read it
    for directory in (*tmp_path.parents[:2], tmp_path):
        if directory != Path("/tmp"):
            directory.chmod(0o755)
    hidden = "mount -t tmpfs none /sys && mount -t tmpfs none /proc"
    libraries = [path for path in sys.path if path.endswith("-packages")]
    where = ":".join([str(copy), *libraries])
    if not os.access("/root", os.X_OK):
        pytest.fail("root's own directory cannot be entered")
    user = "exec setpriv --reuid=65534 --regid=65534 --clear-groups"
    if any(path.startswith("/root/") for path in libraries):
        user = "exec"  # the interpreter's libraries are root's alone
    script = f'{hidden} && {user} env PYTHONPATH={where} HOME=/ "$0" "$@"'
    python = [os.path.realpath(sys.executable), "-c", ELSEWHERE]
    return ["unshare", "--mount", "sh", "-c", script, *python]


def recording(tmp_path: Path) -> str:
    copy = tmp_path / "night.jsonl.gz"
    shutil.copy(RECORDING, copy)
    copy.chmod(0o644)
    return str(copy)


def test_one_sample_of_a_recording(elsewhere: list[str], tmp_path: Path) -> None:
    command = [*elsewhere, "top", "--replay", recording(tmp_path), "--once", "--json"]
    done = subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, b"")
    sample = json.loads(done.stdout)
    names = [entry["workload"]["name"] for entry in sample["workloads"]]
    assert names[0] == "shop/checkout-7d9f8c6b5-x2x9p/app"
    assert sample["workloads"][0]["tasks_count"] == 619


def test_a_recording_in_the_live_view(elsewhere: list[str], tmp_path: Path) -> None:
    """Played, sought in, looked into; without /proc the terminal has no name to open it by."""
    with Tmux([*elsewhere, "top", "--replay", recording(tmp_path)]) as terminal:
        terminal.wait_for("WORKLOAD")
        terminal.type("Space")
        terminal.wait_for("paused")
        terminal.type("}")
        terminal.wait_for("1:0")
        terminal.type("n")
        terminal.wait_for("forks are refused")
        terminal.type("Enter")
        terminal.wait_for("PID THREADS")
        terminal.type("Enter")
        terminal.wait_for("http-nio-#")
        terminal.type("q")
        assert terminal.end() == 0, terminal.screen()


def test_nobody_answers(elsewhere: list[str]) -> None:
    command = [*elsewhere, "top", "--connect", "tcp://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == os.EX_UNAVAILABLE
    assert b"forward the agent's socket with ssh -L" in done.stderr
    assert done.stderr.count(b"\n") == 1
