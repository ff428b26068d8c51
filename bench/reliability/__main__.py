"""``python -m bench.reliability``: play all scenes and rewrite docs/reliability.md.

With names, some. What a scene found is kept in --results until all have been played.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Result, Row
from bench.reliability.document import Played, write_document
from bench.reliability.scenes import SCENES, Entry
from bench.reliability.work import Packages, Work
from bench.report import as_text

_ROOT = Path(__file__).parents[2]
_SOAK_MINUTES, _MOST_SOAK_MINUTES = 30.0, 24 * 60.0


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if os.geteuid() != 0:
        print("the scenes attach kernel programs and run containers: run as root", file=sys.stderr)
        return os.EX_NOPERM
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all is cleaned up then too
    try:
        return _play_all(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _play_all(options: argparse.Namespace) -> int:
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="threadtrace-packages-") as directory:
        packages = Packages(Path(directory))
        for name in options.names or SCENES:
            print(f"playing: {name}", file=sys.stderr, flush=True)
            result = _play(name, SCENES[name], packages, options)
            print(as_text(result), flush=True)
            wrong += sum(row.is_met is False for row in result.rows)
            if not options.quick:
                Played.of(result).keep(options.results)
    if not options.quick:
        print(f"written: {write_document(options.results, tuple(SCENES))}", file=sys.stderr)
    return os.EX_OK if not wrong else os.EX_SOFTWARE


def _play(name: str, entry: Entry, packages: Packages, options: argparse.Namespace) -> Result:
    rows: list[Row] = []
    # Sockets are in it, whose names have to be short.
    with tempfile.TemporaryDirectory(prefix="ttr-", dir="/tmp") as directory:
        work = Work(Path(directory), packages, options.quick, options.soak)
        seconds = entry.within_seconds
        if name == "soak":
            seconds += 60 * options.soak
        try:
            with _within(seconds):
                rows.extend(entry.scene(work))
        except Exception as error:
            traceback.print_exc()
            first = f"{type(error).__name__}: {error}".partition("\n")[0]
            rows.append(Row("it was not played to its end", first, "to its end", False))
    return Result(name, entry.method, tuple(rows))


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"not within {seconds:,.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(int(seconds))
    try:
        yield
    finally:
        signal.alarm(0)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.reliability", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENES)}")
    parser.add_argument("--quick", action="store_true", help="shorter scenes; writes nothing")
    parser.add_argument(
        "--soak",
        type=float,
        default=_SOAK_MINUTES,
        metavar="MINUTES",
        help=f"how long the last scene lasts, {_SOAK_MINUTES:g} by default",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=_ROOT / "build/reliability",
        metavar="DIR",
        help="where the figures of each scene are kept",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(SCENES))
    if unknown:
        parser.error(f"no scene is called {', '.join(unknown)}")
    if not 0 < options.soak <= _MOST_SOAK_MINUTES:
        parser.error(f"--soak takes up to {_MOST_SOAK_MINUTES:.0f} minutes")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
