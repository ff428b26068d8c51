"""What only a throw-away kernel allows: these tests run in the guests of `make test-kernels`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from kernels import scene
from support.command import in_private_mounts
from support.puppet import Puppet
from support.requirements import require
from support.stream import Stream

UNHURRIED_SECONDS = 0.5  # it ticks during other tests, too
HIDE_BTF = "mount -t tmpfs none /sys/kernel/btf\n"

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "vagrant"))


@pytest.fixture(scope="session")
def guest(host: None) -> str:
    """The stage of the guest that this is; what is set here ends with it."""
    stage = os.environ.get("THREADTRACE_GUEST")
    require(stage, "guest", "a kernel that may be thrown away", "make test-kernels")
    assert stage is not None
    return stage


@pytest.fixture
def uring(guest: str, tmp_path: Path) -> Iterator[Puppet]:
    """The program that lets io_uring's workers be made, in no cgroup of its own yet."""
    program = Path(os.environ.get("THREADTRACE_URING") or tmp_path / "uring")
    if not program.exists():
        source = Path(__file__).with_name("uring.c")
        subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-o", program, source], check=True)
    with Puppet(program) as running:
        yield running


@pytest.fixture(scope="session")
def agent(guest: str) -> Iterator[Stream]:
    """One agent for all tests that want nothing special: under emulation a start takes long.

    In the first stage, where all hook kinds are forced in turn, it is that of fexit.
    """
    forced = ("--refusal-hook", "fexit") if guest == "v2" else ()
    with Stream(*forced) as running:
        yield running
        running.finish()
        scene.assert_no_loss(running)


@pytest.fixture(scope="session")
def beside(guest: str) -> Iterator[Mapping[str, Stream]]:
    """Agents that want something special, by what that is; that with headers may not count yet.

    To compile takes a processor of a guest ten seconds, and with the kernel's headers a minute,
    during which the tests of the others go on. All at once would be too late on a busy machine.
    """
    with ExitStack() as stack:
        start = stack.enter_context
        agents = {
            hook: start(Stream("--refusal-hook", hook, wait=False))
            for hook in ("kretprobe", "tracepoint")
        }
        for agent in agents.values():
            agent.wait_until_it_counts()
        hide_btf = in_private_mounts(HIDE_BTF)
        headers = Stream(before=hide_btf, interval_seconds=UNHURRIED_SECONDS, wait=False)
        yield {**agents, "headers": start(headers)}
