"""Ask the runtimes' files in order, and fill the gaps with kubelet's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from threadtrace.identity.runtimes.containerd import ContainerdBundles
from threadtrace.identity.runtimes.crio import CrioBundles
from threadtrace.identity.runtimes.docker import DockerContainers
from threadtrace.identity.runtimes.files import is_listable
from threadtrace.identity.runtimes.kubelet import KubeletLogs
from threadtrace.identity.runtimes.names import ContainerNames, is_container_id
from threadtrace.identity.runtimes.source import NameSource
from threadtrace.identity.runtimes.storage import StorageContainers, UserStorageContainers


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """A directory of names that exists on the node.

    `owner` is containerd, crio, docker, podman or kubelet; `path` includes the root that was
    given. `is_readable` is False where the agent lacks the permission to list it.
    """

    owner: str
    path: Path
    is_readable: bool


class RuntimeFiles:
    """Names of containers and pods from the files under one root.

    `root` is the node's root directory: `/`, or where a pod has the host mounted. Keeps an index
    of each list that it has read until that list changes; keeps nothing of single containers.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._sources: tuple[NameSource, ...] = (
            ContainerdBundles(root),
            CrioBundles(root),
            DockerContainers(root),
            StorageContainers(root),
        )
        self._user_sources: tuple[NameSource, ...] = (UserStorageContainers(root),)
        self._kubelet = KubeletLogs(root)

    def lookup(
        self, container_id: str, runtime: str | None, pod_uid: str | None
    ) -> ContainerNames | None:
        """Return the names of a container; None while no file names it.

        `runtime` and `pod_uid` are what the cgroup path tells, if anything: the first decides
        whose files are read first, the second finds the pod where the container's own files do
        not name it. A file that is only partly written, or not readable, counts as absent: ask
        again later. Never raises for what it finds.
        """
        if not is_container_id(container_id):
            return None
        names = self._from_runtime(container_id, runtime)
        logged = self._kubelet.lookup(container_id)
        names = logged if names is None else names.filled_from(logged)
        if names is None or pod_uid is None:
            return names
        if names.k8s_namespace is None or names.k8s_pod_name is None or names.k8s_pod_uid is None:
            names = names.filled_from(self.lookup_pod(pod_uid))
        return names

    def lookup_pod(self, pod_uid: str) -> ContainerNames | None:
        """Return the namespace, name and uid of a pod, nothing of its containers."""
        return self._kubelet.lookup_pod(pod_uid)

    def available(self) -> list[StateDirectory]:
        """Return the state directories that exist on this node."""
        present = []
        for owner, path in self._directories():
            is_readable = is_listable(path)
            if is_readable is not None:
                present.append(StateDirectory(owner, Path(path), is_readable))
        return present

    def _from_runtime(self, container_id: str, runtime: str | None) -> ContainerNames | None:
        """Return the first answer that names the container, else one that tells its runtime."""
        nameless = None
        for source in self._in_order(runtime):
            names = source.lookup(container_id)
            if names is not None and not names.is_nameless:
                return names
            nameless = nameless or names
        return nameless

    def _in_order(self, runtime: str | None) -> Iterator[NameSource]:
        yield from (source for source in self._sources if source.runtime == runtime)
        yield from (source for source in self._user_sources if source.runtime == runtime)
        yield from (source for source in self._sources if source.runtime != runtime)

    def _directories(self) -> Iterator[tuple[str, str]]:
        for source in (*self._sources, *self._user_sources):
            for path in source.directories():
                yield source.runtime, path
        for path in self._kubelet.directories():
            yield "kubelet", path
