"""Programs of the distribution, unpacked for a test: nothing is installed, no service starts.

rsyslog and syslog-ng cannot be installed beside each other, and either would take over this
machine's log.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.requirements import require

_APT = ("apt-get", "-q", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root")
_SECONDS = 180


@dataclass(frozen=True)
class Program:
    """Where it is, and what its libraries need in the environment."""

    path: str
    root: Path
    """Below which its package is; / where it is installed."""

    @property
    def environment(self) -> dict[str, str]:
        """Of this process, with its own libraries before those of the machine."""
        if self.root == Path("/"):
            return dict(os.environ)
        patterns = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/syslog-ng")
        directories = [str(path) for pattern in patterns for path in self.root.glob(pattern)]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(directories)}

    def directory(self, pattern: str) -> Path:
        """The one of its package with that path."""
        (found,) = self.root.glob(pattern)
        return found


def program(name: str, package: str, directory: Path) -> Program:
    """An installed one, else out of its package, unpacked in that directory; skips without."""
    installed = shutil.which(name, path="/usr/sbin:/usr/bin")
    if installed:
        return Program(installed, Path("/"))
    require(shutil.which("apt-get"), "deploy", name, f"install {package}")
    archives = directory / "archives"
    archives.mkdir(parents=True)
    done = _call([*_APT, "download", *_with_dependencies(package)], archives)
    require(done.returncode == 0, "deploy", f"the package {package}", "apt-get update")
    root = directory / "root"
    for archive in archives.iterdir():
        subprocess.run(["dpkg-deb", "--extract", archive, root], check=True, timeout=_SECONDS)
    path = next(found for found in (root / "usr/sbin", root / "usr/bin") if (found / name).exists())
    return Program(str(path / name), root)


def _with_dependencies(package: str) -> list[str]:
    """What apt-get would install for it."""
    done = _call([*_APT, "install", "--simulate", "--no-install-recommends", package])
    names = re.findall(r"^Inst (\S+) ", done.stdout, re.MULTILINE)
    return names or [package]


def _call(command: list[str], directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
