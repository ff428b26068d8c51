"""Which kernel structures the programs read, and the compiler flags that tell them where."""

from __future__ import annotations

from threadtrace.probe.btf import KernelTypes

# C name in bpf/layout.h: (struct, member)
_MEMBERS = {
    "TASK_FLAGS": ("task_struct", "flags"),
    "TASK_TGID": ("task_struct", "tgid"),
    "TASK_PID": ("task_struct", "pid"),
    "TASK_COMM": ("task_struct", "comm"),
    "TASK_CGROUPS": ("task_struct", "cgroups"),
    "TASK_GROUP_LEADER": ("task_struct", "group_leader"),
    "TASK_START_BOOTTIME": ("task_struct", "start_boottime"),
    "CSS_CGROUP": ("cgroup_subsys_state", "cgroup"),
    "CGROUP_KN": ("cgroup", "kn"),
    "CGROUP_ROOT": ("cgroup", "root"),
    "CGROUP_ROOT_HIERARCHY_ID": ("cgroup_root", "hierarchy_id"),
    "KERNFS_NODE_ID": ("kernfs_node", "id"),
}
_POINTER_BYTES = 8

EXIT_TELLS_GROUP_DEAD = "THREADTRACE_EXIT_TELLS_GROUP_DEAD"


class UnknownLayout(Exception):
    """The kernel's BTF lacks a member that the programs need."""


def offset_flags(types: KernelTypes) -> list[str]:
    """Compiler flags with every offset that ``bpf/layout.h`` names, in bytes.

    Raises:
        UnknownLayout: naming the first member that is not there.
    """
    flags = []
    for name, (struct, member) in _MEMBERS.items():
        offset = types.member_offset(struct, member)
        if offset is None:
            raise UnknownLayout(f"struct {struct} has no member {member}")
        flags.append(f"-D{name}={offset}")
    subsystems = types.member_offset("css_set", "subsys")
    index = types.enum_value("cgroup_subsys_id", "pids_cgrp_id")
    if subsystems is None or index is None:
        raise UnknownLayout("the kernel has no pids controller")
    flags.append(f"-DCSS_SET_PIDS={subsystems + _POINTER_BYTES * index}")
    # (void *data, struct task_struct *p[, bool group_dead])
    if len(types.function_parameters("btf_trace_sched_process_exit")) > 2:
        flags.append(f"-D{EXIT_TELLS_GROUP_DEAD}")
    return flags
