"""An agent in a PID namespace whose own pid_max is reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Row
from bench.reliability.asking import Agent, Answer
from bench.reliability.births import traced
from bench.reliability.collectors import Delivered, longest_gap
from bench.reliability.work import Work, exactly, free_address, longest
from containers import rootfs
from support.waiting import wait_until

# Below 301 the kernel takes none; those below 300 are not given out again after the first wrap.
_PID_MAX = 500
_FIRST_KERNEL = (6, 14)
_PID_MAX_FILE = Path("/proc/sys/kernel/pid_max")
_ANSWER_SECONDS = 1.0

_SCRIPT = """
echo "$1" >/proc/sys/kernel/pid_max
"$2" threads 3000 --rate 100 --limit 300 --wait &
shift 2
"$@" &
wait
"""


def full_namespace(work: Work) -> Iterator[Row]:
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if kernel < _FIRST_KERNEL:
        yield Row("a PID namespace with a pid_max of its own", "needs Linux 6.14")
        return
    before = _PID_MAX_FILE.read_text()
    leak = rootfs.compile_leak(work.directory / "leak")
    file, agent = work.directory / "namespace.jsonl", Agent(free_address())
    socket = ("--socket", str(work.directory / "namespace.sock"))
    words = ["stream", "--listen", agent.address, "--output", str(file), *socket]
    command = [str(leak), sys.executable, "-m", "threadtrace", *words]
    with _namespace(command) as (process, said):
        wait_until(
            lambda: agent.is_up() or process.poll() is not None, 60, lambda: f"it answers: {said}"
        )
        leaking, running = _pid_of(process.pid, "leak"), _pid_of(process.pid, "python")
        with traced(running) as births:
            os.kill(leaking, signal.SIGUSR1)
            wait_until(lambda: _is_full(agent), 60, "its pid_max refuses")
            began_s, answers, why = time.time(), list[Answer](), list[dict[str, object]]()
            until = time.monotonic() + work.seconds(20, 4)
            while time.monotonic() < until:
                answers += [agent.get("/healthz"), agent.get("/v1/why")]
                why.append(answers[-1].json())
                time.sleep(0.5)
            ended_s = time.time()
        os.kill(running, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{running}").exists(), 30, "it ends")
    found = Delivered.of(file)
    yield Row("in a PID namespace with that pid_max of its own, reached", f"{_PID_MAX}")
    yield exactly("  answers other than 200", sum(one.status != 200 for one in answers), 0)
    yield longest("  time for one", [one.seconds for one in answers], _ANSWER_SECONDS)
    right = sum('"pid_max"' in json.dumps(one["causes"]) for one in why)
    yield exactly("  answers of /v1/why that name pid_max", right, len(why))
    ticks = found.named("node.limits")
    gap = longest_gap(ticks[1:])
    told = f"{len(ticks)} in {ended_s - began_s:.0f} s and before, longest interval {gap:.2f} s"
    yield Row("  ticks", told, "at most 2 s", gap <= 2)
    yield exactly("  events missing in its file", found.missing(max(found.numbers)), 0)
    yield exactly("  tasks that the agent made or asked for", births.born + births.asked, 0)
    yield exactly("  pid_max of the machine stays", _PID_MAX_FILE.read_text() == before, True)


@contextmanager
def _namespace(
    command: list[str],
) -> Iterator[tuple[subprocess.Popen[bytes], list[bytes]]]:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    process = subprocess.Popen(
        [*unshare, "sh", "-ec", _SCRIPT, "sh", str(_PID_MAX), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said: list[bytes] = []
    output = process.stdout
    assert output is not None
    reader = threading.Thread(target=lambda: said.extend(output), daemon=True)
    reader.start()
    try:
        yield process, said
    finally:
        process.kill()  # and with it, by --kill-child, all of its namespace
        process.wait()
        reader.join(10)
        output.close()


def _pid_of(ancestor: int, name: str) -> int:
    """Of a process below that one."""
    below = [ancestor]
    for pid in below:
        for task in Path(f"/proc/{pid}/task").iterdir():
            below += map(int, (task / "children").read_text().split())
        if Path(f"/proc/{pid}/comm").read_text().startswith(name):
            return pid
    raise ProcessLookupError(name)


def _is_full(agent: Agent) -> bool:
    return '"pid_max"' in json.dumps(agent.get("/v1/why").json()["causes"])
