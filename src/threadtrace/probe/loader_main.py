"""The loader process: compiles, loads and attaches the programs, hands them over, and ends.

What was compiled once is kept (``kept.py``) and needs no compiler the next time. bcc brings LLVM
into the process that imports it (70 to 120 MB), so this process is a short-lived child of the
agent. It talks over the Unix socket on its standard input: one message, a JSON object, with the
descriptors of maps, programs and attachments beside it. Whatever the compiler prints is kept aside
and becomes part of the error.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import time
import traceback
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import orjson

from threadtrace.errors import ThreadtraceError, UnavailableError
from threadtrace.probe import kernel
from threadtrace.probe.btf import KernelTypes
from threadtrace.probe.host import TRACEFS_DIRECTORIES, HostFacts, gather
from threadtrace.probe.kept import Shelf, cache_directory
from threadtrace.probe.offsets import (
    INFERRED_LIMITS,
    OffsetFlags,
    UnknownLayout,
    offset_flags,
)
from threadtrace.probe.paths import bpf_directory
from threadtrace.probe.placing import Code, Placed, keep, place_kept
from threadtrace.probe.plan import Hook, HookKind, HookPlan, Missing, RefusalHook, make_plan
from threadtrace.probe.recipe import Recipe, key_of, makers_since, mapped_files
from threadtrace.probe.trials import try_traced_functions
from threadtrace.probe.unpreempted import function_flags, with_kernel_functions

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
_MAPS = (
    "cgroups",
    "unattributed",
    "refusals",
    "processes",
    "node",
    "node_limits",
    "bursts",
    "records",
)
_PR_SET_PDEATHSIG = 1
_STDOUT, _STDERR = 1, 2


def main() -> None:
    """Entry point of ``python -m threadtrace.probe.loader_main OPTIONS``, OPTIONS being JSON."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    channel = socket.socket(fileno=0)
    options = orjson.loads(sys.argv[1])
    compiler_output = os.memfd_create("compiler")
    for fd in (_STDOUT, _STDERR):
        os.dup2(compiler_output, fd)
    try:
        message, descriptors = load(options, compiler_output)
    except ThreadtraceError as error:
        message, descriptors = {"error": str(error), "exit_code": error.exit_code}, []
    except Exception as error:  # whatever it is, the agent is the one who can tell the user
        message, descriptors = {"error": _bug(error), "exit_code": os.EX_SOFTWARE}, []
    socket.send_fds(channel, [orjson.dumps(message)], descriptors)
    # Not sys.exit: bcc's atexit handlers would only cost time.
    os._exit(0)


def _bug(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}"
    return f"unexpected {type(error).__name__} in the loader at {place}: {error}; please report it"


def load(options: dict[str, Any], compiler_output: int) -> tuple[dict[str, Any], list[int]]:
    """Do all of it; the message for the agent and the descriptors that go with it."""
    _lift_memory_limit()
    facts, mounted = _with_tracefs(gather())
    types = _kernel_types() if facts.has_btf else None
    wanted = RefusalHook(options["refusal_hook"])
    facts = try_traced_functions(facts, types, wanted)
    plan = make_plan(facts, wanted)
    flags, untold_limits = _compiler_flags(plan, types, options)
    names = sorted({hook.program for hook in plan.hooks})
    recipe = Recipe(_translation_unit(), flags, names, plan.kernel_headers)
    shelf = Shelf(cache_directory(), key_of(recipe))
    place = partial(_place, plan=plan, facts=facts, types=types)
    placed = None if options["compiles_anew"] else place_kept(shelf, place)
    if placed is None:
        mapped_before = mapped_files()
        code = _compile(recipe, compiler_output)
        placed = place(code)
        if not placed.missing:
            keep(shelf, code, makers_since(mapped_before))
    missing = [*plan.missing, *map(_untold, untold_limits), *placed.missing]
    _require_births(placed.hooks, missing)
    message = {
        "hooks": [asdict(hook) for hook in placed.hooks],
        "missing": [asdict(entry) for entry in missing],
        "facts": {
            **asdict(facts),
            "capabilities": sorted(facts.capabilities),
            "fexit_functions": sorted(facts.fexit_functions),
        },
        "tracefs_mounted_privately": mounted,
        "has_pid_max_per_namespace": types is not None
        and types.member_offset("pid_namespace", "pid_max") is not None,
        "kept_at": shelf.path,
        "counting_since_ns": placed.counting_since_ns,
        "maps": list(placed.maps),
        "programs": list(placed.programs),
    }
    return message, [*placed.maps.values(), *placed.programs.values(), *placed.attachments]


def _place(code: Code, plan: HookPlan, facts: HostFacts, types: KernelTypes | None) -> Placed:
    """Load and attach it; a hook that the kernel refuses is missing.

    Raises:
        KeyError: the code lacks a program or map.
    """
    texts = [code.programs[hook.program] for hook in plan.hooks]
    maps = {name: code.maps[name] for name in _MAPS}
    programs: dict[str, int] = {}
    missing = []
    loaded = []
    for hook, text in zip(plan.hooks, texts):
        try:
            if hook.program not in programs:
                programs[hook.program] = _load_program(text, hook, types)
            loaded.append(hook)
        except OSError as error:
            missing.append(_not_attached(hook, error))
    # All at about the same time: what the verifier takes is over.
    counting_since_ns = time.monotonic_ns()
    attachments, hooks = [], []
    for hook in loaded:
        try:
            attachments.append(_attach(hook, programs[hook.program], facts))
            hooks.append(hook)
        except OSError as error:
            missing.append(_not_attached(hook, error))
    return Placed(maps, programs, attachments, hooks, missing, counting_since_ns)


