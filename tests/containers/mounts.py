"""Mounts below a directory of a test: leftovers of a runtime, and a node's root to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .processes import run


def mounts_below(directory: Path) -> list[Path]:
    """Mount points at or below a directory, deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount = Path(line.split()[4].encode().decode("unicode_escape"))
        if mount.is_relative_to(directory):
            found.append(mount)
    return sorted(found, key=lambda mount: len(mount.parts), reverse=True)


def unmount_below(directory: Path) -> None:
    """Unmount all that is mounted at or below a directory."""
    for mount in mounts_below(directory):
        # Lazily: a process that is just leaving may still hold a file there.
        run(["umount", "--lazy", mount])


@contextlib.contextmanager
def node_root(hostroot: Path) -> Iterator[Path]:
    """Give `hostroot` the node's own /proc and /sys, with the cgroup hierarchies, for a while.

    The copies are slaves of the originals: unmounting them leaves the originals alone, also where
    mounts are shared.
    """
    try:
        for name in ("proc", "sys"):
            target = hostroot / name
            target.mkdir(parents=True, exist_ok=True)
            run(["mount", "--rbind", "--make-rslave", f"/{name}", target])
        yield hostroot
    finally:
        for name in ("proc", "sys"):
            unmount_below(hostroot / name)
