"""Who a process is, and what its threads are called, for what is told of an explosion."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from threadtrace.text import clean

# Names of so many threads are read: 10 ms. Of more, evenly picked ones, and counts are scaled.
_ASKED_THREADS = 512
_COMMAND_LINE_BYTES = 4096
_STATUS_BYTES = 4096
_NAME_BYTES = 64

_DIGITS = re.compile(r"\d+")
_PARENT = re.compile(rb"\nPPid:\s*(\d+)")
_NAMESPACE_PIDS = re.compile(rb"\nNSpid:([\s\d]+)")


class ProcessDetails(NamedTuple):
    """``None`` where it could not be read: the process is gone."""

    vpid: int | None
    """In its own PID namespace."""
    parent_pid: int | None
    command_line: str | None
    parent_command_line: str | None


def describe_process(pid: int, root: Path = Path("/")) -> ProcessDetails:
    """Command line and parent of a process, as far as they can still be read."""
    status = _read(root / f"proc/{pid}/status", _STATUS_BYTES)
    parent = _PARENT.search(status)
    namespace_pids = _NAMESPACE_PIDS.search(status)
    parent_pid = int(parent[1]) if parent and int(parent[1]) else None
    return ProcessDetails(
        int(namespace_pids[1].split()[-1]) if namespace_pids else None,
        parent_pid,
        _command_line(pid, root),
        None if parent_pid is None else _command_line(parent_pid, root),
    )


def thread_names(pid: int, root: Path = Path("/")) -> list[tuple[str, int]]:
    """Names of a process's threads, digits folded to ``#``, with how many have it; most first.

    Of more than 512 threads the numbers are estimates.
    """
    try:
        threads = sorted(map(int, os.listdir(root / f"proc/{pid}/task")))
    except OSError:
        return []
    asked = threads[:: -(-len(threads) // _ASKED_THREADS)] if threads else []
    found: Counter[str] = Counter()
    for thread in asked:
        name = _read(root / f"proc/{pid}/task/{thread}/comm", _NAME_BYTES)
        if name:
            text = name.removesuffix(b"\n").decode("utf-8", "surrogateescape")
            found[_DIGITS.sub("#", clean(text))] += 1
    seen = sum(found.values())
    return [(name, count * len(threads) // seen) for name, count in found.most_common()]


def _command_line(pid: int, root: Path) -> str | None:
    raw = _read(root / f"proc/{pid}/cmdline", _COMMAND_LINE_BYTES)
    words = raw.rstrip(b"\0").split(b"\0")
    text = b" ".join(words).decode("utf-8", "surrogateescape")
    return clean(text) or None


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(size) or b""
    except OSError:
        return b""
