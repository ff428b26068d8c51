"""A private containerd with its CRI plugin, and pods in it as a kubelet would make them.

>>> with Containerd(workload_rootfs, tmp_path) as containerd:
...     with containerd.pod("web-0", "shop") as pod:
...         with pod.container("app", "leak", "threads", "23") as container:
...             container.wait_ready()
...             container.execute("true")

Beside its own directory containerd uses /run/containerd/s, where the shims' sockets are whatever
the configuration says; their names are hashes that include the private socket's path.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .cgroups import PodCgroup
from .cri_client import CriClient
from .mounts import unmount_below
from .processes import kill_all, pids_with_argument, run, wait_until
from .rootfs import IMAGE, SANDBOX_IMAGE, WorkloadRootfs
from .workload import ContainerWorkload, CriError, ExecResult

START_SECONDS = 30.0
STOP_SECONDS = 15.0

_SOCKET_PATH_BYTES = 100  # sun_path holds 108 (unix(7)); containerd adds ".ttrpc"

_LOG_NAME_BYTES = 150

_CONFIGURATION = """\
version = 2
root = "{directory}/root"
state = "{state}"
# Those that look around on the host, or would use directories of a containerd installed there.
disabled_plugins = [
  "io.containerd.internal.v1.restart",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"

[plugins."io.containerd.grpc.v1.cri"]
# Without CAP_SYS_RESOURCE no process can lower its score: runc would fail on a pod's -998.
restrict_oom_score_adj = true
sandbox_image = "{sandbox_image}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{directory}/cni/bin"
conf_dir = "{directory}/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd]
# Plain copies: a few megabytes for each container, and no demands on the file system.
snapshotter = "native"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{directory}/runc"
"""


@dataclass(frozen=True)
class CriStatus:
    """ContainerStatus. `state` without its prefix: CREATED, RUNNING, EXITED or UNKNOWN."""

    state: str
    exit_code: int
    reason: str
    image: str
    labels: dict[str, str]
    pid: int | None


class CriContainer(ContainerWorkload):
    """A container in a pod, started by CriPod.container()."""

    def __init__(self, pod: CriPod, name: str, identifier: str, log: Path) -> None:
        self.pod = pod
        self.name = name
        self.id = identifier
        self.pod_uid = pod.uid
        self._containerd = pod.containerd
        self._log = log
        self.pid = 0

    @property
    def bundle(self) -> Path:
        """The directory of the OCI bundle, below Containerd.hostroot."""
        return self._containerd.bundle(self.id)

    def status(self) -> CriStatus:
        """ContainerStatus, with the process id from its verbose information."""
        return self._containerd.status(self.id)

    def output(self) -> str:
        """See ContainerWorkload.output; taken from the log that containerd writes."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        # <time> stdout|stderr F|P <text> (Kubernetes' CRI logging format)
        return "".join(line.split(" ", 3)[3] + "\n" for line in lines if line.count(" ") >= 3)

    def execute(self, *command: str, timeout_seconds: float = 10) -> ExecResult:
        """See ContainerWorkload.execute: ExecSync, the call of a kubelet's exec probe.

        Raises CriError when the runtime cannot even start the command, or not in time.
        """
        response = self._containerd.call(
            "ExecSync",
            {"container_id": self.id, "cmd": command, "timeout": int(timeout_seconds)},
            timeout_seconds + 5,
        )
        return ExecResult(
            response.exit_code,
            response.stdout.decode(errors="replace"),
            response.stderr.decode(errors="replace"),
        )

    def stop(self, grace_seconds: int = 0) -> None:
        """StopContainer: SIGTERM, then SIGKILL after the grace time; at once with 0."""
        self._containerd.call("StopContainer", {"container_id": self.id, "timeout": grace_seconds})


class CriPod:
    """A pod sandbox, started by Containerd.pod(). `id` is the sandbox's id."""

    def __init__(
        self,
        containerd: Containerd,
        cgroup: PodCgroup,
        configuration: dict[str, Any],
        identifier: str,
        log_links: Path | None,
    ) -> None:
        self.containerd = containerd
        self.cgroup = cgroup
        self.uid = cgroup.uid
        self.id = identifier
        self.name: str = configuration["metadata"]["name"]
        self.namespace: str = configuration["metadata"]["namespace"]
        self.log_directory = Path(configuration["log_directory"])
        self._configuration = configuration
        self._log_links = log_links

    @property
    def bundle(self) -> Path:
        """The directory of the sandbox's OCI bundle, below Containerd.hostroot."""
        return self.containerd.bundle(self.id)

    @property
    def cgroup_path(self) -> str:
        """The sandbox's own path, beside those of the pod's containers."""
        return f"{self.cgroup.path}/{self.id}"

    @property
    def pid(self) -> int:
        """The sandbox's own process, `pause`."""
        response = self.containerd.call(
            "PodSandboxStatus", {"pod_sandbox_id": self.id, "verbose": True}
        )
        return int(json.loads(response.info["info"])["pid"])

    @contextlib.contextmanager
    def container(
        self,
        name: str,
        *command: str,
        labels: Mapping[str, str] | None = None,
        image: str = IMAGE,
        runtime_default_seccomp: bool = False,
        user_id: int = 0,
    ) -> Iterator[CriContainer]:
        """Create and start a container; it is killed and removed in the end.

        The container has no pids.max of its own, as in Kubernetes: see set_pids_limit().
        `runtime_default_seccomp` applies containerd's profile, which answers clone3 with ENOSYS
        so that programs fall back to clone.
        """
        (self.log_directory / name).mkdir(parents=True, exist_ok=True)
        profile = "RuntimeDefault" if runtime_default_seccomp else "Unconfined"
        configuration = {
            "metadata": {"name": name},
            "image": {"image": image},
            "command": list(command),
            "labels": self._kubelet_labels()
            | {"io.kubernetes.container.name": name}
            | dict(labels or {}),
            "log_path": f"{name}/0.log",
            "linux": {
                "security_context": {
                    "namespace_options": {"network": "NODE", "pid": "CONTAINER"},
                    "run_as_user": {"value": user_id},
                    "no_new_privs": True,
                    "seccomp": {"profile_type": profile},
                },
            },
        }
        identifier = self.containerd.call(
            "CreateContainer",
            {
                "pod_sandbox_id": self.id,
                "config": configuration,
                "sandbox_config": self._configuration,
            },
        ).container_id
        container = CriContainer(self, name, identifier, self.log_directory / name / "0.log")
        link = self._link_log(name, identifier)
        try:
            self.containerd.call("StartContainer", {"container_id": identifier})
            container.pid = container.status().pid or 0
            yield container
        finally:
            # Stopping and removing what is gone already are no errors in this interface.
            container.stop()
            self.containerd.call("RemoveContainer", {"container_id": identifier})
            if link:
                link.unlink()

    def set_pids_limit(self, limit: int | None) -> None:
        """Set the pod's own pids.max, as the kubelet does for podPidsLimit."""
        self.cgroup.set_pids_limit(limit)

    def _link_log(self, name: str, identifier: str) -> Path | None:
        """The kubelet's link /var/log/containers/<pod>_<namespace>_<container>-<id>.log."""
        if self._log_links is None:
            return None
        self._log_links.mkdir(parents=True, exist_ok=True)
        link = self._log_links / f"{self.name}_{self.namespace}_{name}-{identifier}.log"
        link.symlink_to(f"/var/log/pods/{self.log_directory.name}/{name}/0.log")
        return link

    def _kubelet_labels(self) -> dict[str, str]:
        return {
            "io.kubernetes.pod.name": self.name,
            "io.kubernetes.pod.namespace": self.namespace,
            "io.kubernetes.pod.uid": self.uid,
        }


class Containerd(contextlib.AbstractContextManager["Containerd"]):
    """A containerd with its own root, state, socket and configuration below one directory.

    `hostroot` is laid out like a node's root as far as containerd writes it: bundles are at
    run/containerd/io.containerd.runtime.v2.task/k8s.io/<id>/. See mounts.node_root for the rest.
    Raises RuntimeError or TimeoutError, with containerd's log, when it does not start.
    """

    def __init__(self, rootfs: WorkloadRootfs, directory: Path) -> None:
        self.directory = directory
        self.hostroot = directory / "hostroot"
        self.state = self.hostroot / "run/containerd"
        self.socket = directory / "c.sock"
        self.log = directory / "containerd.log"
        self._leftovers = contextlib.ExitStack()
        if len(str(self.socket)) > _SOCKET_PATH_BYTES:
            raise RuntimeError(f"{directory} is too long a name for a socket in it")
        try:
            self._start(rootfs)
        except BaseException:
            self._leftovers.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End containerd, its shims and mounts, whatever was left of them."""
        self._leftovers.close()

    @property
    def pid(self) -> int:
        """The process id of containerd itself."""
        return self._process.pid

    def call(self, method: str, request: Mapping[str, Any], timeout_seconds: float = 30) -> Any:
        """See CriClient.call."""
        return self._client.call(method, request, timeout_seconds)

    def status(self, identifier: str) -> CriStatus:
        """ContainerStatus of a container, with the process id from its verbose information."""
        response = self.call("ContainerStatus", {"container_id": identifier, "verbose": True})
        status = response.status
        states = status.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
        return CriStatus(
            state=states[status.state].name.removeprefix("CONTAINER_"),
            exit_code=status.exit_code,
            reason=status.reason,
            image=status.image.image,
            labels=dict(status.labels),
            pid=json.loads(response.info["info"]).get("pid") or None,
        )

    def bundle(self, identifier: str) -> Path:
        """The directory of a container's or sandbox's OCI bundle."""
        return self.state / "io.containerd.runtime.v2.task/k8s.io" / identifier

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Kill containerd itself for a while; its shims and containers run on."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)
        try:
            yield
        finally:
            self._launch()
            self._await_ready()

    @contextlib.contextmanager
    def pod(
        self,
        name: str,
        namespace: str = "default",
        *,
        uid: str | None = None,
        labels: Mapping[str, str] | None = None,
        pids_limit: int | None = None,
        kubelet_logs: bool = False,
    ) -> Iterator[CriPod]:
        """Run a pod sandbox on the host's network; stop and remove it in the end.

        In the end its shim has left and its cgroup directories are gone. `pids_limit` is that of
        the pod's cgroup. With `kubelet_logs` the logs are where a kubelet has them, below
        hostroot/var/log/pods/<namespace>_<name>_<uid>/ with links in hostroot/var/log/containers/,
        so that names can be taken from there too; else they are outside hostroot.
        """
        cgroup = PodCgroup(uid)
        logs = self.hostroot / "var/log/pods" if kubelet_logs else self.directory / "logs"
        # A file name has 255 bytes at most, a pod's name alone may have 253.
        log_directory = logs / f"{namespace}_{name[:_LOG_NAME_BYTES]}_{cgroup.uid}"
        log_directory.mkdir(parents=True)
        configuration = {
            "metadata": {"name": name, "namespace": namespace, "uid": cgroup.uid},
            "log_directory": str(log_directory),
            "labels": {
                "io.kubernetes.pod.name": name,
                "io.kubernetes.pod.namespace": namespace,
                "io.kubernetes.pod.uid": cgroup.uid,
            }
            | dict(labels or {}),
            "linux": {
                "cgroup_parent": cgroup.path,
                "security_context": {"namespace_options": {"network": "NODE"}},
            },
        }
        with contextlib.ExitStack() as stack:
            stack.callback(cgroup.remove)
            if pids_limit is not None:
                cgroup.set_pids_limit(pids_limit)
            identifier = self.call("RunPodSandbox", {"config": configuration}).pod_sandbox_id
            stack.callback(self._remove_pod, identifier)
            links = self.hostroot / "var/log/containers" if kubelet_logs else None
            yield CriPod(self, cgroup, configuration, identifier, links)

    def _remove_pod(self, identifier: str) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._await_shim_end, identifier)
            self.call("StopPodSandbox", {"pod_sandbox_id": identifier})
            self.call("RemovePodSandbox", {"pod_sandbox_id": identifier})

    def _await_shim_end(self, identifier: str) -> None:
        """One shim serves a pod; its command line has the sandbox's id."""
        try:
            wait_until(
                lambda: not pids_with_argument(identifier),
                STOP_SECONDS,
                f"the shim of pod {identifier[:12]} has left",
            )
        except TimeoutError:
            kill_all(pids_with_argument(identifier))
            raise

    def _start(self, rootfs: WorkloadRootfs) -> None:
        leftovers = self._leftovers  # unwound from the last to the first
        for name in ("cni/bin", "cni/net.d", "opt"):
            (self.directory / name).mkdir(parents=True)
        self.state.mkdir(parents=True)
        (self.directory / "config.toml").write_text(
            _CONFIGURATION.format(
                directory=self.directory,
                state=self.state,
                socket=self.socket,
                sandbox_image=SANDBOX_IMAGE,
            )
        )
        leftovers.callback(_remover_of_shared_directories())
        leftovers.callback(unmount_below, self.directory)
        leftovers.callback(lambda: kill_all(pids_with_argument(str(self.socket))))
        self._launch()
        leftovers.callback(self._stop)
        self._client = CriClient(self.socket, self.directory)
        leftovers.callback(self._client.close)
        self._await_ready()
        run(
            [
                *("ctr", "--address", self.socket, "--namespace", "k8s.io"),
                *("images", "import", "--snapshotter", "native", rootfs.image),
            ],
            60,
        )
        for image in (IMAGE, SANDBOX_IMAGE):
            self._await_image(image)

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            # setpriv: containerd ends with the tests, also where they are killed.
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM"),
                    *("containerd", "--config", self.directory / "config.toml"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _await_ready(self) -> None:
        wait_until(self._is_ready, START_SECONDS, lambda: "containerd is ready\n" + self._said())

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"containerd ended with {self._process.returncode}\n{self._said()}")
        try:
            status = self.call("Status", {}, 2).status
        except CriError:  # the socket or the plugin is not up yet
            return False
        return any(c.type == "RuntimeReady" and c.status for c in status.conditions)

    def _await_image(self, image: str) -> None:
        """The CRI plugin learns of an import through an event."""

        def is_known() -> bool:
            response = self.call("ImageStatus", {"image": {"image": image}})
            return bool(response.HasField("image"))

        wait_until(is_known, START_SECONDS, lambda: f"the CRI plugin knows {image}\n{self._said()}")

    def _said(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            raise


def _remover_of_shared_directories() -> Callable[[], None]:
    """Remove what shims leave in containerd's default state directory, if it is not there now."""
    absent = [
        path for path in (Path("/run/containerd/s"), Path("/run/containerd")) if not path.exists()
    ]

    def remove() -> None:
        for path in absent:
            with contextlib.suppress(OSError):  # another containerd began to use it
                path.rmdir()

    return remove
