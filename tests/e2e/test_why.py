"""``threadtrace why``: asked of a running agent, or found out alone, with and without programs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.cgroups import OwnCgroup
from support.command import assert_one_line, threadtrace
from support.puppet import Births, Puppet
from support.stream import THREADTRACE, Stream
from support.waiting import wait_until

HEALTHY, PRESSURE, REFUSING = 0, 1, 2
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's agent answers."""
    return tmp_path / "why.sock"


@pytest.fixture
def agent(host: None, path: Path) -> Iterator[Stream]:
    """One that runs, and can be asked."""
    with Stream("--socket", str(path)) as running:
        yield running


@pytest.fixture
def starved(cgroup: OwnCgroup) -> list[str]:
    """A command before the command: in a cgroup that lets no further task be made."""
    alone = cgroup.child("starved")
    alone.set_limit(1)
    enter = f'echo $$ > {alone.directory}/cgroup.procs && exec "$@"'
    return ["sh", "-c", enter, "sh"]


def why(path: Path, code: int, before: list[str] | None = None) -> dict[str, Any]:
    """The answer as JSON, and that the exit code is the right one."""
    done = threadtrace("why", "--json", "--socket", str(path), before=before or [])
    assert done.returncode == code, (done.stdout, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def cause_of(answer: dict[str, Any], owner: str) -> dict[str, Any]:
    """The cause whose limit that cgroup owns."""
    (cause,) = [one for one in answer["causes"] if one.get("limit_owner") == owner]
    found: dict[str, Any] = cause
    return found


@pytest.mark.parametrize("asks_at_zero_pids", [False, True])
def test_who_holds_and_who_suffers(
    agent: Stream,
    path: Path,
    cgroup: OwnCgroup,
    puppet_program: Path,
    starved: list[str],
    asks_at_zero_pids: bool,
) -> None:
    with Puppet(puppet_program) as holder, Puppet(puppet_program) as victim:
        pod = cgroup.child("pod")
        pod.child("holder").add(holder.pid)
        pod.child("victim").add(victim.pid)
        holder.do("threads", 40)
        pod.set_limit(42)
        assert victim.do("forks", 17) == Births(0, 17, errno.EAGAIN)

        answer = why(path, REFUSING, starved if asks_at_zero_pids else None)
        assert answer["source"] == "agent"
        cause = cause_of(answer, pod.path)
        assert (cause["limit"], cause["limit_value"], cause["usage_value"]) == ("pids_max", 42, 42)
        assert cause["is_now"] is True
        assert cause["is_own_limit"] is False
        (suffers,) = cause["victims"]
        assert suffers["workload"]["name"] == f"{pod.path}/victim"
        assert suffers["refused_count"] == 17
        assert suffers["first_refused"] <= suffers["last_refused"]
        assert cause["culprits"][0]["workload"]["name"] == f"{pod.path}/holder"
        assert cause["culprits"][0]["process"]["threads"] == 41

        text = threadtrace("why", "--socket", str(path)).stdout.decode()
        assert f"EAGAIN from pids_max 42 of {pod.path}" in text.splitlines()[0]
        assert f"{pod.path}/victim  17 times" in text


def test_own_limit_is_no_alarm_for_the_node(
    agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    cgroup.set_limit(1)
    assert actor.do("forks", 5) == Births(0, 5, errno.EAGAIN)
    cause = cause_of(why(path, PRESSURE), cgroup.path)
    assert cause["is_own_limit"] is True
    assert cause["refused_count"] == 5


def test_mistakes_are_no_limit(agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("invalid", 5)
    answer = json.loads(threadtrace("why", "--json", "--socket", str(path)).stdout)
    assert answer["state"] in ("healthy", "pressure")
    assert {cause["errno"] for cause in answer["causes"]} == {"EINVAL"}


def test_a_limit_that_is_near(host: None, path: Path, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("threads", 98)
    cgroup.set_limit(100)
    answer = why(path, PRESSURE)
    assert answer["source"] == "programs"
    near = answer["nearest_limit"]
    assert (near["limit"], near["limit_owner"]) == ("pids_max", cgroup.path)
    assert (near["usage_value"], near["headroom_count"]) == (99, 1)
    assert near["culprits"][0]["process"] == {"pid": actor.pid, "name": "puppet", "threads": 99}
    assert answer["causes"] == []


@pytest.mark.parametrize("hindrance", ["another user", "no free PID"])
def test_without_programs(
    path: Path, cgroup: OwnCgroup, actor: Puppet, starved: list[str], hindrance: str
) -> None:
    actor.do("threads", 98)
    cgroup.set_limit(100)
    answer = why(path, PRESSURE, NOBODY if hindrance == "another user" else starved)
    assert answer["source"] == "files"
    assert answer["nearest_limit"]["usage_value"] >= 99
    no_agent, no_programs = (entry["effect"] for entry in answer["missing"])
    assert "before now is not known" in no_agent
    assert "out of sight" in no_programs


def test_agent_that_was_killed_leaves_its_place(host: None, path: Path) -> None:
    with Stream("--socket", str(path)) as first:
        first.send(signal.SIGKILL)
        first.end()
        assert path.is_socket()
    with Stream("--socket", str(path)) as second:
        assert (
            json.loads(threadtrace("why", "--json", "--socket", str(path)).stdout)["source"]
            == "agent"
        )
        second.finish()
    assert not path.exists()


def test_second_agent_leaves_the_first_ones_place(agent: Stream, path: Path) -> None:
    inode = path.stat().st_ino
    with Stream("--socket", str(path)) as second:
        second.finish()
        assert second.errors == b""
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_in_the_way_is_kept(host: None, path: Path) -> None:
    path.write_text("precious")
    with Stream("--socket", str(path)) as running:
        running.finish()
        assert b"no socket for threadtrace why" in running.errors
    assert path.read_text() == "precious"


def test_who_asks_and_never_listens_holds_nothing_up(agent: Stream, path: Path) -> None:
    mute = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(20)]
    try:
        for one in mute:
            one.setblocking(False)
            try:
                one.connect(str(path))
            except BlockingIOError:
                break
        agent.wait_for_ticks(5)
        assert why(path, HEALTHY)["source"] == "agent"
    finally:
        for one in mute:
            one.close()


def test_watch_answers_until_it_is_told_to_stop(host: None, path: Path) -> None:
    with Stream("--socket", str(path)):
        done = threadtrace(
            "why",
            "--json",
            "--watch",
            "0.2",
            "--socket",
            str(path),
            before=["timeout", "-s", "INT", "3"],
        )
    assert len(done.stdout.splitlines()) >= 3
    assert all(json.loads(line)["source"] == "agent" for line in done.stdout.splitlines())


def test_a_victim_that_is_gone_is_still_told(
    agent: Stream, path: Path, cgroup: OwnCgroup, puppet_program: Path
) -> None:
    """A crash loop takes the victim's cgroup along, each time."""
    pod = cgroup.child("pod")
    for name in ("first", "second"):
        victim = pod.child(name)
        with Puppet(puppet_program) as puppet:
            victim.add(puppet.pid)
            pod.set_limit(1)
            assert puppet.do("forks", 8) == Births(0, 8, errno.EAGAIN)
            pod.set_limit(None)
        victim.wait_for_tasks(0)
        victim.directory.rmdir()
    agent.wait_for_ticks(3)

    cause = cause_of(why(path, REFUSING), pod.path)
    assert cause["refused_count"] == 16
    told = {victim["workload"]["name"]: victim for victim in cause["victims"]}
    assert {name: victim["refused_count"] for name, victim in told.items()} == {
        f"{pod.path}/first": 8,
        f"{pod.path}/second": 8,
    }
    assert all(victim["is_gone"] for victim in told.values())


def test_a_limit_is_told_before_a_mistake(
    agent: Stream, path: Path, cgroup: OwnCgroup, puppet_program: Path
) -> None:
    with Puppet(puppet_program) as mistaken, Puppet(puppet_program) as refused:
        cgroup.child("mistaken").add(mistaken.pid)
        full = cgroup.child("full")
        full.add(refused.pid)
        mistaken.do("invalid", 90)
        full.set_limit(1)
        refused.do("forks", 2)
        answer = why(path, PRESSURE)
    assert "EAGAIN from pids_max" in answer["answer"]
    assert [cause["errno"] for cause in answer["causes"]] == ["EAGAIN", "EINVAL"]


@pytest.mark.parametrize("said", [b'{"state": "healthy"}', b"[1, 2]", b"half {", b"drip"])
def test_a_strangers_answer_is_none(host: None, path: Path, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.bind(str(path))
        stranger.listen()

        def talk() -> None:
            asking, _ = stranger.accept()
            with asking, contextlib.suppress(OSError):
                while asking.send(said) and said == b"drip":
                    time.sleep(0.2)

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        done = threadtrace("why", "--json", "--socket", str(path))
        talking.join(20)
    assert done.stderr == b""
    assert json.loads(done.stdout)["source"] == "programs"


def test_ctrl_c_while_the_loader_works(host: None, path: Path) -> None:
    """It goes to the loader too, as from a terminal: no traceback, and nothing half said."""
    command = [*THREADTRACE, "why", "--socket", str(path)]
    asking = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    with asking:
        wait_until(lambda: psutil.Process(asking.pid).children(), 20, "the loader was started")
        os.killpg(asking.pid, signal.SIGINT)
        said, errors = asking.communicate(timeout=20)
    assert (asking.returncode, said, errors) == (130, b"", b"")


def test_standard_output_is_closed(host: None, path: Path) -> None:
    done = threadtrace("why", "--socket", str(path), before=["sh", "-c", 'exec "$@" >&-', "sh"])
    assert_one_line(done, os.EX_IOERR, "standard output is closed")


def test_wrong_usage(host: None) -> None:
    assert_one_line(threadtrace("why", "--watch", "0"), os.EX_USAGE, "why --help")


def test_a_user_near_its_limit_is_named(
    agent: Stream, path: Path, cgroup: OwnCgroup, actor: Puppet
) -> None:
    """Nothing was refused yet: the next thread of that user would be, wherever it runs."""
    uid = random.randrange(100_000, 2_000_000_000)
    actor.do("user", uid, 20)
    assert actor.do("threads", 19) == Births(19, 0, 0)

    nearest = why(path, PRESSURE)["nearest_limit"]
    assert (nearest["limit"], nearest["limit_owner"]) == ("rlimit_nproc", f"uid {uid}")
    assert (nearest["limit_value"], nearest["usage_value"]) == (20, 20)
    assert nearest["headroom_count"] == 0
    assert nearest["culprits"][0]["workload"]["name"] == cgroup.path
    assert nearest["culprits"][0]["tasks_count"] == 20
