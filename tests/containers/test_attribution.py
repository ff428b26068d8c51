"""The event stream on a node with real containers: who is charged, and by which names.

A container's first counts are its runtime's: runc's helper processes and the threads of its
init, a Go program, move into the cgroup while they start. How many of the threads are born
before the move is a race, so tests take the difference between two settled moments.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .agent import ENDED, STARTED, Agent, time_ns_of
from .node import (
    NAMESPACE,
    POD,
    PROCESSES,
    THREADS,
    Node,
    RuncNode,
    assert_named,
    identity,
    identity_of,
)
from .processes import wait_until
from .runc_container import RuncPod, kubernetes_annotations
from .workload import Births, CriError

if TYPE_CHECKING:
    from .cri import Containerd

NS = 1_000_000_000


class TestLeak:
    def test_leak(self, node: Node) -> None:
        leak = ("leak", "threads", "997", "--rate", "1000", "--name", "worker", "--wait")
        with Agent(node.hostroot) as agent:
            with node.container("app", *leak) as container:
                container.wait_waiting()
                agent.settle()
                before = agent.total(container.cgroup_path, THREADS)
                intervals = len(agent.rates(container.cgroup_path))
                container.begin()
                assert container.wait_ready() == Births(created=997, refused=0, errno=0)
                agent.settle()

                assert agent.total(container.cgroup_path, THREADS) - before == 997
                leaking = [e["threadtrace"] for e in agent.rates(container.cgroup_path)[intervals:]]
                assert leaking
                born = created = 0
                for interval in leaking:
                    born += interval[THREADS]
                    # The present number is read just after the births.
                    assert born + 1 <= interval["tasks_count"] <= 998
                    assert (interval[PROCESSES], interval["exited_count"]) == (0, 0)
                    top = interval["top_processes"][0]
                    assert (top["pid"], top["name"]) == (container.pid, "leak")
                    created += top["created_count"]
                # Interval by interval both may differ: the maps are read one after the other.
                assert created == 997
                assert leaking[-1]["tasks_count"] == 998
                assert leaking[-1]["top_processes"][0]["threads"] == 998
                exited_before = agent.total(container.cgroup_path, "exited_count")

            ended = agent.wait_for_one(ENDED, container.cgroup_path)
            assert agent.total(container.cgroup_path, "exited_count") - exited_before == 998
            for field in (THREADS, PROCESSES, "exited_count", "refused_count"):
                assert ended["threadtrace"][field] == agent.total(container.cgroup_path, field)
            assert ended["threadtrace"]["tasks_peak"] == 998
            assert_named(agent, container.cgroup_path, identity(container, "app"))
            assert len(agent.of(STARTED, container.cgroup_path)) == 1
            assert len(agent.of(ENDED, container.cgroup_path)) == 1

    def test_started_is_told_at_once(self, node: Node) -> None:
        """Within a second though the interval is long, and with the names."""
        with Agent(node.hostroot, interval_seconds=600) as agent:
            earliest = time.time_ns()
            with node.container("app", "leak", "threads", "0") as container:
                started = agent.wait_for_one(STARTED, container.cgroup_path)
                read_at = time.time_ns()
                assert earliest < time_ns_of(started) < read_at
                assert read_at - time_ns_of(started) < NS
                assert identity_of(started) == identity(container, "app")

    def test_ended_has_the_time_of_the_removal(self, node: Node) -> None:
        with Agent(node.hostroot) as agent:
            with node.container("app", "leak", "threads", "0") as container:
                assert container.wait_ready().refused == 0
                directory = container.cgroup_directory
                present = time.time_ns()
            assert not directory.exists()
            gone = time.time_ns()
            ended = agent.wait_for_one(ENDED, container.cgroup_path)
            assert present < time_ns_of(ended) < gone

    def test_leak_from_before_the_agent(self, node: Node) -> None:
        """What is there at the start counts as present, not as born, and has its names."""
        with node.container("app", "leak", "threads", "53") as container:
            assert container.wait_ready().refused == 0
            with Agent(node.hostroot, "--all") as agent:
                agent.settle()
                agent.finish()
                assert_named(agent, container.cgroup_path, identity(container, "app"))
                for event in agent.rates(container.cgroup_path):
                    interval = event["threadtrace"]
                    assert (interval[THREADS], interval["tasks_count"]) == (0, 54)
                    assert interval["top_processes"] == [
                        {"pid": container.pid, "name": "leak", "threads": 54, "created_count": 0}
                    ]


class TestLives:
    def test_container_that_exits_at_once(self, node: Node) -> None:
        """All of its life may lie within one interval. Its runtime's part is taken off by a
        container that does nothing."""
        forks: dict[str, int] = {}
        with Agent(node.hostroot) as agent:
            for count in ("0", "13"):
                with node.container("job", "leak", "forks", count, "--hold", "0") as container:
                    wait_until(lambda c=container: not c.is_running(), 10, "it has exited")
                ended = agent.wait_for_one(ENDED, container.cgroup_path)
                assert_named(agent, container.cgroup_path, identity(container, "job"))
                forks[count] = ended["threadtrace"][PROCESSES]
                assert agent.total(container.cgroup_path, PROCESSES) == forks[count]
        assert forks["13"] - forks["0"] == 13

    def test_restart_with_the_same_name_is_another_workload(self, node: Node) -> None:
        counts = (23, 41)
        containers = []
        with Agent(node.hostroot) as agent:
            for count in counts:
                with node.container("app", "leak", "threads", str(count), "--wait") as container:
                    container.wait_waiting()
                    agent.settle()
                    before = agent.total(container.cgroup_path, THREADS)
                    container.begin()
                    assert container.wait_ready().refused == 0
                    agent.settle()
                    assert agent.total(container.cgroup_path, THREADS) - before == count
                containers.append(container)
                agent.wait_for_one(ENDED, container.cgroup_path)
            assert containers[0].id != containers[1].id
            for container, count in zip(containers, counts):
                assert_named(agent, container.cgroup_path, identity(container, "app"))
                assert len(agent.of(STARTED, container.cgroup_path)) == 1
                (ended,) = agent.of(ENDED, container.cgroup_path)
                assert ended["threadtrace"]["tasks_peak"] == count + 1

    def test_many_short_containers(self, runc_pod: RuncPod) -> None:
        """Each has its name, and nothing of them is held afterwards."""
        node = RuncNode(runc_pod)
        names = {}
        with Agent(node.hostroot, "--all") as agent:
            for number in range(50):
                with node.container(f"job-{number}", "true") as container:
                    names[container.cgroup_path] = f"job-{number}"
            for path, name in names.items():
                ended = agent.wait_for_one(ENDED, path)
                assert len(agent.of(STARTED, path)) == 1
                assert ended["k8s"]["container"]["name"] == name
                assert ended["threadtrace"][PROCESSES] == agent.total(path, PROCESSES) > 0
            rows = sum(len(agent.rates(path)) for path in names)
            agent.settle()
            assert sum(len(agent.rates(path)) for path in names) == rows
            opened = [os.readlink(link) for link in Path(f"/proc/{agent.pid}/fd").iterdir()]
            assert [t for t in opened if any(path in t for path in names)] == []


class TestInnermost:
    def test_nested_container_is_charged_and_the_outer_is_not(self, runc_pod: RuncPod) -> None:
        """Docker in docker: /kubepods/.../<outer>/docker/<inner>. The inner one's files are
        inside of the outer one, out of the node's sight: its path names it."""
        names = kubernetes_annotations(POD, NAMESPACE, runc_pod.uid, "dind")
        with Agent(runc_pod.hostroot, "--all") as agent:
            outer = runc_pod.run("leak", "threads", "0", annotations=names)
            assert outer.wait_ready().refused == 0
            inner = runc_pod.run("leak", "threads", "101", "--wait", inside=outer)
            inner.wait_waiting()
            agent.settle()
            before = agent.total(inner.cgroup_path, THREADS)
            outer_before = len(agent.rates(outer.cgroup_path))
            inner.begin()
            assert inner.wait_ready().refused == 0
            agent.settle()

            assert agent.total(inner.cgroup_path, THREADS) - before == 101
            assert agent.last(inner.cgroup_path)["threadtrace"]["tasks_count"] == 102
            outer_rates = agent.rates(outer.cgroup_path)[outer_before:]
            assert outer_rates
            for event in outer_rates:
                assert event["threadtrace"][THREADS] == 0
                assert event["threadtrace"]["tasks_count"] == 1
            assert_named(agent, outer.cgroup_path, identity(outer, "dind"))
            assert inner.cgroup_path == f"{outer.cgroup_path}/docker/{inner.id}"
            expected = {
                "k8s": {"pod": {"uid": runc_pod.uid}},
                "container": {"id": inner.id, "runtime": {"name": "docker"}},
                "process": {"linux": {"cgroup": inner.cgroup_path}},
            }
            assert_named(agent, inner.cgroup_path, expected)

    def test_cgroup_within_a_container_is_the_containers(self, runc_pod: RuncPod) -> None:
        """A workload that divides its own cgroup, as systemd in a container does, is one."""
        names = kubernetes_annotations(POD, NAMESPACE, runc_pod.uid, "app")
        with Agent(runc_pod.hostroot, "--all") as agent:
            container = runc_pod.run("leak", "threads", "61", "--wait", annotations=names)
            container.wait_waiting()
            inner = container.cgroup_directory / "init.scope"
            inner.mkdir()
            (inner / "cgroup.procs").write_text(str(container.pid))
            agent.settle()
            before = agent.total(container.cgroup_path, THREADS)
            container.begin()
            assert container.wait_ready().refused == 0
            agent.settle()

            assert agent.total(container.cgroup_path, THREADS) - before == 61
            last = agent.last(container.cgroup_path)["threadtrace"]
            assert last["tasks_count"] == 62
            assert last["top_processes"][0]["pid"] == container.pid
            container.close()
            agent.wait_for_one(ENDED, container.cgroup_path)
            assert_named(agent, container.cgroup_path, identity(container, "app"))
            assert len(agent.of(STARTED, container.cgroup_path)) == 1

    def test_sandbox_is_told_from_the_container(self, containerd_cri: Containerd) -> None:
        with (
            Agent(containerd_cri.hostroot, "--all") as agent,
            containerd_cri.pod(POD, NAMESPACE) as pod,
            pod.container("app", "leak", "threads", "59", "--wait") as container,
        ):
            container.wait_waiting()
            agent.settle()
            before = (
                agent.total(pod.cgroup_path, THREADS),
                agent.total(container.cgroup_path, THREADS),
            )
            container.begin()
            assert container.wait_ready().refused == 0
            agent.settle()

            assert agent.total(container.cgroup_path, THREADS) - before[1] == 59
            assert agent.total(pod.cgroup_path, THREADS) == before[0]
            last = agent.last(pod.cgroup_path)
            assert last["threadtrace"]["tasks_count"] == 1
            assert last["threadtrace"]["workload"]["name"] == f"{NAMESPACE}/{POD}/(pause)"
            (process,) = last["threadtrace"]["top_processes"]
            assert (process["pid"], process["name"]) == (pod.pid, "pause")
            expected = {
                "k8s": {"namespace": {"name": NAMESPACE}, "pod": {"name": POD, "uid": pod.uid}},
                "container": {"id": pod.id, "runtime": {"name": "containerd"}},
                "process": {"linux": {"cgroup": pod.cgroup_path}},
            }
            assert_named(agent, pod.cgroup_path, expected)
            assert_named(agent, container.cgroup_path, identity(container, "app"))


