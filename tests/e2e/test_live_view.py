"""The live view in a real terminal: its keys, its sizes, and how it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup, own_cgroup
from support.puppet import Puppet
from support.stream import THREADTRACE, Stream
from support.tmux import Tmux
from support.waiting import wait_until

TOP = [*THREADTRACE, "top", "--interval", "0.2"]
ONE_ROW = re.compile(r" 1 of [0-9,]+ workloads").search
CLEAN = {"alternate_on": "0", "mouse_any_flag": "0", "cursor_flag": "1"}


def row_of(screen: str, name: str) -> str:
    """The first line that holds the name."""
    return next((line for line in screen.splitlines() if name in line), "")


def threads_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_it_is_one_task(host: None, tmp_path: Path) -> None:
    """Neither Textual nor anything else starts a thread or leaves a child."""
    with Tmux([*TOP, "--socket", str(tmp_path / "socket")]) as terminal:
        terminal.wait_for("WORKLOAD")
        for keys, seen in (("?", "MOVE"), ("Escape", "WORKLOAD"), ("s", "Sort by")):
            terminal.type(keys)
            terminal.wait_for(seen)
        assert threads_of(terminal.pid) == 1
        children = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children").read_text()
        assert children == ""
        terminal.type("Escape")
        terminal.wait_for("q quit")
        terminal.type("q")
        assert terminal.end() == 0


@pytest.mark.parametrize(
    ("how", "code"), [("q", 0), ("C-c", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_it_leaves_a_clean_terminal(
    host: None, tmp_path: Path, how: str | signal.Signals, code: int
) -> None:
    with Tmux([*TOP, "--socket", str(tmp_path / "socket")]) as terminal:
        terminal.wait_for("WORKLOAD")
        if isinstance(how, str):
            terminal.type(how)
        else:
            os.kill(terminal.pid, how)
        assert terminal.end() == code
        assert terminal.modes() == CLEAN
        assert terminal.is_as_before()
        assert "WORKLOAD" not in terminal.screen()


def test_ctrl_c_ends_it_from_every_screen(host: None, tmp_path: Path) -> None:
    for keys, seen in (("?", "MOVE"), ("s", "Sort by"), ("/", "refused>0"), ("e", "EVENT")):
        with Tmux([*TOP, "--socket", str(tmp_path / "socket")]) as terminal:
            terminal.wait_for("WORKLOAD")
            terminal.type(keys)
            terminal.wait_for(seen)
            terminal.type("C-c")
            assert terminal.end() == 130


CRASH = """
import sys
from threadtrace.screen import head
from threadtrace.tui import workload

def fail(*_: object) -> None:
    raise RuntimeError("a bug\\nof two lines")

workload.panel.title_lines = fail
from threadtrace.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_bug_leaves_a_clean_terminal_and_one_line(host: None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CRASH, "top", "--socket", str(tmp_path / "socket")]
    with Tmux(command) as terminal:
        terminal.wait_for("WORKLOAD")
        terminal.type("Enter")
        assert terminal.end() == os.EX_SOFTWARE
        assert terminal.modes() == CLEAN
        assert terminal.is_as_before()
        screen = terminal.screen()
        assert "threadtrace: unexpected RuntimeError: a bug of two lines; please report" in screen
        assert "Traceback" not in screen


