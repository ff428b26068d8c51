"""How the stage starts a workload: as a runc container, or as a process in a cgroup."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from threadtrace.demo.incidents import Actor

# runc mounts the programs there.
_PROGRAMS = "/srv"
_START_SECONDS = 20
# What the interpreter and its libraries need of the host, read-only.
_BORROWED = ("usr", "bin", "lib", "lib64")
_FLAGS = ("-I", "-S")


def interpreter() -> str:
    """The distribution's, whichever virtual environment this one runs in."""
    return os.path.realpath(sys.executable)


def can_run_containers() -> bool:
    """Whether runc is there, and the interpreter where a container finds it too."""
    return shutil.which("runc") is not None and interpreter().startswith("/usr/")


def start_in_cgroup(actor: Actor, programs: Path, parent_fd: int) -> int:
    """A process in a new cgroup below that directory; its PID.

    Raises:
        OSError: no process can be started.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        enter_new_cgroup(actor.name, parent_fd)
        os.execve(interpreter(), _command(actor, str(programs)), _ENVIRONMENT)  # noqa: S606
    finally:
        os._exit(1)


def enter_new_cgroup(name: str, parent_fd: int) -> None:
    """Move this process to a cgroup of that name below that directory.

    Raises:
        OSError: it cannot be made or entered.
    """
    os.mkdir(name, dir_fd=parent_fd)
    fd = os.open(f"{name}/cgroup.procs", os.O_WRONLY, dir_fd=parent_fd)
    try:
        os.write(fd, b"0")  # 0: who writes
    finally:
        os.close(fd)


def start_in_runc(actor: Actor, programs: Path, parent: str, directory: Path) -> int:
    """A container of its own PID namespace within this one; the PID of its process.

    Args:
        actor: what runs in it.
        programs: the directory of the roles.
        parent: the cgroup above its own.
        directory: for bundles and runc's state; gone with the stage.

    Raises:
        RuntimeError: runc's own words.
    """
    bundle = directory / "bundles" / actor.name
    (bundle / "rootfs" / _PROGRAMS.strip("/")).mkdir(parents=True)
    for name in ("proc", "dev"):
        (bundle / "rootfs" / name).mkdir()
    spec = _spec(actor, f"{parent}/{actor.name}", [_mounted_programs(programs), *_borrow(bundle)])
    (bundle / "config.json").write_bytes(orjson.dumps(spec))
    pid_file, log = bundle / "pid", bundle / "log"
    done = subprocess.run(
        [
            *("runc", "--root", directory / "runc", "--log", log, "run", "--detach"),
            *("--bundle", bundle, "--pid-file", pid_file, actor.name),
        ],
        stdin=subprocess.DEVNULL,
        timeout=_START_SECONDS,
        check=False,
    )
    if done.returncode:
        said = log.read_text(errors="replace") if log.exists() else ""
        raise RuntimeError(f"runc run ended with {done.returncode}: {said[:300]}")
    return int(pid_file.read_text())


_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def _command(actor: Actor, programs: str) -> list[str]:
    return [interpreter(), *_FLAGS, f"{programs}/{actor.program}", actor.process, *actor.arguments]


def _mounted_programs(programs: Path) -> dict[str, Any]:
    return _bind(str(programs), _PROGRAMS)


def _borrow(bundle: Path) -> list[dict[str, Any]]:
    """The host's programs in the container's root: mounts, and links where the host has links."""
    mounts = []
    for name in _BORROWED:
        on_host, inside = Path("/", name), bundle / "rootfs" / name
        if on_host.is_symlink():
            inside.symlink_to(os.readlink(on_host))
        elif on_host.is_dir():
            inside.mkdir()
            mounts.append(_bind(str(on_host), f"/{name}"))
    return mounts


def _bind(source: str, destination: str) -> dict[str, Any]:
    options = ["rbind", "ro", "nosuid", "nodev"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _spec(actor: Actor, cgroup: str, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    """config.json by the OCI runtime specification 1.0: root without any capability."""
    nothing: list[str] = []
    sets = ("bounding", "effective", "inheritable", "permitted", "ambient")
    return {
        "ociVersion": "1.0.2",
        "hostname": actor.name,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": _command(actor, _PROGRAMS),
            "env": [f"{name}={value}" for name, value in _ENVIRONMENT.items()],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(sets, nothing),
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]},
            *mounts,
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
        },
    }
