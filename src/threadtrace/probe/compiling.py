"""The kernel programs compiled by bcc: their text, the flags, and what can be wrong with bcc."""

from __future__ import annotations

import os
import sys
from typing import Any

from threadtrace.errors import UnavailableError
from threadtrace.probe.btf import KernelTypes
from threadtrace.probe.offsets import (
    INFERRED_LIMITS,
    OffsetFlags,
    UnknownLayout,
    offset_flags,
)
from threadtrace.probe.paths import bpf_directory
from threadtrace.probe.placing import Code
from threadtrace.probe.plan import HookPlan
from threadtrace.probe.recipe import Recipe
from threadtrace.probe.unpreempted import function_flags

# In the order of their includes, which their guards then turn into nothing.
_SOURCES = (
    "records.h",
    "layout.h",
    "maps.h",
    "processes.h",
    "recheck.h",
    "unpreempted.h",
    "verdict.h",
    "bursts.h",
    "lifecycle.bpf.c",
    "refusal.bpf.c",
)
MAPS = (
    "cgroups",
    "unattributed",
    "refusals",
    "processes",
    "node",
    "node_limits",
    "bursts",
    "records",
)
"""Those that the agent reads."""


def compiler_flags(
    plan: HookPlan, types: KernelTypes | None, options: dict[str, Any]
) -> OffsetFlags:
    """What the compiler is told of this kernel and what is wanted, and which limits it cannot be.

    Raises:
        UnavailableError: a layout of the kernel's that is not known.
    """
    flags = [
        f"-I{bpf_directory()}",
        f"-DMAX_CGROUPS={options['max_cgroups']}",
        f"-DMAX_PROCESSES={options['max_processes']}",
        f"-DPIDS_HIERARCHY_ID={options['pids_hierarchy_id']}",
    ]
    if plan.sees_stages:
        flags.append("-DTHREADTRACE_SEES_STAGES")
    if plan.has_preemptible_tracepoints:
        flags.append("-DTHREADTRACE_PREEMPTIBLE_TRACEPOINTS")
    if plan.uses_return_probes:
        flags.append("-DTHREADTRACE_RETURN_PROBES")
    if types is None:
        return OffsetFlags([*flags, "-DTHREADTRACE_KERNEL_HEADERS"], list(INFERRED_LIMITS))
    if plan.typed_arguments:
        flags.append("-DTHREADTRACE_TYPED_ARGUMENTS")
    if plan.has_preemptible_returns:
        flags += function_flags(types)
    try:
        offsets = offset_flags(types)
    except UnknownLayout as error:
        raise UnavailableError(
            f"this kernel's layout is not supported: {error}; please report kernel "
            f"{os.uname().release}"
        ) from None
    return OffsetFlags(flags + offsets.flags, offsets.untold_limits)


def compile_programs(recipe: Recipe, compiler_output: int) -> Code:
    """Have bcc compile; it makes the maps, too.

    Args:
        recipe: what, and with which flags.
        compiler_output: descriptor of a file that standard output and standard error go to.

    Raises:
        UnavailableError: there is no bcc, or it cannot compile them.
    """
    # With this set, bcc looks for headers nowhere else: no modprobe, no download, no guessing. The
    # kernel's own, where they are to be used, it finds itself, those that Debian keeps apart, too.
    os.environ.pop("BCC_KERNEL_SOURCE", None)
    if recipe.kernel_headers is None:
        os.environ["BCC_KERNEL_SOURCE"] = str(bpf_directory() / "prelude")
    bpf = _import_bcc()
    try:
        module = bpf(text=recipe.source, cflags=recipe.flags)
    except Exception as error:  # bcc raises bare Exception
        detail = _first_error(compiler_output) or str(error)
        raise UnavailableError(f"bcc could not compile the kernel programs: {detail}") from None
    return Code(
        {name: module.dump_func(name.encode()) for name in recipe.programs},
        {name: module[name.encode()].map_fd for name in MAPS},
        module,
    )


def translation_unit() -> bytes:
    """All sources in one text: bcc neither finds programs nor rewrites map calls in an include."""
    parts = []
    for name in _SOURCES:
        path = bpf_directory() / name
        parts.append(f'#line 1 "{path}"\n'.encode() + path.read_bytes())
    return b"".join(parts)


def _import_bcc() -> Any:
    remedy = (
        "apt-get install python3-bpfcc, and run threadtrace from a virtual environment made by "
        "/usr/bin/python3 -m venv --system-site-packages"
    )
    try:
        import bcc
    except (ImportError, OSError) as error:
        raise UnavailableError(
            f"bcc's Python bindings cannot be imported by {sys.executable} ({error}): {remedy}"
        ) from None
    if not hasattr(bcc, "BPF"):
        raise UnavailableError(
            f"the module bcc at {bcc.__file__} is another library of that name: pip uninstall bcc; "
            f"{remedy}"
            if bcc.__file__
            else "bcc's Python bindings are incomplete: apt-get install --reinstall python3-bpfcc"
        )
    return bcc.BPF


def _first_error(compiler_output: int) -> str | None:
    """The first line with an error among what the compiler printed, None if there is none."""
    os.lseek(compiler_output, 0, os.SEEK_SET)
    with os.fdopen(os.dup(compiler_output), errors="replace") as lines:
        for line in lines:
            if "error:" in line:
                return line.strip()
    return None
