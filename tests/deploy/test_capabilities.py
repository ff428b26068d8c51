"""The least capabilities: with these all works, and what fails or degrades without each.

In a container of runc with what the manifests give it: the node's PID namespace and network, its
cgroups read-only, a root file system that is read-only, no new privileges. docs/deployment.md has
the table that is tested here. What takes another kernel or another process 1 than this machine's
(CAP_SYS_RESOURCE before 5.11) is told there, with how it was tried.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup
from support.puppet import Puppet
from support.requirements import require
from support.stream import path_of

from .agent_container import (
    CAPABILITIES,
    CAPABILITIES_WITHOUT_SYS_ADMIN,
    Ended,
    Sandbox,
    process_of,
    run,
    started,
)

Streamed = Callable[[Sandbox], Ended]

HIGHEST_PRIORITY = -20
CONTAINER = "web"


@pytest.fixture(autouse=True)
def runc(host: None) -> None:
    found = subprocess.run(["runc", "--version"], capture_output=True, check=False)
    require(found.returncode == 0, "containers", "runc", "apt-get install runc")


@pytest.fixture
def stream(tmp_path: Path) -> Streamed:
    def streamed(sandbox: Sandbox) -> Ended:
        return run(sandbox, tmp_path, "stream", "--duration", "1", "--interval", "0.2", "--all")

    return streamed


def without(*left_out: str, of: tuple[str, ...] = CAPABILITIES) -> tuple[str, ...]:
    return tuple(name for name in of if name not in left_out)


def processes_of(ended: Ended, path: str) -> set[str]:
    """Names of the processes that were told of a cgroup."""
    return {
        process["name"]
        for event in ended.named("workload.rates")
        if path_of(event) == path
        for process in event["threadtrace"].get("top_processes", ())
        if "name" in process
    }


def hook_kinds(ended: Ended) -> set[str]:
    (begun,) = ended.named("started")
    return {hook["kind"] for hook in begun["threadtrace"]["hooks"]}


class TestStart:
    """CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which the kernel takes for both."""

    @pytest.mark.parametrize(
        ("capabilities", "missing"),
        [
            ((), "CAP_BPF and CAP_PERFMON missing"),
            (("CAP_BPF",), "CAP_PERFMON missing"),
            (("CAP_PERFMON",), "CAP_BPF missing"),
            (without("CAP_SYS_ADMIN"), "CAP_BPF and CAP_PERFMON missing"),
            (without("CAP_BPF", of=CAPABILITIES_WITHOUT_SYS_ADMIN), "CAP_BPF missing"),
            (without("CAP_PERFMON", of=CAPABILITIES_WITHOUT_SYS_ADMIN), "CAP_PERFMON missing"),
        ],
    )
    def test_fails_without(
        self, capabilities: tuple[str, ...], missing: str, stream: Streamed
    ) -> None:
        ended = stream(Sandbox(capabilities))
        assert ended.code == os.EX_NOPERM
        assert ended.errors.startswith(f"threadtrace: {missing}: run as root (sudo)")
        assert ended.events == []

    @pytest.mark.parametrize(
        "sandbox",
        [
            Sandbox(CAPABILITIES),
            Sandbox(CAPABILITIES_WITHOUT_SYS_ADMIN, has_tracefs=True),
            Sandbox(("CAP_BPF", "CAP_PERFMON"), has_tracefs=True),
        ],
        ids=["with CAP_SYS_ADMIN", "without CAP_SYS_ADMIN", "the two alone"],
    )
    def test_nothing_is_missing(self, sandbox: Sandbox, stream: Streamed) -> None:
        ended = stream(sandbox)
        assert (ended.code, ended.errors) == (0, "")
        assert ended.missing == {}
        assert ended.named("workload.rates")


class TestRefusals:
    def test_tracefs_is_mounted_with_sys_admin_or_has_to_be_there(self, stream: Streamed) -> None:
        few = ("CAP_BPF", "CAP_PERFMON")
        mounted = stream(Sandbox(CAPABILITIES))
        if hook_kinds(mounted) & {"fexit", "kretprobe"}:
            pytest.skip("this kernel shows refusals without tracefs")
        (begun,) = mounted.named("started")
        assert begun["threadtrace"]["tracefs_mounted_privately"] is True
        assert "tracepoint" in hook_kinds(stream(Sandbox(few, has_tracefs=True)))
        alone = stream(Sandbox(few))
        assert list(alone.missing.values()) == ["refused clones are not counted"]


class TestProcesses:
    """In a cgroup namespace of its own, the paths that /proc tells are no paths from the root."""

    def names(self, capabilities: tuple[str, ...], cgroup: OwnCgroup, stream: Streamed) -> set[str]:
        ended = stream(Sandbox(capabilities, neighbour=cgroup.directory, has_tracefs=True))
        assert ended.code == 0, ended.errors
        return processes_of(ended, cgroup.path)

    def test_are_named(self, cgroup: OwnCgroup, stream: Streamed) -> None:
        assert self.names(CAPABILITIES, cgroup, stream) == {"sleep"}

    @pytest.mark.parametrize("left_out", ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"])
    def test_are_not_without(self, left_out: str, cgroup: OwnCgroup, stream: Streamed) -> None:
        capabilities = (*without(left_out), "CAP_BPF", "CAP_PERFMON")
        assert self.names(capabilities, cgroup, stream) == set()

    def test_are_named_in_the_nodes_cgroup_namespace_without_either(
        self, cgroup: OwnCgroup, actor: Puppet, stream: Streamed
    ) -> None:
        sandbox = Sandbox(("CAP_BPF", "CAP_PERFMON"), has_tracefs=True)
        assert processes_of(stream(sandbox), cgroup.path) == {"puppet"}


class TestPriority:
    def nice(self, capabilities: tuple[str, ...], directory: Path) -> int:
        with started(Sandbox(capabilities), directory, "stream", "--duration", "30") as process:
            assert process.stdout is not None
            while b"threadtrace.workload" not in process.stdout.readline():
                assert process.poll() is None
            return os.getpriority(os.PRIO_PROCESS, process_of(directory))

    def test_is_raised(self, tmp_path: Path) -> None:
        assert self.nice(CAPABILITIES, tmp_path) == HIGHEST_PRIORITY

    def test_stays_as_it_is_without_sys_nice(self, tmp_path: Path) -> None:
        usual = os.getpriority(os.PRIO_PROCESS, 0)
        assert self.nice(without("CAP_SYS_NICE"), tmp_path) == usual


class TestCgroupLookUp:
    def look_up(self, capabilities: tuple[str, ...], directory: Path) -> tuple[str, str]:
        with started(Sandbox(capabilities), directory, "doctor", "--json") as process:
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        checks = {check["name"]: check for check in json.loads(output)["checks"]}
        return checks["cgroup look-up"]["state"], checks["cgroup look-up"]["detail"]

    def test_is_by_handle(self, tmp_path: Path) -> None:
        assert self.look_up(CAPABILITIES, tmp_path) == ("ok", "by file handle")

    def test_walks_the_tree_without_dac_read_search(self, tmp_path: Path) -> None:
        state, detail = self.look_up(without("CAP_DAC_READ_SEARCH"), tmp_path)
        assert state == "limited"
        assert "the whole tree is walked" in detail


class TestNames:
    def test_take_no_capability(
        self, tmp_path: Path, puppet_program: Path, cgroup: OwnCgroup, stream: Streamed
    ) -> None:
        """Files of root in directories that are root's own."""
        identifier = secrets.token_hex(32)
        bundle = tmp_path / f"tasks/k8s.io/{identifier}"
        bundle.mkdir(mode=0o711, parents=True)
        annotations = {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": CONTAINER,
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.sandbox-namespace": "shop",
        }
        (bundle / "config.json").write_text(json.dumps({"annotations": annotations}))
        (bundle / "config.json").chmod(0o600)
        sandbox = Sandbox(
            ("CAP_BPF", "CAP_PERFMON"), has_tracefs=True, runtime_directory=tmp_path / "tasks"
        )
        inner = cgroup.child(identifier)
        with Puppet(puppet_program) as running:
            inner.add(running.pid)
            ended = stream(sandbox)
        (event, *_) = (
            event for event in ended.named("workload.rates") if path_of(event) == inner.path
        )
        assert event["threadtrace"]["workload"]["name"] == "shop/web-0/web"
