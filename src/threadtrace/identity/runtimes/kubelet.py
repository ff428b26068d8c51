"""kubelet: names of log files and directories, the same with every runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from threadtrace.identity.runtimes.files import Watched, list_names
from threadtrace.identity.runtimes.names import (
    ContainerNames,
    from_pod_log_directory,
    kubernetes_names,
)

_CONTAINER_LOGS = "var/log/containers"
_POD_LOGS = "var/log/pods"  # kubelet's default for `podLogsDir`


class KubeletLogs:
    """Names of the containers and pods that kubelet started on this node.

    The links are there from a container's start to its removal, but for runtimes that log
    elsewhere (docker with the journald driver). Sandboxes have none.
    """

    def __init__(self, root: Path) -> None:
        self._containers = Watched[dict[str, str]](str(root / _CONTAINER_LOGS), _list_logs, {})
        self._pods = Watched[dict[str, str]](str(root / _POD_LOGS), _list_pods, {})

    def lookup(self, container_id: str) -> ContainerNames | None:
        """Return the names of a container by its id."""
        stem = self._containers.value().get(container_id)
        if stem is None:
            return None
        pod, namespace, container = stem.split("_")
        return kubernetes_names(None, container=container, pod=pod, namespace=namespace, uid=None)

    def lookup_pod(self, pod_uid: str) -> ContainerNames | None:
        """Return the namespace and name of a pod by its uid."""
        name = self._pods.value().get(pod_uid)
        return None if name is None else from_pod_log_directory(name)

    def directories(self) -> Iterator[str]:
        """Yield kubelet's log directories, present or not."""
        yield self._containers.path
        yield self._pods.path


def _list_logs(path: str) -> dict[str, str]:
    """Index `<pod>_<namespace>_<container>-<id>.log` by id, the rest left as it is.

    Source: kubernetes, `pkg/kubelet/kuberuntime/legacy.go`, `legacyLogSymlink`. Names that would
    exceed 255 bytes lose the end of the id there, so that no id matches them here.
    """
    index = {}
    for name in list_names(path):
        # Names of Kubernetes objects are ASCII: another entry is not kubelet's.
        if name.endswith(".log") and name.isascii():
            stem, dash, container_id = name.removesuffix(".log").rpartition("-")
            parts = stem.split("_")
            if dash and container_id and len(parts) == 3 and all(parts):
                index[container_id] = stem
    return index


def _list_pods(path: str) -> dict[str, str]:
    index = {}
    for name in list_names(path):
        names = from_pod_log_directory(name)
        if names is not None and names.k8s_pod_uid is not None:
            index[names.k8s_pod_uid] = name
    return index
