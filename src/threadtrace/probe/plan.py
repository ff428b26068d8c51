"""Which program goes on which hook: a pure function of facts about the host."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from threadtrace.errors import PrivilegeError, UnavailableError
from threadtrace.probe.host import CLONE_SYSTEM_CALLS, HostFacts
from threadtrace.probe.skipped import RECHECKED


class HookKind(str, enum.Enum):
    """How a program is attached."""

    FEXIT = "fexit"
    KRETPROBE = "kretprobe"
    TYPED_RAW_TRACEPOINT = "typed_raw_tracepoint"
    RAW_TRACEPOINT = "raw_tracepoint"
    TRACEPOINT = "tracepoint"


@dataclass(frozen=True, slots=True)
class Hook:
    """One attachment."""

    program: str
    kind: HookKind
    target: str
    reason: str
    tracepoint_id: int | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that does not work here, what follows from it and what would mend it."""

    what: str
    effect: str
    remedy: str


@dataclass(frozen=True, slots=True)
class HookPlan:
    """All attachments, and what had to be left out."""

    hooks: tuple[Hook, ...]
    missing: tuple[Missing, ...]
    typed_arguments: bool
    sees_stages: bool
    """Whether the function that refuses is seen, and not only what the system call returns."""
    kernel_headers: str | None
    has_preemptible_tracepoints: bool = False
    """Whether the kernel may preempt a program at a tracepoint, and skip it for others."""
    has_preemptible_returns: bool = False
    """The same of a program at the return of a function."""

    @property
    def uses_return_probes(self) -> bool:
        """Whether refusals are seen by return probes, of which the kernel may lose some."""
        return any(hook.kind is HookKind.KRETPROBE for hook in self.hooks)


class RefusalHook(str, enum.Enum):
    """Where refused clones are to be seen, as a user may choose it."""

    AUTO = "auto"
    """The first of those below that this kernel takes."""
    FEXIT = "fexit"
    KRETPROBE = "kretprobe"
    TRACEPOINT = "tracepoint"
    OFF = "off"
    """Nowhere: they are not counted."""


USER_NAMESPACE_MESSAGE = (
    "in a user namespace of its own, whose capabilities do not reach the kernel's programs: "
    "run as root on the host, or in a privileged pod without user namespace"
)

# raw tracepoint: program of bpf/lifecycle.bpf.c
_LIFECYCLE = {
    "task_newtask": "on_task_newtask",
    "sched_process_exit": "on_sched_process_exit",
    "cgroup_mkdir": "on_cgroup_mkdir",
    "cgroup_rmdir": "on_cgroup_rmdir",
    "cgroup_rename": "on_cgroup_rename",
    "cgroup_attach_task": "on_cgroup_attach_task",
}


def make_plan(facts: HostFacts, wanted: RefusalHook = RefusalHook.AUTO) -> HookPlan:
    """Decide.

    Args:
        facts: about this host.
        wanted: which hook on refused clones the user wants.

    Raises:
        PrivilegeError: a capability is missing without which nothing can be attached.
        UnavailableError: neither BTF nor kernel headers, lockdown forbids what is needed, or this
            kernel does not take the hook that is wanted.
    """
    _require_privileges(facts)
    _require_readable_kernel(facts)
    refusal_hooks, missing = _refusal_hooks(facts, wanted)
    return HookPlan(
        hooks=(*_lifecycle_hooks(facts), *refusal_hooks),
        missing=missing,
        typed_arguments=facts.has_btf,
        sees_stages=any(hook.kind is not HookKind.TRACEPOINT for hook in refusal_hooks),
        kernel_headers=None if facts.has_btf else facts.headers_directory,
        has_preemptible_tracepoints=has_preemptible_tracepoints(facts),
        has_preemptible_returns=facts.is_preemptible
        and any(hook.kind is HookKind.FEXIT for hook in refusal_hooks),
    )


def _require_privileges(facts: HostFacts) -> None:
    if facts.in_initial_user_namespace is False:
        raise PrivilegeError(USER_NAMESPACE_MESSAGE)
    if "CAP_SYS_ADMIN" in facts.capabilities:
        return
    absent = sorted({"CAP_BPF", "CAP_PERFMON"} - facts.capabilities)
    if absent:
        raise PrivilegeError(
            f"{' and '.join(absent)} missing: run as root (sudo), in a privileged pod, "
            "or with CAP_BPF and CAP_PERFMON"
        )


def _require_readable_kernel(facts: HostFacts) -> None:
    if facts.lockdown == "confidentiality":
        raise UnavailableError(
            "kernel lockdown is in confidentiality mode, which forbids reading kernel memory: "
            "boot with lockdown=integrity (or without lockdown)"
        )
    if not facts.has_btf and not facts.headers_directory:
        raise UnavailableError(
            "the kernel's layout is unknown: /sys/kernel/btf/vmlinux cannot be read and there are "
            f"no kernel headers; apt-get install linux-headers-{facts.kernel_release}, or boot a "
            "kernel with CONFIG_DEBUG_INFO_BTF=y"
        )


