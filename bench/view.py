"""What the live view costs, and how fast it answers.

``threadtrace top`` in a pseudo-terminal of 120 columns and 40 rows that reads all and says, as
terminals of today do, that it shows pictures as a whole. The node has 500 real cgroups with a task
each, named as the kubelet names them; in 50 of them something forks every second. Processor time
is that of the one process (/proc/PID/stat) from its first picture on, for half a minute;
alternating with ``threadtrace stream --output /dev/null``, which does the same without a view.
First picture: from exec to the last byte of the first one with a row of the table, files warm.

Keys are pressed over a recording of 5,000 workloads, all of which change in every tick, and timed
to the last byte of what they change on the screen: first paused, where that is followed by
silence, then played with a tick a second, where it is the first whole picture that shows it.
Before Escape counts, the view waits 25 ms for the rest of another key: that is in its figure. A
key's worst figure has to reach the target. Memory is VmRSS, after the processor time was taken and
after all keys; the kernel programs' maps are not in it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.crowd import Crowd, crowd
from bench.figures import Result, Row, Spread
from bench.processes import cpu_seconds, resident_bytes
from bench.terminals import END_OF_PICTURE, Terminal, terminal
from bench.view_keys import measure_keys, memory_row
from bench.view_recording import name_of, write_recording

_THREADTRACE = (sys.executable, "-m", "threadtrace")

_WORKLOADS, _ACTIVE = 500, 50
_ROW = b"shop/service-.*" + END_OF_PICTURE
_SETTLE_SECONDS = 2
_TARGET_SHARE = 0.05
_TARGET_FIRST_SECONDS = 1.5
_WITHIN_SECONDS = 30.0


def measure(quick: bool = False) -> Result:
    with tempfile.TemporaryDirectory(prefix="threadtrace-bench-") as name:
        directory = Path(name)
        (directory / "root").mkdir()
        with crowd(directory / "root", _WORKLOADS, _ACTIVE) as node:
            rows = [*_processor_and_memory(node, directory, quick)]
            rows += _first_pictures(node, directory, 3 if quick else 11)
        rows += measure_keys(directory, quick)
    return Result("view", __doc__ or "", tuple(rows))


def _processor_and_memory(node: Crowd, directory: Path, quick: bool) -> Iterator[Row]:
    rounds, seconds = (1, 5) if quick else (3, 30)
    whole, agents, resident = [], [], []
    for number in range(rounds):
        with _top(node, directory) as view:
            whole.append(_share(view.pid, node, seconds, view))
            resident.append(resident_bytes(view.pid))
        with _stream(node, directory / f"stream-{number}") as process:
            agents.append(_share(process.pid, node, seconds))
    views = [view - agent for view, agent in zip(whole, agents)]
    what = f"{_WORKLOADS} workloads, {_ACTIVE} of them active, at 1 Hz"
    yield Row(
        f"processor time of threadtrace top, {what}",
        f"{Spread.of(whole).text('%', 1, 100)} of a core",
        peer=f"threadtrace stream {Spread.of(agents).text('%', 1, 100)}",
    )
    share = Spread.of(views)
    yield Row(
        "  of it the view",
        f"{share.text('%', 1, 100)} of a core",
        f"{_TARGET_SHARE:.0%}",
        share.median <= _TARGET_SHARE,
    )
    yield memory_row(f"memory of threadtrace top, {_WORKLOADS} workloads", max(resident))


def _share(pid: int, node: Crowd, seconds: int, view: Terminal | None = None) -> float:
    """Of a core."""
    look = time.sleep if view is None else view.watch
    node.live(_SETTLE_SECONDS, look)
    begin, used = time.perf_counter(), cpu_seconds(pid)
    if view is not None:
        view.forget()
    node.live(seconds, look)
    if view is not None and len(re.findall(END_OF_PICTURE, view.seen)) < seconds - 1:
        raise RuntimeError("the view did not draw every second")
    return (cpu_seconds(pid) - used) / (time.perf_counter() - begin)


def _first_pictures(node: Crowd, directory: Path, rounds: int) -> Iterator[Row]:
    live = _options(node, directory / "first")
    yield _first_picture("this node", [*_THREADTRACE, "top", *live], _ROW, rounds)
    recording = directory / "small.jsonl"
    write_recording(recording, _WORKLOADS, 60)
    command = [*_THREADTRACE, "top", "--replay", str(recording)]
    row = name_of(0).encode() + b".*" + END_OF_PICTURE
    yield _first_picture("a recording", command, row, rounds)
    with _stream(node, directory / "far"):
        command = [*_THREADTRACE, "top", "--connect", f"unix:{directory / 'far'}"]
        yield _first_picture("a running agent", command, _ROW, rounds)


def _first_picture(of: str, command: Sequence[str], row: bytes, rounds: int) -> Row:
    seconds = []
    for _ in range(rounds):
        with terminal(command) as view:
            seconds.append(view.wait_for(row) - view.began)
    spread = Spread.of(seconds[1:])
    return Row(
        f"start to the first picture of {of}, {_WORKLOADS} workloads",
        spread.text("s", 2),
        f"{_TARGET_FIRST_SECONDS} s",
        spread.median <= _TARGET_FIRST_SECONDS,
    )


def _options(node: Crowd, socket: Path) -> list[str]:
    return ["--host-root", str(node.root), "--socket", str(socket)]


@contextmanager
def _top(node: Crowd, directory: Path) -> Iterator[Terminal]:
    """From its first picture on."""
    with terminal([*_THREADTRACE, "top", *_options(node, directory / "top")]) as view:
        view.wait_for(_ROW)
        yield view


@contextmanager
def _stream(node: Crowd, socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    """From when on its socket answers."""
    command = [*_THREADTRACE, "stream", "--output", "/dev/null", *_options(node, socket)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            until = time.perf_counter() + _WITHIN_SECONDS
            while not socket.exists():
                if process.poll() is not None or time.perf_counter() > until:
                    raise RuntimeError("threadtrace stream does not start")
                time.sleep(0.01)
            yield process
        finally:
            process.terminate()
