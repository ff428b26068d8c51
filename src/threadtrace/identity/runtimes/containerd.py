"""containerd: the OCI bundle of a running task, `<state>/<plugin>/<namespace>/<id>/config.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from threadtrace.identity.runtimes.files import Watched, list_directories, read_json
from threadtrace.identity.runtimes.names import (
    ContainerNames,
    as_image_name,
    as_mapping,
    as_text,
    from_pod_log_directory,
    kubernetes_names,
)

# containerd's `state` setting: the default, then k3s and RKE2, k0s, MicroK8s.
_STATE_DIRECTORIES = (
    "run/containerd",
    "run/k3s/containerd",
    "run/k0s/containerd",
    "var/snap/microk8s/common/run/containerd",
)

# The plug-in that keeps the bundles: containerd 1.2 and later, then the first shim API, which
# containerd 2.0 dropped.
_TASK_PLUGINS = ("io.containerd.runtime.v2.task", "io.containerd.runtime.v1.linux")

# docker's namespace in a containerd that it shares. Its bundles carry no names; docker's own
# files do.
_DOCKER_NAMESPACE = "moby"

# An id chosen by hand may stand in two namespaces; a node's pods come first.
_FIRST_NAMESPACE = "k8s.io"


class ContainerdBundles:
    """Names from the annotations of containerd's bundles."""

    runtime = "containerd"

    def __init__(self, root: Path) -> None:
        self._namespaces = tuple(
            Watched[list[str]](str(root / state / plugin), _list_namespaces, [])
            for state in _STATE_DIRECTORIES
            for plugin in _TASK_PLUGINS
        )

    def lookup(self, container_id: str) -> ContainerNames | None:
        """See NameSource."""
        for namespaces in self._namespaces:
            for namespace in namespaces.value():
                spec = read_json(f"{namespaces.path}/{namespace}/{container_id}/config.json")
                if isinstance(spec, dict):
                    return _bundle_names(namespace, as_mapping(spec.get("annotations")))
        return None

    def directories(self) -> Iterator[str]:
        """See NameSource."""
        return (namespaces.path for namespaces in self._namespaces)


def _list_namespaces(path: str) -> list[str]:
    return sorted(list_directories(path), key=lambda name: (name != _FIRST_NAMESPACE, name))


def _bundle_names(namespace: str, annotations: Mapping[str, object]) -> ContainerNames:
    if namespace == _DOCKER_NAMESPACE:
        return ContainerNames(runtime="docker")
    if "io.kubernetes.cri.container-type" in annotations:
        return _pod_container_names(annotations)
    # nerdctl, `pkg/labels/labels.go`: its labels are passed on as annotations. The image's
    # name is kept in containerd's database only.
    return ContainerNames(
        runtime="containerd", container_name=as_text(annotations.get("nerdctl/name"))
    )


def _pod_container_names(annotations: Mapping[str, object]) -> ContainerNames:
    """Return the names that the CRI plug-in annotated.

    Source: containerd, `pkg/cri/annotations/annotations.go` (2.x: `internal/cri/annotations`).
    Early versions wrote the type, the sandbox's id and, for a sandbox, its log directory only;
    the image of a sandbox came with containerd 2.
    """
    is_sandbox = annotations.get("io.kubernetes.cri.container-type") == "sandbox"
    image = "podsandbox.image-name" if is_sandbox else "image-name"
    names = kubernetes_names(
        "containerd",
        container=as_text(annotations.get("io.kubernetes.cri.container-name")),
        pod=as_text(annotations.get("io.kubernetes.cri.sandbox-name")),
        namespace=as_text(annotations.get("io.kubernetes.cri.sandbox-namespace")),
        uid=as_text(annotations.get("io.kubernetes.cri.sandbox-uid")),
        image=as_image_name(annotations.get(f"io.kubernetes.cri.{image}")),
        is_sandbox=is_sandbox,
    )
    logs = as_text(annotations.get("io.kubernetes.cri.sandbox-log-directory"))
    return (
        names
        if logs is None
        else names.filled_from(from_pod_log_directory(PurePosixPath(logs).name))
    )
