"""Known workloads in C, compiled when they are first needed."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cgroups import within

_SOURCES = Path(__file__).parent
_TIMEOUT_SECONDS = 60
_directory = tempfile.TemporaryDirectory(prefix="threadtrace-bench-")
_built: dict[str, str] = {}


def workload(name: str) -> str:
    """The path of that workload's program."""
    if name not in _built:
        target = f"{_directory.name}/{name}"
        source = str(_SOURCES / f"{name}.c")
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", target, source]
        subprocess.run(command, check=True, timeout=_TIMEOUT_SECONDS)
        _built[name] = target
    return _built[name]


def run(cgroup: str, command: Sequence[str], timeout: float = _TIMEOUT_SECONDS) -> str:
    """Run a command to its end in a cgroup; what it printed."""
    done = subprocess.run(
        within(cgroup, command), check=True, timeout=timeout, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@contextlib.contextmanager
def listed(paths: Sequence[str]) -> Iterator[str]:
    """A file with one path a line."""
    with tempfile.NamedTemporaryFile("w", dir=_directory.name) as file:
        file.writelines(f"{path}\n" for path in paths)
        file.flush()
        yield file.name


@contextlib.contextmanager
def started(cgroup: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command with pipes to its input and output, ended at the latest at the end."""
    process = subprocess.Popen(
        within(cgroup, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
