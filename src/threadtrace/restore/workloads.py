"""Which workload an event is about: the same object as long as the events say the same of it."""

from __future__ import annotations

import sys
from dataclasses import replace

import orjson

from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import HOST, KERNEL, Workload, WorkloadKind, identify
from threadtrace.report.fields import Fields, inner, text
from threadtrace.report.reading import Event

# More than a node has; a hostile stream could name any number.
MAX_WORKLOADS = 65_536

_KINDS = {kind.value: kind for kind in WorkloadKind}
_SANDBOX = "(pause)"
_UNKNOWN_NAMESPACE = "?"
_ID_BEFORE = "container "
_POD_BEFORE = "pod "


def place_of(event: Event) -> object:
    """What stands for the workload of an event, at the cost of a look at it."""
    path = text(inner(inner(event.fields, "process"), "linux"), "cgroup")
    if path is not None:
        return path
    label = inner(event.details, "workload")
    return text(label, "kind"), text(label, "name")


class Workloads:
    """What grows: one entry a workload that was named, until ``forget``; ``MAX_WORKLOADS``."""

    def __init__(self) -> None:
        self._by_place: dict[object, tuple[int, Workload]] = {}
        self._by_label: dict[tuple[str, str], Workload] = {}

    def of_event(self, event: Event) -> Workload | None:
        """The one that the event is about; None where it does not say."""
        fields = event.fields
        label = inner(event.details, "workload")
        path = text(inner(inner(fields, "process"), "linux"), "cgroup")
        about = (label, fields.get("container"), fields.get("k8s"), fields.get("systemd"))
        # Not the fields themselves: they are larger than all else that is kept of a workload.
        told = hash(orjson.dumps(about))
        place = path or (text(label, "kind"), text(label, "name"))
        known = self._by_place.get(place)
        if known is not None and known[0] == told:
            return known[1]
        workload = _restored(path, fields, label)
        if workload is None:
            return None
        if len(self._by_place) >= MAX_WORKLOADS:
            self._by_place.clear()
            self._by_label.clear()
        self._by_place[place] = told, workload
        self._by_label[workload.kind.value, workload.name] = workload
        return workload

    def of_label(self, label: Fields) -> Workload | None:
        """Another one that an event names, by its kind and name alone."""
        kind, name = text(label, "kind"), text(label, "name")
        if kind is None or name is None:
            return None
        return self._by_label.get((kind, name)) or _of_words(kind, name)

    def forget(self, workload: Workload) -> None:
        """It is gone."""
        kind, name = workload.kind.value, workload.name
        self._by_place.pop(workload.cgroup_path or (kind, name), None)
        self._by_label.pop((kind, name), None)


def _restored(path: str | None, fields: Fields, label: Fields) -> Workload | None:
    kind, name = text(label, "kind"), text(label, "name")
    workload = None if path is None else identify(path)
    if workload is None or (kind is not None and workload.kind.value != kind):
        workload = _of_ids(kind, path, fields) or workload
    if workload is None:
        return None if kind is None or name is None else _of_words(kind, name)
    return _with_names(workload, fields, name)


def _of_ids(kind: str | None, path: str | None, fields: Fields) -> Workload | None:
    """Where the path does not tell, as one that was cut."""
    container_id = text(inner(fields, "container"), "id")
    pod_uid = text(inner(inner(fields, "k8s"), "pod"), "uid")
    if kind == WorkloadKind.CONTAINER.value and container_id is not None:
        key = f"container:{container_id}"
        return Workload(WorkloadKind.CONTAINER, key, path, container_id, pod_uid)
    if kind == WorkloadKind.POD.value and pod_uid is not None:
        return Workload(WorkloadKind.POD, f"pod:{pod_uid}", path, pod_uid=pod_uid)
    return None


def _with_names(workload: Workload, fields: Fields, name: str | None) -> Workload:
    """The same with what a runtime's files had told of it."""
    if workload.kind not in (WorkloadKind.CONTAINER, WorkloadKind.POD):
        return workload
    container, k8s = inner(fields, "container"), inner(fields, "k8s")
    pod = inner(k8s, "pod")
    runtime = _shared(inner(container, "runtime"), "name")
    pod_name = text(pod, "name")
    pod_uid = text(pod, "uid")
    names = ContainerNames(
        container_name=text(container, "name"),
        image_name=_shared(inner(container, "image"), "name"),
        k8s_namespace=_shared(inner(k8s, "namespace"), "name"),
        k8s_pod_name=pod_name,
        k8s_container_name=_shared(inner(k8s, "container"), "name"),
        is_sandbox=pod_name is not None and (name or "").endswith("/" + _SANDBOX),
    )
    has_names = not names.is_nameless
    return replace(
        workload,
        runtime=runtime or workload.runtime,
        pod_uid=pod_uid or workload.pod_uid,
        unit=text(inner(fields, "systemd"), "unit") or workload.unit,
        names=replace(names, runtime=runtime, k8s_pod_uid=pod_uid) if has_names else None,
    )


def _shared(fields: Fields, name: str) -> str | None:
    """A text that many workloads have in common: it is kept once."""
    found = text(fields, name)
    return None if found is None else sys.intern(found)


def _of_words(kind: str, name: str) -> Workload | None:
    """One of which kind and name alone are known, so that it is called the same again."""
    match _KINDS.get(kind):
        case WorkloadKind.KERNEL:
            return KERNEL
        case WorkloadKind.HOST:
            return HOST
        case WorkloadKind.UNIT:
            return Workload(WorkloadKind.UNIT, f"unit:None:{name}", None, unit=name)
        case WorkloadKind.CONTAINER:
            return _named_container(name)
        case WorkloadKind.POD:
            return _named_pod(name)
        case WorkloadKind.SESSION | WorkloadKind.CGROUP as known:
            identified = identify(name)
            return identified if identified.kind is known else Workload(known, name, None)
        case _:
            # Also of kinds that a newer version may know.
            return Workload(WorkloadKind.UNKNOWN, name, None)


def _named_container(name: str) -> Workload:
    if name.startswith(_ID_BEFORE) and " " not in name[len(_ID_BEFORE) :]:
        container_id = name[len(_ID_BEFORE) :]
        return Workload(WorkloadKind.CONTAINER, f"container:{container_id}", None, container_id)
    names = _pod_names(name) or ContainerNames(container_name=name)
    # It has an id, which is not told here; its name stands for it.
    return Workload(WorkloadKind.CONTAINER, f"container named {name}", None, name, names=names)


def _named_pod(name: str) -> Workload:
    if name.startswith(_POD_BEFORE):
        pod_uid = name[len(_POD_BEFORE) :]
        return Workload(WorkloadKind.POD, f"pod:{pod_uid}", None, pod_uid=pod_uid)
    names = _pod_names(name)
    return Workload(WorkloadKind.POD, f"pod named {name}", None, pod_uid=name, names=names)


def _pod_names(name: str) -> ContainerNames | None:
    """Out of ``namespace/pod/container``; no name of Kubernetes holds a slash."""
    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        return None
    is_sandbox = parts[2:] == [_SANDBOX]
    return ContainerNames(
        k8s_namespace=None if parts[0] == _UNKNOWN_NAMESPACE else parts[0],
        k8s_pod_name=parts[1],
        k8s_container_name=parts[2] if len(parts) == 3 and not is_sandbox else None,
        is_sandbox=is_sandbox,
    )
