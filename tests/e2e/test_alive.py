"""What the agent withstands: short versions of the scenes of ``python -m bench.reliability``.

Each row that they find has to reach what it is to reach; docs/reliability.md has those of the long
versions.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from containers.prerequisites import require as require_containers
from support.requirements import require

sys.path.append(str(Path(__file__).parents[2]))  # where bench/ is
pytest.importorskip("grpc", reason="the Python package grpcio is missing: pip install grpcio")

from bench.figures import Row
from bench.reliability import alive, full_namespace, lives, sinks, strangers
from bench.reliability.births import traced
from bench.reliability.work import Packages, Work

from support.puppet import Puppet

Scene = Callable[[Work], Iterator[Row]]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def work(host: None, packages: Packages, tmp_path: Path) -> Work:
    return Work(tmp_path, packages, is_quick=True)


@pytest.fixture
def bpftrace() -> None:
    require(shutil.which("bpftrace"), "e2e", "bpftrace", "apt-get install bpftrace")


def check(scene: Scene, work: Work) -> None:
    rows = list(scene(work))
    assert any(row.is_met for row in rows)
    missed = [f"{row.what}: {row.figure}, not {row.target}" for row in rows if row.is_met is False]
    assert missed == []


def test_without_a_free_pid(work: Work, bpftrace: None) -> None:
    """Its own pids.max and that of all pods are reached: no clone, and every answer."""
    for program in ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "openssl"):
        require_containers(shutil.which(program), program, f"apt-get install {program}")
    check(alive.without_a_pid, work)


@pytest.mark.parametrize(
    "scene",
    [
        lives.agent_killed,
        lives.clock_set_back,
        sinks.full_disk,
        strangers.slow_readers,
        strangers.malformed,
        strangers.tokens,
    ],
    ids=lambda scene: scene.__name__,
)
def test_it_withstands(scene: Scene, work: Work) -> None:
    check(scene, work)


def test_in_a_pid_namespace_that_is_full(work: Work, bpftrace: None) -> None:
    check(full_namespace.full_namespace, work)


def test_the_tracer_sees_every_birth(bpftrace: None, actor: Puppet) -> None:
    """So that none is none."""
    with traced(actor.pid) as births:
        actor.do("forks", 7)
        actor.do("threads", 11)
    assert (births.born, births.asked) == (18, 18)
    assert births.node >= 18
