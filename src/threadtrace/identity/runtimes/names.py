"""What a runtime calls a container, and the naming rules that several runtimes share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

# An id becomes one component of a path: no separator, no leading dot, at most NAME_MAX bytes.
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")

# The name of an image is what people wrote; a bare image id is not a name.
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")

# dockershim, cri-dockerd and CRI-O name a pod's pause container so (kubelet itself never does:
# the name is upper case, which a Kubernetes container name cannot be).
_SANDBOX_CONTAINER_NAME = "POD"


@dataclass(frozen=True, slots=True)
class ContainerNames:
    """Names of one container. What no file says is None, never an empty string.

    `runtime` is containerd, crio, docker or podman; None when only kubelet's log names are
    known, that is when the runtime's own file may still appear.
    `container_name` is the name that the runtime shows to people: docker's without its leading
    slash, podman's first, and in Kubernetes the container's name in the pod.
    A pod's pause container (`is_sandbox`) has neither container name.
    """

    runtime: str | None = None
    container_name: str | None = None
    image_name: str | None = None
    k8s_namespace: str | None = None
    k8s_pod_name: str | None = None
    k8s_pod_uid: str | None = None
    k8s_container_name: str | None = None
    is_sandbox: bool = False

    def filled_from(self, other: ContainerNames | None) -> ContainerNames:
        """Take from `other` the names that are not known here."""
        if other is None:
            return self
        return ContainerNames(
            runtime=self.runtime or other.runtime,
            container_name=self.container_name or other.container_name,
            image_name=self.image_name or other.image_name,
            k8s_namespace=self.k8s_namespace or other.k8s_namespace,
            k8s_pod_name=self.k8s_pod_name or other.k8s_pod_name,
            k8s_pod_uid=self.k8s_pod_uid or other.k8s_pod_uid,
            k8s_container_name=self.k8s_container_name or other.k8s_container_name,
            is_sandbox=self.is_sandbox or other.is_sandbox,
        )

    @property
    def is_nameless(self) -> bool:
        """Whether the files told the runtime at most."""
        return replace(self, runtime=None) == ContainerNames()


def is_container_id(text: str) -> bool:
    """Whether `text` may be joined to a path as one component."""
    return _CONTAINER_ID.fullmatch(text) is not None and ".." not in text


def as_mapping(value: object) -> Mapping[str, object]:
    """Return a JSON object as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str | None:
    """Return a JSON string that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def as_image_name(value: object) -> str | None:
    """Return an image's name; None for a bare image id.

    kubelet asks a runtime for the image that it has already resolved, so runtimes often record
    `sha256:<64 hex digits>` (docker) or the digits alone (CRI-O) where a name is expected.
    """
    name = as_text(value)
    return None if name is None or _IMAGE_ID.fullmatch(name) else name


def kubernetes_names(
    runtime: str | None,
    *,
    container: str | None,
    pod: str | None,
    namespace: str | None,
    uid: str | None,
    image: str | None = None,
    is_sandbox: bool = False,
) -> ContainerNames:
    """Return the names of a container of a pod; a sandbox loses its made-up container name."""
    is_sandbox = is_sandbox or container == _SANDBOX_CONTAINER_NAME
    container = None if is_sandbox else container
    return ContainerNames(
        runtime=runtime,
        container_name=container,
        image_name=image,
        k8s_namespace=namespace,
        k8s_pod_name=pod,
        k8s_pod_uid=uid,
        k8s_container_name=container,
        is_sandbox=is_sandbox,
    )


def from_label_names(
    runtime: str, labels: Mapping[str, object], *, image: str | None, is_sandbox: bool
) -> ContainerNames:
    """Return the names in kubelet's container labels.

    Source: kubernetes, `staging/src/k8s.io/kubelet/pkg/types/labels.go`. docker keeps them as
    labels, CRI-O copies them to annotations.
    """
    return kubernetes_names(
        runtime,
        container=as_text(labels.get("io.kubernetes.container.name")),
        pod=as_text(labels.get("io.kubernetes.pod.name")),
        namespace=as_text(labels.get("io.kubernetes.pod.namespace")),
        uid=as_text(labels.get("io.kubernetes.pod.uid")),
        image=image,
        is_sandbox=is_sandbox,
    )


def from_joined_name(runtime: str, name: str) -> ContainerNames | None:
    """Take `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>` apart; None for other names.

    Sources: dockershim and cri-dockerd, `naming.go` (which appends one more part when the name
    is taken); CRI-O, `internal/factory/container`, `SetNameAndID`. No part of it can hold an
    underscore, by the rules for Kubernetes object names.
    """
    parts = name.split("_")
    if parts[0] != "k8s" or len(parts) not in (6, 7) or not all(parts):
        return None
    _, container, pod, namespace, uid = parts[:5]
    return kubernetes_names(runtime, container=container, pod=pod, namespace=namespace, uid=uid)


def from_pod_log_directory(name: str) -> ContainerNames | None:
    """Take `<namespace>_<pod>_<uid>`, the name of a pod's log directory, apart.

    Source: kubernetes, `pkg/kubelet/kuberuntime/helpers.go`, `BuildPodLogsDirectory`. Before
    Kubernetes 1.14 the name was the uid alone, which names nothing.
    """
    # Names of Kubernetes objects are ASCII: another entry is not kubelet's.
    parts = name.split("_") if name.isascii() else []
    if len(parts) != 3 or not all(parts):
        return None
    namespace, pod, uid = parts
    return ContainerNames(k8s_namespace=namespace, k8s_pod_name=pod, k8s_pod_uid=uid)
