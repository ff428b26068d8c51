"""What ``threadtrace`` needs, whether it is here, and what mends it."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

from threadtrace.agent import PID_NAMESPACE_EFFECT, AgentOptions
from threadtrace.errors import ThreadtraceError
from threadtrace.identity.runtimes import RuntimeFiles
from threadtrace.model.refusal import REFUSAL_PROGRAMS
from threadtrace.node.hierarchy import PidsHierarchy, find_pids_hierarchy
from threadtrace.probe.host import HostFacts, gather
from threadtrace.probe.kept import VARIABLE, cache_directory
from threadtrace.probe.loader import LoadedPrograms, Loader, LoaderOptions
from threadtrace.probe.plan import USER_NAMESPACE_MESSAGE


class State(str, enum.Enum):
    """How a prerequisite stands."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One prerequisite."""

    name: str
    state: State
    detail: str
    remedy: str | None = None
    """The command or change that mends it."""


def examine(options: AgentOptions) -> list[Check]:
    """Look at everything, and attach the programs for a moment to see that they work."""
    facts = gather()
    hierarchy, hierarchy_check = _hierarchy()
    return [
        _privileges(facts),
        _kernel_layout(facts),
        _lockdown(facts),
        hierarchy_check,
        *_programs(hierarchy, options),
        _pid_namespace(facts),
        _cgroup_lookup(facts),
        _names(options.host_root),
    ]


def _privileges(facts: HostFacts) -> Check:
    if facts.in_initial_user_namespace is False:
        wrong, _, remedy = USER_NAMESPACE_MESSAGE.partition(": ")
        return Check("privileges", State.MISSING, wrong, remedy)
    needed = {"CAP_BPF", "CAP_PERFMON"}
    absent = sorted(needed - facts.capabilities)
    if "CAP_SYS_ADMIN" in facts.capabilities or not absent:
        return Check("privileges", State.OK, ", ".join(sorted(facts.capabilities)))
    detail = f"user {os.geteuid()} lacks {' and '.join(absent)}"
    remedy = "sudo threadtrace doctor" if os.geteuid() else f"add {' and '.join(absent)}"
    return Check("privileges", State.MISSING, detail, remedy)


def _kernel_layout(facts: HostFacts) -> Check:
    if facts.has_btf:
        return Check("kernel layout", State.OK, f"BTF of kernel {facts.kernel_release}")
    if facts.headers_directory:
        detail = f"no BTF; kernel headers at {facts.headers_directory}: each birth costs more"
        return Check("kernel layout", State.LIMITED, detail, "a kernel with CONFIG_DEBUG_INFO_BTF")
    return Check(
        "kernel layout",
        State.MISSING,
        "neither /sys/kernel/btf/vmlinux nor kernel headers",
        f"apt-get install linux-headers-{facts.kernel_release}",
    )


def _lockdown(facts: HostFacts) -> Check:
    if facts.lockdown == "confidentiality":
        detail = "confidentiality: programs may not read kernel memory"
        return Check("lockdown", State.MISSING, detail, "boot with lockdown=integrity")
    return Check("lockdown", State.OK, facts.lockdown or "none that securityfs tells of")


def _hierarchy() -> tuple[PidsHierarchy | None, Check]:
    name = "pids controller"
    try:
        found = find_pids_hierarchy()
    except ThreadtraceError as error:
        return None, Check(name, State.MISSING, *_split(error))
    detail = f"cgroup version {found.version} at {found.mount_point} ({found.mode} host)"
    if found.is_whole:
        return found, Check(name, State.OK, detail)
    return found, Check(
        name,
        State.LIMITED,
        f"{detail}, only this container's part of it",
        "mount the host's /sys/fs/cgroup, or set hostPID: true",
    )


