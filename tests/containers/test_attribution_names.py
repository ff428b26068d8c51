"""Names of containers where a runtime or the kubelet tells only a part, late, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .agent import ENDED, Agent
from .node import (
    NAMESPACE,
    POD,
    RATES,
    THREADS,
    Node,
    assert_named,
    identity,
    identity_of,
)
from .processes import wait_until
from .rootfs import WorkloadRootfs
from .runc_container import RuncPod

if TYPE_CHECKING:
    from .cri import Containerd


class TestNames:
    def test_from_kubelets_logs_alone(self, containerd_cri: Containerd, tmp_path: Path) -> None:
        """The runtime's files are elsewhere: what the logs' names do not tell is absent."""
        hostroot = tmp_path / "hostroot"
        hostroot.mkdir()
        (hostroot / "var").symlink_to(containerd_cri.hostroot / "var")
        with (
            Agent(hostroot) as agent,
            containerd_cri.pod(POD, NAMESPACE, kubelet_logs=True) as pod,
        ):
            with pod.container("app", "leak", "threads", "31", "--wait") as container:
                container.wait_waiting()
                agent.settle()
                before = agent.total(container.cgroup_path, THREADS)
                container.begin()
                assert container.wait_ready().refused == 0
                agent.settle()
                assert agent.total(container.cgroup_path, THREADS) - before == 31
            agent.wait_for_one(ENDED, container.cgroup_path)
            expected = identity(container, "app")
            expected["container"] = {"id": container.id, "name": "app"}
            assert_named(agent, container.cgroup_path, expected)

    def test_kubelets_link_comes_late(self, runc_pod: RuncPod) -> None:
        """A kubelet makes the link after the start: from then on the names are there."""
        links = runc_pod.hostroot / "var/log/containers"
        links.mkdir(parents=True)
        with Agent(runc_pod.hostroot, "--all") as agent:
            container = runc_pod.run("leak", "threads", "0")
            assert container.wait_ready().refused == 0
            agent.wait_for_one(RATES, container.cgroup_path)
            assert "name" not in agent.last(container.cgroup_path)["container"]
            link = links / f"{POD}_{NAMESPACE}_app-{container.id}.log"
            link.symlink_to(f"/var/log/pods/{NAMESPACE}_{POD}_{runc_pod.uid}/app/0.log")
            expected = identity(container, "app")
            del expected["container"]["image"]
            agent.wait_for_rates(
                container.cgroup_path, lambda event: identity_of(event) == expected
            )

    def test_containerd_is_down(
        self,
        workload_rootfs: WorkloadRootfs,
        containerd_cri: Containerd,  # for its prerequisites
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        """The files stay when containerd is killed: names and births go on."""
        from .cri import Containerd

        with (
            Containerd(workload_rootfs, tmp_path_factory.mktemp("down")) as containerd,
            containerd.pod(POD, NAMESPACE) as pod,
            pod.container("app", "leak", "threads", "101", "--wait") as container,
        ):
            container.wait_waiting()
            with (
                containerd.down(),
                Agent(containerd.hostroot) as agent,
            ):
                agent.settle()
                container.begin()
                # Nor does anyone read what the container says.
                wait_until(lambda: container.pids_current() == 102, 20, "all births have been")
                agent.finish()
                assert agent.total(container.cgroup_path, THREADS) == 101
                assert_named(agent, container.cgroup_path, identity(container, "app"))

    def test_agent_is_killed_and_started_again(self, node: Node) -> None:
        """The second one counts from its own start, and knows everything by name."""
        with node.container("app", "leak", "threads", "0") as container:
            assert container.wait_ready().refused == 0
            with Agent(node.hostroot) as first:
                first.settle()
                first.crash()
            with node.container("one", "leak", "threads", "17") as one:
                assert one.wait_ready().refused == 0
                with Agent(node.hostroot, "--all") as second:
                    second.settle()
                for workload, name, tasks in ((container, "app", 1), (one, "one", 18)):
                    assert_named(second, workload.cgroup_path, identity(workload, name))
                    assert second.total(workload.cgroup_path, THREADS) == 0
                    last = second.last(workload.cgroup_path)["threadtrace"]
                    assert last["tasks_count"] == tasks
