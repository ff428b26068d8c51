"""The DaemonSet's pod in a real containerd, with the image that THREADTRACE_IMAGE names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.conftest import containerd_cri, workload_rootfs
from containers.mounts import unmount_below
from containers.processes import run
from containers.rootfs import write_images
from support.requirements import require
from support.stream import THREADTRACE, name_of
from support.waiting import wait_until

from .agent_container import IMAGE_VARIABLE
from .pod import AGENT_IMAGE, Agent, pod_of
from .test_manifests import KUBERNETES, Object, build, daemon_pod

if TYPE_CHECKING:
    from containers.cri import Containerd, CriPod

__all__ = ["containerd_cri", "workload_rootfs"]

EXIT_TERMINATED = 143


@pytest.fixture(scope="module")
def agent_image(containerd_cri: Containerd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get(IMAGE_VARIABLE)
    require(named, "image", "an image", f"deploy/container/build-rootfs DIR; {IMAGE_VARIABLE}=DIR")
    directory = Path(named or "")
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    entrypoint = json.loads((directory / "config.json").read_text())["Entrypoint"]
    write_images(directory / "rootfs", archive, {AGENT_IMAGE: entrypoint})
    command = ("ctr", "--address", containerd_cri.socket, "--namespace", "k8s.io")
    run([*command, "images", "import", "--snapshotter", "native", archive], 120)
    archive.unlink()
    return directory


@pytest.fixture(scope="module")
def shared_node(containerd_cri: Containerd) -> Iterator[Path]:
    """The node's root with mounts that propagate, as systemd makes them."""
    root = containerd_cri.hostroot
    run(["mount", "--rbind", root, root])
    run(["mount", "--make-rshared", root])
    try:
        yield root
    finally:
        unmount_below(root)


@pytest.fixture
def mounted_tracefs(tmp_path: Path) -> Iterator[None]:
    """As systemd mounts it, but where only this test looks."""
    (tmp_path / "tracing").mkdir()
    run(["mount", "-t", "tracefs", "none", tmp_path / "tracing"])
    try:
        yield
    finally:
        run(["umount", tmp_path / "tracing"])


def overlay_with(component: str, directory: Path) -> Object:
    """The least capabilities with a component."""
    shutil.copytree(KUBERNETES, directory / "kubernetes")
    own = directory / "kubernetes/own"
    own.mkdir()
    own.joinpath("kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [../overlays/least-capabilities]\ncomponents: [../components/{component}]\n"
    )
    return daemon_pod(build(own))


@pytest.fixture(params=["privileged", "least-capabilities", "no-sys-admin"])
def agent(
    request: pytest.FixtureRequest,
    host: None,
    containerd_cri: Containerd,
    shared_node: Path,
    agent_image: Path,
    mounted_tracefs: None,
    tmp_path: Path,
) -> Iterator[Agent]:
    if request.param == "no-sys-admin":
        pod = overlay_with("no-sys-admin", tmp_path)
    else:
        pod = daemon_pod(build(KUBERNETES / "overlays" / request.param))
    with pod_of(pod, containerd_cri, shared_node, agent_image, tmp_path) as running:
        yield running


@pytest.fixture
def neighbours(containerd_cri: Containerd, shared_node: Path) -> Iterator[CriPod]:
    with containerd_cri.pod("web-0", "shop", kubelet_logs=True) as pod:
        yield pod


def test_counts_names_answers_and_ends(agent: Agent, neighbours: CriPod, shared_node: Path) -> None:
    assert agent.get("/healthz") == (200, b"ok\n")
    with neighbours.container("app", "leak", "threads", "7") as container:
        container.wait_ready()
        found = wait_until(lambda: agent.named("shop/web-0/app"), 20, "the neighbour is named")
        assert found is not None
        assert '"name": "leak"' in json.dumps(found)
        wait_until(lambda: container.id in mounts_of(agent), 20, "its root is mounted there too")
        died = container.id
    wait_until(lambda: died not in mounts_of(agent), 20, "the root of a dead container is let go")
    (begun,) = (event for event in agent.events() if name_of(event) == "threadtrace.started")
    assert begun["threadtrace"]["missing"] == []
    assert begun["k8s"]["node"]["name"] == "node-1"
    asked = subprocess.run(
        [*THREADTRACE, "why", "--socket", str(shared_node / "run/threadtrace/threadtrace.sock")],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode in (0, 1, 2), asked.stderr  # others may use this machine up
    agent.containerd.call("StopContainer", {"container_id": agent.id, "timeout": 10})
    assert agent.status().exit_code == EXIT_TERMINATED


def mounts_of(agent: Agent) -> str:
    return Path(f"/proc/{agent.pid()}/mountinfo").read_text()
