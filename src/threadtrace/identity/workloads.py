"""From a cgroup to the workload that an operator knows: its kind, its key and its names."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from threadtrace.identity import paths
from threadtrace.identity.runtimes import ContainerNames, RuntimeFiles
from threadtrace.text import clean

# A runtime writes its files about when it makes the cgroup, kubelet its log names a little later.
_NAME_RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0)
_SHORT_ID = 12

# Their containers' ids are names that people choose: what another runtime's files say of the same
# name is about another container.
_SELF_NAMED_RUNTIMES = {"lxc", "nspawn"}


class WorkloadKind(str, enum.Enum):
    """What a workload is, told by its cgroup path."""

    CONTAINER = "container"
    POD = "pod"
    UNIT = "unit"
    SESSION = "session"
    KERNEL = "kernel"
    HOST = "host"
    CGROUP = "cgroup"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload: all its cgroups have the same key."""

    kind: WorkloadKind
    key: str
    cgroup_path: str | None
    """The topmost of its cgroups; None where it was gone before its path was read."""
    container_id: str | None = None
    pod_uid: str | None = None
    runtime: str | None = None
    unit: str | None = None
    names: ContainerNames | None = None

    @property
    def name(self) -> str:
        """One line for people: namespace/pod/container, the unit, the session, the path."""
        if self.names is not None and self.names.k8s_pod_name:
            return self._pod_name(self.names)
        if self.kind is WorkloadKind.CONTAINER:
            assert self.container_id is not None
            named = self.names.container_name if self.names else None
            return named or f"container {self.container_id[:_SHORT_ID]}"
        if self.kind is WorkloadKind.POD:
            return f"pod {self.pod_uid}"
        if self.kind is WorkloadKind.UNIT:
            return self.unit or self.key
        if self.kind in (WorkloadKind.KERNEL, WorkloadKind.HOST):
            return str(self.kind.value)
        return self.cgroup_path or self.key

    def _pod_name(self, names: ContainerNames) -> str:
        parts = [names.k8s_namespace or "?", names.k8s_pod_name or "?"]
        if names.is_sandbox:
            parts.append("(pause)")
        elif names.k8s_container_name:
            parts.append(names.k8s_container_name)
        return "/".join(parts)


KERNEL = Workload(WorkloadKind.KERNEL, "kernel", None)
HOST = Workload(WorkloadKind.HOST, "host", "/")


def identify(path: str) -> Workload:
    """The workload of a cgroup path, without names. Pure."""
    shown = clean(path)
    if path == "/":
        return HOST
    identity = paths.parse(shown)  # ids and units are told, too: no byte that JSON refuses
    container_id, pod_uid, unit = identity.container_id, identity.pod_uid, identity.unit
    if container_id:
        key = f"container:{container_id}"
        known = identity.runtime != paths.KUBELET_UNKNOWN
        runtime = identity.runtime if known else None
        kind = WorkloadKind.CONTAINER
        return Workload(kind, key, shown, container_id, pod_uid, runtime, unit)
    if pod_uid:
        return Workload(WorkloadKind.POD, f"pod:{pod_uid}", shown, pod_uid=pod_uid)
    if unit:
        # Two users may run a unit of the same name.
        key = f"unit:{identity.user_id}:{unit}"
        return Workload(WorkloadKind.UNIT, key, shown, unit=unit)
    if identity.session:
        return Workload(WorkloadKind.SESSION, f"session:{identity.session}", shown)
    return Workload(WorkloadKind.CGROUP, f"cgroup:{shown}", shown)


def unknown(cgroup_id: int) -> Workload:
    """A cgroup whose path cannot be learnt: gone before, or outside of what is mounted here."""
    return Workload(WorkloadKind.UNKNOWN, f"cgroup id {cgroup_id}", None)


@dataclass(slots=True)
class _Unnamed:
    attempts: int
    next_attempt: float


class Directory:
    """All workloads by key, with the names that the runtimes' files give.

    What grows: one entry a workload, dropped by ``remove``.
    """

    def __init__(self, files: RuntimeFiles) -> None:
        """Empty but for the kernel and the host."""
        self._files = files
        self._workloads = {KERNEL.key: KERNEL, HOST.key: HOST}
        self._unnamed: dict[str, _Unnamed] = {}

    def add(self, workload: Workload, now: float) -> Workload:
        """File a workload under its key, or its cgroup under the workload that is there.

        Args:
            workload: as ``identify`` tells.
            now: seconds of a clock that does not go back, for when to look for names again.
        """
        known = self._workloads.get(workload.key)
        if known is None:
            self._workloads[workload.key] = workload
            if workload.kind in (WorkloadKind.CONTAINER, WorkloadKind.POD):
                self._unnamed[workload.key] = _Unnamed(0, now)
                self._try_to_name(workload.key, now)
            return self._workloads[workload.key]
        if _is_above(workload.cgroup_path, known.cgroup_path):
            known = replace(known, cgroup_path=workload.cgroup_path)
            self._workloads[workload.key] = known
        return known

    def rename(self, workload: Workload, path: str, now: float) -> Workload:
        """A workload whose topmost cgroup has another path now (version 1 only).

        Where the path names another workload that is there already, it keeps its name.
        """
        renamed = identify(path)
        if renamed.key != workload.key:
            if renamed.key in self._workloads:
                return workload
            self.remove(workload.key)
            return self.add(renamed, now)
        renamed = replace(workload, cgroup_path=renamed.cgroup_path)
        self._workloads[workload.key] = renamed
        return renamed

    def remove(self, key: str) -> None:
        """Forget a workload."""
        if key not in (KERNEL.key, HOST.key):
            self._workloads.pop(key, None)
            self._unnamed.pop(key, None)

    def retry_names(self, now: float) -> list[Workload]:
        """Look once more for names that were not there; the workloads that changed."""
        due = [key for key, state in self._unnamed.items() if state.next_attempt <= now]
        return [self._workloads[key] for key in due if self._try_to_name(key, now)]

    def _try_to_name(self, key: str, now: float) -> bool:
        workload, state = self._workloads[key], self._unnamed[key]
        names = self._look_up(workload)
        if names is not None and names.runtime is not None and not names.is_nameless:
            del self._unnamed[key]
        elif state.attempts < len(_NAME_RETRY_SECONDS):
            state.next_attempt = now + _NAME_RETRY_SECONDS[state.attempts]
            state.attempts += 1
        else:
            del self._unnamed[key]
        if names is None or names == workload.names:
            return False
        runtime = names.runtime or workload.runtime
        pod_uid = workload.pod_uid or names.k8s_pod_uid
        self._workloads[key] = replace(workload, names=names, runtime=runtime, pod_uid=pod_uid)
        return True

    def _look_up(self, workload: Workload) -> ContainerNames | None:
        if workload.kind is WorkloadKind.POD and workload.pod_uid:
            return self._files.lookup_pod(workload.pod_uid)
        if workload.runtime in _SELF_NAMED_RUNTIMES:
            return ContainerNames(workload.runtime, container_name=workload.container_id)
        assert workload.container_id is not None
        return self._files.lookup(workload.container_id, workload.runtime, workload.pod_uid)


def _is_above(path: str | None, other: str | None) -> bool:
    return path is not None and other is not None and other.startswith(path + "/")
