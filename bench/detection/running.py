"""Runs a workload in cgroups of its own, bounded in time and number, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cgroups import make_child, own_cgroup, within
from bench.detection.tools import CannotRun, find
from bench.detection.workload import MAX_TASKS, Place, Workload
from threadtrace.node.hierarchy import find_pids_hierarchy
from threadtrace.probe.btf import KernelTypes

_LEAST_FREE_PIDS = 15_000
_EMPTY_WITHIN_SECONDS = 20.0
_WITH_PID_MAX = 'echo "$1" >/proc/sys/kernel/pid_max && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class Prepared:
    """A workload that can be started at once."""

    workload: Workload
    place: Place
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What the runner knows of one run. Moments are seconds of CLOCK_MONOTONIC."""

    workload: Workload
    path: str
    """Of its cgroup, in the pids hierarchy."""
    start: float
    ended: float
    """Before what was left of it was killed."""
    end: float
    onset: float
    """Of the first leaked thread; for a workload that does not tell, its start."""
    peak: int | None
    """pids.peak of its cgroup, on kernels that have it (6.1)."""
    exit_code: int
    printed: str


def require_free_pids() -> None:
    """Raises CannotRun where the largest leak would come near to the node's limit."""
    limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    present = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    if limit - present < _LEAST_FREE_PIDS:
        raise CannotRun(
            f"{present:,} of {limit:,} PIDs are in use, {_LEAST_FREE_PIDS:,} have to be free: "
            "end what holds them, or raise kernel.pid_max"
        )


@contextlib.contextmanager
def arena() -> Iterator[str]:
    """A cgroup around workloads that run at a time. Whatever is left in it at the end is killed."""
    require_free_pids()
    with own_cgroup(MAX_TASKS) as top:
        try:
            yield top
        finally:
            kill_all(top)
            _remove_elsewhere(path_of(top))


def place_in(top: str, workload: Workload, scratch: Path) -> Place:
    """Make its cgroups and its directory."""
    cgroup = make_child(top, workload.name, MAX_TASKS)
    _write(f"{cgroup}/pids.max", "max")
    _make_below(cgroup, workload.leaf)
    if workload.limit is not None:
        _write(os.path.join(cgroup, workload.limited, "pids.max"), str(workload.limit))
    directory = scratch / workload.name
    directory.mkdir(mode=0o755)
    return Place(path_of(cgroup), str(directory))


def prepare(workload: Workload, place: Place, tools_command: Sequence[str]) -> Prepared:
    command = list(tools_command)
    if workload.pid_max is not None:
        _require_own_pid_max()
        own = [find("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"]
        command = [*own, "sh", "-c", _WITH_PID_MAX, "sh", str(workload.pid_max), *command]
    return Prepared(workload, place, tuple(command))


def run(prepared: Prepared) -> Run:
    """Run it to its end, or to the end of its time."""
    workload, place = prepared.workload, prepared.place
    cgroup = directory_of(place.cgroup)
    leaf = os.path.join(cgroup, workload.leaf).rstrip("/")
    output = Path(place.scratch) / "printed"
    start = time.monotonic()
    try:
        code = _run(within(leaf, prepared.command), place.scratch, output, workload.max_seconds)
    finally:
        ended = time.monotonic()
        peak = _read_number(f"{cgroup}/pids.peak")
        kill_all(cgroup)
    printed = output.read_text(errors="replace")
    end = time.monotonic()
    onset = _told(printed, "onset") or start
    return Run(workload, place.cgroup, start, ended, end, onset, peak, code, printed)


def directory_of(path: str) -> str:
    """Of the cgroup with that path in the pids hierarchy."""
    return find_pids_hierarchy().mount_point + path


def path_of(directory: str) -> str:
    return directory.removeprefix(find_pids_hierarchy().mount_point)


def kill_all(cgroup: str) -> None:
    """End every process in a cgroup and below: none may fork first, so that none escapes."""
    until = time.monotonic() + _EMPTY_WITHIN_SECONDS
    while members := [pid for directory, _, _ in os.walk(cgroup) for pid in _members(directory)]:
        _write(f"{cgroup}/pids.max", "0")
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            raise RuntimeError(f"{len(members)} processes of {cgroup} do not end")
        time.sleep(0.05)


def _require_own_pid_max() -> None:
    """Before Linux 6.14 a PID namespace has none of its own: the node's would be written."""
    if KernelTypes().member_offset("pid_namespace", "pid_max") is None:
        raise CannotRun("PID namespaces have no pid_max of their own here: Linux 6.14 has them")


def _make_below(cgroup: str, path: str) -> None:
    for name in filter(None, path.split("/")):
        with contextlib.suppress(FileNotFoundError):  # version 1
            _delegate(cgroup)
        cgroup = f"{cgroup}/{name}"
        os.mkdir(cgroup)


def _delegate(cgroup: str) -> None:
    fd = os.open(f"{cgroup}/cgroup.subtree_control", os.O_WRONLY)
    try:
        os.write(fd, b"+pids")
    finally:
        os.close(fd)


def _remove_elsewhere(path: str) -> None:
    """runc makes a container's cgroup in every hierarchy of version 1, and parents stay."""
    for top in glob.glob(f"/sys/fs/cgroup/*{glob.escape(path)}"):
        if top != directory_of(path):
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)


def _run(command: Sequence[str], directory: str, output: Path, seconds: float) -> int:
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=directory,
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            process.kill()
            process.wait()


def _members(cgroup: str) -> list[int]:
    try:
        with open(f"{cgroup}/cgroup.procs", encoding="ascii") as file:
            return [int(line) for line in file]
    except OSError:  # gone
        return []


def _told(printed: str, what: str) -> float | None:
    for line in printed.splitlines():
        word, _, number = line.partition(" ")
        if word == what:
            return float(number)
    return None


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
