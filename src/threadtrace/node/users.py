"""How near users are to RLIMIT_NPROC, which counts all tasks of a user in all containers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

# Who has one of them is not held to it (kernel/fork.c, copy_process).
_CAP_SYS_ADMIN, _CAP_SYS_RESOURCE = 1 << 21, 1 << 24

_STATUS = re.compile(rb"\nUid:\s*(\d+).*?\nThreads:\s*(\d+).*?\nCapEff:\s*([0-9a-f]+)", re.DOTALL)
_LIMIT = re.compile(rb"\nMax processes\s+(\d+)")
_STATUS_BYTES, _LIMITS_BYTES = 4096, 2048


class UserTasks(NamedTuple):
    """A user, the tasks of its processes that were looked at, and the lowest of their limits."""

    uid: int
    tasks: int
    limit: int


def users_with_limits(pids: Iterable[int], root: Path = Path("/")) -> list[UserTasks]:
    """Each user other than root of whose processes one is held to a number.

    Args:
        pids: processes to look at; those that are gone are left out.
        root: directory that holds ``proc``.
    """
    tasks: dict[int, int] = {}
    limits: dict[int, int] = {}
    for pid in pids:
        found = _STATUS.search(_read(root / f"proc/{pid}/status", _STATUS_BYTES))
        if found is None:
            continue
        uid = int(found[1])
        if not uid:
            continue
        tasks[uid] = tasks.get(uid, 0) + int(found[2])
        if int(found[3], 16) & (_CAP_SYS_ADMIN | _CAP_SYS_RESOURCE):
            continue
        limit = _LIMIT.search(_read(root / f"proc/{pid}/limits", _LIMITS_BYTES))
        if limit is not None:  # a number, and not "unlimited"
            limits[uid] = min(int(limit[1]), limits.get(uid, int(limit[1])))
    return [UserTasks(uid, tasks[uid], limit) for uid, limit in limits.items()]


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(size) or b""
    except OSError:
        return b""
