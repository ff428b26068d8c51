"""bpftrace beside the agent: each task that it makes, or asks the kernel for."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.waiting import wait_until

# Looked up in tracefs, which may not be mounted: mounted where nobody sees it.
_MOUNT = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec bpftrace -e "
_PROGRAM = """
tracepoint:task:task_newtask {{ @all = count(); }}
tracepoint:task:task_newtask /pid == {pid}/ {{ @born = count(); }}
tracepoint:syscalls:sys_enter_clone, tracepoint:syscalls:sys_enter_clone3,
tracepoint:syscalls:sys_enter_fork, tracepoint:syscalls:sys_enter_vfork /pid == {pid}/
{{ @asked = count(); }}
interval:ms:100 {{ if (!@told) {{ printf("READY\\n"); @told = 1; }} }}
"""
_SECONDS = 60


@dataclass
class Births:
    """Complete once it is left."""

    node: int = 0
    """Tasks born on the whole node: the tracer works."""
    born: int = 0
    """Of the traced process."""
    asked: int = 0
    """clone, clone3, fork and vfork that it called, refused ones included."""
    lines: list[str] = field(default_factory=list)


@contextmanager
def traced(pid: int) -> Iterator[Births]:
    """All that process ``pid`` does of the kind while this lasts."""
    found = Births()
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _MOUNT + '"$1"', "sh", _PROGRAM.format(pid=pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = process.stdout
    assert output is not None
    reader = threading.Thread(target=lambda: found.lines.extend(output), daemon=True)
    reader.start()
    try:
        wait_until(
            lambda: "READY\n" in found.lines or process.poll() is not None, _SECONDS, "bpftrace"
        )
        if process.poll() is not None:
            raise RuntimeError(f"bpftrace ended: {''.join(found.lines)}")
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(_SECONDS)
        output.close()
    if "@all: " not in "".join(found.lines):
        raise RuntimeError(f"bpftrace told nothing: {''.join(found.lines)}")
    counted = dict(re.findall(r"@(\w+): (\d+)", "".join(found.lines)))
    found.node = int(counted.get("all", 0))
    found.born, found.asked = int(counted.get("born", 0)), int(counted.get("asked", 0))
