"""The agent in a container of runc, with what the manifests of deploy/kubernetes give it.

Its root file system is the image's where THREADTRACE_IMAGE names what deploy/container/build-rootfs
made; else this machine's own, read-only, with the interpreter that runs the tests.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.stream import Event

DEADLINE_SECONDS = 60
IMAGE_VARIABLE = "THREADTRACE_IMAGE"

CAPABILITIES = (
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_DAC_READ_SEARCH",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
)
"""What the manifests give it: docs/deployment.md tells what each is for."""

CAPABILITIES_WITHOUT_SYS_ADMIN = (
    "CAP_BPF",
    "CAP_PERFMON",
    "CAP_DAC_READ_SEARCH",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
)
"""Where tracefs is mounted and the cgroup namespace is the node's: what the unit gives it."""

# include/uapi/linux/capability.h
_NUMBERS = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

# As containerd has them for a container that is not privileged.
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
]
_CAPABILITY_SETS = ("bounding", "effective", "permitted")
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


@dataclass(frozen=True)
class Image:
    """A root file system, and how threadtrace is started in it."""

    root: Path | None
    """None: this machine's own."""
    command: tuple[str, ...]
    environment: tuple[str, ...]


def image() -> Image:
    """The one that is asked for, or this machine's."""
    named = os.environ.get(IMAGE_VARIABLE)
    if named:
        config = json.loads((Path(named) / "config.json").read_text())
        return Image(Path(named) / "rootfs", tuple(config["Entrypoint"]), tuple(config["Env"]))
    command = (sys.executable, "-m", "threadtrace")
    variables = ("PATH=/usr/bin:/bin", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1")
    return Image(None, command, variables)


@dataclass
class Sandbox:
    """What a container may do and see."""

    capabilities: Sequence[str]
    runtime_directory: Path | None = None
    """Mounted where the manifests mount the node's /run/containerd/io.containerd..."""
    has_tracefs: bool = False
    """Mounted from the node, as the component no-sys-admin does."""
    neighbour: Path | None = None
    """A cgroup's directory: then the node is a PID namespace of its own, in which process 1 is
    runc, beside a process called sleep in that cgroup; and the container has a cgroup namespace of
    its own, as a kubelet gives it where the node has cgroup version 2 only."""
    memory_limit_bytes: int | None = None
    seccomp: dict[str, Any] | None = None


@dataclass(frozen=True)
class Ended:
    """What it wrote."""

    code: int
    errors: str
    events: list[Event]

    def named(self, name: str) -> list[Event]:
        """Events of that name, ``threadtrace.`` left out."""
        return [event for event in self.events if event["event"]["name"] == f"threadtrace.{name}"]

    @property
    def missing(self) -> dict[str, str]:
        """What ``threadtrace.started`` says is missing: what, and its effect."""
        (started,) = self.named("started")
        return {entry["what"]: entry["effect"] for entry in started["threadtrace"]["missing"]}


def run(sandbox: Sandbox, directory: Path, *arguments: str) -> Ended:
    """Run it to its end."""
    with started(sandbox, directory, *arguments) as process:
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    lines = output.splitlines()
    events = [json.loads(line) for line in lines if line.startswith(b"{")]
    return Ended(process.returncode, errors.decode(), events)


@contextmanager
def started(
    sandbox: Sandbox, directory: Path, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start it; it is gone afterwards."""
    identifier = f"threadtrace-{secrets.token_hex(6)}"
    bundle = directory / identifier
    bundle.mkdir(parents=True)
    root = bundle / "root"
    root.mkdir()
    (bundle / "config.json").write_text(json.dumps(_spec(sandbox, root, identifier, arguments)))
    runc = ["runc", "--root", str(directory / "runc")]
    process = subprocess.Popen(
        [*_surroundings(sandbox, root, bundle), *runc, "run", "--bundle", str(bundle), identifier],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        subprocess.run([*runc, "delete", "--force", identifier], check=False, capture_output=True)
        process.kill()
        process.communicate(timeout=DEADLINE_SECONDS)


def _surroundings(sandbox: Sandbox, root: Path, bundle: Path) -> list[str]:
    """What runs runc: mounts that nobody else sees, and a node of its own where it takes one."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    script = 'mount --bind "$1" "$2"; mount -t tracefs none "$3"; '
    if sandbox.neighbour is not None:
        unshare += ["--pid", "--fork", "--mount-proc", "--kill-child"]
        script += 'sleep 600 & echo $! >"$4/cgroup.procs"; '
    (bundle / "tracing").mkdir()
    words = [str(image().root or "/"), str(root), f"{bundle}/tracing", str(sandbox.neighbour)]
    return [*unshare, "sh", "-ec", script + 'shift 4; exec "$@"', "sh", *words]


def process_of(identifier_directory: Path) -> int:
    """The first process of the container that was started in that directory."""
    (state,) = (identifier_directory / "runc").glob("*/state.json")
    return int(json.loads(state.read_text())["init_process_pid"])


def _spec(
    sandbox: Sandbox, root: Path, identifier: str, arguments: Sequence[str]
) -> dict[str, Any]:
    """config.json by the OCI runtime specification 1.0."""
    made = image()
    namespaces = ["mount", "ipc", "uts"]  # the node's PID namespace and network
    if sandbox.neighbour is not None:
        namespaces.append("cgroup")
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if sandbox.memory_limit_bytes is not None:
        resources["memory"] = {"limit": sandbox.memory_limit_bytes}
    linux: dict[str, Any] = {
        "cgroupsPath": f"/{identifier}",
        "namespaces": [{"type": name} for name in namespaces],
        "resources": resources,
        "maskedPaths": _MASKED,
        "readonlyPaths": _READ_ONLY,
    }
    if sandbox.seccomp is not None:
        linux["seccomp"] = sandbox.seccomp
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [*made.command, *arguments],
            "env": [*made.environment, "THREADTRACE_HOST_ROOT=/run/host", "NODE_NAME=node-1"],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(_CAPABILITY_SETS, granted(sandbox.capabilities)),
        },
        "root": {"path": str(root), "readonly": True},
        "hostname": "agent",
        "mounts": list(_mounts(sandbox, root.parent)),
        "linux": linux,
    }


