"""What a runc container and a CRI container have in common for a test."""

from __future__ import annotations

import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .cgroups import pids_directory, write_pids_limit
from .processes import ProcessHandle, wait_until

READY_SECONDS = 20.0


@dataclass(frozen=True)
class Births:
    """The line `ready created=.. refused=.. errno=..` of leak; `errno` is 0 or the last one."""

    created: int
    refused: int
    errno: int


@dataclass(frozen=True)
class ExecResult:
    """A command run inside a container, to its end."""

    exit_code: int
    stdout: str
    stderr: str


class CriError(Exception):
    """A call that the runtime refused. `code` is the gRPC status, such as DEADLINE_EXCEEDED."""

    def __init__(self, method: str, code: str, details: str) -> None:
        super().__init__(f"{method}: {code}: {details}")
        self.method = method
        self.code = code
        self.details = details


class ContainerWorkload(ABC):
    """A running container: its names, its main process, its cgroup and its output."""

    id: str
    pod_uid: str
    pid: int

    @property
    def cgroup_path(self) -> str:
        """The container's path in every hierarchy: /kubepods/burstable/pod<uid>/<id>."""
        return f"/kubepods/burstable/pod{self.pod_uid}/{self.id}"

    @property
    def cgroup_directory(self) -> Path:
        """Its directory in the hierarchy of the pids controller; st_ino is the cgroup's id."""
        return pids_directory(self.cgroup_path)

    @property
    def cgroup_id(self) -> int:
        """The cgroup's id in the hierarchy of the pids controller (64-bit kernels from 5.5)."""
        return self.cgroup_directory.stat().st_ino

    def set_pids_limit(self, limit: int | None) -> None:
        """Set the container's pids.max; pids_current() as the limit leaves zero PIDs."""
        write_pids_limit(self.cgroup_directory, limit)

    def pids_current(self) -> int:
        """The pids controller's count of the container."""
        return int((self.cgroup_directory / "pids.current").read_text())

    def refusals(self) -> int:
        """How often the pids controller refused a fork here: `max` of pids.events."""
        fields = (self.cgroup_directory / "pids.events").read_text().split()
        return int(fields[fields.index("max") + 1])

    def thread_names(self) -> list[str]:
        """The names of all threads of the main process, in the order of their ids."""
        tasks = sorted(Path(f"/proc/{self.pid}/task").iterdir(), key=lambda task: int(task.name))
        return [(task / "comm").read_text().rstrip("\n") for task in tasks]

    @abstractmethod
    def output(self) -> str:
        """What the main process has written to stdout and stderr so far."""

    @abstractmethod
    def execute(self, *command: str, timeout_seconds: float = 10) -> ExecResult:
        """Run a command inside the container, as an exec probe does.

        At zero PIDs the outcome is a race: runc starts its own threads while it is being moved
        into the cgroup. Only a command that forks fails for certain, by either side's refusal.
        """

    def wait_waiting(self, deadline_seconds: float = READY_SECONDS) -> None:
        """Wait until leak, given --wait, stands before its first birth."""
        self._await(r"^waiting$", deadline_seconds)

    def begin(self) -> None:
        """Let leak, given --wait, begin."""
        with self.process() as process:
            process.signal(signal.SIGUSR1)

    def wait_ready(self, deadline_seconds: float = READY_SECONDS) -> Births:
        """Wait for leak's ready line: all births have been tried, all threads are named.

        Raises TimeoutError with the output so far.
        """
        line = self._await(r"^ready created=(\d+) refused=(\d+) errno=(\d+)$", deadline_seconds)
        created, refused, errno = (int(field) for field in line.groups())
        return Births(created, refused, errno)

    def is_running(self) -> bool:
        """Whether the main process has not exited."""
        try:
            with self.process() as process:
                return not process.ended()
        except ProcessLookupError:
            return False

    @contextmanager
    def process(self) -> Iterator[ProcessHandle]:
        """The main process, held by a pidfd. Raises ProcessLookupError when it is gone."""
        handle = ProcessHandle(self.pid)
        try:
            yield handle
        finally:
            handle.close()

    def _await(self, pattern: str, deadline_seconds: float) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return re.search(pattern, self.output(), re.MULTILINE)

        match = wait_until(
            found,
            deadline_seconds,
            lambda: f"output of {self.id[:12]} matches {pattern}; it is:\n{self.output()}",
        )
        assert match is not None
        return match