def _lifecycle_hooks(facts: HostFacts) -> list[Hook]:
    if facts.has_btf:
        kind, reason = HookKind.TYPED_RAW_TRACEPOINT, "BTF: members are read by plain loads"
    else:
        kind, reason = HookKind.RAW_TRACEPOINT, "no BTF: members are read through a helper"
    hooks = [Hook(program, kind, target, reason) for target, program in _LIFECYCLE.items()]
    if not has_preemptible_tracepoints(facts):
        return hooks
    reason = "counts what the kernel skipped the first program for, while it was preempted"
    # The kernel runs the programs of a tracepoint in the order in which they were attached.
    return hooks + [
        Hook(behind, kind, target, reason)
        for target, program in _LIFECYCLE.items()
        for behind in RECHECKED.get(program, ())
    ]


def has_preemptible_tracepoints(facts: HostFacts) -> bool:
    """Whether a program at a tracepoint may be preempted: from 7.0 on (a46023d5616e).

    Known by the version, since no type of the kernel changed with it.
    """
    major = re.match(r"\d+", facts.kernel_release)
    return facts.is_preemptible and major is not None and int(major[0]) >= 7


# function: programs of bpf/refusal.bpf.c, by fexit and by return probe
_STAGES = {
    "copy_process": ("on_copy_process_exit", "on_copy_process_return"),
    "alloc_pid": ("on_alloc_pid_exit", "on_alloc_pid_return"),
    "cgroup_can_fork": ("on_cgroup_can_fork_exit", "on_cgroup_can_fork_return"),
}
_RefusalHooks = tuple[list[Hook], tuple[Missing, ...]]


def _refusal_hooks(facts: HostFacts, wanted: RefusalHook) -> _RefusalHooks:
    if wanted is RefusalHook.OFF:
        remedy = "leave out --refusal-hook off"
        return [], (Missing("refusals", "refused clones are not counted", remedy),)
    kinds = {
        RefusalHook.FEXIT: _fexit_hooks,
        RefusalHook.KRETPROBE: _return_probe_hooks,
        RefusalHook.TRACEPOINT: _tracepoint_hooks,
    }
    # Before 6.2 a kernel without CONFIG_PREEMPTION has room for as many calls under way as it has
    # CPUs (kernel/kprobes.c, register_kretprobe): clones that sleep would make others be missed.
    if wanted is RefusalHook.AUTO and not facts.is_preemptible:
        del kinds[RefusalHook.KRETPROBE]
    for kind, hooks_of in kinds.items():
        if wanted in (kind, RefusalHook.AUTO) and (hooks := hooks_of(facts)):
            return hooks, ()
    missing = _no_tracepoints(facts)
    if wanted is RefusalHook.AUTO:
        return [], (missing,)
    remedy = missing.remedy if wanted is RefusalHook.TRACEPOINT else "use --refusal-hook auto"
    raise UnavailableError(f"this kernel does not take --refusal-hook {wanted.value}: {remedy}")


def _fexit_hooks(facts: HostFacts) -> list[Hook]:
    if not _STAGES.keys() <= facts.fexit_functions:
        return []
    reason = "the refusing function is seen; costs on a clone only"
    return [
        Hook(program, HookKind.FEXIT, function, reason)
        for function, (program, _) in _STAGES.items()
    ]


def _return_probe_hooks(facts: HostFacts) -> list[Hook]:
    symbols = dict(facts.return_probe_symbols)
    if not _STAGES.keys() <= symbols.keys():
        return []
    reason = "no fexit; the refusing function is seen; costs on a clone only, more than fexit does"
    return [
        Hook(program, HookKind.KRETPROBE, symbols[function], reason)
        for function, (_, program) in _STAGES.items()
    ]


def _tracepoint_hooks(facts: HostFacts) -> list[Hook]:
    reason = "return value of the system call; slows every system call of the node a little"
    return [
        Hook("on_clone_exit", HookKind.TRACEPOINT, f"syscalls:sys_exit_{name}", reason, number)
        for name, number in facts.clone_exit_tracepoints
    ]


def _no_tracepoints(facts: HostFacts) -> Missing:
    if facts.tracefs_directory is None:
        remedy = "mount -t tracefs tracefs /sys/kernel/tracing, or add CAP_SYS_ADMIN"
    else:
        remedy = "boot a kernel with CONFIG_FTRACE_SYSCALLS=y"
    calls = ", ".join(CLONE_SYSTEM_CALLS)
    return Missing(f"exit tracepoints of {calls}", "refused clones are not counted", remedy)
