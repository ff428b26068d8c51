"""Which kernel structures the programs read, and the compiler flags that tell them where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from threadtrace.probe.btf import KernelTypes

# C name in bpf/layout.h: pairs of struct and member, whose offsets add up.
_Path = tuple[tuple[str, str], ...]

_MEMBERS: Mapping[str, _Path] = {
    "TASK_FLAGS": (("task_struct", "flags"),),
    "TASK_TGID": (("task_struct", "tgid"),),
    "TASK_PID": (("task_struct", "pid"),),
    "TASK_COMM": (("task_struct", "comm"),),
    "TASK_CGROUPS": (("task_struct", "cgroups"),),
    "TASK_GROUP_LEADER": (("task_struct", "group_leader"),),
    "TASK_START_BOOTTIME": (("task_struct", "start_boottime"),),
    "CSS_CGROUP": (("cgroup_subsys_state", "cgroup"),),
    "CGROUP_KN": (("cgroup", "kn"),),
    "CGROUP_ROOT": (("cgroup", "root"),),
    "CGROUP_ROOT_HIERARCHY_ID": (("cgroup_root", "hierarchy_id"),),
    "KERNFS_NODE_ID": (("kernfs_node", "id"),),
}
_PIDS_CGROUP_MEMBERS: Mapping[str, _Path] = {
    "CSS_PARENT": (("cgroup_subsys_state", "parent"),),
    "PIDS_CGROUP_CSS": (("pids_cgroup", "css"),),
    "PIDS_CGROUP_COUNTER": (("pids_cgroup", "counter"),),
    "PIDS_CGROUP_LIMIT": (("pids_cgroup", "limit"),),
}
_PID_NAMESPACE_MEMBERS: Mapping[str, _Path] = {
    "TASK_NSPROXY": (("task_struct", "nsproxy"),),
    "NSPROXY_PID_NS_FOR_CHILDREN": (("nsproxy", "pid_ns_for_children"),),
    "PID_NAMESPACE_ALLOCATED": (("pid_namespace", "pid_allocated"),),
    "PID_NAMESPACE_LEVEL": (("pid_namespace", "level"),),
    "PID_NAMESPACE_PARENT": (("pid_namespace", "parent"),),
    "PID_NAMESPACE_CHILD_REAPER": (("pid_namespace", "child_reaper"),),
    "PID_NAMESPACE_INODE": (("pid_namespace", "ns"), ("ns_common", "inum")),
}
_USER_MEMBERS: Mapping[str, _Path] = {
    "TASK_REAL_CRED": (("task_struct", "real_cred"),),
    "TASK_CRED": (("task_struct", "cred"),),
    "TASK_SIGNAL": (("task_struct", "signal"),),
    "SIGNAL_RLIM": (("signal_struct", "rlim"),),
    "CRED_UID": (("cred", "uid"),),
    "CRED_CAP_EFFECTIVE": (("cred", "cap_effective"),),
    "CRED_USER_NS": (("cred", "user_ns"),),
    "USER_NAMESPACE_LEVEL": (("user_namespace", "level"),),
    "USER_NAMESPACE_INODE": (("user_namespace", "ns"), ("ns_common", "inum")),
}
_USER_STRUCT_MEMBERS: Mapping[str, _Path] = {
    "CRED_USER": (("cred", "user"),),
    "USER_PROCESSES": (("user_struct", "processes"),),
}
_UCOUNTS_MEMBERS: Mapping[str, _Path] = {
    "CRED_UCOUNTS": (("cred", "ucounts"),),
    "UCOUNTS_NS": (("ucounts", "ns"),),
    "UCOUNTS_UID": (("ucounts", "uid"),),
    "USER_NAMESPACE_UCOUNTS": (("user_namespace", "ucounts"),),
}
_OPEN_FILE_MEMBERS: Mapping[str, _Path] = {
    "TASK_FILES": (("task_struct", "files"),),
    "FILES_FDT": (("files_struct", "fdt"),),
    "FDTABLE_FD": (("fdtable", "fd"),),
    "FILE_DENTRY": (("file", "f_path"), ("path", "dentry")),
    "DENTRY_INODE": (("dentry", "d_inode"),),
    "INODE_PRIVATE": (("inode", "i_private"),),
    "KERNFS_NODE_PRIV": (("kernfs_node", "priv"),),
}
# Where the counts by user and their limits are: (enum, array of ucounts, array of user_namespace).
_PROCESS_COUNTS_OF_USERS = (
    ("rlimit_type", "rlimit", "rlimit_max"),
    ("ucount_type", "ucount", "ucount_max"),
)
# In the saved registers, on x86, arm64 and riscv: the first argument of a system call, its number,
# and what a function returns.
_FIRST_ARGUMENTS = ("di", "orig_x0", "orig_a0")
_CALL_NUMBERS = ("orig_ax", "syscallno", "a7")
_RETURN_VALUES = ("ax", "regs", "a0")
_WORD_BYTES = 8

INFERRED_LIMITS = ("pids_max", "pid_max", "threads_max", "rlimit_nproc")

EXIT_TELLS_GROUP_DEAD = "THREADTRACE_EXIT_TELLS_GROUP_DEAD"


class UnknownLayout(Exception):
    """The kernel's BTF lacks a member that the programs need."""


class OffsetFlags(NamedTuple):
    """Compiler flags, and the limits of which no program can tell that they refused a clone."""

    flags: list[str]
    untold_limits: list[str]


