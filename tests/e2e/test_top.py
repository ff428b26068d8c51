"""``threadtrace top``."""

from __future__ import annotations

import json
import os
import signal

import pytest

from support.cgroups import OwnCgroup
from support.command import threadtrace
from support.puppet import Puppet
from support.stream import THREADTRACE
from support.terminal import Terminal

ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


def test_once_as_json(host: None, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("threads", 211)
    done = threadtrace("top", "--once", "--json", "--interval", "0.2")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1
    sample = json.loads(done.stdout)
    node = sample["node"]
    assert node["tasks_count"] >= 212
    assert node["pid_max_limit"] - node["pid_max_usable_limit"] == 300
    (workload,) = [
        entry
        for entry in sample["workloads"]
        if entry.get("process", {}).get("linux", {}).get("cgroup") == cgroup.path
    ]
    assert workload["tasks_count"] == 212
    assert workload["top_processes"] == [
        {"pid": actor.pid, "name": "puppet", "threads": 212, "created_count": 0}
    ]


def test_once_as_table(host: None, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("threads", 701)
    done = threadtrace("top", "--once", "--interval", "0.1", environment={"COLUMNS": "220"})
    assert (done.returncode, done.stderr) == (0, b"")
    (row,) = [line for line in done.stdout.decode().splitlines() if cgroup.path in line]
    assert f"702 puppet[{actor.pid}]" in row


@pytest.mark.parametrize(
    ("end", "code"),
    [("keyboard", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_terminal_is_left_clean(host: None, end: object, code: int) -> None:
    with Terminal([*THREADTRACE, "top", "--interval", "0.1"]) as terminal:
        terminal.wait_for(lambda out: out.count(b"WORKLOAD") >= 2, "two frames")
        assert ENTER_SCREEN in terminal.output
        assert HIDE_CURSOR in terminal.output
        if end == "keyboard":
            terminal.press(b"\x03")
        else:
            terminal.process.send_signal(end)  # type: ignore[arg-type]
        assert terminal.end() == code
        output = terminal.output
        assert output.rfind(LEAVE_SCREEN) > output.rfind(ENTER_SCREEN)
        assert output.rfind(SHOW_CURSOR) > output.rfind(HIDE_CURSOR)
        assert b"Traceback" not in output
        assert terminal.is_as_before()


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (5, 20), (2, 1), (200, 400), (0, 0)])
def test_any_size(host: None, rows: int, columns: int) -> None:
    with Terminal([*THREADTRACE, "top", "--interval", "0.1"], rows, columns) as terminal:
        terminal.wait_for(lambda out: ENTER_SCREEN in out and len(out) > 200, "a frame")
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert b"Traceback" not in terminal.output


def test_sizes_that_contradict_each_other(host: None) -> None:
    """What a shell exports is not always what the terminal is; it may change before the start."""
    environment = {"COLUMNS": "80", "LINES": "24"}
    with Terminal([*THREADTRACE, "top", "--interval", "0.1"], 50, 160, environment) as terminal:
        terminal.wait_for(lambda out: b"WORKLOAD" in out, "a frame")
        for columns in (90, 70, 120, 160):
            terminal.resize(40, columns)
        terminal.press(b"q")
        assert terminal.end() == 0


def test_terminal_that_cannot_draw(host: None) -> None:
    with Terminal(
        [*THREADTRACE, "top", "--interval", "0.1"], environment={"TERM": "dumb"}
    ) as terminal:
        terminal.wait_for(lambda out: out.count(b"WORKLOAD") >= 2, "two tables")
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert b"\x1b" not in terminal.output


def test_locale_without_unicode(host: None) -> None:
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "60"}
    done = threadtrace("top", "--once", "--interval", "0.1", environment=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_terminal_that_goes_away(host: None) -> None:
    """A closed window: SIGHUP, and nothing to draw on any more."""
    with Terminal([*THREADTRACE, "top", "--interval", "0.1"]) as terminal:
        terminal.wait_for(lambda out: out.count(b"WORKLOAD") >= 2, "two frames")
        os.kill(terminal.process.pid, signal.SIGHUP)
        assert terminal.end() == 129
