"""The node's own limits and how much of them is used, as the kernel compares them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# kernel/pid.c: after the first wrap ids start at RESERVED_PIDS.
RESERVED_PIDS = 300


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """``None`` where a value could not be read."""

    tasks_count: int | None
    """Threads of all processes, the kernel's own included: what threads-max is compared with."""
    pid_max: int | None
    threads_max: int | None

    @property
    def pid_max_usable(self) -> int | None:
        """Ids that can be in use at a time once the counter has wrapped."""
        return None if self.pid_max is None else self.pid_max - RESERVED_PIDS


def read_node_limits(root: Path = Path("/")) -> NodeLimits:
    """Read them; three small files.

    The number of tasks is the kernel's ``nr_threads``, which ``/proc/loadavg`` shows after the
    slash (fs/proc/loadavg.c).
    """
    return NodeLimits(
        tasks_count=_number(_read(root / "proc/loadavg").partition("/")[2].partition(" ")[0]),
        pid_max=_number(_read(root / "proc/sys/kernel/pid_max")),
        threads_max=_number(_read(root / "proc/sys/kernel/threads-max")),
    )


def _read(path: Path) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(128).decode("ascii", "replace")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdigit() else None
