"""A containerd with its CRI, and pods below one cgroup that has a limit for all of them.

As the kubelet does it on /kubepods, where PIDs are reserved for the system; here below a cgroup of
the scene's own, which harms nobody else on the machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from bench.cgroups import make_child, own_cgroup
from containers import cgroups, rootfs
from containers.cri import Containerd, CriContainer
from containers.workload import CriError

NAMESPACE, LEAKING, PROBED = "shop", "checkout-7d9f", "cart-5b6c"
_MOST_TASKS = 4096
_LIMIT_SECONDS = 900
_PROBE_SECONDS = 5.0
_SCRIPT = ("sh", "-c", "id >/dev/null && true")


@dataclass
class Pods:
    """The limit that they share, and what makes them."""

    containerd: Containerd
    directory: str
    """Of the cgroup that has the limit."""
    owner: str
    """Its path."""

    @property
    def free(self) -> int:
        limit, used = (_number(f"{self.directory}/pids.{name}") for name in ("max", "current"))
        return limit - used

    @property
    def runtime_directory(self) -> Path:
        """Where the agent reads names."""
        return self.containerd.state / "io.containerd.runtime.v2.task"


@contextlib.contextmanager
def pods_below(directory: Path, limit: int) -> Iterator[Pods]:
    """No pod yet. ``limit`` is the pids.max of all of them together."""
    made = rootfs.build(_new(directory / "rootfs"))
    with own_cgroup(_MOST_TASKS) as top:
        above = make_child(top, "kubepods", limit)
        path = f"/{os.path.basename(top)}/kubepods"
        try:
            with (
                mock.patch.object(cgroups, "BURSTABLE", f"{path}/burstable"),
                Containerd(made, _new(directory / "cri")) as containerd,
            ):
                yield Pods(containerd, above, path)
        finally:
            _remove_elsewhere(f"/{os.path.basename(top)}")


@contextlib.contextmanager
def leaking(pods: Pods, per_second: int, threads: int = 3_000) -> Iterator[CriContainer]:
    """A pod that leaks threads once it is told to begin, and goes on when it is refused."""
    words = ("leak", "threads", str(threads), "--rate", str(per_second), "--name", "worker-#")
    with (
        pods.containerd.pod(LEAKING, NAMESPACE) as pod,
        pod.container("web", *words, "--limit", str(_LIMIT_SECONDS), "--wait") as container,
    ):
        container.wait_waiting()
        yield container


@contextlib.contextmanager
def probed(pods: Pods) -> Iterator[CriContainer]:
    """A pod that does nothing, to be probed."""
    with (
        pods.containerd.pod(PROBED, NAMESPACE) as pod,
        pod.container("app", "leak", "threads", "0", "--limit", str(_LIMIT_SECONDS)) as container,
    ):
        container.wait_ready()
        yield container


class Outcome(NamedTuple):
    time_s: float
    """Since the epoch, when it was asked for."""
    is_well: bool
    said: str


@dataclass
class Probe:
    """The kubelet's exec probe: ExecSync. Call it each second. A script, which forks once."""

    container: CriContainer
    outcomes: list[Outcome] = field(default_factory=list)

    def __call__(self) -> None:
        start = time.time()
        try:
            done = self.container.execute(*_SCRIPT, timeout_seconds=_PROBE_SECONDS)
        except CriError as error:
            self.outcomes.append(Outcome(start, False, f"{error.code}: {error.details}"))
            return
        said = done.stderr.strip()
        self.outcomes.append(Outcome(start, done.exit_code == 0, said))

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.is_well]


def _number(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())


def _new(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def _remove_elsewhere(path: str) -> None:
    """runc makes a container's cgroup, and those above it, in every hierarchy of version 1."""
    for hierarchy in cgroups.hierarchies():
        if hierarchy is cgroups.pids_hierarchy():
            continue
        top = hierarchy.mount / path.lstrip("/")
        for where, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(where)
