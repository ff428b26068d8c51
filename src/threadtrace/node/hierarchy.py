"""Which cgroup hierarchy carries the pids controller, and where it is mounted."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from threadtrace.errors import UnavailableError

CgroupMode = Literal["v1", "hybrid", "v2"]

# PROC_CGROUP_INIT_INO in the kernel's include/linux/proc_ns.h.
_HOST_CGROUP_NAMESPACE = 0xEFFFFFFB
_CLONE_NEWCGROUP = 0x02000000
# kernfs gives a hierarchy's root the first id (fs/kernfs/dir.c, kernfs_create_root).
_ROOT_INODE = 1


@dataclass(frozen=True, slots=True)
class PidsHierarchy:
    """The hierarchy whose cgroups have ``pids.current``."""

    mount_point: str
    """Where this process sees it, without a trailing slash."""
    version: Literal[1, 2]
    mode: CgroupMode
    hierarchy_id: int
    """As in the first field of ``/proc/PID/cgroup``; 0 for version 2."""
    is_whole: bool
    """False where only a part is mounted, as in a pod with a cgroup namespace of its own."""


@dataclass(frozen=True, slots=True)
class _Mount:
    point: str
    file_system: str
    options: frozenset[str]


def find_pids_hierarchy(root: Path = Path("/")) -> PidsHierarchy:
    """Find it among this process's mounts, then among those of process 1.

    The second helps in a pod that shares the node's PID namespace but not its cgroup namespace:
    its own mount shows only its own part.

    Raises:
        UnavailableError: no pids controller is mounted.
    """
    own = _find(root, "self", "")
    if own is not None and own.is_whole:
        return own
    through_init = _find(root, "1", "/proc/1/root")
    if through_init is not None and through_init.is_whole:
        return through_init
    if own is None:
        raise UnavailableError(
            "no cgroup hierarchy with the pids controller is mounted: "
            "mount -t cgroup2 none /sys/fs/cgroup (or boot without cgroup_disable=pids)"
        )
    return own


def enter_host_cgroup_namespace(root: Path = Path("/")) -> None:
    """Join process 1's cgroup namespace, so that ``/proc/PID/cgroup`` shows paths from the root.

    Does nothing where that is not allowed or it is joined already.
    """
    try:
        init = (root / "proc/1/ns/cgroup").stat().st_ino
        if init == (root / "proc/self/ns/cgroup").stat().st_ino:
            return
        fd = os.open(root / "proc/1/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWCGROUP)
    finally:
        os.close(fd)


def is_in_host_cgroup_namespace(root: Path = Path("/")) -> bool:
    """Whether ``/proc/PID/cgroup`` shows paths from the root; True where that cannot be told."""
    try:
        return (root / "proc/self/ns/cgroup").stat().st_ino == _HOST_CGROUP_NAMESPACE
    except OSError:
        return True


def cgroup_path_of(process_cgroup: str, version: int) -> str | None:
    """The path in the pids hierarchy, out of the text of ``/proc/PID/cgroup``."""
    for line in process_cgroup.splitlines():
        hierarchy, controllers, path = line.split(":", 2)
        if version == 2 and hierarchy == "0" and not controllers:
            return path
        if version == 1 and "pids" in controllers.split(","):
            return path
    return None


def _find(root: Path, process: str, prefix: str) -> PidsHierarchy | None:
    try:
        mounts = _mounts((root / f"proc/{process}/mountinfo").read_text(errors="surrogateescape"))
        memberships = (root / "proc/self/cgroup").read_text(errors="surrogateescape")
    except OSError:
        return None
    unified = [mount for mount in mounts if mount.file_system == "cgroup2"]
    legacy = [mount for mount in mounts if mount.file_system == "cgroup"]
    for mount in legacy:
        if "pids" in mount.options and _is_in_sight(root, prefix, mount):
            mode: CgroupMode = "hybrid" if unified else "v1"
            number = _hierarchy_number(memberships)
            return PidsHierarchy(
                prefix + mount.point, 1, mode, number, _is_root(root, prefix, mount)
            )
    for mount in unified:
        controllers = root / (prefix + mount.point).lstrip("/") / "cgroup.controllers"
        if "pids" in _read(controllers).split():
            mode = "hybrid" if legacy else "v2"
            return PidsHierarchy(prefix + mount.point, 2, mode, 0, _is_root(root, prefix, mount))
    return None


def _is_in_sight(root: Path, prefix: str, mount: _Mount) -> bool:
    """False where something else was mounted over it, or over a directory above."""
    return os.path.exists(root / (prefix + mount.point).lstrip("/") / "cgroup.procs")


def _is_root(root: Path, prefix: str, mount: _Mount) -> bool:
    try:
        return os.stat(root / (prefix + mount.point).lstrip("/")).st_ino == _ROOT_INODE
    except OSError:
        return False


def _hierarchy_number(memberships: str) -> int:
    for line in memberships.splitlines():
        number, controllers, _ = line.split(":", 2)
        if "pids" in controllers.split(","):
            return int(number)
    return 0


def _mounts(mountinfo: str) -> list[_Mount]:
    """Lines of proc_pid_mountinfo(5): optional fields end at a lone dash."""
    found = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, described = before.split(" "), after.split(" ")
        if separator and len(fields) > 4 and len(described) > 2:
            options = frozenset(described[2].split(","))
            found.append(_Mount(_unescape(fields[4]).rstrip("/"), described[0], options))
    return found


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
