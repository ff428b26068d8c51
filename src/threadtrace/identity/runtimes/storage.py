"""containers/storage, the library in which podman and CRI-O keep their containers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import orjson

from threadtrace.identity.runtimes.files import (
    MAX_FILE_BYTES,
    Watched,
    list_directories,
    load_json,
)
from threadtrace.identity.runtimes.names import (
    ContainerNames,
    as_image_name,
    as_mapping,
    as_text,
    from_joined_name,
)

# `graphroot` and `runroot` of root's storage.conf. The run root holds containers of a transient
# store only, and each running container's bundle.
ROOT_STORES = ("run/containers/storage", "var/lib/containers/storage")

# graphroot of an unprivileged user, below the home directory. What a user can make the agent
# remember is kept small: this is room for some 300 containers.
_USER_STORE = ".local/share/containers/storage"
_MAX_USER_FILE_BYTES = 256 * 1024

_DRIVER_DIRECTORIES = frozenset(
    f"{driver}-containers" for driver in ("btrfs", "overlay", "vfs", "zfs")
)

# Volatile containers (CRI-O's all, podman's with --rm) are kept apart, written without fsync.
_INDEX_FILES = ("containers.json", "volatile-containers.json")

# Source: containers/storage, `pkg/stringid`, `ValidateID`.
_STORAGE_ID = re.compile(r"[0-9a-f]{64}")

_Index = Mapping[str, ContainerNames]


def list_driver_directories(path: str) -> list[str]:
    """Return the paths of a store's `<driver>-containers`."""
    names = _DRIVER_DIRECTORIES.intersection(list_directories(path))
    return [f"{path}/{name}" for name in sorted(names)]


class Store:
    """The index files of one store.

    Source: containers/storage, `containers.go`, `newContainerStore` and struct `Container`. The
    files are replaced by renaming.
    """

    def __init__(self, path: str, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        read = partial(_index_files, max_file_bytes=max_file_bytes)
        self._indexes = Watched[tuple[Watched[_Index], ...]](path, read, ())

    def lookup(self, container_id: str) -> ContainerNames | None:
        """Return what the store says of a container."""
        for index in self._indexes.value():
            names = index.value().get(container_id)
            if names is not None:
                return names
        return None


class StorageContainers:
    """Names of podman's containers, and of CRI-O's that have no bundle."""

    runtime = "podman"

    def __init__(self, root: Path) -> None:
        self._stores = tuple(Store(str(root / path)) for path in ROOT_STORES)

    def lookup(self, container_id: str) -> ContainerNames | None:
        """See NameSource."""
        return _first(self._stores, container_id)

    def directories(self) -> Iterator[str]:
        """See NameSource."""
        return (store.path for store in self._stores)


class UserStorageContainers:
    """Names of the containers that users run with podman, without root.

    Home directories may be automounted and users may write what they like there, so the caller
    asks only for containers whose cgroup is podman's, and after root's own stores.
    """

    runtime = "podman"

    def __init__(self, root: Path) -> None:
        self._stores = Watched[tuple[Store, ...]](str(root / "home"), _user_stores, ())

    def lookup(self, container_id: str) -> ContainerNames | None:
        """See NameSource."""
        return _first(self._stores.value(), container_id)

    def directories(self) -> Iterator[str]:
        """See NameSource."""
        return (store.path for store in self._stores.value())


def _first(stores: tuple[Store, ...], container_id: str) -> ContainerNames | None:
    for store in stores:
        names = store.lookup(container_id)
        if names is not None:
            return names
    return None


def _user_stores(path: str) -> tuple[Store, ...]:
    return tuple(
        Store(f"{path}/{user}/{_USER_STORE}", _MAX_USER_FILE_BYTES)
        for user in sorted(list_directories(path))
    )


def _index_files(path: str, max_file_bytes: int) -> tuple[Watched[_Index], ...]:
    read = partial(_load_index, max_bytes=max_file_bytes)
    return tuple(
        Watched[_Index](f"{directory}/{file}", read, {})
        for directory in list_driver_directories(path)
        for file in _INDEX_FILES
    )


def _load_index(path: str, max_bytes: int) -> _Index:
    rows = load_json(path, max_bytes)
    index: dict[str, ContainerNames] = {}
    for row in rows if isinstance(rows, list) else ():
        container = as_mapping(row)
        container_id = as_text(container.get("id"))
        if container_id is not None and _STORAGE_ID.fullmatch(container_id):
            index[container_id] = _row_names(container)
    return index


def _row_names(container: Mapping[str, object]) -> ContainerNames:
    """Return the names in one row.

    Sources: podman, `libpod/storage.go`, and CRI-O, `internal/storage/runtime.go`: both have a
    `RuntimeContainerMetadata`, a JSON text within the JSON; CRI-O's alone has `pod-id`.
    """
    names = container.get("names")
    name = as_text(names[0]) if isinstance(names, list) and names else None
    metadata = _metadata(container.get("metadata"))
    image = as_image_name(metadata.get("image-name"))
    if "pod-id" in metadata:
        own = ContainerNames(runtime="crio", image_name=image)
        return own.filled_from(None if name is None else from_joined_name("crio", name))
    return ContainerNames(runtime="podman", container_name=name, image_name=image)


def _metadata(value: object) -> Mapping[str, object]:
    try:
        return as_mapping(orjson.loads(as_text(value) or "{}"))
    except orjson.JSONDecodeError:
        return {}
