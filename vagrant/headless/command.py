"""The command line of vagrant/run-kernels."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from headless.archive import obtainable, update
from headless.guest import Outcome, boot, last_words
from headless.image import make_image
from headless.kernels import (
    CHECKOUT,
    LIST,
    VAGRANT,
    Kernel,
    KernelsError,
    choose,
    read_list,
    read_toml,
)
from headless.matrix import write as write_matrix
from headless.results import keep, record_of, summary_of
from headless.several import run_all

DEFAULT_LIMIT_SECONDS = 900.0
_SAYINGS = {0: "passed", 1: "failed", 2: "did not run"}
STAGES = VAGRANT / "stages.toml"


def parser() -> argparse.ArgumentParser:
    """What may be asked for."""
    made = argparse.ArgumentParser(
        prog="vagrant/run-kernels",
        description="Run the tests on the kernels of vagrant/kernels.toml, each in a guest.",
        epilog="What comes after -- is given to pytest: vagrant/run-kernels 6.12 -- -k births",
    )
    made.add_argument(
        "kernels", nargs="*", metavar="KERNEL", help="such as 6.12, oldest, newest (default: all)"
    )
    made.add_argument("--stage", action="append", default=[], help="only this stage")
    made.add_argument("--jobs", type=int, default=2, help="so many guests at a time (default: 2)")
    made.add_argument("--limit", type=float, default=DEFAULT_LIMIT_SECONDS, help="seconds a guest")
    made.add_argument("--checkout", type=Path, default=CHECKOUT, help="whose sources are tested")
    made.add_argument("--list", action="store_true", help="tell what is listed, and end")
    made.add_argument(
        "--update", action="store_true", help="write the newest kernels into the list"
    )
    made.add_argument("--matrix", action="store_true", help="write docs/support-matrix.md, and end")
    return made


def main(arguments: list[str]) -> int:
    """Exit status: 0 where every kernel passed, 1 where a test failed, 2 where one did not run."""
    own, for_pytest = _split(arguments)
    options = parser().parse_args(own)
    options.pytest = for_pytest
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(options)
    except KernelsError as error:
        print(f"run-kernels: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def _run(options: argparse.Namespace) -> int:
    kernels = read_list()
    if options.list:
        for kernel in kernels:
            how = "headless" if kernel.headless else "Vagrant only"
            print(f"{kernel.name:10} {kernel.system:16} bcc {kernel.bcc:5} {how}")
        return 0
    if options.update:
        print("\n".join(update(LIST, kernels)) or "nothing is newer")
        return 0
    if options.matrix:
        print(write_matrix(kernels))
        return 0
    chosen = choose(kernels, options.kernels)
    if len(chosen) == 1:
        return _test(chosen[0], options)
    own = [f"--limit={options.limit}", f"--checkout={options.checkout}"]
    own += [f"--stage={stage}" for stage in options.stage]
    own += ["--", *options.pytest]
    codes = run_all([kernel.name for kernel in chosen if kernel.is_usual], own, options.jobs)
    # Alone, since here no KVM runs such a guest: beside another, a compiler that reads the kernel's
    # headers would not be done within the limit of threadtrace's loader.
    codes |= run_all([kernel.name for kernel in chosen if not kernel.is_usual], own, 1)
    for name, code in codes.items():
        print(f"== {name}: {_SAYINGS.get(code, f'ended with {code}')}")
    return max(map(abs, codes.values()))


def _test(kernel: Kernel, options: argparse.Namespace) -> int:
    assert kernel.headless is not None
    started = time.monotonic()
    print(f"== {kernel.name}: making the guest", flush=True)
    with tempfile.TemporaryDirectory(prefix="threadtrace-guest-") as name:
        directory = Path(name)
        try:
            orders = _orders(options)
            headless = obtainable(kernel.headless)
            image = make_image(headless, directory, orders, options.checkout)
        except KernelsError as error:
            print(f"run-kernels: kernel {kernel.name} did not run: {error}", file=sys.stderr)
            return 2
        made = time.monotonic() - started
        print(f"== {kernel.name}: made in {made:.0f} s, starting it", flush=True)
        outcome = boot(image, directory, options.limit, _show)
    keep(record_of(kernel, outcome))
    return _tell(kernel, outcome, time.monotonic() - started)


def _tell(kernel: Kernel, outcome: Outcome, seconds: float) -> int:
    if outcome.verdict is None:
        print(last_words(outcome), file=sys.stderr)
        why = "its time was over" if outcome.timed_out else f"QEMU ended with {outcome.exit_code}"
        print(f"== {kernel.name}: no verdict, {why}", flush=True)
        return 2
    print(summary_of(outcome))
    print(f"== {kernel.name}: {outcome.verdict} in {seconds:.0f} s", flush=True)
    return 0 if outcome.verdict == "passed" else 1


def _orders(options: argparse.Namespace) -> dict[str, Any]:
    names = [stage["name"] for stage in read_toml(STAGES)["stage"]]
    unknown = set(options.stage) - set(names)
    if unknown:
        raise KernelsError(f"{STAGES.name} has no stage {', '.join(sorted(unknown))}")
    chosen = [name for name in names if not options.stage or name in options.stage]
    return {"stages": chosen, "arguments": options.pytest}


def _show(data: bytes) -> None:
    os.write(sys.stdout.fileno(), data)