def _with_tracefs(facts: HostFacts) -> tuple[HostFacts, bool]:
    """The facts with tracefs in reach: where nobody mounted it, in a mount namespace of our own."""
    if facts.tracefs_directory or "CAP_SYS_ADMIN" not in facts.capabilities:
        return facts, False
    try:
        kernel.mount_privately("tracefs", TRACEFS_DIRECTORIES[0])
    except OSError:
        return facts, False
    seen = gather()
    return replace(
        facts,
        tracefs_directory=seen.tracefs_directory,
        clone_exit_tracepoints=seen.clone_exit_tracepoints,
    ), True


def _kernel_types() -> KernelTypes:
    try:
        return KernelTypes()
    except OSError as error:
        raise UnavailableError(
            f"{error}: install a newer libbpf (Debian and Ubuntu: apt-get install --only-upgrade "
            "libbpf1 or libbpf0)"
        ) from None


def _compiler_flags(
    plan: HookPlan, types: KernelTypes | None, options: dict[str, Any]
) -> OffsetFlags:
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


def _compile(recipe: Recipe, compiler_output: int) -> Code:
    # With this set, bcc looks for headers nowhere else: no modprobe, no download, no guessing. The
    # kernel's own, where they are to be used, it finds itself, those that Debian keeps apart, too.
    os.environ.pop("BCC_KERNEL_SOURCE", None)
    if recipe.kernel_headers is None:
        os.environ["BCC_KERNEL_SOURCE"] = str(bpf_directory() / "prelude")
    bpf = _import_bcc()
    try:
        module = bpf(text=recipe.source, cflags=recipe.flags)
    except Exception as error:  # bcc raises bare Exception
        detail = first_compiler_error(compiler_output) or str(error)
        raise UnavailableError(f"bcc could not compile the kernel programs: {detail}") from None
    return Code(
        {name: module.dump_func(name.encode()) for name in recipe.programs},
        {name: module[name.encode()].map_fd for name in _MAPS},
        module,
    )


def _translation_unit() -> bytes:
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


def first_compiler_error(compiler_output: int) -> str | None:
    """The first line with an error among what the compiler printed, None if there is none."""
    os.lseek(compiler_output, 0, os.SEEK_SET)
    with os.fdopen(os.dup(compiler_output), errors="replace") as lines:
        for line in lines:
            if "error:" in line:
                return line.strip()
    return None


def _lift_memory_limit() -> None:
    """Before 5.11 maps and programs count against RLIMIT_MEMLOCK, those of other agents, too.

    So also the programs with which is tried what this kernel takes.
    """
    try:
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
    except (ValueError, OSError):
        return  # without CAP_SYS_RESOURCE; newer kernels do not need it


def _load_program(code: bytes, hook: Hook, types: KernelTypes | None) -> int:
    if hook.kind is HookKind.FEXIT and types is not None:
        function_id = types.function_id(hook.target)
        assert function_id is not None  # the plan has seen it
        code = with_kernel_functions(code)
        return kernel.load_fexit(hook.program, code, function_id)
    if hook.kind is HookKind.TYPED_RAW_TRACEPOINT and types is not None:
        btf_id = types.typedef_id(f"btf_trace_{hook.target}")
        if btf_id is None:
            raise OSError(f"this kernel has no tracepoint {hook.target}")
        return kernel.load_typed_raw_tracepoint(hook.program, code, btf_id)
    kinds = {
        HookKind.TRACEPOINT: kernel.TRACEPOINT,
        HookKind.KRETPROBE: kernel.KPROBE,
        HookKind.RAW_TRACEPOINT: kernel.RAW_TRACEPOINT,
    }
    return kernel.load_untyped(hook.program, code, kinds[hook.kind])


def _attach(hook: Hook, program_fd: int, facts: HostFacts) -> int:
    if hook.kind is HookKind.TRACEPOINT:
        assert hook.tracepoint_id is not None
        return kernel.attach_tracepoint(program_fd, hook.tracepoint_id, facts.online_cpu)
    if hook.kind is HookKind.KRETPROBE:
        assert facts.return_probe_type is not None
        return kernel.attach_return_probe(
            program_fd, facts.return_probe_type, hook.target, facts.online_cpu
        )
    typed = hook.kind in (HookKind.TYPED_RAW_TRACEPOINT, HookKind.FEXIT)
    return kernel.open_raw_tracepoint(program_fd, None if typed else hook.target)


def _untold(limit: str) -> Missing:
    return Missing(
        f"the kernel's layout of what decides {limit}",
        f"clones refused by {limit} are counted, but as of limit other",
        f"please report kernel {os.uname().release}",
    )


def _not_attached(hook: Hook, error: OSError) -> Missing:
    return Missing(
        f"{hook.kind.value} {hook.target}",
        f"{hook.program} does not run",
        f"the kernel refused it: {error}",
    )


def _require_births(attached: list[Hook], missing: list[Missing]) -> None:
    """Without births and deaths there is no tool; everything else degrades."""
    have = {hook.program for hook in attached}
    for program in ("on_task_newtask", "on_sched_process_exit"):
        if program not in have:
            entry = next(entry for entry in missing if entry.effect.startswith(program))
            raise UnavailableError(f"{entry.what} cannot be attached: {entry.remedy}")


if __name__ == "__main__":
    main()
