"""What the files of /proc tell of one process when somebody asks for it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from threadtrace.text import clean

_ROOT = Path("/")
_FILE_BYTES = 4096

# Who has one of them is not held to RLIMIT_NPROC, and neither is the initial user (kernel/fork.c,
# copy_process).
_CAP_SYS_ADMIN, _CAP_SYS_RESOURCE = 1 << 21, 1 << 24

_TGID = re.compile(rb"\nTgid:\s*(\d+)")
_PARENT = re.compile(rb"\nPPid:\s*(\d+)")
_UID = re.compile(rb"\nUid:\s*(\d+)")
_THREADS = re.compile(rb"\nThreads:\s*(\d+)")
_CAPABILITIES = re.compile(rb"\nCapEff:\s*([0-9a-f]+)")
_PROCESSES_LIMIT = re.compile(rb"\nMax processes\s+(\d+)")

# Fields of /proc/PID/stat after the name, see proc_pid_stat(5): the third one is the first.
_START_TIME = 22 - 3
# The kernel cuts a task's name here; psutil completes it from the command line, and so do we.
_CUT_NAME_BYTES = 15


class Looks(NamedTuple):
    """What one line of a list says of a process."""

    name: str
    command_line: str | None
    """None of a kernel thread, a zombie, or a process that erased it."""
    age_seconds: float


class Status(NamedTuple):
    """Who a process is."""

    parent_pid: int | None
    """None for one whose parent is outside of this PID namespace, or has none."""
    uid: int
    """The real one."""
    threads: int
    is_held_to_nproc: bool
    """Whether RLIMIT_NPROC applies to it."""


def looks_of(pid: int, root: Path = _ROOT) -> Looks | None:
    """Name, command line and age; None when it is gone. Two files, 40 µs together."""
    stat = _read(f"{root}/proc/{pid}/stat")
    # "PID (NAME) STATE PPID ...": the name may hold anything, a parenthesis too.
    head, closed, rest = stat.rpartition(b")")
    fields = rest.split()
    if not closed or len(fields) <= _START_TIME:
        return None
    start_seconds = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    age_seconds = max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - start_seconds)
    words = _read(f"{root}/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    name = _whole_name(head.partition(b"(")[2], words[0])
    return Looks(_text(name), _text(b" ".join(words)) or None, age_seconds)


def status_of(pid: int, root: Path = _ROOT) -> Status | None:
    """None when there is no such process; an id of a thread is none."""
    raw = _read(f"{root}/proc/{pid}/status")
    tgid, uid, threads = _TGID.search(raw), _UID.search(raw), _THREADS.search(raw)
    if tgid is None or uid is None or int(tgid[1]) != pid:
        return None
    parent, capabilities = _PARENT.search(raw), _CAPABILITIES.search(raw)
    is_privileged = capabilities is not None and bool(
        int(capabilities[1], 16) & (_CAP_SYS_ADMIN | _CAP_SYS_RESOURCE)
    )
    return Status(
        parent_pid=int(parent[1]) or None if parent else None,
        uid=int(uid[1]),
        threads=int(threads[1]) if threads else 0,
        is_held_to_nproc=int(uid[1]) != 0 and not is_privileged,
    )


def nproc_limit(pid: int, root: Path = _ROOT) -> int | None:
    """The soft RLIMIT_NPROC of a process; None where it is unlimited or cannot be read."""
    found = _PROCESSES_LIMIT.search(_read(f"{root}/proc/{pid}/limits"))
    return None if found is None else int(found[1])


def tasks_of_user(uid: int, pids: Iterable[int], until: float, root: Path = _ROOT) -> int | None:
    """Threads of those processes whose real user is that one.

    Args:
        uid: the user.
        pids: all processes that there are; those that are gone are left out.
        until: ``time.perf_counter`` from which on it takes too long: None is the answer then.
        root: directory that holds ``proc``.
    """
    wanted = b"\nUid:\t%d\t" % uid
    tasks = 0
    for pid in pids:
        raw = _read(f"{root}/proc/{pid}/status")
        if wanted in raw:
            threads = _THREADS.search(raw)
            tasks += int(threads[1]) if threads else 0
        if time.perf_counter() > until:
            return None
    return tasks


def user_namespace(pid: int, root: Path = _ROOT) -> int | None:
    """Inode number of the user namespace of a process; None where it cannot be read."""
    try:
        return os.stat(f"{root}/proc/{pid}/ns/user").st_ino
    except OSError:
        return None


def _whole_name(name: bytes, program: bytes) -> bytes:
    if len(name) < _CUT_NAME_BYTES:
        return name
    longer = program.rpartition(b"/")[2]
    return longer if longer.startswith(name) else name


def _text(raw: bytes) -> str:
    return clean(raw.decode("utf-8", "surrogateescape"))


def _read(name: str) -> bytes:
    # Not through a file object: a list of hundreds of processes is read this way.
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(fd, _FILE_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)
