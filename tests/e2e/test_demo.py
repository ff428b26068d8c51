"""``threadtrace demo``: both incidents in small, and nothing of it left however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import pytest

from support.command import assert_one_line, threadtrace
from support.stream import THREADTRACE, validate
from support.terminal import Terminal
from support.waiting import wait_until
from threadtrace.demo import cgroups
from threadtrace.demo.incidents import Incident, incident_a
from threadtrace.demo.stage import Stage, open_directory
from threadtrace.demo.stage_main import StageSpec
from threadtrace.node.hierarchy import find_pids_hierarchy

NOT_ALLOWED, UNAVAILABLE, NOT_WRITTEN = 77, 69, 74
SECONDS = "10"
DEADLINE_SECONDS = 60
GONE_SECONDS = 15
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Demo:
    """A demo without a terminal that runs."""

    def __init__(self, *arguments: str) -> None:
        self.output = ""
        self.process = subprocess.Popen(
            [*THREADTRACE, "demo", *arguments, "--seconds", SECONDS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Demo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()

    @property
    def name(self) -> str:
        """Of its cgroup."""
        return f"threadtrace-demo-{self.process.pid}"

    def wait_for(self, words: str) -> None:
        wait_until(
            lambda: words in self.output or self.process.poll() is not None,
            DEADLINE_SECONDS,
            lambda: f"{words!r}: {self.output}",
        )
        assert words in self.output

    def end(self) -> int:
        code = self.process.wait(DEADLINE_SECONDS)
        self._reader.join(DEADLINE_SECONDS)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where recordings go."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def without_runc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search path that finds what a probe starts, and no runc."""
    programs = tmp_path / "programs"
    programs.mkdir()
    found = shutil.which("true")
    assert found is not None
    (programs / "true").symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))


def cgroups_of(name: str) -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob(f"**/{name}*") if path.is_dir()]


def processes_of(name: str) -> list[psutil.Process]:
    """The stage, which has the cgroup's name among its arguments, and all that is in the cgroup."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            told = " ".join(process.cmdline())
            told += Path(f"/proc/{process.pid}/cgroup").read_text()
            if f"/{name}" in told:
                found.append(process)
    return found


def own_mounts() -> list[str]:
    """Where the stage mounts in its own namespace."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4] in ("/run", "/proc")]


