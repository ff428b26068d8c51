"""The manifests of deploy/kubernetes: valid, and what an agent of a node must and must not have."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.requirements import require
from threadtrace.identity.runtimes import RuntimeFiles

from .agent_container import CAPABILITIES, CAPABILITIES_WITHOUT_SYS_ADMIN

yaml = pytest.importorskip("yaml", reason="comes with kubernetes-validate")

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("overlays/privileged", "overlays/least-capabilities", "examples/cluster")
Object = dict[str, Any]


def _build_command() -> list[str]:
    """kustomize, or the one within kubectl; from 4.1, as it has to know components."""
    for program, words in (("kustomize", ["build"]), ("kubectl", ["kustomize"])):
        if shutil.which(program):
            return [program, *words]
    return []


def build(directory: Path) -> list[Object]:
    command = _build_command()
    require(command, "kustomize", "kustomize or kubectl", "install kustomize, from 4.1")
    done = subprocess.run(
        [*command, str(directory)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [entry for entry in yaml.safe_load_all(done.stdout) if entry]


def of_kind(kind: str, objects: list[Object]) -> Object:
    (found,) = (entry for entry in objects if entry["kind"] == kind)
    return found


def daemon_pod(objects: list[Object]) -> Object:
    spec: Object = of_kind("DaemonSet", objects)["spec"]["template"]["spec"]
    return spec


def debug_pod() -> Object:
    objects = list(yaml.safe_load_all((KUBERNETES / "debug-pod.yaml").read_text()))
    spec: Object = of_kind("Pod", objects)["spec"]
    return spec


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return build(KUBERNETES / request.param)


@pytest.fixture(params=[*OVERLAYS, "debug-pod.yaml"])
def pod(request: pytest.FixtureRequest) -> Object:
    if request.param == "debug-pod.yaml":
        return debug_pod()
    return daemon_pod(build(KUBERNETES / request.param))


class TestSchema:
    def validate(self, path: Path) -> None:
        validator = pytest.importorskip("kubernetes_validate", reason="make test installs it")
        for entry in yaml.safe_load_all(path.read_text()):
            validator.validate(entry, validator.latest_version(), strict=True)

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_overlays(self, overlay: str, tmp_path: Path) -> None:
        path = tmp_path / "built.yaml"
        path.write_text(yaml.safe_dump_all(build(KUBERNETES / overlay)))
        self.validate(path)

    def test_debug_pod(self) -> None:
        self.validate(KUBERNETES / "debug-pod.yaml")


class TestComponents:
    @pytest.mark.parametrize(
        "component", sorted(path.name for path in (KUBERNETES / "components").iterdir())
    )
    @pytest.mark.parametrize("overlay", OVERLAYS[:2])
    def test_fits_each_overlay(self, overlay: str, component: str, tmp_path: Path) -> None:
        shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
        own = tmp_path / "kubernetes/own"
        own.mkdir()
        own.joinpath("kustomization.yaml").write_text(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
            f"resources: [../{overlay}]\ncomponents: [../components/{component}]\n"
        )
        before, after = build(own.parent / overlay), build(own)
        assert before != after
        volumes = [volume["name"] for volume in daemon_pod(after)["volumes"]]
        assert set(volumes) > {volume["name"] for volume in daemon_pod(before)["volumes"]}

    def test_all_that_names_are_read_from_is_mounted_by_one_of_them(self) -> None:
        """Each directory that the agent looks into is within a mount of the base or a component."""
        mounted = [
            path
            for file in KUBERNETES.glob("**/*.yaml")
            for path in re.findall(r"mountPath: /host(/\S+)", file.read_text())
        ]
        elsewhere = [
            "/run/containerd/io.containerd.runtime.v1.linux",  # gone with containerd 2.0
            "/var/snap/docker/",  # docker's snap is no runtime of a kubelet
        ]
        for path in _read_directories():
            if path.endswith("io.containerd.runtime.v1.linux") or path.startswith(tuple(elsewhere)):
                continue
            assert any(_touches(path, mount) for mount in mounted), path


def _touches(path: str, mount: str) -> bool:
    return path == mount or mount.startswith(f"{path}/") or path.startswith(f"{mount}/")


def _read_directories() -> Iterator[str]:
    files = RuntimeFiles(Path("/"))
    yield from (path for _, path in files._directories() if not path.startswith("/home"))


class TestPod:
    def test_no_probe_forks(self, objects: list[Object]) -> None:
        (container,) = daemon_pod(objects)["containers"]
        probes = {name: probe for name, probe in container.items() if name.endswith("Probe")}
        assert set(probes) == {"startupProbe", "readinessProbe", "livenessProbe"}
        for probe in probes.values():
            assert probe["httpGet"]["path"] in ("/healthz", "/readyz")
            assert probe["httpGet"]["host"] == "127.0.0.1"
            assert probe["httpGet"]["port"] == 9752
        assert "lifecycle" not in container
        assert "initContainers" not in daemon_pod(objects)

    def test_sees_the_node_and_outlives_its_troubles(self, pod: Object) -> None:
        assert pod["hostPID"] is True
        assert pod["hostNetwork"] is True
        assert pod["tolerations"] == [{"operator": "Exists"}]
        assert pod["priorityClassName"] == "system-node-critical"

    def test_asks_no_api(self, pod: Object, objects: list[Object]) -> None:
        assert pod["automountServiceAccountToken"] is False
        assert of_kind("ServiceAccount", objects)["automountServiceAccountToken"] is False

    def test_may_write_nothing_of_the_node_but_its_socket_and_records(self, pod: Object) -> None:
        (container,) = pod["containers"]
        of_the_pod = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        for mount in container["volumeMounts"]:
            if mount["name"] not in {"socket", "records"} | of_the_pod:
                assert mount["readOnly"] is True, mount

    def test_has_room_for_memory_and_none_for_throttling(self, pod: Object) -> None:
        (container,) = pod["containers"]
        assert set(container["resources"]["limits"]) == {"memory"}
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}

    def test_names_its_node(self, pod: Object) -> None:
        (container,) = pod["containers"]
        (name,) = (entry for entry in container["env"] if entry["name"] == "NODE_NAME")
        assert name["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"


class TestContexts:
    def context(self, overlay: str) -> Object:
        (container,) = daemon_pod(build(KUBERNETES / overlay))["containers"]
        context: Object = container["securityContext"]
        return context

    def test_privileged(self) -> None:
        assert self.context("overlays/privileged")["privileged"] is True

    def test_least_capabilities_are_those_that_are_documented_and_tested(self) -> None:
        context = self.context("overlays/least-capabilities")
        assert context["privileged"] is False
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]
        added = {f"CAP_{name}" for name in context["capabilities"]["add"]}
        assert added == set(CAPABILITIES)
        documented = (ROOT / "docs/deployment.md").read_text()
        assert all(f"| `{name}` |" in documented for name in added)

    def test_without_sys_admin_as_tested_with_the_nodes_tracefs(self) -> None:
        component = KUBERNETES / "components/no-sys-admin/security-context.yaml"
        pod = yaml.safe_load(component.read_text())["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        added = {f"CAP_{name}" for name in container["securityContext"]["capabilities"]["add"]}
        assert added == set(CAPABILITIES_WITHOUT_SYS_ADMIN)
        assert pod["volumes"][0]["hostPath"]["path"] == "/sys/kernel/tracing"

    def test_the_network_is_reached_with_a_token_only(self) -> None:
        """Loopback alone, or all addresses and a token from a secret that no manifest holds."""
        (alone,) = daemon_pod(build(KUBERNETES / "overlays/least-capabilities"))["containers"]
        assert "--listen=127.0.0.1:9752" in alone["args"]
        built = build(KUBERNETES / "examples/cluster")
        (reached,) = daemon_pod(built)["containers"]
        assert "--listen=0.0.0.0:9752" in reached["args"]
        assert "--token-file=/etc/threadtrace/token/token" in reached["args"]
        assert not [entry for entry in built if entry["kind"] == "Secret"]
