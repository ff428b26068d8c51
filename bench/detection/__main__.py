"""``python -m bench.detection``: run the labelled set, write docs/detection.md."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.detection import latency
from bench.detection.benign import BENIGN
from bench.detection.malign import MALIGN
from bench.detection.report import as_markdown, write_document
from bench.detection.schedule import Found, run_set
from bench.detection.tools import CannotRun
from bench.detection.workload import Workload

_QUICK_SECONDS = 60
_LATENCY = "latency"


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if os.geteuid() != 0:
        print("the workloads run in cgroups of their own: run as root", file=sys.stderr)
        return os.EX_NOPERM
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cgroups are removed then too
    try:
        return _measure(options, shlex.join(["python", "-m", "bench.detection", *arguments]))
    except CannotRun as missing:
        print(missing, file=sys.stderr)
        return os.EX_UNAVAILABLE
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 128 + signal.SIGINT


def _measure(options: argparse.Namespace, command: str) -> int:
    surroundings = machine.describe()
    workloads = _chosen(options)
    with tempfile.TemporaryDirectory(prefix="threadtrace-detection-") as directory:
        os.chmod(directory, 0o755)
        found = run_set(workloads, Path(directory), options.keep) if workloads else Found()
        is_asked = not options.only or _LATENCY in options.only
        delays = latency.measure(Path(directory), options.quick) if is_asked else []
    text = as_markdown(found, delays, surroundings, command)
    print(text)
    for problem in found.problems:
        print(f"not as intended: {problem}", file=sys.stderr)
    if found.problems:
        return os.EX_SOFTWARE
    if not options.only and not options.quick and not options.no_write:
        print(f"written: {write_document(text)}", file=sys.stderr)
    return os.EX_OK


def _chosen(options: argparse.Namespace) -> list[Workload]:
    everything = [*MALIGN, *BENIGN]
    if options.only:
        return [one for one in everything if one.name in options.only]
    if options.quick:
        return [one for one in everything if one.seconds <= _QUICK_SECONDS]
    return everything


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = [*(one.name for one in (*MALIGN, *BENIGN)), _LATENCY]
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"only this; may be given several times; of {', '.join(names)}; writes no page",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"leaves out what takes more than {_QUICK_SECONDS} s; writes no page",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="raw observations go there")
    parser.add_argument("--no-write", action="store_true", help="prints, and writes no page")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
