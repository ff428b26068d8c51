"""The agent and its peer bpftrace, as processes of their own."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from bench.cgroups import within
from threadtrace.probe.kept import VARIABLE

COUNT_BY_CGROUP = "tracepoint:task:task_newtask { @[cgroup] = count(); }"
PRINT_EACH = 'tracepoint:task:task_newtask { printf("%d %s %d\\n", pid, comm, args->pid); }'
_FIRST_SAMPLE = b'"threadtrace.node.limits"'
_STARTED = 'interval:ms:1 { if (!@told) { printf("READY\\n"); @told = 1; } } '
_WITHIN_SECONDS = 30.0

# bpftrace looks tracepoints up in tracefs, which may not be mounted: mounted where nobody sees it.
_PRIVATE_MOUNTS = (
    "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null;"
    " mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null;"
    ' exec bpftrace "$@"'
)


class Running:
    """A process that has said that it measures."""

    def __init__(self, process: subprocess.Popen[bytes], start_seconds: float) -> None:
        self.pid = process.pid
        self.start_seconds = start_seconds
        """From its start to its first complete sample."""


@contextlib.contextmanager
def agent(*options: str, memory_cgroup: str | None = None, cache: str = "") -> Iterator[Running]:
    """One that compiles, unless ``cache`` is a directory in which compiled programs are kept."""
    command = [sys.executable, "-m", "threadtrace", "stream", *options]
    environment = {**os.environ, VARIABLE: cache}
    with _running(command, _FIRST_SAMPLE, memory_cgroup, environment) as running:
        yield running


def has_bpftrace() -> bool:
    return shutil.which("bpftrace") is not None


@contextlib.contextmanager
def bpftrace(program: str) -> Iterator[Running]:
    command = ["unshare", "-m", "sh", "-c", _PRIVATE_MOUNTS, "sh", "-e", _STARTED + program]
    with _running(command, b"READY") as running:
        yield running


@contextlib.contextmanager
def _running(
    command: Sequence[str],
    mark: bytes,
    cgroup: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    start = time.perf_counter()
    process = subprocess.Popen(
        command if cgroup is None else within(cgroup, command),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        bufsize=0,
        env=environment,
    )
    assert process.stdout is not None
    drain = threading.Thread(target=_drain, args=(process.stdout.fileno(),), daemon=True)
    try:
        _wait_for(process.stdout.fileno(), mark)
        running = Running(process, time.perf_counter() - start)
        drain.start()
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if drain.ident is not None:
            drain.join(_WITHIN_SECONDS)
        process.stdout.close()


def _wait_for(fd: int, mark: bytes) -> None:
    seen = b""
    until = time.monotonic() + _WITHIN_SECONDS
    while mark not in seen:
        readable, _, _ = select.select([fd], [], [], max(0.0, until - time.monotonic()))
        data = os.read(fd, 1 << 16) if readable else b""
        if not data:
            raise RuntimeError(f"{mark.decode()} did not come: {seen[-500:].decode()}")
        seen += data


def _drain(fd: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(fd, 1 << 20):
            pass
