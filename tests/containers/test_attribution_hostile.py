"""Names that strangers choose: each event stays one line of valid JSON under 16 KiB.

Stream.finish, which leaving an Agent calls, checks that of every line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.stream import MAX_LINE_BYTES

from .agent import ENDED, STARTED, Agent
from .rootfs import IMAGE
from .runc_container import RuncPod, kubernetes_annotations

if TYPE_CHECKING:
    from .cri import Containerd

THREADS = "threads_created_count"
LONGEST_POD_NAME = "p" + "0123456789.-" * 20 + "end-of-name."[:11] + "z"

# An escape sequence, a byte that no UTF-8 has, a quote, a backslash, a line end: 11 bytes of the
# 15 that a task's name holds. In the notation of printf(1).
HOSTILE_NAME = r"\033[31m\377\042\\\n)x"
HOSTILE_NAME_SHOWN = '\x1b[31m\ufffd"\\\n)x'

RIGHT_TO_LEFT = "\u202eoverride\u2028line\u0000nul\x1b]0;title\x07"


def assert_lines_are_clean(agent: Agent, container_id: str) -> None:
    lines = [line for line in agent.lines if container_id.encode() in line]
    assert lines
    for line in lines:
        assert len(line) + 1 < MAX_LINE_BYTES
        assert min(line) >= 0x20, "control characters are escaped"
        json.loads(line.decode("utf-8", "strict"))


def test_longest_names_of_kubernetes(containerd_cri: Containerd) -> None:
    """Nothing of names that Kubernetes allows is cut."""
    assert len(LONGEST_POD_NAME) == 253
    namespace, name = "n" * 63, "c" * 63
    labels = {"app": "\x1b[2J\u202e", "escapes": "\\u0000\\x1b"}
    with (
        Agent(containerd_cri.hostroot) as agent,
        containerd_cri.pod(LONGEST_POD_NAME, namespace, labels=labels) as pod,
    ):
        with pod.container(name, "leak", "threads", "7", labels=labels) as container:
            assert container.wait_ready().refused == 0
            started = agent.wait_for_one(STARTED, container.cgroup_path)
        ended = agent.wait_for_one(ENDED, container.cgroup_path)
        rates = agent.rates(container.cgroup_path)
        assert rates
        for event in (started, *rates, ended):
            assert event["k8s"] == {
                "namespace": {"name": namespace},
                "pod": {"name": LONGEST_POD_NAME, "uid": pod.uid},
                "container": {"name": name},
            }
            shown = f"{namespace}/{LONGEST_POD_NAME}/{name}"
            assert event["threadtrace"]["workload"]["name"] == shown
            assert "is_truncated" not in event["threadtrace"]
        assert_lines_are_clean(agent, container.id)


def test_process_with_a_hostile_name(runc_pod: RuncPod) -> None:
    """The kernel takes any bytes for a name; so do a file system and execve."""
    script = f"""
        name=$(printf '{HOSTILE_NAME}')
        busybox cp /bin/leak "/tmp/$name"
        exec "/tmp/$name" threads 19 --wait --name "$name"
    """
    names = kubernetes_annotations("web-0", "shop", runc_pod.uid, "app")
    with Agent(runc_pod.hostroot) as agent:
        container = runc_pod.run("sh", "-c", script, annotations=names)
        container.wait_waiting()
        agent.settle()
        before = agent.total(container.cgroup_path, THREADS)
        container.begin()
        assert container.wait_ready().refused == 0
        agent.settle()
        assert agent.total(container.cgroup_path, THREADS) - before == 19
        (process,) = agent.last(container.cgroup_path)["threadtrace"]["top_processes"]
        assert process["pid"] == container.pid
        assert process["name"] == HOSTILE_NAME_SHOWN
        assert process["threads"] == 20
        assert_lines_are_clean(agent, container.id)


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("x" * 100_000, id="long"),
        pytest.param("\x01" * 20_000, id="six bytes of JSON each"),
        pytest.param("\U0001f9f5" * 20_000, id="four bytes each"),
        pytest.param(RIGHT_TO_LEFT, id="control characters"),
        pytest.param("", id="empty"),
    ],
)
def test_hostile_annotations(runc_pod: RuncPod, hostile: str) -> None:
    """What is too long is cut, counts and ids are not; what is empty is absent."""
    names = kubernetes_annotations(hostile, hostile, runc_pod.uid, hostile, hostile)
    with Agent(runc_pod.hostroot) as agent:
        container = runc_pod.run("leak", "threads", "17", "--wait", annotations=names)
        container.wait_waiting()
        agent.settle()
        before = agent.total(container.cgroup_path, THREADS)
        container.begin()
        assert container.wait_ready().refused == 0
        agent.settle()
        assert agent.total(container.cgroup_path, THREADS) - before == 17
        container.close()
        agent.wait_for_one(ENDED, container.cgroup_path)
        for event in (
            agent.wait_for_one(STARTED, container.cgroup_path),
            *agent.rates(container.cgroup_path),
        ):
            assert event["container"]["id"] == container.id
            assert event["k8s"]["pod"]["uid"] == runc_pod.uid
            told = event["k8s"]["pod"].get("name")
            assert hostile.startswith(told) if hostile else told is None
            if len(hostile) < 253:
                assert told == (hostile or None)
        assert_lines_are_clean(agent, container.id)


def test_annotations_that_are_not_text(runc_pod: RuncPod) -> None:
    """Half a surrogate pair is JSON for Go, and no text for anyone: the container goes unnamed,
    and is counted. Then kubelet's name for it comes."""
    links = runc_pod.hostroot / "var/log/containers"
    links.mkdir(parents=True)
    names = kubernetes_annotations("\ud800", "shop", runc_pod.uid, "app")
    with Agent(runc_pod.hostroot, "--all") as agent:
        container = runc_pod.run("leak", "threads", "3", annotations=names)
        assert container.wait_ready().refused == 0
        (links / f"web-0_shop_app-{container.id}.log").symlink_to("/nowhere")
        event = agent.wait_for_rates(
            container.cgroup_path, lambda event: "name" in event["k8s"]["pod"]
        )
        assert event["k8s"]["pod"] == {"name": "web-0", "uid": runc_pod.uid}
        assert_lines_are_clean(agent, container.id)


