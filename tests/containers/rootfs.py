"""A tiny root file system and OCI images: Debian's static busybox and the workload `leak`."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import run

LEAK_SOURCE = Path(__file__).with_name("leak.c")
BUSYBOX = Path("/bin/busybox")

IMAGE = "registry.test/threadtrace/workload:1"
SANDBOX_IMAGE = "registry.test/threadtrace/pause:1"

# The sandbox of a pod lasts this long even where nobody ends it.
SANDBOX_LIMIT_SECONDS = 600

_APPLETS = ["cat", "echo", "env", "false", "id", "kill", "ls", "ps", "sh", "sleep", "test", "true"]
_DIRECTORIES = ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"]
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUP = "root:x:0:\nnogroup:x:65534:\n"

_MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
_MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
_MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class WorkloadRootfs:
    """What build() made. `leak` runs on the host too; `image` is a tar for `ctr images import`."""

    directory: Path
    leak: Path
    image: Path


def compile_leak(target: Path) -> Path:
    """Compile leak.c into a static program. Raises RuntimeError with the compiler's output."""
    run(["gcc", "-O2", "-Wall", "-Wextra", "-static", "-pthread", "-o", target, LEAK_SOURCE], 60)
    return target


def build(directory: Path) -> WorkloadRootfs:
    """Build everything below `directory`: under 1 s, under 10 MB.

    The tree holds /bin/busybox with its applets, /bin/leak, and /pause, which is leak by the name
    that a sandbox's process usually has.
    """
    root = directory / "rootfs"
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text(_PASSWD)
    (root / "etc/group").write_text(_GROUP)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in _APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    leak = compile_leak(root / "bin/leak")
    (root / "pause").symlink_to("bin/leak")
    image = directory / "image.tar"
    # A sandbox runs the image's own command: leak without threads, which just stays.
    pause = ["/pause", "threads", "0", "--limit", str(SANDBOX_LIMIT_SECONDS)]
    write_images(root, image, {IMAGE: ["/bin/leak"], SANDBOX_IMAGE: pause})
    return WorkloadRootfs(root, leak, image)


def write_images(root: Path, target: Path, entrypoints: Mapping[str, Sequence[str]]) -> None:
    """Write a tree as OCI images in one tar: `entrypoints` by image name, one layer for all.

    The format: OCI image specification 1.0, image-layout.md. containerd takes the name of each
    entry of the index from the annotation io.containerd.image.name.
    """
    layer = _tar_of(root)
    blobs = [layer]
    entries = []
    for name, entrypoint in entrypoints.items():
        config = _json(
            {
                "architecture": _architecture(),
                "os": "linux",
                "config": {"Env": ["PATH=/bin"], "Entrypoint": list(entrypoint)},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            }
        )
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MEDIA_MANIFEST,
                "config": _descriptor(_MEDIA_CONFIG, config),
                "layers": [_descriptor(_MEDIA_LAYER, layer)],
            }
        )
        named = {"annotations": {"io.containerd.image.name": name}}
        entries.append(_descriptor(_MEDIA_MANIFEST, manifest) | named)
        blobs += [config, manifest]
    index = _json({"schemaVersion": 2, "mediaType": _MEDIA_INDEX, "manifests": entries})
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", index)
        for blob in blobs:
            _add(archive, "blobs/sha256/" + _digest(blob).removeprefix("sha256:"), blob)


def _tar_of(root: Path) -> bytes:
    def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = 0
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(root.rglob("*")):
            archive.add(path, str(path.relative_to(root)), recursive=False, filter=as_root)
    return buffer.getvalue()


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = stat.S_IRUSR | stat.S_IWUSR
    archive.addfile(member, io.BytesIO(content))