class TestProbes:
    def test_exec_probe_is_charged_to_its_container(self, containerd_cri: Containerd) -> None:
        """What an exec probe costs, as counted in the victim's cgroup.

        `runc exec` starts in the shim's cgroup (on this node containerd's own). There it forks
        its helpers, the last of which is moved by PID into the container's cgroup and executes
        the probe's command. So a probe whose command forks nothing creates no process in the
        container; one that forks is charged exactly its forks. Not exact are the threads: the
        init of runc, a Go program, starts some before and some after the move. All of them end
        in the container, so it may count more exits than births.
        """
        with (
            Agent(containerd_cri.hostroot) as agent,
            containerd_cri.pod(POD, NAMESPACE) as pod,
            pod.container("app", "leak", "threads", "0") as container,
        ):
            assert container.wait_ready().refused == 0
            agent.settle()
            for command, forks in ((["true"], 0), (["leak", "forks", "7", "--hold", "0"], 7)):
                for _ in range(3):
                    before = agent.total(container.cgroup_path, PROCESSES)
                    exited = agent.total(container.cgroup_path, "exited_count")
                    sandbox = agent.total(pod.cgroup_path, PROCESSES)
                    assert container.execute(*command).exit_code == 0
                    agent.settle()
                    assert agent.total(container.cgroup_path, PROCESSES) - before == forks
                    assert agent.total(container.cgroup_path, "exited_count") - exited >= forks + 1
                    assert agent.total(pod.cgroup_path, PROCESSES) == sandbox
            assert agent.last(container.cgroup_path)["threadtrace"]["tasks_count"] == 1
            assert_named(agent, container.cgroup_path, identity(container, "app"))

    def test_probe_refused_at_zero_pids_shows_at_the_victim(
        self, containerd_cri: Containerd
    ) -> None:
        """Only the probe's container is refused; at least once (see ContainerWorkload.execute)."""
        with (
            Agent(containerd_cri.hostroot) as agent,
            containerd_cri.pod(POD, NAMESPACE) as pod,
            pod.container("victim", "leak", "threads", "0") as victim,
            pod.container("other", "leak", "threads", "0") as other,
        ):
            assert victim.wait_ready().refused == 0
            assert other.wait_ready().refused == 0
            agent.settle()
            victim.set_pids_limit(victim.pids_current())
            try:
                failed = victim.execute("sh", "-c", "true | true").exit_code != 0
            except CriError:  # the runtime could not even start it
                failed = True
            assert failed
            agent.settle()
            # The controller counts each refusal; so must the agent, however it was met.
            assert agent.total(victim.cgroup_path, "refused_count") == victim.refusals() > 0
            assert agent.total(other.cgroup_path, "refused_count") == 0
