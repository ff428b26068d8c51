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
from threadtrace.probe.compiling import MAPS, compile_programs, compiler_flags, translation_unit
from threadtrace.probe.host import TRACEFS_DIRECTORIES, HostFacts, gather
from threadtrace.probe.kept import Shelf, cache_directory
from threadtrace.probe.placing import Code, Placed, keep, place_kept
from threadtrace.probe.plan import Hook, HookKind, HookPlan, Missing, RefusalHook, make_plan
from threadtrace.probe.recipe import Recipe, key_of, makers_since, mapped_files
from threadtrace.probe.trials import try_traced_functions
from threadtrace.probe.unpreempted import with_kernel_functions

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
    flags, untold_limits = compiler_flags(plan, types, options)
    names = sorted({hook.program for hook in plan.hooks})
    recipe = Recipe(translation_unit(), flags, names, plan.kernel_headers)
    shelf = Shelf(cache_directory(), key_of(recipe))
    place = partial(_place, plan=plan, facts=facts, types=types)
    placed = None if options["compiles_anew"] else place_kept(shelf, place)
    if placed is None:
        mapped_before = mapped_files()
        code = compile_programs(recipe, compiler_output)
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
    maps = {name: code.maps[name] for name in MAPS}
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