def granted(capabilities: Sequence[str]) -> tuple[str, ...]:
    """Those that this machine has to give: in some sandboxes CAP_SYS_RESOURCE is none of them."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in line
    )
    bounding = int(line.split()[1], 16)
    return tuple(name for name in capabilities if bounding >> _NUMBERS[name] & 1)


def _mounts(sandbox: Sandbox, bundle: Path) -> Iterator[dict[str, Any]]:
    yield _mount("/proc", "proc")
    yield _mount("/dev", "tmpfs", "nosuid", "mode=755", "size=64k")
    yield _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro")
    yield _mount("/sys/fs/cgroup", "bind", "rbind", "rslave", "ro", source="/sys/fs/cgroup")
    # Mount points below it are made as needed: the root file system itself is read-only.
    yield _mount("/run", "tmpfs", "nosuid", "nodev", "mode=755", "size=1m")
    yield _mount("/run/host", "tmpfs", "nosuid", "nodev", "mode=755", "size=64k")
    yield _mount("/run/threadtrace", "tmpfs", "nosuid", "nodev", "mode=700", "size=64k")
    if sandbox.runtime_directory is not None:
        target = "/run/host/run/containerd/io.containerd.runtime.v2.task"
        source = str(sandbox.runtime_directory)
        yield _mount(target, "bind", "rbind", "rslave", "ro", source=source)
    if sandbox.has_tracefs:
        source = str(bundle / "tracing")
        yield _mount("/sys/kernel/tracing", "bind", "rbind", "ro", source=source)


def _mount(destination: str, kind: str, *options: str, source: str | None = None) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": kind,
        "source": source or kind,
        "options": list(options),
    }
