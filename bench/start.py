"""From the start of the process to its first complete sample, and to the answer of ``why``.

Wall clock from exec to the first ``threadtrace.node.limits`` on standard output, files warm: with
nothing kept, so that the programs are compiled, and with compiled programs kept, alternating, and
with bpftrace, which is timed to its first output with the one-line count by cgroup attached. Peak
memory is that of the loader process, both ways. ``why`` is timed to its first line, with an agent
that it asks, without one (both ways), and from files alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import orjson

from bench.agents import COUNT_BY_CGROUP, agent, bpftrace, has_bpftrace
from bench.figures import Result, Row, Spread
from threadtrace.node.hierarchy import find_pids_hierarchy
from threadtrace.probe.kept import VARIABLE
from threadtrace.probe.loader import LoaderOptions

_TARGET_SECONDS = 1.0
_START_LOADER = """
import os, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
command = [sys.argv[1], "-m", "threadtrace.probe.loader_main", sys.argv[2]]
pid = os.posix_spawn(command[0], command, os.environ,
                     file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)])
message = ours.recv(1 << 20)
assert b'"error"' not in message, message
print(os.wait4(pid, 0)[2].ru_maxrss)
"""


def measure(quick: bool = False) -> Result:
    rounds = 3 if quick else 11
    with tempfile.TemporaryDirectory() as cache:
        return Result(
            "start",
            __doc__ or "",
            (*_first_sample(rounds, cache), _loader_memory(cache), *_answers(rounds, cache)),
        )


def _first_sample(rounds: int, cache: str) -> Iterator[Row]:
    ours, kept, theirs = [], [], []
    for number in range(rounds):
        with agent() as running:
            ours.append(running.start_seconds)
        with agent(cache=cache) as running:
            kept.append(running.start_seconds)
        if has_bpftrace():
            with bpftrace(COUNT_BY_CGROUP) as running:
                theirs.append(running.start_seconds)
        if number == 0:  # brought the files into memory
            ours.clear()
            kept.clear()
            theirs.clear()
    peer = f"bpftrace {Spread.of(theirs).text('s', 2)}" if theirs else "bpftrace is not installed"
    for way, seconds in (("compiled programs kept", kept), ("nothing kept", ours)):
        yield _row(f"start to first complete sample, {way}", seconds, peer)
    ratio = Spread.of(with_it / without for with_it, without in zip(kept, ours))
    yield Row("the one start as a share of the other", ratio.text("%", 0, 100))


def _loader_memory(cache: str) -> Row:
    """Its peak; the process that starts it counts too, so that one is small."""
    options = orjson.dumps(LoaderOptions(find_pids_hierarchy().hierarchy_id)).decode()
    kept, compiling = (
        int(
            subprocess.run(
                [sys.executable, "-ISc", _START_LOADER, sys.executable, options],
                env={**os.environ, VARIABLE: directory},
                check=True,
                capture_output=True,
            ).stdout
        )
        for directory in (cache, "")
    )
    return Row(
        "peak memory of the loader process",
        f"{kept / 1024:.0f} MiB with compiled programs kept, {compiling / 1024:.0f} MiB without",
    )


def _answers(rounds: int, cache: str) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/agent.sock"
        nobody = f"{directory}/nobody.sock"
        with agent("--socket", socket):
            yield _answer("a running agent", rounds, "--socket", socket)
        yield _answer("programs of its own", rounds, "--socket", nobody)
        yield _answer(
            "programs of its own, compiled ones kept", rounds, "--socket", nobody, cache=cache
        )
        without_capabilities = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        yield _answer("files alone", rounds, "--socket", nobody, before=without_capabilities)


def _answer(
    source: str, rounds: int, *options: str, before: Sequence[str] = (), cache: str = ""
) -> Row:
    command = [*before, sys.executable, "-m", "threadtrace", "why", *options]
    seconds = [_seconds_to_first_line(command, cache) for _ in range(rounds)][1:]
    return _row(f"start to the answer of why, from {source}", seconds)


def _row(what: str, seconds: Sequence[float], beside: str = "") -> Row:
    spread, target = Spread.of(seconds), f"{_TARGET_SECONDS} s"
    return Row(what, spread.text("s", 2), target, spread.median <= _TARGET_SECONDS, beside)


def _seconds_to_first_line(command: Sequence[str], cache: str) -> float:
    environment = {**os.environ, VARIABLE: cache}
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - start
        process.stdout.read()
    if b"this node" not in line:
        raise RuntimeError(f"{command} answered {line!r}")
    return seconds