def _programs(hierarchy: PidsHierarchy | None, options: AgentOptions) -> list[Check]:
    name = "kernel programs"
    if hierarchy is None:
        return [Check(name, State.MISSING, "not tried without a pids controller", "see above")]
    try:
        loader_options = LoaderOptions(
            hierarchy.hierarchy_id,
            options.max_cgroups,
            refusal_hook=options.refusal_hook,
            compiles_anew=True,
        )
        with Loader(loader_options) as loader:
            loaded = loader.result()
    except ThreadtraceError as error:
        return [Check(name, State.MISSING, *_split(error))]
    loaded.close()
    return [_attached(name, loaded), _kept(loaded), *_refusals(loaded)]


def _refusals(loaded: LoadedPrograms) -> list[Check]:
    """Which hook was chosen, and why; where there is none, it is missing above."""
    chosen = {
        f"{hook['kind']}: {hook['reason']}"
        for hook in loaded.hooks
        if hook["program"] in REFUSAL_PROGRAMS
    }
    return [Check("refused clones", State.OK, text) for text in chosen]


def _attached(name: str, loaded: LoadedPrograms) -> Check:
    targets = ", ".join(dict.fromkeys(hook["target"] for hook in loaded.hooks))
    if loaded.tracefs_mounted_privately:
        targets += " (tracefs is not mounted here: mounted for the loader alone)"
    if not loaded.missing:
        return Check(name, State.OK, f"compiled, loaded and attached: {targets}")
    absent = "; ".join(f"{entry['what']}: {entry['effect']}" for entry in loaded.missing)
    remedy = "; ".join(sorted({entry["remedy"] for entry in loaded.missing}))
    return Check(name, State.LIMITED, f"attached: {targets}; not: {absent}", remedy)


def _kept(loaded: LoadedPrograms) -> Check:
    """Whether the next start can do without the compiler."""
    name = "compiled copy"
    if loaded.kept_at is not None:
        return Check(name, State.OK, f"kept for the next start: {loaded.kept_at}")
    directory = cache_directory()
    if directory is None and VARIABLE in os.environ:
        return Check(name, State.OK, f"none, as {VARIABLE} is empty: each start compiles")
    if loaded.missing:
        return Check(name, State.OK, "none, as not all is attached: each start compiles")
    where = "" if directory is None else f" in {directory}"
    remedy = f"set {VARIABLE} to a directory that user {os.geteuid()} alone can write to"
    return Check(name, State.LIMITED, f"none{where}: each start compiles", remedy)


def _pid_namespace(facts: HostFacts) -> Check:
    name = "PID namespace"
    if facts.in_initial_pid_namespace is False:
        detail = f"not the node's: {PID_NAMESPACE_EFFECT}"
        return Check(name, State.LIMITED, detail, "run the pod with hostPID: true")
    return Check(name, State.OK, "the node's")


def _cgroup_lookup(facts: HostFacts) -> Check:
    name = "cgroup look-up"
    if "CAP_DAC_READ_SEARCH" in facts.capabilities:
        return Check(name, State.OK, "by file handle")
    detail = "without CAP_DAC_READ_SEARCH the whole tree is walked for an unknown cgroup"
    return Check(name, State.LIMITED, detail, "add CAP_DAC_READ_SEARCH")


def _names(host_root: Path) -> Check:
    name = "container names"
    directories = RuntimeFiles(host_root).available()
    readable = [str(entry.path) for entry in directories if entry.is_readable]
    locked = [str(entry.path) for entry in directories if not entry.is_readable]
    if locked:
        detail = f"not readable: {', '.join(locked)}"
        return Check(name, State.LIMITED, detail, "run as root, or add CAP_DAC_READ_SEARCH")
    if readable:
        return Check(name, State.OK, f"from {', '.join(readable)}")
    return Check(
        name,
        State.LIMITED,
        "no container runtime's files here: containers show as ids",
        "in a pod: mount the host's /run/containerd (and others) and set --host-root",
    )


def _split(error: ThreadtraceError) -> tuple[str, str]:
    """What is wrong and the remedy: messages are written as ``wrong: remedy``."""
    wrong, separator, remedy = str(error).partition(": ")
    return (wrong, remedy) if separator else (wrong, "see docs/troubleshooting.md")
