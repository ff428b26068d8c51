"""What an operator would change so that a limit no longer refuses. Pure."""

from __future__ import annotations

import re

from threadtrace.identity.paths import parse
from threadtrace.probe.records import Limit
from threadtrace.text import clean

_UNIT_WITH_TASKS_MAX = re.compile(r".+\.(service|scope|slice|socket|mount|swap)\Z")
_KUBEPODS = re.compile(r"(.*-)?kubepods(\.slice)?\Z")
_QOS_CLASS = re.compile(r"(.*kubepods-)?(burstable|besteffort|guaranteed)(\.slice)?\Z")

# The largest that the kernel takes on 64 bits: PID_MAX_LIMIT, include/linux/threads.h.
_HIGHEST_PID_MAX = 4_194_304

_FORBIDDEN = ("EPERM", "EACCES")
_WRONG_ARGUMENTS = ("EINVAL", "EBADF", "EFAULT", "E2BIG")

_WORD_IN_PATH = {"docker": "docker", "podman": "libpod", "cri-o": "crio"}
_OF_RUNTIME = {
    "docker": "docker update --pids-limit N {id}",
    "podman": "podman update --pids-limit N {id}",
    "cri-o": "pids_limit of CRI-O (crio.conf), or the pod's PID limit",
}


def knob_of_cgroup(path: str) -> str:
    """Who set pids.max on that cgroup, and how it is changed.

    Args:
        path: of the cgroup that owns the limit, in the pids hierarchy.
    """
    segment = path.rpartition("/")[2]
    identity = parse(path)
    shown = clean(segment)
    if identity.container_id is not None and identity.container_id in segment:
        # A cgroup named by such an id alone is made by more than one runtime.
        is_told = _WORD_IN_PATH.get(identity.runtime or "", "") in path
        return _of_container(identity.container_id, identity.runtime if is_told else None)
    if identity.container_id is None and identity.pod_uid is not None:
        return "podPidsLimit of the kubelet (the limit of every pod on this node)"
    if _KUBEPODS.match(segment):
        return "the kubelet's PID reservation (pid= in --kube-reserved and --system-reserved)"
    if _QOS_CLASS.match(segment):
        return "pids.max of the kubelet's QoS class; the kubelet itself sets none there"
    if _UNIT_WITH_TASKS_MAX.match(segment):
        inside = " inside the container" if identity.container_id else ""
        return f"TasksMax of {shown}{inside}: systemctl set-property {shown} TasksMax=N"
    return f"pids.max of the cgroup {clean(path)}"


def knob_of_node(limit: Limit) -> str:
    """The sysctl of a limit of the whole node."""
    if limit is Limit.THREADS_MAX:
        return "sysctl -w kernel.threads-max=N"
    return f"sysctl -w kernel.pid_max={_HIGHEST_PID_MAX}, or a PID limit on the pods"


def knob_of_pid_namespace(init: int) -> str:
    """Since 6.14 each PID namespace has a pid_max of its own.

    Args:
        init: the PID, on the node, of its first process.
    """
    enter = f"nsenter -t {init} -p " if init else "inside it: "
    return f"the pid_max of that PID namespace: {enter}sysctl -w kernel.pid_max=N"


def knob_of_user(uid: int) -> str:
    """RLIMIT_NPROC counts all processes of a user, across containers that share the uid."""
    return (
        f"RLIMIT_NPROC of uid {uid}: ulimit -u, LimitNPROC= of the unit, the runtime's nproc "
        "ulimit; or another uid for each container"
    )


def knob_of_other(limit: Limit, error: str) -> str:
    """Where no number is to be raised."""
    if limit is Limit.MEMORY:
        return "the memory limit of the container or its pod, or the node's memory"
    if limit is Limit.NAMESPACE:
        return "the sysctls user.max_*_namespaces; or the PID namespace's init has ended"
    if error in _FORBIDDEN:
        return (
            "the policy of a security module (AppArmor, SELinux, BPF LSM), the seccomp profile, or "
            "a capability that new namespaces need: the audit log or dmesg may tell"
        )
    if error in _WRONG_ARGUMENTS:
        return "the program itself: it asked with arguments that the kernel does not take"
    return f"none that is known: the kernel answered {error}"


def _of_container(container_id: str, runtime: str | None) -> str:
    known = _OF_RUNTIME.get(runtime or "")
    if known is None:
        return "the container's pids limit, which its runtime sets (linux.resources.pids)"
    return f"the container's pids limit: {known}".format(id=container_id[:12])
