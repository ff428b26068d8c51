"""From the start of the process to its first complete sample.

Wall clock from exec to the first ``threadtrace.node.limits`` on standard output, compiler cache
and files warm, alternating with bpftrace, which is timed to its first output with the one-line
count by cgroup attached.
"""

from __future__ import annotations

from bench.agents import COUNT_BY_CGROUP, agent, bpftrace, has_bpftrace
from bench.figures import Result, Row, Spread

_TARGET_SECONDS = 1.0


def measure(quick: bool = False) -> Result:
    ours, theirs = [], []
    for number in range(3 if quick else 11):
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
    row = Row(
        "start to first complete sample",
        spread.text("s", 2),
        f"{_TARGET_SECONDS} s",
        spread.median <= _TARGET_SECONDS,
        peer,
    )
    return Result("start", __doc__ or "", (row,))
