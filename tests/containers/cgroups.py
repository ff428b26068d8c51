"""The cgroup directories of a pod, in every hierarchy of the host: v1, hybrid and v2.

A pod's directory is /kubepods/burstable/pod<uid>, as the kubelet's cgroupfs driver names it.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from .processes import kill_all, wait_until

BURSTABLE = "/kubepods/burstable"

# Directories above the pods that were not there before this process needed them: whoever removes
# the last pod takes them away, and those that a kubelet made stay.
_ours: set[Path] = set()


@dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup hierarchy. `controllers` is empty for v2 and for name=systemd."""

    mount: Path
    version: int
    controllers: frozenset[str]


@cache
def hierarchies() -> tuple[Hierarchy, ...]:
    """All cgroup hierarchies below /sys/fs/cgroup, from /proc/self/mountinfo (proc(5))."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount = Path(left.split()[4])
        kind, _, super_options = right.split()[:3]
        if not mount.is_relative_to("/sys/fs/cgroup"):
            continue
        if kind == "cgroup":
            names = frozenset(super_options.split(","))
            found.append(Hierarchy(mount, 1, names))
        elif kind == "cgroup2":
            found.append(Hierarchy(mount, 2, frozenset()))
    return tuple(found)


def pids_hierarchy() -> Hierarchy | None:
    """The hierarchy that carries the pids controller; None where there is none."""
    for hierarchy in hierarchies():
        if hierarchy.version == 1 and "pids" in hierarchy.controllers:
            return hierarchy
    for hierarchy in hierarchies():
        if hierarchy.version == 2:
            offered = (hierarchy.mount / "cgroup.controllers").read_text().split()
            if "pids" in offered:
                return hierarchy
    return None


def pids_directory(cgroup_path: str) -> Path:
    """The directory of a cgroup in the hierarchy of the pids controller.

    Raises RuntimeError where no hierarchy has that controller.
    """
    hierarchy = pids_hierarchy()
    if hierarchy is None:
        raise RuntimeError("no cgroup hierarchy carries the pids controller")
    return hierarchy.mount / cgroup_path.lstrip("/")


def pids_path_of(pid: int) -> str:
    """The cgroup path of a process in the hierarchy of the pids controller.

    Raises ProcessLookupError for a process that is gone.
    """
    hierarchy = pids_hierarchy()
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if hierarchy and hierarchy.version == 1 and "pids" in controllers.split(","):
            return path
        if hierarchy and hierarchy.version == 2 and controllers == "":
            return path
    raise ProcessLookupError(f"process {pid} is in no pids cgroup")


def write_pids_limit(directory: Path, limit: int | None) -> None:
    """Set pids.max of a cgroup directory; None means no limit."""
    (directory / "pids.max").write_text("max" if limit is None else str(limit))


class PodCgroup:
    """The cgroup directory of one pod; remove() takes it away in every hierarchy."""

    def __init__(self, uid: str | None = None) -> None:
        self.uid = uid or str(uuid.uuid4())
        self.path = f"{BURSTABLE}/pod{self.uid}"
        for hierarchy in hierarchies():
            for above in ("kubepods/burstable", "kubepods"):
                directory = hierarchy.mount / above
                if not directory.exists():
                    _ours.add(directory)

    def set_pids_limit(self, limit: int | None) -> None:
        """Set the pod's own pids.max, as the kubelet does for podPidsLimit.

        Makes the directory where no container has made it yet. The count includes the sandbox
        and, while a container starts, the dozen threads of runc's init.
        """
        directory = pids_directory(self.path)
        directory.mkdir(parents=True, exist_ok=True)
        hierarchy = pids_hierarchy()
        if hierarchy and hierarchy.version == 2:
            # On v2 each parent hands the controller down; v1 has it everywhere.
            for parent in reversed(directory.relative_to(hierarchy.mount).parents):
                (hierarchy.mount / parent / "cgroup.subtree_control").write_text("+pids")
        write_pids_limit(directory, limit)

    def remove(self, deadline_seconds: float = 10) -> None:
        """End what still runs in the pod and remove its directories everywhere.

        Directories above the pod go too where this process needed them first and they are empty.
        Raises TimeoutError when a directory stays busy.
        """
        for hierarchy in hierarchies():
            top = hierarchy.mount / self.path.lstrip("/")
            if top.exists():
                _remove_tree(top, deadline_seconds)
        for directory in sorted(_ours, key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):  # not empty: another pod lives; or gone
                directory.rmdir()


def _remove_tree(top: Path, deadline_seconds: float) -> None:
    end = time.monotonic() + deadline_seconds
    directories = [Path(where) for where, _, _ in os.walk(top, topdown=False)]
    for directory in directories:
        wait_until(
            partial(_emptied_and_removed, directory),
            max(0.0, end - time.monotonic()),
            f"{directory} is empty and removed",
        )


def _emptied_and_removed(directory: Path) -> bool:
    try:
        pids = [int(pid) for pid in (directory / "cgroup.procs").read_text().split()]
        kill_all(pid for pid in pids if pid)  # 0 stands for a process of another pid namespace
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # EBUSY: the last process is still leaving
        return False
    return True
