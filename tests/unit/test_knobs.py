"""What an operator is told to change, by the cgroup that owns the limit."""

from __future__ import annotations

import pytest
from builders import CONTAINER_ID, POD_UID

from threadtrace.model import knobs
from threadtrace.probe.records import Limit

SHORT_ID = CONTAINER_ID[:12]
POD = f"/kubepods/burstable/pod{POD_UID}"
SLICE = "/kubepods.slice/kubepods-burstable.slice"
POD_SLICE = f"{SLICE}/kubepods-burstable-pod{POD_UID.replace('-', '_')}.slice"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/system.slice/kubelet.service", "systemctl set-property kubelet.service TasksMax=N"),
        ("/user.slice/user-1000.slice", "TasksMax of user-1000.slice"),
        ("/user.slice/user-1000.slice/session-3.scope", "TasksMax of session-3.scope"),
        (POD, "podPidsLimit"),
        (POD_SLICE, "podPidsLimit"),
        (f"{POD}/{CONTAINER_ID}", "the container's pids limit"),
        (f"{POD_SLICE}/cri-containerd-{CONTAINER_ID}.scope", "the container's pids limit"),
        (
            f"/system.slice/docker-{CONTAINER_ID}.scope",
            f"docker update --pids-limit N {CONTAINER_ID[:12]}",
        ),
        (f"/docker/{CONTAINER_ID}", f"docker update --pids-limit N {CONTAINER_ID[:12]}"),
        (f"/leaky-container/{CONTAINER_ID}", "which its runtime sets"),
        (f"/{CONTAINER_ID}", "which its runtime sets"),
        (
            f"/machine.slice/libpod-{CONTAINER_ID}.scope",
            f"podman update --pids-limit N {CONTAINER_ID[:12]}",
        ),
        (
            f"{POD}/{CONTAINER_ID}/system.slice/db.service",
            "TasksMax of db.service inside the container",
        ),
        ("/kubepods", "PID reservation"),
        ("/kubepods.slice", "PID reservation"),
        ("/kubepods/burstable", "QoS class"),
        (SLICE, "QoS class"),
        ("/anything/else", "pids.max of the cgroup /anything/else"),
        ("/caf\udce9", "pids.max of the cgroup /caf\ufffd"),
    ],
)
def test_cgroups(path: str, words: str) -> None:
    assert words in knobs.knob_of_cgroup(path)


def test_the_node_and_what_is_not_a_cgroup() -> None:
    assert "kernel.threads-max" in knobs.knob_of_node(Limit.THREADS_MAX)
    assert "kernel.pid_max=4194304" in knobs.knob_of_node(Limit.PID_MAX)
    assert "nsenter -t 4711 -p sysctl -w kernel.pid_max=N" in knobs.knob_of_pid_namespace(4711)
    assert "uid 1000" in knobs.knob_of_user(1000)
    assert "memory" in knobs.knob_of_other(Limit.MEMORY, "ENOMEM")
    assert "the program itself" in knobs.knob_of_other(Limit.OTHER, "EINVAL")
    assert "security module" in knobs.knob_of_other(Limit.OTHER, "EPERM")
    assert "ERANGE" in knobs.knob_of_other(Limit.OTHER, "ERANGE")
