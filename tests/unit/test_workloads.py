"""From a cgroup path to the workload and its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from threadtrace.identity.runtimes import ContainerNames, RuntimeFiles
from threadtrace.identity.workloads import Directory, Workload, WorkloadKind, identify, unknown

ID = "40c03570b6f4c30bc8d69923d37ee698f5cfcced92c7b7df1c47f6f7887378a9"
UID = "b53dfa9e-2dc9-b890-f7fa-db2770857b03"
CONTAINER_PATH = f"/kubepods/burstable/pod{UID}/{ID}"


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/", WorkloadKind.HOST, "host"),
        (CONTAINER_PATH, WorkloadKind.CONTAINER, "container 40c03570b6f4"),
        (f"/kubepods/burstable/pod{UID}", WorkloadKind.POD, f"pod {UID}"),
        ("/system.slice/kubelet.service", WorkloadKind.UNIT, "kubelet.service"),
        ("/user.slice/user-1000.slice/session-2.scope", WorkloadKind.SESSION, None),
        ("/kubepods/burstable", WorkloadKind.CGROUP, "/kubepods/burstable"),
        ("/caf\udce9", WorkloadKind.CGROUP, "/caf\ufffd"),
    ],
)
def test_kinds(path: str, kind: WorkloadKind, name: str | None) -> None:
    workload = identify(path)
    assert workload.kind is kind
    assert workload.name == (name or path)


def test_all_cgroups_of_a_container_have_one_key() -> None:
    assert identify(CONTAINER_PATH).key == identify(f"{CONTAINER_PATH}/init.scope").key


def test_units_of_the_same_name_of_two_users_are_two_workloads() -> None:
    paths = [
        f"/user.slice/user-{user}.slice/user@{user}.service/app.slice/web.service"
        for user in (1000, 1001)
    ]
    assert len({identify(path).key for path in paths}) == 2


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (ContainerNames("containerd", "web", None, "shop", "web-0", UID, "web"), "shop/web-0/web"),
        (
            ContainerNames("containerd", None, None, "shop", "web-0", UID, None, True),
            "shop/web-0/(pause)",
        ),
        (ContainerNames("docker", "happy_euler"), "happy_euler"),
        (ContainerNames("containerd"), "container 40c03570b6f4"),
        (None, "container 40c03570b6f4"),
    ],
)
def test_names_of_containers(names: ContainerNames | None, shown: str) -> None:
    workload = Workload(
        WorkloadKind.CONTAINER, f"container:{ID}", CONTAINER_PATH, ID, UID, names=names
    )
    assert workload.name == shown


def _write_bundle(root: Path) -> None:
    bundle = root / "run/containerd/io.containerd.runtime.v2.task/k8s.io" / ID
    bundle.mkdir(parents=True)
    (bundle / "config.json").write_text(
        '{"annotations": {"io.kubernetes.cri.container-type": "container",'
        '"io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop",'
        f'"io.kubernetes.cri.sandbox-uid": "{UID}", "io.kubernetes.cri.container-name": "web",'
        '"io.kubernetes.cri.image-name": "shop/web:1"}}'
    )


def test_a_name_that_comes_later_is_found(tmp_path: Path) -> None:
    directory = Directory(RuntimeFiles(tmp_path))
    unnamed = directory.add(identify(CONTAINER_PATH), now=100.0)
    assert unnamed.names is None
    assert directory.retry_names(100.05) == []
    _write_bundle(tmp_path)
    (named,) = directory.retry_names(100.11)
    assert (named.key, named.name) == (unnamed.key, "shop/web-0/web")
    assert named.runtime == "containerd"
    assert directory.add(identify(CONTAINER_PATH), now=100.2) is named
    assert directory.retry_names(1000.0) == []


def test_a_name_that_never_comes_is_not_looked_for_for_ever(tmp_path: Path) -> None:
    directory = Directory(RuntimeFiles(tmp_path))
    directory.add(identify(CONTAINER_PATH), now=0.0)
    for second in range(120):
        directory.retry_names(float(second))
    _write_bundle(tmp_path)
    assert directory.retry_names(10_000.0) == []
    assert directory.add(identify(CONTAINER_PATH), now=10_000.0).names is None


def test_the_topmost_cgroup_stands_for_the_workload(tmp_path: Path) -> None:
    directory = Directory(RuntimeFiles(tmp_path))
    directory.add(identify(f"{CONTAINER_PATH}/init.scope"), now=0.0)
    workload = directory.add(identify(CONTAINER_PATH), now=0.0)
    assert workload.cgroup_path == CONTAINER_PATH
    assert directory.add(identify(f"{CONTAINER_PATH}/x"), now=0.0).cgroup_path == CONTAINER_PATH


def test_another_runtimes_container_of_the_same_name_is_not_taken(tmp_path: Path) -> None:
    directory = Directory(RuntimeFiles(tmp_path))
    workload = directory.add(identify("/lxc.payload.web"), now=0.0)
    assert (workload.name, workload.runtime) == ("web", "lxc")


def test_what_is_removed_is_forgotten_but_the_host_stays(tmp_path: Path) -> None:
    directory = Directory(RuntimeFiles(tmp_path))
    first = directory.add(identify(CONTAINER_PATH), now=0.0)
    host = directory.add(identify("/"), now=0.0)
    directory.remove(first.key)
    directory.remove(host.key)
    assert directory.retry_names(10.0) == []
    assert directory.add(identify(CONTAINER_PATH), now=10.0) is not first
    assert directory.add(identify("/"), now=10.0) is host


def test_an_unknown_cgroup_has_no_path() -> None:
    assert unknown(77).cgroup_path is None
    assert unknown(77).name == "cgroup id 77"


@pytest.mark.parametrize("path", ["/lxc/caf\udce9", "/machine.slice/machine-a\udcff.scope"])
def test_names_that_are_no_utf_8_can_be_told(path: str) -> None:
    workload = identify(path)
    for text in (workload.key, workload.container_id or "", workload.unit or "", workload.name):
        text.encode()
