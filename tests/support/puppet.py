"""The C program that creates exactly the tasks it is told to. See puppet.c for its commands."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from support.requirements import require

SOURCE = Path(__file__).with_name("puppet.c")
DEADLINE_SECONDS = 60


class Births(NamedTuple):
    """What the program says of one command."""

    created: int
    refused: int
    error: int


# A compiled one, where there is no compiler.
PROGRAM_VARIABLE = "THREADTRACE_PUPPET"


def build(directory: Path) -> Path:
    """Compile it; the program's path."""
    if compiled := os.environ.get(PROGRAM_VARIABLE):
        return Path(compiled)
    require(shutil.which("gcc"), "kernel", "a C compiler", "apt-get install gcc libc6-dev")
    program = directory / "puppet"
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, SOURCE]
    subprocess.run(command, check=True)
    program.chmod(0o755)
    return program


class Puppet:
    """A running one. It was born outside of every test's cgroup, and exits where it then is."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.pid = self._process.pid
        self._answer("start", DEADLINE_SECONDS)

    def __enter__(self) -> Puppet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self, command: str, *arguments: object) -> None:
        """Give a command without waiting for the answer."""
        assert self._process.stdin is not None
        words = [command, *map(str, arguments)]
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()

    def finish(self, deadline_seconds: float = DEADLINE_SECONDS) -> Births:
        """Wait for the answer of a command that was started."""
        return self._answer("its command", deadline_seconds)

    def do(self, command: str, *arguments: object) -> Births:
        """Give a command and wait for its answer."""
        self.start(command, *arguments)
        return self._answer(f"{command} {arguments}", DEADLINE_SECONDS)

    def end(self) -> None:
        """Let it exit, with all its threads, and reap it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        """End it whatever it does; its children die with it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(DEADLINE_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()

    def _answer(self, command: str, deadline_seconds: float) -> Births:
        output = self._process.stdout
        assert output is not None
        # One line for one command, so nothing waits in the buffer of the reader.
        ready, _, _ = select.select([output], [], [], deadline_seconds)
        assert ready, f"the puppet did not answer {command} within {deadline_seconds:g} s"
        line = output.readline()
        assert line.startswith("ok "), f"the puppet died of {command}: {line!r}"
        fields = dict(word.split("=") for word in line.split()[1:])
        return Births(int(fields["created"]), int(fields["refused"]), int(fields["errno"]))
