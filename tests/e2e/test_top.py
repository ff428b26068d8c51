"""``threadtrace top``."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup
from support.command import threadtrace
from support.puppet import Puppet
from support.stream import THREADTRACE
from support.terminal import Terminal

ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
NIGHT = Path(__file__).parents[2] / "docs/examples/night.jsonl.gz"
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


def test_a_signal_while_it_begins() -> None:
    with Terminal([*THREADTRACE, "top", "--replay", str(NIGHT)]) as terminal:
        terminal.wait_for(lambda out: ENTER_SCREEN in out, "the screen")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143
        assert terminal.output.rfind(LEAVE_SCREEN) > terminal.output.rfind(ENTER_SCREEN)
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


@pytest.mark.parametrize("samples", [1, 3])
def test_so_many_samples(host: None, samples: int) -> None:
    done = threadtrace("top", "-n", str(samples), "--interval", "0.1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"WORKLOAD") == samples
    done = threadtrace("top", "--json", "-n", str(samples), "--interval", "0.1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == samples


def test_samples_of_a_recording_filtered_and_sorted() -> None:
    command = ("top", "--replay", str(NIGHT), "--filter", "ns:shop tasks>1", "--sort", "tasks")
    done = threadtrace(*command, "--json", "-n", "2")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 2
    done = threadtrace(*command, "--once")
    rows = done.stdout.decode().split("WORKLOAD", 1)[1].splitlines()[1:]
    names = [row.split()[0] for row in rows if row]
    assert names == ["shop/checkout-7d9f8c6b5-x2x9p/app", "shop/cart-58c9d4-mm7rj/cart"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--replay", str(NIGHT), "--connect", "unix:/x"), b"exclude each other"),
        (("--connect", "unix:/x", "--interval", "1"), b"--interval says how to count"),
        (("--replay", str(NIGHT), "--record-dir", "/tmp"), b"--record-dir says how to count"),
        (("--node", "x"), b"--node goes with --replay"),
        (("--replay", str(NIGHT), "--node", "x"), b"there are node-7"),
        (("--sort", "size"), b"there is no column size"),
        (("--filter", "size>1"), b"no field size"),
        (("--connect", "ftp://127.0.0.1:1"), b"use unix:/run/threadtrace.sock"),
        (("--speed", "0"), b"--speed"),
        (("--speed", "2"), b"--speed goes with --replay"),
        (("--filter", "state:foo"), b"no state foo: there are quiet growing"),
        (("-n", "0"), b"-n"),
    ],
)
def test_what_cannot_be_meant_is_one_line(words: tuple[str, ...], told: bytes) -> None:
    done = threadtrace("top", *words)
    assert done.returncode == os.EX_USAGE, done.stderr
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert told in done.stderr


def test_a_damaged_recording_is_shown_as_far_as_it_goes_and_said_to_be(tmp_path: Path) -> None:
    whole = NIGHT.read_bytes()
    cut, damaged = tmp_path / "cut.gz", tmp_path / "damaged.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    damaged.write_bytes(whole[:30_000] + bytes(300) + whole[30_300:])
    for path, told in ((cut, b"cut off"), (damaged, b"damaged")):
        done = threadtrace("top", "--replay", str(path), "--once", "--json")
        assert done.returncode == 0
        assert done.stdout.count(b"\n") == 1
        assert told in done.stderr


@pytest.mark.parametrize("columns", ["0", "1", "-5", "999999999", "x"])
def test_columns_may_say_anything(columns: str) -> None:
    environment = {"COLUMNS": columns}
    done = threadtrace("top", "--replay", str(NIGHT), "--once", environment=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert max(map(len, done.stdout.decode().splitlines())) <= 2_000