def test_a_leak_is_found_and_looked_into(
    host: None, tmp_path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    """Sort, filter, drill down to the names of threads, and back."""
    cgroup.set_limit(1000)
    with Tmux([*TOP, "--socket", str(tmp_path / "socket")], 140, 40) as terminal:
        terminal.wait_for("WORKLOAD")
        actor.do("threads", 797)
        terminal.wait_for(lambda screen: " 798 " in row_of(screen, cgroup.path[-6:]), "798 tasks")
        terminal.type("/")
        terminal.type("-l", "tasks>700 tasks<900")
        terminal.type("Enter")
        screen = terminal.wait_for(ONE_ROW, "one row is left")
        assert "80%" in row_of(screen, cgroup.path[-6:])
        assert "1,000 own" in row_of(screen, cgroup.path[-6:]) or "OF LIMIT" not in screen
        terminal.type("Enter")
        screen = terminal.wait_for("PID THREADS")
        screen = terminal.wait_for("pids_max")
        assert "798 of 1,000" in row_of(screen, "pids_max")
        assert " 798 " in row_of(screen, f" {actor.pid} ")
        terminal.type("Enter")
        screen = terminal.wait_for("THREAD NAME")
        screen = terminal.wait_for("100%")
        assert f"PID {actor.pid}" in screen
        assert "puppet" in row_of(screen, "100%")
        terminal.type("Escape")
        terminal.wait_for("PID THREADS")
        terminal.type("Escape")
        terminal.wait_for(ONE_ROW, "one row")
        terminal.type("Escape")
        terminal.wait_for(lambda screen: not ONE_ROW(screen), "all rows are there again")
        terminal.type("q")
        assert terminal.end() == 0


def test_a_filter_that_is_mistyped(host: None, tmp_path: Path) -> None:
    """One that cannot be understood is still there after Enter."""
    with Tmux([*TOP, "--socket", str(tmp_path / "socket")]) as terminal:
        terminal.wait_for("WORKLOAD")
        terminal.type("-l", "/kind:host")  # in one packet
        terminal.type("Enter")
        terminal.wait_for(ONE_ROW, "one row")
        terminal.type("Enter")
        screen = terminal.wait_for("PID THREADS")
        assert screen.startswith("host")
        terminal.type("Escape")
        terminal.wait_for("WORKLOAD")
        terminal.type("-l", "/ tasks>many")
        terminal.type("Enter")
        terminal.wait_for("many is no number")
        terminal.type("Escape")
        terminal.wait_for("filter kind:host")
        terminal.type("C-c")
        assert terminal.end() == 130


def test_it_fits_every_size(host: None, tmp_path: Path) -> None:
    with Tmux([*TOP, "--socket", str(tmp_path / "socket")], 200, 50) as terminal:
        terminal.wait_for("TOP PROCESS")
        for columns, rows in ((40, 10), (80, 24), (20, 5), (3, 2), (1, 1), (200, 50)):
            terminal.resize(columns, rows)
            terminal.type("j", "k")
        terminal.wait_for("TOP PROCESS")
        terminal.resize(40, 10)
        screen = terminal.wait_for(lambda s: "WORKLOAD" in s and "THR/s" not in s, "40 columns")
        assert "pid_max" in screen
        assert "host" in screen
        terminal.resize(200, 50)
        terminal.wait_for("TOP PROCESS")
        terminal.type("q")
        assert terminal.end() == 0


def test_rows_stay_under_the_cursor(
    host: None, tmp_path: Path, cgroup: OwnCgroup, puppet_program: Path
) -> None:
    """Who is selected stays on its line while others climb past it."""
    with Puppet(puppet_program) as first, Puppet(puppet_program) as second:
        for name, puppet, threads in (("one", first, 101), ("two", second, 53)):
            cgroup.child(name).add(puppet.pid)
            puppet.do("threads", threads)
        command = [*TOP, "--socket", str(tmp_path / "socket"), "--sort", "tasks"]
        with Tmux([*command, "--filter", f"cgroup:{cgroup.path}/"]) as terminal:
            terminal.wait_for(lambda screen: order(screen) == ["one", "two"], "both")
            terminal.type("j")  # on two
            second.do("threads", 149)
            terminal.wait_for(lambda screen: " 203 " in row_of(screen, "/two"), "two has grown")
            # Held for some seconds, then two stays where it was though it holds more.
            ticks = [terminal.wait_for("/two") for _ in range(3)]
            assert all(order(screen) == ["one", "two"] for screen in ticks)
            terminal.type("g")  # to the top, and follow
            terminal.wait_for(lambda screen: order(screen) == ["two", "one"], "sorted again")


def order(screen: str) -> list[str]:
    """Names of the rows that end in /one and /two."""
    names = [line.split()[0].rpartition("/")[2] for line in screen.splitlines() if line.split()]
    return [name for name in names if name in ("one", "two")]


def test_numbers_stay_while_paused(
    host: None, tmp_path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    with Tmux([*TOP, "--socket", str(tmp_path / "socket")]) as terminal:
        terminal.wait_for(cgroup.path[-6:])
        terminal.type("Space")
        terminal.wait_for("PAUSED")
        actor.do("threads", 211)
        before = row_of(terminal.screen(), cgroup.path[-6:])
        terminal.type("Space")
        terminal.wait_for(lambda screen: " 212 " in row_of(screen, cgroup.path[-6:]), "212")
        assert " 212 " not in before


def test_a_row_is_copied_as_json(
    host: None, tmp_path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("threads", 307)
    with Tmux([*TOP, "--socket", str(tmp_path / "socket")]) as terminal:
        terminal.accept_clipboard()
        terminal.wait_for(lambda screen: " 308 " in row_of(screen, cgroup.path[-6:]), "308")
        terminal.type("/")
        terminal.type("-l", "tasks=308")
        terminal.type("Enter")
        terminal.wait_for(ONE_ROW, "one row")
        terminal.type("y")
        terminal.wait_for("copied")
        copied = json.loads(terminal.buffer())
        assert copied["tasks_count"] == 308
        assert copied["process"]["linux"]["cgroup"] == cgroup.path


def test_without_a_free_pid(host: None, tmp_path: Path) -> None:
    """Kernel programs cannot be attached; what files tell is shown, and keys work."""
    with own_cgroup("full-") as alone:
        inside = f'echo $$ >{alone.directory}/cgroup.procs; exec "$0" "$@"'
        alone.set_limit(1)
        command = ["sh", "-c", inside, *TOP, "--socket", str(tmp_path / "socket")]
        with Tmux(command) as terminal:
            screen = terminal.wait_for("no process can be started")
            assert "births, exits and refusals are not counted" in screen
            refused = alone.refused  # the loader: nothing else is ever tried
            assert refused >= 1
            terminal.type("/")
            terminal.type("-l", f"used>=100% cgroup:{alone.path}")
            terminal.type("Enter")
            screen = terminal.wait_for(ONE_ROW, "one row")
            assert "100%" in row_of(screen, alone.path[-6:])
            terminal.type("Enter")
            screen = terminal.wait_for("pids_max")
            assert "1 of 1" in row_of(screen, "pids_max")
            terminal.type("Enter")
            terminal.wait_for("THREAD NAME")
            terminal.type("e")
            terminal.wait_for("EVENT")
            assert alone.refused == refused
            terminal.type("C-c")
            assert terminal.end() == 130
            assert terminal.modes() == CLEAN


def test_without_a_free_pid_the_agent_that_runs_is_shown(host: None, tmp_path: Path) -> None:
    socket = str(tmp_path / "socket")
    with Stream("--interval", "0.2", "--socket", socket), own_cgroup("full-") as alone:
        wait_until(lambda: os.path.exists(socket), 10, "the agent's socket")
        inside = f'echo $$ >{alone.directory}/cgroup.procs; exec "$0" "$@"'
        alone.set_limit(1)
        with Tmux(["sh", "-c", inside, *TOP, "--socket", socket]) as terminal:
            screen = terminal.wait_for("the agent that runs here")
            assert f"agent at unix:{socket}"[:20] in screen
            assert "not counted" not in screen
            terminal.type("q")
            assert terminal.end() == 0


def test_a_cgroup_that_leaves_room_for_the_loader_alone(host: None, tmp_path: Path) -> None:
    """One free PID is enough: the view needs none of its own."""
    with own_cgroup("tight-") as alone:
        inside = f'echo $$ >{alone.directory}/cgroup.procs; exec "$0" "$@"'
        alone.set_limit(2)
        command = ["sh", "-c", inside, *TOP, "--socket", str(tmp_path / "socket")]
        with Tmux(command) as terminal:
            screen = terminal.wait_for("nothing lost")
            assert "not counted" not in screen
            terminal.type("Enter")
            terminal.wait_for("PID THREADS")
            assert alone.refused == 0
            terminal.type("C-c")
            assert terminal.end() == 130


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_a_locale_without_unicode(host: None, tmp_path: Path, locale: str) -> None:
    environment = {
        "LC_ALL": locale,
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii" if locale == "C" else "latin-1",
    }
    command = [*TOP, "--socket", str(tmp_path / "socket")]
    with Tmux(command, environment=environment) as terminal:
        screen = terminal.wait_for("WORKLOAD")
        terminal.type("s")
        screen += terminal.wait_for("Sort by")
        assert screen.isascii()
        terminal.type("Escape")
        terminal.wait_for("q quit")
        terminal.type("q")
        assert terminal.end() == 0


def test_standard_input_that_is_no_terminal(host: None, tmp_path: Path) -> None:
    """A plain table that says why, and is drawn anew."""
    inside = 'exec "$0" "$@" </dev/null'
    command = ["sh", "-c", inside, *TOP, "--socket", str(tmp_path / "socket")]
    with Tmux(command) as terminal:
        terminal.wait_for("standard input is no terminal")
        terminal.wait_for("WORKLOAD")
        os.kill(terminal.pid, signal.SIGINT)
        assert terminal.end() == 130
        assert terminal.modes() == CLEAN
