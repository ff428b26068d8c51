"""``python -m bench``: measure all and rewrite docs/overhead.md; with names, some, and print."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence

from bench import (
    births,
    followed,
    footprint,
    loops,
    machine,
    memory,
    peers,
    records,
    start,
    storm,
    ticks,
    verdicts,
    view,
)
from bench.figures import Result
from bench.report import as_text, write_document
from threadtrace.probe.kept import VARIABLE

_SOAK_SECONDS, _MAX_SOAK_SECONDS = 60.0, 3600.0


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(_benchmarks(options)))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    if not 0 < options.soak <= _MAX_SOAK_SECONDS:
        parser.error(f"--soak takes up to {_MAX_SOAK_SECONDS:.0f} seconds")
    if os.geteuid() != 0:
        print(
            "the benchmarks attach kernel programs and make cgroups: run as root", file=sys.stderr
        )
        return os.EX_NOPERM
    # As slow as it gets, and the same each time; bench/start.py measures the other way, too.
    os.environ[VARIABLE] = ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cgroups are removed then too
    try:
        _measure_all(options, shlex.join(["python", "-m", "bench", *arguments]))
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 128 + signal.SIGINT
    return os.EX_OK


def _measure_all(options: argparse.Namespace, command: str) -> None:
    surroundings = machine.describe()
    results = []
    for name, measure in _benchmarks(options).items():
        if not options.names or name in options.names:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            results.append(measure())
            print(as_text(results[-1]), flush=True)
    if not options.names and not options.quick:
        print(f"written: {write_document(results, surroundings, command)}", file=sys.stderr)


def _benchmarks(options: argparse.Namespace) -> dict[str, Callable[[], Result]]:
    quick = options.quick
    return {
        "start": lambda: start.measure(quick),
        "memory": lambda: memory.measure(quick, options.soak),
        "births": lambda: births.measure(quick),
        "loops": lambda: loops.measure(quick),
        "storm": lambda: storm.measure(quick),
        "ticks": lambda: ticks.measure(quick),
        "followed": lambda: followed.measure(quick),
        "records": lambda: records.measure(quick),
        "verdicts": lambda: verdicts.measure(quick),
        "view": lambda: view.measure(quick),
        "footprint": lambda: footprint.measure(quick),
        "peers": lambda: peers.measure(quick),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = tuple(_benchmarks(argparse.Namespace(quick=False, soak=0.0)))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="few and short rounds; writes nothing")
    parser.add_argument(
        "--soak",
        type=float,
        default=_SOAK_SECONDS,
        metavar="SECONDS",
        help=f"how long memory is watched under load, {_SOAK_SECONDS:.0f} by default, "
        f"at most {_MAX_SOAK_SECONDS:.0f}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