def pid_namespaces_of(process: psutil.Process) -> int:
    """How many levels of them it is in."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
    return len(line.split()) - 1


def assert_nothing_left(name: str) -> None:
    assert processes_of(name) == []
    assert cgroups_of(name) == []


def recorded(directory: Path) -> list[dict[str, Any]]:
    (path,) = directory.glob("**/*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected_limit() -> str:
    """Since Linux 6.14 a PID namespace has a pid_max of its own."""
    major, minor = os.uname().release.split(".")[:2]
    return "pid_max" if (int(major), int(minor)) >= (6, 14) else "pids_max"


def assert_played(letter: str, output: str, directory: Path, culprit: str) -> None:
    """The verdict and the recording tell of this incident as it was."""
    assert f"Incident {letter}: " in output
    answer = next(line for line in output.splitlines() if line.startswith("forks are refused: "))
    assert f"EAGAIN from {expected_limit()} 500 of " in answer
    assert f"/{culprit} with " in answer.partition("held by ")[2].partition(";")[0]
    refused = [line for line in output.splitlines() if line.startswith("  refused ")]
    assert any(re.search(r"/calico-node  \d+ times", line) for line in refused), refused
    assert "succeeded again" in output
    assert "probe of calico-node was refused: Resource temporarily unavailable" in output
    events = recorded(directory)
    for event in events:
        validate(event)
    victims = [
        event["process"]["linux"]["cgroup"]
        for event in events
        if event["event"]["name"] == "threadtrace.fork.refused"
    ]
    assert any(path.endswith("/calico-node") for path in victims), victims
    ended = [
        event["process"]["linux"]["cgroup"]
        for event in events
        if event["event"]["name"] == "threadtrace.workload.ended"
    ]
    assert any(path.endswith(f"/{culprit}") for path in ended), ended
    (report,) = directory.glob("**/incident.html")
    page = report.read_text()
    assert f"/{culprit}" in page
    assert "/calico-node" in page


@pytest.mark.parametrize(("letter", "culprit"), [("a", "shop-orders"), ("b", "shop-pricing-1")])
def test_incident(host: None, temporary: Path, letter: str, culprit: str) -> None:
    before = own_mounts()
    with Demo(letter) as demo:
        assert demo.end() == 0, demo.output
        assert_played(letter.upper(), demo.output, temporary, culprit)
        assert_nothing_left(demo.name)
    assert own_mounts() == before


def test_without_runc(host: None, without_runc: None, temporary: Path) -> None:
    with Demo("a") as demo:
        assert demo.end() == 0, demo.output
        assert_played("A", demo.output, temporary, "shop-orders")
        assert_nothing_left(demo.name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_in_the_middle(host: None, temporary: Path, number: signal.Signals) -> None:
    with Demo("both") as demo:
        demo.wait_for("shop-orders growing")
        levels = {entry.name(): pid_namespaces_of(entry) for entry in processes_of(demo.name)}
        inner = 2 + (shutil.which("runc") is not None)
        assert {levels[name] for name in ("orders", "probe")} == {inner}
        assert levels["demo-stage"] == 2
        demo.process.send_signal(number)
        assert demo.end() == 128 + number
        assert "Incident B:" not in demo.output
        assert_nothing_left(demo.name)
    assert list(temporary.iterdir()) == []


def test_keyboard_in_the_live_view(host: None) -> None:
    command = [*THREADTRACE, "demo", "a", "--seconds", SECONDS]
    with Terminal(command, rows=24, columns=80) as terminal:
        name = f"threadtrace-demo-{terminal.process.pid}"
        terminal.wait_for(lambda out: b"shop-orders growing" in out, "the table")
        terminal.press(b"\x03")
        assert terminal.end() == 130
        assert b"Traceback" not in terminal.output
        assert terminal.is_as_before()
    assert_nothing_left(name)


def test_killed_demo_leaves_nothing_that_runs(host: None, temporary: Path) -> None:
    with Demo("a") as killed:
        killed.wait_for("shop-orders growing")
        killed.process.kill()
        assert killed.end() == -signal.SIGKILL
        wait_until(lambda: not processes_of(killed.name), GONE_SECONDS, "all processes end")
    assert cgroups_of(killed.name)
    with Demo("a") as following:
        following.wait_for(f"removed {killed.name}")
        following.wait_for("Ctrl-C")
        following.process.send_signal(signal.SIGINT)
        assert following.end() == 130
    assert_nothing_left(killed.name)
    assert_nothing_left(following.name)


def test_stage_that_is_killed(host: None, temporary: Path) -> None:
    with Demo("a") as demo:
        demo.wait_for("shop-orders growing")
        stages = [entry for entry in processes_of(demo.name) if entry.name() == "demo-stage"]
        assert len(stages) == 1
        stages[0].kill()
        assert demo.end() == UNAVAILABLE
        assert demo.process.stderr is not None
        assert "the demo's stage has ended" in demo.process.stderr.read()
        assert_nothing_left(demo.name)
    assert list(temporary.iterdir()) == []


@contextlib.contextmanager
def stage_of(incident: Incident, use_runc: bool, has_own_pid_max: bool) -> Iterator[Stage]:
    with cgroups.own_cgroup(find_pids_hierarchy()) as directory:
        fd = open_directory(directory)
        try:
            above = f"/{directory.name}"
            spec = StageSpec(incident.actors, 300, has_own_pid_max, above, fd, use_runc, 60.0)
            with Stage(spec) as stage:
                yield stage
        finally:
            os.close(fd)


def test_kernel_without_pid_max_of_namespaces(host: None) -> None:
    before = Path("/proc/sys/kernel/pid_max").read_text()
    with stage_of(incident_a(10), use_runc=False, has_own_pid_max=False) as stage:

        def is_refused() -> bool:
            stage.take_in()
            return stage.is_last_probe_refused

        wait_until(is_refused, DEADLINE_SECONDS, "a probe is refused")
        assert (stage.limit, stage.tasks) == ("pids_max", 300)
        stage.end_culprits()
        wait_until(lambda: not is_refused(), DEADLINE_SECONDS, "a probe succeeds")
    assert Path("/proc/sys/kernel/pid_max").read_text() == before
    assert_nothing_left(f"threadtrace-demo-{os.getpid()}")


def test_needs_root(host: None) -> None:
    assert_one_line(threadtrace("demo", "a", before=NOBODY), NOT_ALLOWED, "run it as root")


def test_both_have_a_report_each(host: None, temporary: Path) -> None:
    with Demo("both", "--report", str(temporary / "night.md")) as demo:
        assert demo.end() == 0, demo.output
        assert_nothing_left(demo.name)
    of_a = (temporary / "night-a.md").read_text()
    of_b = (temporary / "night-b.md").read_text()
    assert "shop-orders" in of_a
    assert "shop-pricing" not in of_a
    assert "shop-pricing" in of_b
    assert "shop-orders" not in of_b
    assert "Incident A: " in demo.output
    assert "Incident B: " in demo.output


def test_does_not_write_over_files(host: None, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    (tmp_path / "report.html.jsonl").write_text("mine")
    done = threadtrace("demo", "a", "--report", str(report))
    assert done.returncode == NOT_WRITTEN
    assert b"File exists; choose another --report" in done.stderr
    assert (tmp_path / "report.html.jsonl").read_text() == "mine"
