"""Cgroups of a test's own in the hierarchy of the pids controller, on version 1 and 2 alike."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.requirements import require
from support.waiting import kill_all, wait_until
from threadtrace.node.hierarchy import find_pids_hierarchy

_PREFIX = "threadtrace-test-"
_GONE_SECONDS = 15


def require_version_2() -> None:
    """CLONE_INTO_CGROUP takes cgroups of version 2 only: the pids controller has to be there."""
    require(
        find_pids_hierarchy().version == 2,
        "v2",
        "the pids controller in the version 2 hierarchy",
        "boot with cgroup_no_v1=pids or systemd.unified_cgroup_hierarchy=1",
    )


class OwnCgroup:
    """One cgroup, and those made below it."""

    def __init__(self, directory: Path, path: str, version: int) -> None:
        self.directory = directory
        self.path = path
        """From the root of the hierarchy: what events call process.linux.cgroup."""
        self._version = version

    def child(self, name: str) -> OwnCgroup:
        """Make a cgroup below this one; it goes with this one."""
        if self._version == 2:
            (self.directory / "cgroup.subtree_control").write_text("+pids")
        made = OwnCgroup(self.directory / name, f"{self.path.rstrip('/')}/{name}", self._version)
        made.directory.mkdir()
        return made

    def add(self, pid: int) -> None:
        """Move a process here, all its threads with it."""
        (self.directory / "cgroup.procs").write_text(str(pid))

    def set_limit(self, tasks: int | None) -> None:
        """pids.max; None lifts it."""
        (self.directory / "pids.max").write_text("max" if tasks is None else str(tasks))

    @property
    def tasks(self) -> int:
        """pids.current: tasks here and below."""
        return int((self.directory / "pids.current").read_text())

    @property
    def refused(self) -> int:
        """How often pids.max refused, as pids.events tells it."""
        events = dict(
            line.split() for line in (self.directory / "pids.events").read_text().splitlines()
        )
        return int(events["max"])

    def wait_for_tasks(self, tasks: int, deadline_seconds: float = 15) -> None:
        """Wait until exactly so many tasks are here and below.

        The kernel takes a task off when it is released, which is after it was seen to exit.
        """
        wait_until(
            lambda: self.tasks == tasks,
            deadline_seconds,
            lambda: f"{self.path} holds {tasks} tasks (it holds {self.tasks})",
        )

    def remove(self) -> None:
        """End what is here and below, and remove it; it may be gone already."""
        if not self.directory.exists():
            return
        for child in self.directory.iterdir():
            if child.is_dir():
                OwnCgroup(child, f"{self.path}/{child.name}", self._version).remove()
        wait_until(self._removed, _GONE_SECONDS, f"{self.path} is empty and removed")

    def _removed(self) -> bool:
        try:
            pids = {int(pid) for pid in (self.directory / "cgroup.procs").read_text().split()}
            kill_all(pids - {0})  # 0 stands for a process of another PID namespace
            self.directory.rmdir()
        except FileNotFoundError:
            return True
        except OSError:  # EBUSY, or ENODEV while a thread group goes
            return False
        return True


def root_cgroup() -> OwnCgroup:
    """The root of the hierarchy. It is the host's: nothing may be set there but a process moved."""
    hierarchy = find_pids_hierarchy()
    return OwnCgroup(Path(hierarchy.mount_point or "/"), "/", hierarchy.version)


@contextmanager
def own_cgroup(label: str = "") -> Iterator[OwnCgroup]:
    """A new cgroup below the root; it and its processes are gone afterwards."""
    cgroup = root_cgroup().child(f"{_PREFIX}{label}{uuid.uuid4().hex[:12]}")
    try:
        yield cgroup
    finally:
        cgroup.remove()
