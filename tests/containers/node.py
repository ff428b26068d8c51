"""A node with one pod, as runc alone and as containerd make it; and who its containers are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from support.stream import Event

from .agent import ENDED, STARTED, Agent
from .rootfs import IMAGE
from .runc_container import RuncContainer, RuncPod, kubernetes_annotations
from .workload import ContainerWorkload

if TYPE_CHECKING:
    from .cri import Containerd, CriPod

POD, NAMESPACE = "web-0", "shop"
EAGAIN = 11

THREADS, PROCESSES = "threads_created_count", "processes_created_count"
RATES = "workload.rates"


class Node(Protocol):
    """A node with one pod, POD in NAMESPACE, that containers can be started in."""

    hostroot: Path
    pod_uid: str

    def container(self, name: str, *command: str) -> AbstractContextManager[ContainerWorkload]: ...


class RuncNode:
    def __init__(self, pod: RuncPod) -> None:
        self.pod = pod
        self.hostroot = pod.hostroot
        self.pod_uid = pod.uid

    @contextmanager
    def container(self, name: str, *command: str) -> Iterator[RuncContainer]:
        names = kubernetes_annotations(POD, NAMESPACE, self.pod_uid, name)
        container = self.pod.run(*command, annotations=names)
        try:
            yield container
        finally:
            container.close()


class CriNode:
    def __init__(self, containerd: Containerd, pod: CriPod) -> None:
        self.hostroot = containerd.hostroot
        self.pod_uid = pod.uid
        self.container = pod.container


def identity_of(event: Event) -> dict[str, Any]:
    return {group: event[group] for group in ("k8s", "container", "process") if group in event}


def identity(container: ContainerWorkload, name: str, **others: str) -> dict[str, Any]:
    """All that the events of a container say of who it is, and nothing else."""
    return {
        "k8s": {
            "namespace": {"name": others.get("namespace", NAMESPACE)},
            "pod": {"name": others.get("pod", POD), "uid": container.pod_uid},
            "container": {"name": name},
        },
        "container": {
            "id": container.id,
            "name": name,
            "runtime": {"name": "containerd"},
            "image": {"name": IMAGE},
        },
        "process": {"linux": {"cgroup": container.cgroup_path}},
    }


def assert_named(agent: Agent, path: str, expected: dict[str, Any]) -> None:
    """From its first event to its last one."""
    events = [event for name in (STARTED, RATES, ENDED) for event in agent.of(name, path)]
    assert events
    for event in events:
        assert identity_of(event) == expected, event["event"]
