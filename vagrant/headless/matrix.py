"""docs/support-matrix.md, from what the last run on each kernel was found to do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headless.archive import cache_directory
from headless.kernels import CHECKOUT, Kernel

DOCUMENT = CHECKOUT / "docs/support-matrix.md"
_NO_RESULT = "not tested"
_HEAD = """# Support matrix

Made by `vagrant/run-kernels --matrix` from the results of `make test-kernels`: each kernel of
[vagrant/kernels.toml](../vagrant/kernels.toml) boots in a guest of its own, with the bcc of its
distribution, and runs the tests that [vagrant/stages.toml](../vagrant/stages.toml) names. Do not
edit.

"""
_TAIL = """
**the same** means: births by each way to create a task, and refusals by `pids.max` of the own
cgroup, by that of one above and by RLIMIT_NPROC, are told with the same numbers, limits and owners
as by every other hook and kernel (`tests/kernels/scene.py`). **CLONE_INTO_CGROUP** is told where
the limit of the cgroup that the child was to be born into is named; before 5.15 only fexit knows of
that flag, and the others leave the owner out.

From 7.0 on a program at a tracepoint may be preempted (a46023d5616e), and the kernel skips it for
whoever comes to that tracepoint on the same CPU meanwhile. So each program that counts births or
exits has two more behind it, which count what it was skipped for (`bpf/recheck.h`). Emulated as
here, with a clock that outruns the processor, one birth in 200 needs them. The programs of
kretprobes and exit tracepoints may be skipped on such kernels while another's call on a map is
preempted: told as a loss of `kernel_programs` then, also where no refusal was missed.

Without BTF but with the kernel's headers everything is counted; of the limits those are told whose
stage is seen, and `threadtrace.started` names the others under `missing`. Without headers, too,
threadtrace ends with one line that names the package to install. Likewise with lockdown in
confidentiality mode, which forbids programs to read kernel memory: the line names
`lockdown=integrity`.

"""
_WAYS = "tests/kernels/test_ways_of_counting.py::test_births_and_refusals"
_HOOK = "tests/kernels/test_hooks.py::test"
_NODE = "tests/kernels/test_limits_of_the_node.py::test_nothing_can_be_created_any_more"
_URING = "tests/kernels/test_io_uring.py::test_workers_are_counted_and_refused_ones_too"
_STORM = "tests/kernels/test_preemption.py::test_births_in_a_storm_are_counted"
_BTF = "tests/kernels/test_without_btf.py"
_LOCKDOWN = "tests/kernels/test_lockdown.py::test_confidentiality_is_refused"

Message = dict[str, Any]


def _the_same(recorded: Message) -> str:
    owner = recorded.get("clone_into_cgroup")
    if owner is None:
        hooks = ", ".join(recorded.get("hooks", ()))
        return f"the same ({hooks})" if hooks else "the same"
    seen = "stage seen" if recorded["evidence"] == "kernel_stage" else "cause inferred"
    return f"the same; {seen}; CLONE_INTO_CGROUP {owner}"


def _said(_: Message) -> str:
    return "refused at start, in one line"


def _counted(_: Message) -> str:
    return "told"


def _storm(recorded: Message) -> str:
    return f"all {recorded['born']} births counted"


def _without_btf(recorded: Message) -> str:
    return f"counted ({', '.join(recorded['hooks'])}); limit told as `{recorded['limit']}`"


# What is said: (row, stage, test, the cell where it passed).
_ROWS: tuple[tuple[str, str, str, Callable[[Message], str]], ...] = (
    ("`--refusal-hook fexit`, cgroup v2", "v2", f"{_HOOK}_fexit", _the_same),
    ("`--refusal-hook kretprobe`", "v2", f"{_HOOK}_others[kretprobe]", _the_same),
    ("`--refusal-hook tracepoint`", "v2", f"{_HOOK}_others[tracepoint]", _the_same),
    ("cgroup v1", "v1", _WAYS, _the_same),
    ("cgroup hybrid, pids in v1", "hybrid", _WAYS, _the_same),
    ("the node's pid_max used up", "v2", f"{_NODE}[pid_max]", _counted),
    ("the node's threads-max used up", "v2", f"{_NODE}[threads_max]", _counted),
    ("io_uring's workers refused", "v2", _URING, _counted),
    ("forks of 4 processes on 2 CPUs", "v2", _STORM, _storm),
    ("lockdown: integrity, cgroup v2", "integrity", _WAYS, _the_same),
    ("lockdown: confidentiality", "confidentiality", _LOCKDOWN, _said),
    ("no BTF, headers", "v2", f"{_BTF}::test_headers_serve", _without_btf),
    ("no BTF, no headers", "v2", f"{_BTF}::test_neither_is_told_in_one_line", _said),
)


def write(kernels: list[Kernel]) -> Path:
    """Write the document; what has no result is said to have none."""
    tested = [kernel for kernel in kernels if kernel.headless]
    results = [_result(kernel) for kernel in tested]
    lines = [_row("", [f"**{kernel.name}**, {kernel.system}" for kernel in tested])]
    lines.append(_row("---", ["---"] * len(tested)))
    lines.append(
        _row("kernel", [f"`{r['hello']['kernel']}`" if r else _NO_RESULT for r in results])
    )
    lines.append(_row("bcc", [kernel.bcc for kernel in tested]))
    lines.append(_row("Python", [r["hello"]["python"] if r else "" for r in results]))
    for name, stage, test, cell in _ROWS:
        lines.append(_row(name, [_cell(result, stage, test, cell) for result in results]))
    lines.append(_row("all tests", [_numbers(result) for result in results]))
    others = [f"{kernel.name} ({kernel.system})" for kernel in kernels if not kernel.headless]
    rest = f"At a desk only, with `vagrant up`, and not in this table: {', '.join(others)}.\n"
    DOCUMENT.write_text(_HEAD + "\n".join(lines) + "\n" + _TAIL + rest)
    return DOCUMENT


def _result(kernel: Kernel) -> Message | None:
    """Of its last run; None where there was none, or it did not boot."""
    path = cache_directory() / "results" / f"{kernel.name}.json"
    found: Message | None = json.loads(path.read_text()) if path.exists() else None
    return found if found and found["hello"] else None


def _row(name: str, cells: list[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _cell(result: Message | None, stage: str, test: str, cell: Callable[[Message], str]) -> str:
    for message in result["messages"] if result else ():
        if message.get("stage") == stage and message.get("test") == test:
            if message["outcome"] == "passed":
                return cell(message["recorded"])
            return f"**{message['outcome']}**"
    return _NO_RESULT


def _numbers(result: Message | None) -> str:
    if result is None:
        return _NO_RESULT
    numbers = Counter(m["outcome"] for m in result["messages"] if "test" in m)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(numbers.items()))
    return f"{told} ({result['seconds']:.0f} s, {result['accelerator']})"
