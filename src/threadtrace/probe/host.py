"""Facts about this host that decide what can be attached. Nothing is decided here."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

# include/uapi/linux/capability.h
CAPABILITIES = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

# Tracefs has its own mount point since 4.1; older set-ups reach it through debugfs.
TRACEFS_DIRECTORIES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")

# The initial PID namespace's inode is fixed: PROC_PID_INIT_INO, include/linux/proc_ns.h.
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
INITIAL_USER_NAMESPACE = 0xEFFFFFFD  # PROC_USER_INIT_INO, there too

# The function that every clone passes through, and those of its stages that count against a limit.
TRACED_FUNCTIONS = ("copy_process", "alloc_pid", "cgroup_can_fork")

CLONE_SYSTEM_CALLS = ("clone", "clone3", "fork", "vfork")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What is true of this host. ``None`` means that it could not be found out."""

    kernel_release: str
    machine: str
    capabilities: frozenset[str]
    has_btf: bool
    headers_directory: str | None
    lockdown: str | None
    tracefs_directory: str | None
    clone_exit_tracepoints: tuple[tuple[str, int], ...]
    """(system call, tracepoint id), those of CLONE_SYSTEM_CALLS that this kernel has."""
    online_cpu: int
    in_initial_pid_namespace: bool | None
    in_initial_user_namespace: bool | None = None
    fexit_functions: frozenset[str] = frozenset()
    """Of TRACED_FUNCTIONS, those to whose return a program can be attached: told by the loader,
    which tries, like the next."""
    return_probe_symbols: tuple[tuple[str, str], ...] = ()
    """(of TRACED_FUNCTIONS, symbol on which the kernel takes a return probe)."""
    is_preemptible: bool = False
    """Whether the kernel was built with CONFIG_PREEMPTION, which decides how much room a return
    probe has."""
    return_probe_type: int | None = None
    """Of the perf events that are return probes; None where the kernel has none."""


def gather(root: Path = Path("/")) -> HostFacts:
    """Look at the host whose file systems are below ``root``."""
    tracefs = _tracefs(root)
    release = platform.release()
    return HostFacts(
        kernel_release=release,
        machine=platform.machine(),
        capabilities=effective_capabilities(root),
        has_btf=os.access(root / "sys/kernel/btf/vmlinux", os.R_OK),
        headers_directory=_headers(root, release),
        lockdown=_lockdown(root),
        tracefs_directory=str(tracefs) if tracefs else None,
        clone_exit_tracepoints=_clone_exit_tracepoints(tracefs) if tracefs else (),
        online_cpu=_first_online_cpu(root),
        in_initial_pid_namespace=_is_inode(root / "proc/self/ns/pid", _INITIAL_PID_NAMESPACE),
        in_initial_user_namespace=_is_inode(root / "proc/self/ns/user", INITIAL_USER_NAMESPACE),
        is_preemptible="PREEMPT" in platform.version(),
        return_probe_type=_number(root / "sys/bus/event_source/devices/kprobe/type"),
    )


def effective_capabilities(root: Path = Path("/")) -> frozenset[str]:
    """Those of ``CAPABILITIES`` that this process has in effect."""
    for line in _read(root / "proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            mask = int(line.split()[1], 16)
            return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)
    return frozenset()


def _tracefs(root: Path) -> Path | None:
    for directory in TRACEFS_DIRECTORIES:
        path = root / directory.lstrip("/")
        if (path / "events").is_dir():
            return path
    return None


def _clone_exit_tracepoints(tracefs: Path) -> tuple[tuple[str, int], ...]:
    found = []
    for name in CLONE_SYSTEM_CALLS:
        number = _number(tracefs / f"events/syscalls/sys_exit_{name}/id")
        if number is not None:
            found.append((name, number))
    return tuple(found)


def _headers(root: Path, release: str) -> str | None:
    """Where the kernel's headers are; Debian has most of them in ``source``, beside ``build``."""
    modules = root / "lib/modules" / release
    places = (modules / name / "include/linux/kconfig.h" for name in ("build", "source"))
    return str(modules / "build") if any(map(Path.exists, places)) else None


def _lockdown(root: Path) -> str | None:
    """The mode in force: the bracketed word of ``none [integrity] confidentiality``."""
    text = _read(root / "sys/kernel/security/lockdown")
    start, end = text.find("["), text.find("]")
    return text[start + 1 : end] if 0 <= start < end else None


def _first_online_cpu(root: Path) -> int:
    first = _read(root / "sys/devices/system/cpu/online").strip().split(",")[0].split("-")[0]
    return int(first) if first.isdigit() else 0


def _is_inode(path: Path, inode: int) -> bool | None:
    try:
        return path.stat().st_ino == inode
    except OSError:
        return None


def symbols_of(function: str, root: Path = Path("/")) -> list[str]:
    """What a function of the kernel is called in its symbol table.

    Compilers add a suffix to a function of which they changed the parameters: ``NAME.isra.0``,
    ``NAME.constprop.0``. Parts of one that were moved elsewhere (``NAME.cold``) are left out.
    """
    pattern = rf"^[0-9a-f]+ [tT] ({re.escape(function)}(?:\.(?:isra|constprop|llvm)[^\s]*)?)$"
    return re.findall(pattern, _read(root / "proc/kallsyms"), re.MULTILINE)


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
