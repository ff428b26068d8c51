"""Which series a workload counts in: the values of its labels. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from threadtrace.identity.workloads import Workload, WorkloadKind
from threadtrace.probe.records import Limit
from threadtrace.text import error_name

# Paths of cgroups can be longer; what tells them apart stands at their end.
_MAX_CHARACTERS = 256
_KEPT_HEAD = 96

# What a name that people chose must not look like: a word of this module, a path, a unit.
_LIKE_ANOTHER = re.compile(
    r"[(/]|(?:container|pod) |(?:host|kernel|.*\.(?:service|scope|slice|socket|mount|swap))\Z",
    re.DOTALL,
)

_ERRORS = {
    "E2BIG",
    "EACCES",
    "EAGAIN",
    "EBADF",
    "EBUSY",
    "EEXIST",
    "EFAULT",
    "EINVAL",
    "ENOMEM",
    "ENOSPC",
    "EOPNOTSUPP",
    "EPERM",
    "EUSERS",
}
"""What clone(2) names, and what its arguments can bring about."""


class Labels(NamedTuple):
    """Of a workload. Two workloads with the same labels count together."""

    namespace: str
    """Empty where there is no pod."""
    pod: str
    """Empty where there is no pod."""
    container: str
    """Of a pod, or of another runtime; a unit; the path of a cgroup; a word in parentheses."""


OTHER = Labels("", "", "(other)")
"""Everybody without a series of their own; no name begins with a parenthesis."""

_OF_POD = "(pod)"
"""The pause container and the pod's own cgroup: what the pod holds outside its containers."""


def labels_of(workload: Workload) -> Labels | None:
    """The labels of a workload; None for what nobody could tell from others.

    A restarted container has another id and the same labels.
    """
    names = workload.names
    if names is not None and names.k8s_pod_name:
        if names.is_sandbox or workload.kind is WorkloadKind.POD:
            container = _OF_POD
        else:
            container = _free(names.k8s_container_name or workload.container_id or _OF_POD)
        return Labels(valid(names.k8s_namespace or ""), valid(names.k8s_pod_name), container)
    kind = workload.kind
    if kind is WorkloadKind.UNKNOWN:
        return None
    if kind is WorkloadKind.CONTAINER and names is not None and names.container_name:
        return Labels("", "", _free(names.container_name))
    # Of the others no name was chosen freely, and what systemd and this tool call them differs.
    return Labels("", "", valid(workload.name))


def name_of(workload: Workload) -> str | None:
    """What a restarted container shares with the one before, cheaper than its labels."""
    names = workload.names
    return None if names is None else names.k8s_pod_name or names.container_name


def is_named(workload: Workload) -> bool:
    """Whether its labels will stay: a container's names may come a moment after it."""
    if workload.kind not in (WorkloadKind.CONTAINER, WorkloadKind.POD):
        return True
    return name_of(workload) is not None


def error_label(code: int) -> str:
    """The name of an errno, of a bounded set."""
    name = error_name(code)
    return name if name in _ERRORS else "other"


def limit_label(limit: Limit) -> str:
    """As the events call it."""
    return limit.name.lower()


def valid(text: str) -> str:
    """As UTF-8 can carry it, at most 256 characters; the middle of what is longer is left out."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    text = text.replace("\0", "�")
    if len(text) <= _MAX_CHARACTERS:
        return text
    return text[:_KEPT_HEAD] + "…" + text[_KEPT_HEAD + 1 - _MAX_CHARACTERS :]


def _free(name: str) -> str:
    """A name that people chose, where it could be taken for what it is not."""
    name = valid(name)
    return valid(f"container {name}") if _LIKE_ANOTHER.match(name) else name
