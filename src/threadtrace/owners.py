"""Who has a limit, and what would change it: in words, from what the kernel's programs tell."""

from __future__ import annotations

from threadtrace.model import knobs
from threadtrace.node.cgroups import Cgroup
from threadtrace.probe.host import INITIAL_USER_NAMESPACE
from threadtrace.probe.records import Limit

# The lower half of an owner: a uid, the inode number of a PID namespace.
_HALF_BITS = 32
LOWER_HALF = (1 << _HALF_BITS) - 1

HAS_OWNER = {Limit.PIDS_MAX, Limit.RLIMIT_NPROC, Limit.PID_MAX, Limit.THREADS_MAX}
"""Limits that somebody has: those that fill up."""


def owner_and_knob(
    limit: Limit, owner: int, cgroup: Cgroup | None, level: int
) -> tuple[str | None, str]:
    """Of a limit in HAS_OWNER.

    Args:
        limit: which.
        owner: as in ``struct refusal_key``.
        cgroup: that which has a pids.max, None once it is gone.
        level: of the PID namespace, 0 the node's.
    """
    if limit is Limit.PIDS_MAX:
        if cgroup is None:
            return None, "pids.max of a cgroup that is gone"
        return cgroup.path, knobs.knob_of_cgroup(cgroup.path)
    if limit is Limit.RLIMIT_NPROC:
        uid, namespace = owner & LOWER_HALF, owner >> _HALF_BITS
        inner = "" if namespace == INITIAL_USER_NAMESPACE else f" in user namespace {namespace}"
        return f"uid {uid}{inner}", knobs.knob_of_user(uid)
    if limit is Limit.PID_MAX and level:
        init = owner >> _HALF_BITS
        named = f" of init {init}" if init else ""
        return f"PID namespace level {level}{named}", knobs.knob_of_pid_namespace(init)
    shown = "PID namespace level 0" if limit is Limit.PID_MAX else "node"
    return shown, knobs.knob_of_node(limit)
