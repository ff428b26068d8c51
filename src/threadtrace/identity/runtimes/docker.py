"""docker: `<data-root>/containers/<id>/config.v2.json`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from threadtrace.identity.runtimes.files import read_json
from threadtrace.identity.runtimes.names import (
    ContainerNames,
    as_image_name,
    as_mapping,
    as_text,
    from_joined_name,
    from_label_names,
)

# docker's `data-root` setting: the default, then docker's snap.
_CONTAINER_DIRECTORIES = (
    "var/lib/docker/containers",
    "var/snap/docker/common/var-lib-docker/containers",
)


class DockerContainers:
    """Names from docker's record of each container.

    Source: moby, `daemon/container`, struct `Container`, which is written as it is, to a
    temporary file that is then renamed.
    """

    runtime = "docker"

    def __init__(self, root: Path) -> None:
        self._directories = tuple(str(root / path) for path in _CONTAINER_DIRECTORIES)

    def lookup(self, container_id: str) -> ContainerNames | None:
        """See NameSource."""
        for directory in self._directories:
            record = read_json(f"{directory}/{container_id}/config.v2.json")
            if isinstance(record, dict):
                return _record_names(record)
        return None

    def directories(self) -> Iterator[str]:
        """See NameSource."""
        return iter(self._directories)


def _record_names(record: dict[str, object]) -> ContainerNames:
    """Return the names of a container; of a pod's where kubelet's labels say so.

    Source of `io.kubernetes.docker.type`: dockershim and cri-dockerd, `docker_service.go`.
    """
    config = as_mapping(record.get("Config"))
    labels = as_mapping(config.get("Labels"))
    image = as_image_name(config.get("Image"))
    name = (as_text(record.get("Name")) or "").removeprefix("/") or None
    if "io.kubernetes.pod.name" in labels:
        is_sandbox = labels.get("io.kubernetes.docker.type") == "podsandbox"
        names = from_label_names("docker", labels, image=image, is_sandbox=is_sandbox)
        return names.filled_from(None if name is None else from_joined_name("docker", name))
    return ContainerNames(runtime="docker", container_name=name, image_name=image)
