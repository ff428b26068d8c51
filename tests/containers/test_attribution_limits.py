"""The limits of containers and pods, and the clones that they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.stream import Event

from .agent import Agent
from .node import (
    EAGAIN,
    NAMESPACE,
    POD,
    THREADS,
    Node,
    assert_named,
    identity,
)
from .workload import Births

if TYPE_CHECKING:
    from .cri import Containerd


class TestLimits:
    def test_limit_of_the_pod_and_of_the_container(self, containerd_cri: Containerd) -> None:
        """Kubernetes limits the pod; the nearest limit above a container is told."""

        def told(path: str, limit: int, owner: str) -> Event:
            return agent.wait_for_rates(
                path,
                lambda event: (
                    (
                        event["threadtrace"].get("tasks_limit"),
                        event["threadtrace"].get("tasks_limit_owner"),
                    )
                    == (limit, owner)
                ),
            )

        with (
            Agent(containerd_cri.hostroot, "--all") as agent,
            containerd_cri.pod(POD, NAMESPACE, pids_limit=97) as pod,
            pod.container("app", "leak", "threads", "5") as container,
        ):
            assert container.wait_ready().refused == 0
            told(container.cgroup_path, 97, pod.cgroup.path)
            told(pod.cgroup_path, 97, pod.cgroup.path)
            agent.settle()
            for path in (container.cgroup_path, pod.cgroup_path):
                # The sandbox, the main thread and its five.
                assert agent.last(path)["threadtrace"]["tasks_limit_usage"] == 7

            container.set_pids_limit(53)
            interval = told(container.cgroup_path, 53, container.cgroup_path)["threadtrace"]
            assert (interval["tasks_limit_usage"], interval["tasks_count"]) == (6, 6)

            pod.set_pids_limit(89)
            told(pod.cgroup_path, 89, pod.cgroup.path)
            agent.settle()
            assert agent.last(container.cgroup_path)["threadtrace"]["tasks_limit"] == 53

    def test_no_limit_is_absent(self, node: Node) -> None:
        with (
            Agent(node.hostroot, "--all") as agent,
            node.container("app", "leak", "threads", "0") as container,
        ):
            assert container.wait_ready().refused == 0
            agent.settle()
            for event in agent.rates(container.cgroup_path):
                assert not [name for name in event["threadtrace"] if "tasks_limit" in name]

    def test_refusals_are_attributed(self, node: Node) -> None:
        with (
            Agent(node.hostroot) as agent,
            node.container("other", "leak", "threads", "0") as other,
            node.container("app", "leak", "threads", "13", "--wait") as container,
        ):
            container.wait_waiting()
            container.set_pids_limit(container.pids_current())
            container.begin()
            assert container.wait_ready() == Births(created=0, refused=13, errno=EAGAIN)
            agent.settle()
            assert agent.refused(container.cgroup_path) == {"EAGAIN": 13}
            assert agent.total(container.cgroup_path, "refused_count") == 13
            assert container.refusals() == 13
            assert agent.refused(other.cgroup_path) == {}
            for event in agent.rates(container.cgroup_path):
                refused = event["threadtrace"]["refused_count"]
                assert event["severity_text"] == ("WARN" if refused else "INFO")
            assert_named(agent, container.cgroup_path, identity(container, "app"))

    def test_refusals_under_the_default_seccomp_profile(self, containerd_cri: Containerd) -> None:
        """The profile answers clone3 with ENOSYS: no refusal. The clone that follows is one."""
        with (
            Agent(containerd_cri.hostroot) as agent,
            containerd_cri.pod(POD, NAMESPACE) as pod,
            pod.container(
                "app", "leak", "threads", "29", "--wait", runtime_default_seccomp=True
            ) as container,
        ):
            container.wait_waiting()
            agent.settle()
            before = agent.total(container.cgroup_path, THREADS)
            container.set_pids_limit(container.pids_current() + 16)
            container.begin()
            assert container.wait_ready() == Births(created=16, refused=13, errno=EAGAIN)
            agent.settle()
            assert agent.total(container.cgroup_path, THREADS) - before == 16
            assert agent.refused(container.cgroup_path) == {"EAGAIN": 13}

    def test_refusal_by_the_pods_limit_is_the_containers(self, containerd_cri: Containerd) -> None:
        with (
            Agent(containerd_cri.hostroot) as agent,
            containerd_cri.pod(POD, NAMESPACE) as pod,
            pod.container("app", "leak", "threads", "43", "--wait") as container,
        ):
            container.wait_waiting()
            pod.set_pids_limit(32)
            container.begin()
            # 32 less the sandbox and the main thread
            assert container.wait_ready() == Births(created=30, refused=13, errno=EAGAIN)
            agent.settle()
            assert agent.refused(container.cgroup_path) == {"EAGAIN": 13}
            assert agent.refused(pod.cgroup_path) == {}
