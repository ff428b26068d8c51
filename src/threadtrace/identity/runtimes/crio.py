"""CRI-O: the OCI bundle in its storage, `<driver>-containers/<id>/userdata/config.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from threadtrace.identity.runtimes.files import Watched, read_json
from threadtrace.identity.runtimes.names import (
    ContainerNames,
    as_image_name,
    as_mapping,
    as_text,
    from_joined_name,
    from_label_names,
)
from threadtrace.identity.runtimes.storage import ROOT_STORES, list_driver_directories

_CRIO = "io.kubernetes.cri-o"


class CrioBundles:
    """Names from the annotations of CRI-O's bundles."""

    runtime = "crio"

    def __init__(self, root: Path) -> None:
        self._drivers = tuple(
            Watched[list[str]](str(root / path), list_driver_directories, [])
            for path in ROOT_STORES
        )

    def lookup(self, container_id: str) -> ContainerNames | None:
        """See NameSource."""
        for drivers in self._drivers:
            for directory in drivers.value():
                spec = read_json(f"{directory}/{container_id}/userdata/config.json")
                annotations = as_mapping(as_mapping(spec).get("annotations"))
                # podman keeps its bundles at the same place, with some of CRI-O's annotations
                # (podman, `pkg/annotations/annotations.go`) but no names.
                if annotations.get("io.container.manager") != "libpod" and any(
                    key.startswith(_CRIO) for key in annotations
                ):
                    return _bundle_names(annotations)
        return None

    def directories(self) -> Iterator[str]:
        """See NameSource."""
        return (drivers.path for drivers in self._drivers)


def _bundle_names(annotations: Mapping[str, object]) -> ContainerNames:
    """Return the names that CRI-O annotated.

    Sources: CRI-O, `internal/factory/container/container.go`, `SpecAddAnnotations`, and
    `server/sandbox_run_linux.go`. kubelet's labels are written last, so a pod's own annotations
    cannot replace them. `ImageName` is a name of the image, or empty; `Image` is what was asked
    for, often an image id.
    """
    image = as_image_name(annotations.get(f"{_CRIO}.ImageName"))
    name = as_text(annotations.get(f"{_CRIO}.Name"))
    names = from_label_names(
        "crio",
        annotations,
        image=image or as_image_name(annotations.get(f"{_CRIO}.Image")),
        is_sandbox=annotations.get(f"{_CRIO}.ContainerType") == "sandbox",
    )
    return names.filled_from(None if name is None else from_joined_name("crio", name))