def offset_flags(types: KernelTypes) -> OffsetFlags:
    """Compiler flags with every offset that ``bpf/layout.h`` names, in bytes.

    Raises:
        UnknownLayout: naming the first member that is not there and without which nothing works.
    """
    offsets: dict[str, int] = {}
    for name, path in _MEMBERS.items():
        offset = _offset(types, path)
        if offset is None:
            struct, member = path[0]
            raise UnknownLayout(f"struct {struct} has no member {member}")
        offsets[name] = offset
    subsystems = types.member_offset("css_set", "subsys")
    index = types.enum_value("cgroup_subsys_id", "pids_cgrp_id")
    if subsystems is None or index is None:
        raise UnknownLayout("the kernel has no pids controller")
    offsets["CSS_SET_PIDS"] = subsystems + _WORD_BYTES * index
    files = _open_files(types, index)
    defined = []
    if files is not None:
        offsets |= files
        defined.append("READS_OPEN_FILES")
    # (void *data, struct task_struct *p[, bool group_dead])
    if len(types.function_parameters("btf_trace_sched_process_exit")) > 2:
        defined.append(EXIT_TELLS_GROUP_DEAD)
    untold: list[str] = []
    for group, found, limits in (
        ("READS_PIDS_CGROUPS", _all(types, _PIDS_CGROUP_MEMBERS), ("pids_max",)),
        ("READS_PID_NAMESPACES", _pid_namespaces(types), ("pid_max", "threads_max")),
        ("READS_USER_COUNTS", _users(types), ("rlimit_nproc",)),
    ):
        if found is None:
            untold += limits
        else:
            offsets |= found
            defined.append(group)
    offsets |= _system_call_arguments(types) or {}
    offsets |= _traced_functions(types)
    flags = [f"-D{name}={value}" for name, value in offsets.items()]
    return OffsetFlags(flags + [f"-D{name}" for name in defined], untold)


def _offset(types: KernelTypes, path: _Path) -> int | None:
    offsets = [types.member_offset(struct, member) for struct, member in path]
    return None if None in offsets else sum(offset or 0 for offset in offsets)


def _all(types: KernelTypes, members: Mapping[str, _Path]) -> dict[str, int] | None:
    """The offsets of all of these, or nothing."""
    found: dict[str, int] = {}
    for name, path in members.items():
        offset = _offset(types, path)
        if offset is None:
            return None
        found[name] = offset
    return found


def _pid_namespaces(types: KernelTypes) -> dict[str, int] | None:
    found = _all(types, _PID_NAMESPACE_MEMBERS)
    own_pid_max = types.member_offset("pid_namespace", "pid_max")
    if found is not None and own_pid_max is not None:
        found["PID_NAMESPACE_PID_MAX"] = own_pid_max
    return found


def _users(types: KernelTypes) -> dict[str, int] | None:
    found = _all(types, _USER_MEMBERS)
    if found is None:
        return None
    of_user_struct = _all(types, _USER_STRUCT_MEMBERS)
    if of_user_struct is not None:
        return found | of_user_struct
    counts, limits = _process_counts_of_users(types)
    of_ucounts = _all(types, _UCOUNTS_MEMBERS)
    if of_ucounts is None or counts is None or limits is None:
        return None
    arrays = {"UCOUNTS_PROCESSES": counts, "USER_NAMESPACE_PROCESSES_MAX": limits}
    return found | of_ucounts | arrays


def _process_counts_of_users(types: KernelTypes) -> tuple[int | None, int | None]:
    for enum, counts, limits in _PROCESS_COUNTS_OF_USERS:
        index = types.enum_value(enum, "UCOUNT_RLIMIT_NPROC")
        of_counts = types.member_offset("ucounts", counts)
        of_limits = types.member_offset("user_namespace", limits)
        if index is not None and of_counts is not None and of_limits is not None:
            return of_counts + _WORD_BYTES * index, of_limits + _WORD_BYTES * index
    return None, None


def _open_files(types: KernelTypes, pids_index: int) -> dict[str, int] | None:
    found = _all(types, _OPEN_FILE_MEMBERS)
    subsystems = types.member_offset("cgroup", "subsys")
    if found is None or subsystems is None:
        return None
    return found | {"CGROUP_PIDS": subsystems + _WORD_BYTES * pids_index}


def return_value_offset(types: KernelTypes) -> int | None:
    """Where a return probe finds what the function returned, in bytes into ``pt_regs``."""
    return _register(types, _RETURN_VALUES)


def _register(types: KernelTypes, names: tuple[str, ...]) -> int | None:
    offsets = (types.member_offset("pt_regs", name) for name in names)
    return next((offset for offset in offsets if offset is not None), None)


def _traced_functions(types: KernelTypes) -> dict[str, int]:
    """What programs at the return of the kernel's functions need, where it can be known."""
    found = {
        "ALLOC_PID_PARAMETERS": types.parameter_count("alloc_pid"),
        "CLONE_ARGUMENTS_FLAGS": types.member_offset("kernel_clone_args", "flags"),
        "CLONE_ARGUMENTS_CGROUP": types.member_offset("kernel_clone_args", "cgroup"),
        "PT_REGS_RETURN_VALUE": return_value_offset(types),
    }
    return {name: value for name, value in found.items() if value is not None}


def _system_call_arguments(types: KernelTypes) -> dict[str, int] | None:
    """What tells a refused thread from a refused process, from 5.15 on."""
    found = {
        "HELPER_GET_CURRENT_TASK_BTF": types.enum_value(
            "bpf_func_id", "BPF_FUNC_get_current_task_btf"
        ),
        "HELPER_TASK_PT_REGS": types.enum_value("bpf_func_id", "BPF_FUNC_task_pt_regs"),
        "PT_REGS_FIRST_ARGUMENT": _register(types, _FIRST_ARGUMENTS),
        "PT_REGS_CALL_NUMBER": _register(types, _CALL_NUMBERS),
    }
    known = {name: value for name, value in found.items() if value is not None}
    return known if len(known) == len(found) else None
