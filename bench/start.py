"""From the start of the process to its first complete sample, and to the answer of ``why``.

Wall clock from exec to the first ``threadtrace.node.limits`` on standard output, compiler cache
and files warm, alternating with bpftrace, which is timed to its first output with the one-line
count by cgroup attached. ``why`` is timed to its first line, with an agent that it asks, without
one, and from files alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from bench.agents import COUNT_BY_CGROUP, agent, bpftrace, has_bpftrace
from bench.figures import Result, Row, Spread

_TARGET_SECONDS = 1.0


def measure(quick: bool = False) -> Result:
    rounds = 3 if quick else 11
    return Result("start", __doc__ or "", (_first_sample(rounds), *_answers(rounds)))


def _first_sample(rounds: int) -> Row:
    ours, theirs = [], []
    for number in range(rounds):
        with agent() as running:
            ours.append(running.start_seconds)
        if has_bpftrace():
            with bpftrace(COUNT_BY_CGROUP) as running:
                theirs.append(running.start_seconds)
        if number == 0:  # brought the files into memory
            ours.clear()
            theirs.clear()
    spread = Spread.of(ours)
    peer = f"bpftrace {Spread.of(theirs).text('s', 2)}" if theirs else "bpftrace is not installed"
    return Row(
        "start to first complete sample",
        spread.text("s", 2),
        f"{_TARGET_SECONDS} s",
        spread.median <= _TARGET_SECONDS,
        peer,
    )


def _answers(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/agent.sock"
        nobody = f"{directory}/nobody.sock"
        with agent("--socket", socket):
            yield _answer("a running agent", rounds, "--socket", socket)
        yield _answer("programs of its own", rounds, "--socket", nobody)
        without_capabilities = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        yield _answer("files alone", rounds, "--socket", nobody, before=without_capabilities)


def _answer(source: str, rounds: int, *options: str, before: Sequence[str] = ()) -> Row:
    command = [*before, sys.executable, "-m", "threadtrace", "why", *options]
    seconds = [_seconds_to_first_line(command) for _ in range(rounds)][1:]
    spread = Spread.of(seconds)
    return Row(
        f"start to the answer of why, from {source}",
        spread.text("s", 2),
        f"{_TARGET_SECONDS} s",
        spread.median <= _TARGET_SECONDS,
    )


def _seconds_to_first_line(command: Sequence[str]) -> float:
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - start
        process.stdout.read()
    if b"this node" not in line:
        raise RuntimeError(f"{command} answered {line!r}")
    return seconds
