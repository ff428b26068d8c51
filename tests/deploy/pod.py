"""The DaemonSet's pod, made by containerd as a kubelet would have it made.

What the manifests say is translated field by field; only the port, and where the node's directories
are, is the test's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from containers.cgroups import PodCgroup
from support.http import get
from support.waiting import wait_until

from .agent_container import granted
from .test_log_shippers import free_port
from .test_manifests import Object

if TYPE_CHECKING:
    from containers.cri import Containerd, CriStatus

AGENT_IMAGE = "registry.test/threadtrace/agent:1"
START_SECONDS = 60
MEMORY_UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}


class Agent:
    """The agent's container, and where a kubelet and an operator reach it."""

    def __init__(self, containerd: Containerd, identifier: str, log: Path, port: int) -> None:
        self.containerd = containerd
        self.id = identifier
        self.port = port
        self._log = log

    def get(self, path: str) -> tuple[int, bytes]:
        return get(self.port, path)

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            with suppress(ConnectionRefusedError):
                return self.get("/readyz")[0] == 200
            assert self.status().state == "RUNNING" or self.fail()
            return False

        wait_until(is_ready, START_SECONDS, lambda: f"the agent is ready\n{self.log()[-2000:]}")

    def fail(self) -> None:
        pytest.fail(f"the agent ended:\n{self.log()[-2000:]}")

    def status(self) -> CriStatus:
        return self.containerd.status(self.id)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def events(self) -> Iterator[dict[str, Any]]:
        """Of the container's log, as a shipper would read them: <time> <stream> F|P <line>."""
        text = ""
        for line in self.log().splitlines():
            _, stream, part, rest = line.split(" ", 3)
            if stream == "stdout":
                text += rest
                if part == "F":
                    yield json.loads(text)
                    text = ""

    def pid(self) -> int:
        response = self.containerd.call(
            "ContainerStatus", {"container_id": self.id, "verbose": True}
        )
        return int(json.loads(response.info["info"])["pid"])

    def named(self, name: str) -> dict[str, Any] | None:
        """The workload of that name, as /v1/snapshot has it."""
        status, body = self.get("/v1/snapshot")
        assert status == 200
        for workload in json.loads(body)["workloads"]:
            if name in json.dumps(workload):
                found: dict[str, Any] = workload
                return found
        return None


@contextmanager
def pod_of(
    pod: Object, containerd: Containerd, node: Path, image: Path, directory: Path
) -> Iterator[Agent]:
    """Its sandbox and its container."""
    port = free_port()
    (container,) = pod["containers"]
    with ExitStack() as stack:
        cgroup = PodCgroup(None)
        stack.callback(cgroup.remove)
        context = container["securityContext"]
        sandbox = _sandbox(pod, cgroup, directory, context.get("privileged", False))
        identifier = containerd.call("RunPodSandbox", {"config": sandbox}).pod_sandbox_id
        stack.callback(containerd._remove_pod, identifier)
        request = {
            "pod_sandbox_id": identifier,
            "config": _container(pod, container, port, node, image, directory),
            "sandbox_config": sandbox,
        }
        created = containerd.call("CreateContainer", request, 120).container_id
        stack.callback(containerd.call, "RemoveContainer", {"container_id": created})
        stack.callback(containerd.call, "StopContainer", {"container_id": created, "timeout": 10})
        containerd.call("StartContainer", {"container_id": created})
        agent = Agent(containerd, created, directory / "agent.log", port)
        agent.wait_ready()
        yield agent


def _sandbox(pod: Object, cgroup: PodCgroup, logs: Path, privileged: bool) -> Object:
    assert pod["hostNetwork"]
    assert pod["hostPID"]
    return {
        "metadata": {"name": "threadtrace", "namespace": "threadtrace", "uid": cgroup.uid},
        "log_directory": str(logs),
        "linux": {
            "cgroup_parent": cgroup.path,
            "security_context": {
                "namespace_options": {"network": "NODE", "pid": "NODE"},
                "privileged": privileged,
            },
        },
    }


def _container(
    pod: Object, container: Object, port: int, node: Path, image: Path, directory: Path
) -> Object:
    """As pkg/kubelet/kuberuntime of Kubernetes makes it."""
    context = container["securityContext"]
    config = json.loads((image / "config.json").read_text())
    variables = dict(text.split("=", 1) for text in config["Env"])
    for entry in container["env"]:
        variables[entry["name"]] = entry.get("value", "node-1")
    security: Object = {
        "namespace_options": {"network": "NODE", "pid": "NODE"},
        "privileged": context.get("privileged", False),
        "readonly_rootfs": context["readOnlyRootFilesystem"],
        "no_new_privs": not context.get("allowPrivilegeEscalation", True),
        "run_as_user": {"value": context.get("runAsUser", 0)},
        "seccomp": {"profile_type": context.get("seccompProfile", {}).get("type", "Unconfined")},
        "masked_paths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
        "readonly_paths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
    }
    if "capabilities" in context:
        wanted = granted([f"CAP_{name}" for name in context["capabilities"]["add"]])
        security["capabilities"] = {
            "add_capabilities": [name.removeprefix("CAP_") for name in wanted],
            "drop_capabilities": context["capabilities"]["drop"],
        }
    limit = container["resources"]["limits"]["memory"]
    return {
        "metadata": {"name": container["name"]},
        "image": {"image": AGENT_IMAGE},
        "args": [word.replace("9752", str(port)) for word in container["args"]],
        "envs": [{"key": name, "value": value} for name, value in variables.items()],
        "mounts": list(_mounts(pod, container, node, directory)),
        "log_path": "agent.log",
        "linux": {
            "resources": {"memory_limit_in_bytes": int(limit[:-2]) * MEMORY_UNITS[limit[-2:]]},
            "security_context": security,
        },
    }


def _mounts(pod: Object, container: Object, node: Path, directory: Path) -> Iterator[Object]:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "emptyDir" in volume:
            empty = directory / mount["name"]
            empty.mkdir()
            empty.chmod(0o777)  # as a kubelet makes it
            yield {"container_path": mount["mountPath"], "host_path": str(empty)}
            continue
        path = volume["hostPath"]["path"]
        is_own = path.startswith("/sys/")  # the kernel's own are this machine's
        source = Path(path) if is_own else node / path.lstrip("/")
        if path == "/sys/kernel/tracing":
            source = directory / "tracing"
        elif not is_own:
            source.mkdir(parents=True, exist_ok=True)
        propagates = mount.get("mountPropagation") == "HostToContainer" and not is_own
        yield {
            "container_path": mount["mountPath"],
            "host_path": str(source),
            "readonly": mount.get("readOnly", False),
            "propagation": "HOST_TO_CONTAINER" if propagates else "PRIVATE",
        }
