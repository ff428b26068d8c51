"""Which limit refused, who holds it and who suffers, where all of them are containers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from support.command import threadtrace

from .agent import Agent
from .node import EAGAIN, NAMESPACE, POD, Node
from .runc_container import RuncContainer, RuncPod, kubernetes_annotations
from .workload import Births, ContainerWorkload

REFUSED = "fork.refused"


def told(agent: Agent, victim: ContainerWorkload, count: int) -> dict[str, Any]:
    """What the events of a victim say of the limit, once they tell of that many refusals."""
    path = victim.cgroup_path

    def refusals() -> list[dict[str, Any]]:
        return [event["threadtrace"] for event in agent.of(REFUSED, path)]

    agent.wait_until(
        lambda: sum(1 + entry["suppressed_count"] for entry in refusals()) == count,
        f"{count} refusals are told",
    )
    causes = {(entry["limit"], entry["limit_owner"], entry["errno"]) for entry in refusals()}
    assert len(causes) == 1, causes
    return refusals()[0]


def culprits(details: dict[str, Any]) -> list[tuple[str, int]]:
    """Who holds the limit, and tasks, most first."""
    return [(entry["workload"]["name"], entry["tasks_count"]) for entry in details["culprits"]]


def name_of(container: str) -> str:
    return f"{NAMESPACE}/{POD}/{container}"


def start(pod: RuncPod, name: str, *leak: str, **options: Any) -> RuncContainer:
    names = kubernetes_annotations(POD, NAMESPACE, pod.uid, name)
    return pod.run("leak", *leak, "--wait", annotations=names, **options)


def test_containers_own_limit(node: Node) -> None:
    """It is culprit and victim, and the node is not in danger."""
    with (
        Agent(node.hostroot) as agent,
        node.container("app", "leak", "threads", "13", "--wait") as container,
    ):
        container.wait_waiting()
        container.set_pids_limit(container.pids_current())
        container.begin()
        assert container.wait_ready() == Births(created=0, refused=13, errno=EAGAIN)

        details = told(agent, container, 13)
        assert (details["limit"], details["limit_owner"]) == ("pids_max", container.cgroup_path)
        assert details["is_own_limit"] is True
        assert culprits(details) == [(name_of("app"), 1)]
        assert "the container's pids limit" in details["knob"]
        event = agent.of(REFUSED, container.cgroup_path)[0]
        assert event["severity_text"] == "WARN"
        assert name_of("app") in event["message"]


def test_pods_limit_held_by_another_container(runc_pod: RuncPod) -> None:
    with Agent(runc_pod.hostroot) as agent:
        leaking = start(runc_pod, "leaking", "threads", "61")
        victim = start(runc_pod, "victim", "forks", "7")
        leaking.wait_waiting()
        victim.wait_waiting()
        leaking.begin()
        assert leaking.wait_ready() == Births(created=61, refused=0, errno=0)
        runc_pod.set_pids_limit(leaking.pids_current() + victim.pids_current())
        victim.begin()
        assert victim.wait_ready() == Births(created=0, refused=7, errno=EAGAIN)

        details = told(agent, victim, 7)
        assert (details["limit"], details["limit_owner"]) == ("pids_max", runc_pod.cgroup.path)
        assert details["limit_value"] == details["usage_value"] == 63
        assert details["is_own_limit"] is False
        assert culprits(details)[0] == (name_of("leaking"), 62)
        assert details["culprits"][0]["process"]["threads"] == 62
        assert "podPidsLimit" in details["knob"]


def test_limit_of_a_grandparent(runc_pod: RuncPod) -> None:
    """A container within a container: the outer one's limit is two levels up."""
    with Agent(runc_pod.hostroot) as agent:
        outer = start(runc_pod, "outer", "threads", "17")
        outer.wait_waiting()
        inner = runc_pod.run("leak", "threads", "5", "--wait", inside=outer)
        inner.wait_waiting()
        outer.begin()
        assert outer.wait_ready() == Births(created=17, refused=0, errno=0)
        outer.set_pids_limit(outer.pids_current())
        inner.begin()
        assert inner.wait_ready() == Births(created=0, refused=5, errno=EAGAIN)

        details = told(agent, inner, 5)
        assert (details["limit"], details["limit_owner"]) == ("pids_max", outer.cgroup_path)
        assert details["is_own_limit"] is False
        assert culprits(details)[0] == (name_of("outer"), 18)


def test_users_limit_shared_by_two_containers(runc_pod: RuncPod) -> None:
    """RLIMIT_NPROC counts a uid in all containers: who holds it is another than who suffers."""
    uid = random.randrange(100_000, 2_000_000_000)
    with Agent(runc_pod.hostroot) as agent:
        holder = start(runc_pod, "holder", "threads", "28", user_id=uid, rlimit_nproc=30)
        victim = start(runc_pod, "victim", "threads", "9", user_id=uid, rlimit_nproc=30)
        holder.wait_waiting()
        victim.wait_waiting()
        holder.begin()
        assert holder.wait_ready() == Births(created=28, refused=0, errno=0)
        victim.begin()
        assert victim.wait_ready() == Births(created=0, refused=9, errno=EAGAIN)

        details = told(agent, victim, 9)
        assert (details["limit"], details["limit_owner"]) == ("rlimit_nproc", f"uid {uid}")
        assert (details["limit_value"], details["usage_value"]) == (30, 30)
        assert culprits(details) == [(name_of("holder"), 29), (name_of("victim"), 1)]
        assert f"uid {uid}" in details["knob"]


def test_why_names_the_containers(runc_pod: RuncPod, tmp_path: Path) -> None:
    """In the agent's answer, and in one line for whoever looks first."""
    socket = str(tmp_path / "agent.sock")
    with Agent(runc_pod.hostroot, "--socket", socket) as agent:
        leaking = start(runc_pod, "leaking", "threads", "37")
        victim = start(runc_pod, "victim", "forks", "3")
        leaking.wait_waiting()
        victim.wait_waiting()
        leaking.begin()
        leaking.wait_ready()
        runc_pod.set_pids_limit(leaking.pids_current() + victim.pids_current())
        victim.begin()
        assert victim.wait_ready().refused == 3
        told(agent, victim, 3)

        answer = threadtrace("why", "--socket", socket)
        assert answer.returncode == 2, answer.stderr
        text = answer.stdout.decode()
        assert f"held by   {name_of('leaking')}  38 tasks" in text
        assert f"refused   {name_of('victim')}  3 times" in text
        fields = json.loads(threadtrace("why", "--json", "--socket", socket).stdout)
        (cause,) = fields["causes"]
        assert cause["limit_owner"] == runc_pod.cgroup.path