def test_hostile_cgroups_within_a_container(runc_pod: RuncPod) -> None:
    """A container with a cgroup of its own makes what it likes below it: it stays the one that
    is charged, unless the path names a container in it."""
    names = kubernetes_annotations("web-0", "shop", runc_pod.uid, "app")
    with Agent(runc_pod.hostroot, "--all") as agent:
        container = runc_pod.run("leak", "threads", "23", "--wait", annotations=names)
        container.wait_waiting()
        inner = os.fsencode(container.cgroup_directory)
        for name in (b'\x1b[31m\xff"\\', b"..pod", b"\x01" * 255, b"\xf0\x9f\xa7\xb5" * 63):
            inner += b"/" + name
            os.mkdir(inner)
        with open(inner + b"/cgroup.procs", "w") as procs:
            procs.write(str(container.pid))
        agent.settle()
        before = agent.total(container.cgroup_path, THREADS)
        container.begin()
        assert container.wait_ready().refused == 0
        agent.settle()
        assert agent.total(container.cgroup_path, THREADS) - before == 23
        last = agent.last(container.cgroup_path)
        assert last["threadtrace"]["tasks_count"] == 24
        assert last["container"]["image"] == {"name": IMAGE}
        assert_lines_are_clean(agent, container.id)


def test_long_hostile_path(runc_pod: RuncPod) -> None:
    """A path of 2,000 control characters, of which JSON makes 12,000 bytes, in every event."""
    names = kubernetes_annotations("web-0", "shop", runc_pod.uid, "app")
    with Agent(runc_pod.hostroot, "--all") as agent:
        container = runc_pod.run("leak", "threads", "5", "--wait", annotations=names)
        container.wait_waiting()
        # Not below the container: a workload that only its path names.
        top = container.cgroup_directory.parent.parent / f"odd-{runc_pod.uid}"
        made = [top]
        try:
            for _ in range(10):
                made.append(made[-1] / ("\x01" * 200))
            for directory in made:
                directory.mkdir()
            (made[-1] / "cgroup.procs").write_text(str(container.pid))
            container.begin()
            assert container.wait_ready().refused == 0
            agent.settle()
            agent.settle()
            odd = [line for line in agent.lines if f"odd-{runc_pod.uid}".encode() in line]
            counted = [
                event["threadtrace"][THREADS]
                for event in map(json.loads, odd)
                if event["event"]["name"] == "threadtrace.workload.rates"
            ]
            assert sum(counted) == 5
            for line in odd:
                assert len(line) + 1 < MAX_LINE_BYTES
        finally:
            container.close()
            for directory in reversed(made):
                if directory.exists():
                    directory.rmdir()


def test_host_root_is_not_left_through_links(runc_pod: RuncPod, tmp_path: Path) -> None:
    """A bundle's file that is a link says nothing: it may lead anywhere."""
    outside = tmp_path / "config.json"
    with Agent(runc_pod.hostroot, "--all") as agent:
        container = runc_pod.run("leak", "threads", "0")
        assert container.wait_ready().refused == 0
        agent.settle()
        agent.crash()
    annotations = kubernetes_annotations("secret", "shop", runc_pod.uid, "app")
    outside.write_text(json.dumps({"annotations": annotations}))
    (container.bundle / "config.json").unlink()
    (container.bundle / "config.json").symlink_to(outside)
    with Agent(runc_pod.hostroot, "--all") as agent:
        agent.settle()
        assert agent.last(container.cgroup_path)["k8s"] == {"pod": {"uid": runc_pod.uid}}
