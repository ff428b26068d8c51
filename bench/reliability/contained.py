"""The agent in a container of its own, with the least capabilities that do for everything."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.reliability.asking import Agent
from containers.cgroups import pids_directory, pids_path_of
from deploy.agent_container import CAPABILITIES, Sandbox, process_of, started
from support.waiting import wait_until

# include/uapi/linux/capability.h
_NUMBERS = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
}
_START_SECONDS, _STOP_SECONDS = 60.0, 30.0


@dataclass
class Contained:
    """A running one that answers."""

    process: subprocess.Popen[bytes]
    pid: int
    agent: Agent
    said: list[bytes] = field(default_factory=list)
    """Its messages for people, by lines."""

    @property
    def cgroup(self) -> Path:
        return pids_directory(pids_path_of(self.pid))

    @property
    def tasks(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    @property
    def capabilities(self) -> str:
        """Those in effect, out of what it was to be given."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^CapEff:\s+(\w+)", status, re.MULTILINE)
        effective = int(found[1], 16) if found else 0
        held = [name for name in CAPABILITIES if effective >> _NUMBERS[name] & 1]
        return f"{', '.join(held)} (CapEff {effective:x})".replace("CAP_", "")

    def allow_no_more_tasks(self) -> int:
        """Its pids.max is what it holds; the number."""
        current = int((self.cgroup / "pids.current").read_text())
        (self.cgroup / "pids.max").write_text(str(current))
        return current

    def refused(self) -> int:
        """How often that limit stood in its way."""
        words = (self.cgroup / "pids.events").read_text().split()
        return int(words[words.index("max") + 1])

    def finish(self) -> int:
        """SIGTERM, and the exit code: all that it counted is told then."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)


@contextlib.contextmanager
def contained(
    directory: Path, runtime_directory: Path, agent: Agent, *arguments: str
) -> Iterator[Contained]:
    """``threadtrace stream`` that listens where ``agent`` asks; other arguments as given."""
    sandbox = Sandbox(CAPABILITIES, runtime_directory=runtime_directory)
    words = ("stream", "--listen", agent.address, *arguments)
    with started(sandbox, directory, *words) as process:
        said: list[bytes] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
        reader.start()
        wait_until(
            lambda: process.poll() is not None or agent.is_up(),
            _START_SECONDS,
            lambda: f"the agent answers: {said}",
        )
        if process.poll() is not None:
            raise RuntimeError(f"the agent ended: {said}")
        pid = process_of(directory)
        try:
            yield Contained(process, pid, agent, said)
        finally:
            if process.poll() is None:  # then runc waits for it, and its number is its own
                os.kill(pid, signal.SIGKILL)
                process.wait(_STOP_SECONDS)
            reader.join(_STOP_SECONDS)
