"""Containers run by runc itself, on cgroup paths like those of Kubernetes."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .cgroups import PodCgroup
from .processes import ProcessHandle, run
from .rootfs import IMAGE, WorkloadRootfs
from .workload import ContainerWorkload, ExecResult

BUNDLES = "run/containerd/io.containerd.runtime.v2.task/k8s.io"

_CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]


class RuncContainer(ContainerWorkload):
    """A container started by RuncPod.run(). `bundle` holds its config.json."""

    def __init__(
        self, identifier: str, pod_uid: str, cgroup_path: str, bundle: Path, state: Path
    ) -> None:
        self.id = identifier
        self.pod_uid = pod_uid
        self.bundle = bundle
        self._cgroup_path = cgroup_path
        self._state = state
        self._output = bundle / "output.log"
        self.pid = 0

    @property
    def cgroup_path(self) -> str:
        """See ContainerWorkload.cgroup_path; below another container's where it is nested."""
        return self._cgroup_path

    def start(self) -> None:
        """Start the main process, detached. Raises RuntimeError with runc's own log."""
        pid_file = self.bundle / "pid"
        log = self.bundle / "runc.log"
        with self._output.open("wb") as output:
            # Not through a pipe: the container keeps these descriptors after runc has left.
            done = subprocess.run(
                [
                    *("runc", "--root", self._state, "--log", log, "run", "--detach"),
                    *("--bundle", self.bundle, "--pid-file", pid_file, self.id),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=30,
                check=False,
            )
        if done.returncode != 0:
            said = log.read_text() if log.exists() else ""
            raise RuntimeError(f"runc run ended with {done.returncode}:\n{said}{self.output()}")
        self.pid = int(pid_file.read_text())

    def output(self) -> str:
        """See ContainerWorkload.output."""
        return self._output.read_text(errors="replace")

    def execute(self, *command: str, timeout_seconds: float = 10) -> ExecResult:
        """See ContainerWorkload.execute; `runc exec` needs free PIDs in the container's cgroup."""
        done = subprocess.run(
            ["runc", "--root", str(self._state), "exec", self.id, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        return ExecResult(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """Kill all processes and delete the container; does nothing the second time."""
        handle = None
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                handle = ProcessHandle(self.pid)
        try:
            # --force: kills what runs, and a container that does not exist is no error.
            run(["runc", "--root", self._state, "delete", "--force", self.id])
            if handle and not handle.ended(10):
                raise TimeoutError(f"process {self.pid} of {self.id[:12]} survived runc delete")
        finally:
            if handle:
                handle.close()
        self.pid = 0


class RuncPod(contextlib.AbstractContextManager["RuncPod"]):
    """A pod's cgroup with containers in it. A context manager: always cleans up.

    `hostroot` is laid out like a node's root: bundles are where containerd keeps those of a
    kubelet's containers, so that `annotations` name them.

    >>> with RuncPod(workload_rootfs, tmp_path) as pod:
    ...     container = pod.run("leak", "threads", "23")
    ...     container.wait_ready()
    """

    def __init__(self, rootfs: WorkloadRootfs, directory: Path, uid: str | None = None) -> None:
        self._rootfs = rootfs
        self.hostroot = directory / "hostroot"
        self.hostroot.mkdir(parents=True)
        self._state = directory / "runc"
        self._containers: list[RuncContainer] = []
        self.cgroup = PodCgroup(uid)
        self.uid = self.cgroup.uid

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(
        self,
        *command: str,
        pids_limit: int | None = None,
        host_pid_namespace: bool = False,
        user_id: int = 0,
        annotations: Mapping[str, str] | None = None,
        rlimit_nproc: int | None = None,
        inside: RuncContainer | None = None,
    ) -> RuncContainer:
        """Start a container with this command in the pod, on the host's network.

        `pids_limit` is the container's own pids.max; runc's init is a Go program and may not
        start with less than 16, so set a smaller one with set_pids_limit() afterwards.
        `rlimit_nproc` counts per user over all containers; it binds only a `user_id` other than 0.
        `inside` puts its cgroup below that container's, where docker in docker would.
        """
        identifier = secrets.token_hex(32)
        # The files of a runtime within a container are not among the node's.
        place = self._state.with_name("inner") if inside else self.hostroot / BUNDLES
        bundle = place / identifier
        parent = f"{inside.cgroup_path}/docker" if inside else self.cgroup.path
        cgroup_path = f"{parent}/{identifier}"
        bundle.mkdir(parents=True)
        spec = _spec(
            self._rootfs.directory,
            command,
            cgroups_path=cgroup_path,
            pids_limit=pids_limit,
            host_pid_namespace=host_pid_namespace,
            user_id=user_id,
            annotations=annotations or {},
            rlimit_nproc=rlimit_nproc,
        )
        (bundle / "config.json").write_text(json.dumps(spec, indent=1))
        container = RuncContainer(identifier, self.uid, cgroup_path, bundle, self._state)
        self._containers.append(container)
        container.start()
        return container

    def set_pids_limit(self, limit: int | None) -> None:
        """Set the pod's own pids.max, as the kubelet does for podPidsLimit."""
        self.cgroup.set_pids_limit(limit)

    def close(self) -> None:
        """End all containers, then remove the pod's cgroup directories in every hierarchy."""
        with contextlib.ExitStack() as stack:  # one failure does not keep the rest from ending
            stack.callback(self.cgroup.remove)
            for container in self._containers:  # unwound from the last: the nested before the outer
                stack.callback(container.close)
            self._containers.clear()


def kubernetes_annotations(
    pod: str, namespace: str, uid: str, container: str, image: str = IMAGE
) -> dict[str, str]:
    """What containerd's CRI plugin writes into the bundle of a pod's container."""
    return {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": container,
        "io.kubernetes.cri.image-name": image,
        "io.kubernetes.cri.sandbox-name": pod,
        "io.kubernetes.cri.sandbox-namespace": namespace,
        "io.kubernetes.cri.sandbox-uid": uid,
    }


def _spec(
    root: Path,
    command: tuple[str, ...],
    *,
    cgroups_path: str,
    pids_limit: int | None,
    host_pid_namespace: bool,
    user_id: int,
    annotations: Mapping[str, str],
    rlimit_nproc: int | None,
) -> dict[str, Any]:
    """config.json by the OCI runtime specification 1.0; no oomScoreAdj, which may need a right."""
    namespaces = ["mount", "ipc", "uts"] + ([] if host_pid_namespace else ["pid"])
    process: dict[str, Any] = {
        "user": {"uid": user_id, "gid": user_id},
        "args": list(command),
        "env": ["PATH=/bin"],
        "cwd": "/",
        "noNewPrivileges": True,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
    }
    if rlimit_nproc is not None:
        process["rlimits"] = [{"type": "RLIMIT_NPROC", "soft": rlimit_nproc, "hard": rlimit_nproc}]
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if pids_limit is not None:
        resources["pids"] = {"limit": pids_limit}
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(root), "readonly": True},
        "hostname": "workload",
        "annotations": dict(annotations),
        "mounts": [
            _mount("/proc", "proc"),
            _mount("/dev", "tmpfs", "nosuid", "mode=755", "size=65536k"),
            _mount("/tmp", "tmpfs", "nosuid", "nodev", "size=65536k"),
        ],
        "linux": {
            "cgroupsPath": cgroups_path,
            "namespaces": [{"type": name} for name in namespaces],
            "resources": resources,
        },
    }


def _mount(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": kind,
        "source": kind,
        "options": list(options),
    }
