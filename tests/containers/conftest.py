"""Fixtures with real containers. They skip only where a part is missing, and say which."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import cgroups, rootfs
from .node import NAMESPACE, POD, CriNode, Node, RuncNode
from .prerequisites import require
from .runc_container import RuncPod

if TYPE_CHECKING:
    from .cri import Containerd


def _require_program(name: str, package: str) -> None:
    require(shutil.which(name), f"the program {name}", f"apt-get install {package}")


def _require_root_and_cgroups() -> None:
    require(hasattr(os, "pidfd_open"), "Linux with pidfd_open", "run on Linux from 5.3")
    require(os.geteuid() == 0, "root", "run the tests as root")
    require(
        cgroups.pids_hierarchy(),
        "a cgroup hierarchy with the pids controller",
        "mount the cgroup file systems below /sys/fs/cgroup",
    )


@pytest.fixture(scope="session")
def workload_rootfs(tmp_path_factory: pytest.TempPathFactory) -> rootfs.WorkloadRootfs:
    """The root file system, the images and the program leak, built once a session."""
    require(rootfs.BUSYBOX.exists(), "a static busybox", "apt-get install busybox-static")
    _require_program("gcc", "gcc libc6-dev")
    library = subprocess.run(
        ["gcc", "-print-file-name=libc.a"], capture_output=True, text=True, check=True
    ).stdout
    require(library.startswith("/"), "the static C library", "apt-get install libc6-dev")
    return rootfs.build(tmp_path_factory.mktemp("workload"))


@pytest.fixture
def runc_pod(workload_rootfs: rootfs.WorkloadRootfs, tmp_path: Path) -> Iterator[RuncPod]:
    """An empty pod; run() starts containers in it. All of it is gone after the test."""
    _require_root_and_cgroups()
    _require_program("runc", "runc")
    with RuncPod(workload_rootfs, tmp_path / "runc-pod") as pod:
        yield pod


@pytest.fixture(scope="session")
def containerd_cri(
    workload_rootfs: rootfs.WorkloadRootfs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containerd]:
    """A private containerd with the CRI plugin, started once a session."""
    _require_root_and_cgroups()
    for program in ("containerd", "containerd-shim-runc-v2", "ctr"):
        _require_program(program, "containerd")
    _require_program("runc", "runc")
    _require_program("setpriv", "util-linux")
    for module, package in (("grpc", "grpcio"), ("grpc_tools", "grpcio-tools")):
        require(
            importlib.util.find_spec(module),
            f"the Python package {package}",
            f"pip install {package}",
        )
    from .cri import Containerd  # only here: it needs grpc

    with Containerd(workload_rootfs, tmp_path_factory.mktemp("cri")) as containerd:
        yield containerd


@pytest.fixture(params=["runc", "containerd"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    if request.param == "runc":
        yield RuncNode(request.getfixturevalue("runc_pod"))
        return
    containerd: Containerd = request.getfixturevalue("containerd_cri")
    with containerd.pod(POD, NAMESPACE) as pod:
        yield CriNode(containerd, pod)
