"""The demo's cgroups: all below one directory, in every hierarchy that has them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from threadtrace.errors import UnavailableError
from threadtrace.node.hierarchy import PidsHierarchy

_NAME = re.compile(r"threadtrace-demo-(\d+)")
_GONE_SECONDS = 10.0
_POLL_SECONDS = 0.02


@contextmanager
def own_cgroup(hierarchy: PidsHierarchy) -> Iterator[Path]:
    """A cgroup of this process's own; gone afterwards, with what was made below it.

    Raises:
        UnavailableError: it cannot be made.
    """
    root = Path(hierarchy.mount_point or "/")
    directory = root / f"threadtrace-demo-{os.getpid()}"
    try:
        directory.mkdir()
        if hierarchy.version == 2:
            for above in (root, directory):
                (above / "cgroup.subtree_control").write_text("+pids")
    except OSError as error:
        remove_everywhere(directory.name)
        raise UnavailableError(
            f"cannot make the cgroup {directory}: {error.strerror}; run the demo on the node "
            "itself, or in a pod that may write to the host's /sys/fs/cgroup"
        ) from None
    try:
        yield directory
    finally:
        remove_everywhere(directory.name, _GONE_SECONDS)


def remove_leftovers() -> list[str]:
    """Remove what demos left that were killed; the names of it.

    A demo's processes die with it, so that these cgroups are empty; any other stays.
    """
    names = {
        entry.name for root in _roots() for entry in _directories(root) if _is_leftover(entry.name)
    }
    return [name for name in sorted(names) if remove_everywhere(name)]


def remove_everywhere(name: str, deadline_seconds: float = 0.0) -> bool:
    """Remove a cgroup of that name at the root of each hierarchy; whether all of it is gone.

    The kernel lets go of a cgroup a moment after its last process has ended.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        gone = [_remove_tree(root / name) for root in _roots()]
        if all(gone):
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_SECONDS)


def _is_leftover(name: str) -> bool:
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    pid = int(match[1])
    return pid == os.getpid() or not psutil.pid_exists(pid)


def _roots() -> list[Path]:
    """Of all cgroup hierarchies that are mounted: runc makes a container's cgroup in each."""
    kinds = ("cgroup", "cgroup2")
    return [Path(m.mountpoint) for m in psutil.disk_partitions(all=True) if m.fstype in kinds]


def _directories(above: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [entry for entry in above.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return []


def _remove_tree(directory: Path) -> bool:
    for child in _directories(directory):
        _remove_tree(child)
    try:
        directory.rmdir()
    except OSError as error:
        return error.errno == errno.ENOENT
    return True
