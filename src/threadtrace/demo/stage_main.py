"""The stage: init of a PID namespace of its own, in which an incident is played.

Whatever ends this process ends all that runs in the namespace (the kernel does, pid_namespaces(7));
its mounts are seen nowhere else and go with it. It ends when the demo does, however that ends.

Reads commands from standard input, one a line, and writes messages to standard output, one JSON
object a line, its workloads as well.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from threadtrace.demo import containers
from threadtrace.demo.incidents import Actor

END_CULPRITS = b"end-culprits\n"

_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1

_TELL_SECONDS = 0.5
# Anything here is small, and this mount hides what is there for this process alone.
_SCRATCH = Path("/run")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What the demo asks for."""

    actors: tuple[Actor, ...]
    max_tasks: int
    has_pid_max_per_namespace: bool
    """Whether this kernel has it: on others the file is the whole node's."""
    cgroup: str
    """Path of the demo's own cgroup in the hierarchy of the pids controller."""
    cgroup_fd: int
    """The same, open."""
    use_runc: bool
    lifetime_seconds: float
    """It ends then, whatever happens."""


def main(words: list[str]) -> int:
    """Become two processes: one that waits, and the init of a new PID namespace."""
    spec = _parse(words[0])
    os.set_inheritable(spec.cgroup_fd, False)
    _die_with_parent()
    if _libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS):
        _tell(failed=f"no PID namespace: {os.strerror(ctypes.get_errno())}")
        return 1
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return 0
    try:
        _die_with_parent()
        _play(spec)
    except Exception as error:
        _tell(failed=f"{type(error).__name__}: {error}"[:1000])
    os._exit(0)


def _play(spec: StageSpec) -> None:
    end = time.monotonic() + spec.lifetime_seconds
    _own_mounts()
    _enter_own_cgroup(spec)
    limit = _set_limit(spec)
    culprits, note = _start(spec)
    _tell(ready=limit, note=note)
    poller = select.poll()
    poller.register(sys.stdin.fileno(), select.POLLIN)
    while time.monotonic() < end:
        if poller.poll(_TELL_SECONDS * 1000):
            command = os.read(sys.stdin.fileno(), 4096)
            if not command:
                return
            if command == END_CULPRITS:
                for pid in culprits:
                    os.kill(pid, signal.SIGKILL)
        _reap()
        _tell(tasks=_tasks(spec, limit))


def _start(spec: StageSpec) -> tuple[list[int], str]:
    """Start all workloads; the PIDs of those that leak, and what did not work."""
    programs = _SCRATCH / "programs"
    roles = Path(__file__).with_name("roles")
    shutil.copytree(roles, programs, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (programs, *programs.iterdir()):
        path.chmod(0o755)
    note = ""
    use_runc = spec.use_runc
    culprits = []
    for actor in spec.actors:
        pid = None
        if use_runc:
            try:
                pid = containers.start_in_runc(actor, programs, spec.cgroup, _SCRATCH)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                use_runc, note = False, f"cgroups instead of containers: {error}"[:500]
        if pid is None:
            pid = containers.start_in_cgroup(actor, programs, spec.cgroup_fd)
        if actor.is_culprit:
            culprits.append(pid)
    return culprits, note


def _set_limit(spec: StageSpec) -> str:
    """Room for so many tasks: in this PID namespace alone, or in the demo's cgroup."""
    if spec.has_pid_max_per_namespace:
        try:
            Path("/proc/sys/kernel/pid_max").write_text(str(spec.max_tasks))
        except OSError:  # the smallest that the kernel takes grows with the number of CPUs
            pass
        else:
            return "pid_max"
    fd = os.open("pids.max", os.O_WRONLY, dir_fd=spec.cgroup_fd)
    os.write(fd, str(spec.max_tasks).encode())
    os.close(fd)
    return "pids_max"


def _enter_own_cgroup(spec: StageSpec) -> None:
    """So that nobody takes this process for one of the host's."""
    containers.enter_new_cgroup("stage", spec.cgroup_fd)
    Path("/proc/self/comm").write_text("demo-stage")


def _own_mounts() -> None:
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("tmpfs", str(_SCRATCH), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=8m")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, f"mount of {target}: {os.strerror(code)}")


def _tasks(spec: StageSpec, limit: str) -> int:
    """What counts against the limit: of this PID namespace, or of the cgroup."""
    if limit == "pids_max":
        fd = os.open("pids.current", os.O_RDONLY, dir_fd=spec.cgroup_fd)
        try:
            return int(os.read(fd, 32))
        finally:
            os.close(fd)
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                count += os.stat(f"/proc/{entry}/task").st_nlink - 2  # a directory for each thread
            except OSError:  # ended meanwhile
                continue
    return count


def _reap() -> None:
    """An init gets the orphans of its namespace, the containers of runc among them."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _die_with_parent() -> None:
    """Not only when it closes the pipe: it may be killed while this one does not look."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _tell(**message: Any) -> None:
    """In one write: the workloads write to the same pipe."""
    os.write(sys.stdout.fileno(), orjson.dumps(message) + b"\n")


def _parse(text: str) -> StageSpec:
    fields = orjson.loads(text)
    actors = tuple(
        Actor(**{**actor, "arguments": tuple(actor["arguments"])}) for actor in fields["actors"]
    )
    return StageSpec(**{**fields, "actors": actors})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
