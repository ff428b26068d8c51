"""The harness itself: what it promises to the tests that build on it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import cgroups, prerequisites
from .mounts import mounts_below, node_root
from .processes import pids_with_argument, wait_until
from .rootfs import IMAGE, WorkloadRootfs
from .runc_container import RuncPod
from .workload import Births, ContainerWorkload, CriError

if TYPE_CHECKING:
    from .cri import Containerd

EAGAIN = 11


def annotations_of(bundle: Path) -> dict[str, str]:
    configuration: dict[str, Any] = json.loads((bundle / "config.json").read_text())
    annotations: dict[str, str] = configuration["annotations"]
    return annotations


def directories_of(cgroup_path: str) -> list[Path]:
    candidates = [hierarchy.mount / cgroup_path.lstrip("/") for hierarchy in cgroups.hierarchies()]
    return [directory for directory in candidates if directory.exists()]


def probe_succeeds(container: ContainerWorkload, *command: str) -> bool:
    """The verdict of a kubelet: a command that cannot be started is a failed probe too."""
    try:
        return container.execute(*command).exit_code == 0
    except CriError:
        return False


def assert_has_threads(container: ContainerWorkload, count: int, name: str) -> None:
    """The main thread, and `count` others with this name; nothing else in the cgroup."""
    assert sorted(container.thread_names()) == sorted(["leak"] + [name] * count)
    assert container.pids_current() == count + 1


class TestPrerequisites:
    def test_missing_part_is_a_skip_with_its_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(prerequisites.REQUIRE_VARIABLE, raising=False)
        with pytest.raises(pytest.skip.Exception, match="a part is missing: get it"):
            prerequisites.require(None, "a part", "get it")

    def test_missing_part_fails_where_containers_are_required(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(prerequisites.REQUIRE_VARIABLE, "kernel, containers")
        with pytest.raises(pytest.fail.Exception, match="a part is missing: get it"):
            prerequisites.require(None, "a part", "get it")

    def test_another_suite_being_required_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(prerequisites.REQUIRE_VARIABLE, "kernel,vm")
        with pytest.raises(pytest.skip.Exception):
            prerequisites.require(None, "a part", "get it")

    def test_present_part_passes(self) -> None:
        prerequisites.require("/usr/bin/part", "a part", "get it")


class TestWaitUntil:
    def test_returns_what_the_condition_returned(self) -> None:
        answers = iter([None, 0, 7])
        assert wait_until(lambda: next(answers), 5, "an answer") == 7

    def test_says_what_it_waited_for(self) -> None:
        with pytest.raises(TimeoutError, match=r"not within 0\.05 s: a miracle"):
            wait_until(lambda: False, 0.05, lambda: "a miracle")


class TestRunc:
    def test_container_is_on_the_path_of_its_pod(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "0")
        container.wait_ready()

        path = f"/kubepods/burstable/pod{runc_pod.uid}/{container.id}"
        assert container.cgroup_path == path
        assert cgroups.pids_path_of(container.pid) == path
        assert len(container.id) == 64
        assert container.cgroup_id == container.cgroup_directory.stat().st_ino

    @pytest.mark.parametrize("count", [0, 1, 23, 211])
    def test_container_has_exactly_these_threads(self, runc_pod: RuncPod, count: int) -> None:
        container = runc_pod.run("leak", "threads", str(count), "--name", ".NET TP Worker")

        assert container.wait_ready() == Births(created=count, refused=0, errno=0)
        assert_has_threads(container, count, ".NET TP Worker")

    def test_thread_names_are_numbered(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "3", "--name", "pool-1-thread-#")
        container.wait_ready()
        assert container.thread_names() == ["leak"] + [f"pool-1-thread-{n}" for n in (1, 2, 3)]

    def test_rate_bounds_the_births(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "400", "--rate", "100", "--wait")
        container.wait_waiting()
        container.begin()
        wait_until(lambda: container.pids_current() > 10, 5, "births have begun")
        assert container.pids_current() < 400

    @pytest.mark.parametrize("mode", ["forks", "churn"])
    def test_short_lives_end_before_ready(self, runc_pod: RuncPod, mode: str) -> None:
        container = runc_pod.run("leak", mode, "101")
        assert container.wait_ready() == Births(created=101, refused=0, errno=0)
        # A joined thread has signalled its end, and leaves the count a moment later.
        wait_until(lambda: container.pids_current() == 1, 5, "one task is left")

    def test_births_wait_for_the_observer(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "7", "--wait")
        container.wait_waiting()
        assert container.pids_current() == 1

        container.begin()

        assert container.wait_ready().created == 7

    def test_limit_of_the_container_refuses_the_rest(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "53", pids_limit=30)
        assert container.wait_ready() == Births(created=29, refused=24, errno=EAGAIN)
        assert container.refusals() == 24

    def test_zero_pids(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "forks", "13", "--wait")
        container.wait_waiting()
        container.set_pids_limit(container.pids_current())
        container.begin()
        assert container.wait_ready() == Births(created=0, refused=13, errno=EAGAIN)

    def test_limit_of_the_pod_counts_all_its_containers(self, runc_pod: RuncPod) -> None:
        runc_pod.run("leak", "threads", "19").wait_ready()
        second = runc_pod.run("leak", "threads", "59", "--wait")
        second.wait_waiting()
        runc_pod.set_pids_limit(50)
        second.begin()
        assert second.wait_ready() == Births(created=29, refused=30, errno=EAGAIN)

    def test_nproc_limit_of_a_user_is_silent_in_the_pids_controller(
        self, runc_pod: RuncPod
    ) -> None:
        container = runc_pod.run("leak", "threads", "41", user_id=64123, rlimit_nproc=30)
        assert container.wait_ready() == Births(created=29, refused=12, errno=EAGAIN)
        assert container.refusals() == 0

    def test_command_inside(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "0")
        container.wait_ready()
        assert container.execute("echo", "alive").stdout == "alive\n"
        assert container.execute("false").exit_code == 1

    def test_workload_ends_by_itself(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "2", "--limit", "1")
        container.wait_ready()
        wait_until(lambda: not container.is_running(), 5, "leak has ended at its limit")

    def test_workload_ends_at_a_signal(self, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "2")
        container.wait_ready()
        with container.process() as process:
            process.signal(signal.SIGTERM)
            assert process.ended(5)

    def test_nothing_is_left(self, workload_rootfs: WorkloadRootfs, runc_pod: RuncPod) -> None:
        container = runc_pod.run("leak", "threads", "11")
        container.wait_ready()
        assert directories_of(runc_pod.cgroup.path)

        with container.process() as process:
            runc_pod.close()
            assert process.ended()

        assert directories_of(runc_pod.cgroup.path) == []
        assert mounts_below(workload_rootfs.directory) == []

    def test_failed_start_says_why_and_leaves_nothing(self, runc_pod: RuncPod) -> None:
        with pytest.raises(RuntimeError, match="no-such-program"):
            runc_pod.run("no-such-program")
        runc_pod.close()
        assert directories_of(runc_pod.cgroup.path) == []


class TestCri:
    def test_bundle_names_the_container(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0", "shop") as pod,
            pod.container("app", "leak", "threads", "0") as container,
        ):
            assert annotations_of(container.bundle) == {
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.container-name": "app",
                "io.kubernetes.cri.image-name": IMAGE,
                "io.kubernetes.cri.sandbox-id": pod.id,
                "io.kubernetes.cri.sandbox-name": "web-0",
                "io.kubernetes.cri.sandbox-namespace": "shop",
                # containerd from 1.6.11
                "io.kubernetes.cri.sandbox-uid": pod.uid,
            }
            place = "run/containerd/io.containerd.runtime.v2.task/k8s.io"
            assert container.bundle == containerd_cri.hostroot / place / container.id

    def test_bundle_names_the_sandbox(self, containerd_cri: Containerd) -> None:
        with containerd_cri.pod("web-0", "shop") as pod:
            annotations = annotations_of(pod.bundle)
            assert annotations["io.kubernetes.cri.container-type"] == "sandbox"
            assert annotations["io.kubernetes.cri.sandbox-id"] == pod.id
            assert annotations["io.kubernetes.cri.sandbox-name"] == "web-0"
            assert "io.kubernetes.cri.container-name" not in annotations
            assert Path(f"/proc/{pod.pid}/comm").read_text() == "pause\n"

    def test_container_is_on_the_path_of_its_pod_with_exactly_these_threads(
        self, containerd_cri: Containerd
    ) -> None:
        with (
            containerd_cri.pod("web-0", "shop") as pod,
            pod.container("app", "leak", "threads", "23", "--name", "worker") as container,
        ):
            assert container.wait_ready() == Births(created=23, refused=0, errno=0)
            assert_has_threads(container, 23, "worker")
            path = f"/kubepods/burstable/pod{pod.uid}/{container.id}"
            assert cgroups.pids_path_of(container.pid) == path

    def test_exec_probe(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0") as pod,
            pod.container("app", "leak", "threads", "0") as container,
        ):
            container.wait_ready()
            assert container.execute("echo", "alive").stdout == "alive\n"
            assert probe_succeeds(container, "true")
            assert not probe_succeeds(container, "false")

    def test_exec_probe_that_forks_fails_at_zero_pids(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0") as pod,
            pod.container("app", "leak", "threads", "0") as container,
        ):
            container.wait_ready()
            container.set_pids_limit(container.pids_current())
            # runc starts its threads while it is being moved into the cgroup: now and then they
            # are all there in time, and the refusal meets the probe's own fork instead.
            assert not probe_succeeds(container, "sh", "-c", "true | true")
            assert container.refusals() > 0

    def test_status(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0") as pod,
            pod.container("app", "leak", "threads", "0", labels={"tier": "front"}) as container,
        ):
            container.wait_ready()
            status = container.status()
            assert (status.state, status.image, status.pid) == ("RUNNING", IMAGE, container.pid)
            assert status.labels["tier"] == "front"

            container.stop(grace_seconds=5)

            status = container.status()
            assert (status.state, status.exit_code, status.pid) == ("EXITED", 0, None)

    def test_limit_of_the_pod(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0") as pod,
            pod.container("app", "leak", "threads", "43", "--wait") as container,
        ):
            container.wait_waiting()
            pod.set_pids_limit(32)
            container.begin()
            # 32 less the sandbox and the main thread
            assert container.wait_ready() == Births(created=30, refused=13, errno=EAGAIN)

    def test_default_seccomp_profile_and_a_user(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0") as pod,
            pod.container(
                "app", "leak", "threads", "5", runtime_default_seccomp=True, user_id=64123
            ) as container,
        ):
            assert container.wait_ready().created == 5
            assert Path(f"/proc/{container.pid}").stat().st_uid == 64123
            status = Path(f"/proc/{container.pid}/status").read_text()
            assert "Seccomp:\t2" in status

    def test_logs_as_a_kubelet_keeps_them(self, containerd_cri: Containerd) -> None:
        links = containerd_cri.hostroot / "var/log/containers"
        with containerd_cri.pod("web-0", "shop", kubelet_logs=True) as pod:
            with pod.container("app", "leak", "threads", "0") as container:
                container.wait_ready()
                link = links / f"web-0_shop_app-{container.id}.log"
                log = link.readlink()
                assert log == Path(f"/var/log/pods/shop_web-0_{pod.uid}/app/0.log")
                assert (containerd_cri.hostroot / log.relative_to("/")).exists()
            assert list(links.iterdir()) == []

    def test_node_root_shows_the_node(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0") as pod,
            pod.container("app", "leak", "threads", "0") as container,
        ):
            container.wait_ready()
            seen = container.cgroup_directory.relative_to("/")
            with node_root(containerd_cri.hostroot) as root:
                assert (root / seen / "pids.current").read_text() == "1\n"
                assert (root / "proc" / str(container.pid)).exists()
            assert not (root / seen).exists()
            assert container.pids_current() == 1

    def test_nothing_is_left(self, containerd_cri: Containerd) -> None:
        with (
            containerd_cri.pod("web-0") as pod,
            pod.container("app", "leak", "threads", "11") as container,
        ):
            container.wait_ready()
            assert len(pids_with_argument(pod.id)) == 1, "one shim a pod"
            with container.process() as process:
                container.stop()
                assert process.ended()

        assert pids_with_argument(pod.id) == []
        assert directories_of(pod.cgroup.path) == []
        assert mounts_below(containerd_cri.directory) == []
