"""Names of containers from runtime state files, on the trees in tests/data/runtimes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from threadtrace.identity.runtimes import ContainerNames, RuntimeFiles, StateDirectory
from threadtrace.identity.runtimes import files as runtime_files

DATA = Path(__file__).parent.parent / "data" / "runtimes"
TASKS = "run/containerd/io.containerd.runtime.v2.task"
STORAGE = "var/lib/containers/storage/overlay-containers"
USER_STORAGE = "home/ada/.local/share/containers/storage/overlay-containers"

COREDNS = "402e481001eac75667355472b2c2c469fd6444e2a517498c3cc68cf71baee601"
COREDNS_UID = "5cc19c54-2c5c-4d7b-9f53-d3d4c9b1f7a2"
COREDNS_POD = ContainerNames(
    k8s_namespace="kube-system",
    k8s_pod_name="coredns-76f75df574-7p4xk",
    k8s_pod_uid=COREDNS_UID,
)
NERDCTL = "aa470170773aae4a69e6e0a509eb8c1f304140b1fea1a2d55ec93a07a78e497c"
EARLY_API = "573306145dffe4574b018754b77c681cd5ed81304fbefa0ada1044ff2d5a8d21"
DOCKER = "f31f384749f9115acf01fcf82f5a966b59dcc0a4cbd7c9740888c0bf32aa2bbb"
PODMAN = "cc68e1d9877507693f2627038a9947317d784e78728a2cdc290274f23414b7e0"
PODMAN_USER = "54731557ebcb0622cadebe353b577786200d923c799451b398f2622c0f1d4d09"
PODMAN_VFS = "2f5d82826e0b8293bce0d0297819183fa921c8ec590c11bbbcedac5c2df97db5"

# What each tree says of each container, without kubelet's help unless it is there.
NAMED = [
    (tree, container_id, ContainerNames(**names))
    for tree, containers in json.loads((DATA / "names.json").read_text()).items()
    for container_id, names in containers.items()
]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A copy of the containerd node that a test may break."""
    return Path(shutil.copytree(DATA / "containerd", tmp_path / "host", symlinks=True))


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """An empty root that any user can reach."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


def put(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("hint", [None, "own", "docker", "kubelet-unknown"])
@pytest.mark.parametrize(("tree", "container_id", "names"), NAMED)
def test_each_runtime_names_its_containers(
    tree: str, container_id: str, names: ContainerNames, hint: str | None
) -> None:
    runtime = names.runtime if hint == "own" else hint
    assert RuntimeFiles(DATA / tree).lookup(container_id, runtime, None) == names


@pytest.mark.parametrize(
    ("container_id", "name", "image"),
    [
        (PODMAN_USER, "notebook", "localhost/notebook:3"),
        (PODMAN_VFS, "builder", "docker.io/library/alpine:3.20"),
    ],
)
def test_user_stores_are_read_for_podman_only(container_id: str, name: str, image: str) -> None:
    node = RuntimeFiles(DATA / "podman")
    assert node.lookup(container_id, "podman", None) == ContainerNames("podman", name, image)
    assert node.lookup(container_id, None, None) is None


def test_bundles_of_docker_and_podman_have_no_names(tmp_path: Path) -> None:
    for tree, own in (("docker", "var/lib/docker"), ("podman", f"{STORAGE}/containers.json")):
        root = shutil.copytree(DATA / tree, tmp_path / tree, symlinks=True)
        (root / own).rename(tmp_path / f"no-{tree}")
    docker = RuntimeFiles(tmp_path / "docker").lookup(DOCKER, "docker", None)
    assert docker == ContainerNames("docker"), "the namespace tells who runs it"
    assert RuntimeFiles(tmp_path / "podman").lookup(PODMAN, "podman", None) is None


def test_kubelet_fills_what_early_containerd_does_not_say() -> None:
    node = RuntimeFiles(DATA / "containerd-early")
    uid = "9d0d9a4be7a3a1cf9b3b7e4f5a6c8d21"  # of a static pod: the hash of its manifest
    assert node.lookup(EARLY_API, "containerd", uid) == ContainerNames(
        runtime="containerd",
        container_name="kube-apiserver",
        k8s_namespace="kube-system",
        k8s_pod_name="kube-apiserver-node-1",
        k8s_pod_uid=uid,
        k8s_container_name="kube-apiserver",
    )


def test_kubelet_alone_names_a_container(node: Path) -> None:
    shutil.rmtree(node / "run")
    names = replace(COREDNS_POD, container_name="coredns", k8s_container_name="coredns")
    assert RuntimeFiles(node).lookup(COREDNS, "containerd", COREDNS_UID) == names
    no_uid = replace(names, k8s_pod_uid=None)
    assert RuntimeFiles(node).lookup(COREDNS, None, None) == no_uid


def test_pod_directory_names_a_pod() -> None:
    node = RuntimeFiles(DATA / "containerd")
    assert node.lookup_pod(COREDNS_UID) == COREDNS_POD
    assert node.lookup_pod("no-such-uid") is None
    assert node.lookup("0" * 64, None, COREDNS_UID) is None, "that is no name of the container"


def test_available_tells_what_is_there(node: Path) -> None:
    (node / "var/lib/docker/containers").mkdir(parents=True)
    owners = [(directory.owner, directory.path) for directory in RuntimeFiles(node).available()]
    assert owners == [
        ("containerd", node / TASKS),
        ("docker", node / "var/lib/docker/containers"),
        ("kubelet", node / "var/log/containers"),
        ("kubelet", node / "var/log/pods"),
    ]
    assert RuntimeFiles(node / "nowhere").available() == []


def test_available_tells_what_cannot_be_read(unprivileged: Path) -> None:
    locked = unprivileged / TASKS
    (locked / "k8s.io").mkdir(parents=True)
    os.chmod(locked, 0o311)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65534)
    try:
        node = RuntimeFiles(unprivileged)
        assert node.available() == [StateDirectory("containerd", locked, False)]
        assert node.lookup(COREDNS, "containerd", None) is None
    finally:
        if as_root:
            os.seteuid(0)


# Robustness: files that are strange, hostile or half there.


@pytest.mark.parametrize(
    "container_id",
    ["", ".", "..", "../x", "/", "a/b", "/etc", "a..b", "-x", "a\0b", "a\n", "é", "a" * 300],
)
def test_unsafe_ids_touch_no_file(
    container_id: str, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = RuntimeFiles(node)
    monkeypatch.setattr(os, "open", None)
    monkeypatch.setattr(os, "stat", None)
    assert names.lookup(container_id, None, COREDNS_UID) is None


WRITERS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "empty": lambda path: path.write_bytes(b""),
    "zeroed by a crash": lambda path: path.write_bytes(bytes(4096)),
    "not UTF-8": lambda path: path.write_bytes(b'{"annotations":{"nerdctl/name":"\xff"}}'),
    "too deep": lambda path: path.write_bytes(b"[" * 100_000),
    "50 MB": lambda path: os.truncate(path, 50_000_000),
    "5 MB, well-formed": lambda path: path.write_bytes(path.read_bytes() + b" " * 5_000_000),
    "gone": lambda path: path.unlink(),
    "bundle gone": lambda path: shutil.rmtree(path.parent),
    "directory": lambda path: (path.unlink(), path.mkdir()),
    "fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "link": lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")),
    "link loop": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "bundle loop": lambda path: (
        shutil.rmtree(path.parent), path.parent.symlink_to(path.parent.name),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", WRITERS)
def test_file_that_is_not_whole_is_not_there_yet(how: str, node: Path) -> None:
    bundle = node / TASKS / "default" / NERDCTL / "config.json"
    names = RuntimeFiles(node)
    WRITERS[how](bundle)
    assert names.lookup(NERDCTL, "containerd", None) is None

    shutil.rmtree(bundle.parent, ignore_errors=True)
    bundle.parent.unlink(missing_ok=True)
    put(bundle, {"annotations": {"nerdctl/name": "cache"}})
    assert names.lookup(NERDCTL, "containerd", None) == ContainerNames("containerd", "cache")


def test_file_that_grows_under_the_reader_is_not_whole() -> None:
    # A JSON number of several digits, in a file that states a size of 0.
    assert runtime_files.load_json("/proc/sys/kernel/pid_max") is None


def test_bundle_that_vanishes_under_the_reader(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, real_open = RuntimeFiles(node), os.open

    def open_late(path: str, flags: int) -> int:
        if path.endswith("config.json"):
            (node / TASKS / "k8s.io").rename(node / "removed")
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", open_late)
    rest = names.lookup(COREDNS, "containerd", COREDNS_UID)
    assert rest == replace(COREDNS_POD, container_name="coredns", k8s_container_name="coredns")
    assert rest.runtime is None, "tells the caller to ask again"


ODD = [None, True, 7, "text", [], [1], {}, {"x": 1}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_wrong_types_name_nothing(odd: object, tmp_path: Path) -> None:
    ids = {kind: f"{number:064x}" for number, kind in enumerate(("top", "part", "leaf", "row"))}
    cri = dict.fromkeys(("container-name", "sandbox-name", "image-name", "sandbox-uid"), odd)
    values = {f"io.kubernetes.cri.{key}": value for key, value in cri.items()}
    leaf = {"io.kubernetes.cri.container-type": odd, **values}
    crio = {"io.kubernetes.cri-o.Name": odd, "io.kubernetes.pod.name": odd}
    docker = {"Name": odd, "Config": {"Image": odd, "Labels": {"io.kubernetes.pod.name": odd}}}
    for kind, spec in (
        ("top", odd),
        ("part", {"annotations": odd}),
        ("leaf", {"annotations": leaf}),
    ):
        put(tmp_path / TASKS / "k8s.io" / ids[kind] / "config.json", spec)
        bundle = crio if kind == "leaf" else odd
        put(tmp_path / STORAGE / ids[kind] / "userdata/config.json", {"annotations": bundle})
        record = {"top": odd, "part": {"Config": odd}, "leaf": docker}[kind]
        put(tmp_path / "var/lib/docker/containers" / ids[kind] / "config.v2.json", record)
    put(tmp_path / STORAGE / "volatile-containers.json", odd)
    put(tmp_path / STORAGE / "containers.json", [odd, {"id": odd}, {
        "id": ids["row"], "names": odd, "metadata": odd}])  # fmt: skip
    node = RuntimeFiles(tmp_path)
    for container_id in ids.values():
        for runtime in ("containerd", "crio", "docker", "podman"):
            names = node.lookup(container_id, runtime, None)
            if names is not None:
                said = {names.container_name, names.image_name, names.k8s_pod_name}
                assert said <= {None, "text"}


def test_names_are_returned_as_they_are(tmp_path: Path) -> None:
    name = 'x\x1b[31m"\n\u202e\U0001f980'
    put(tmp_path / TASKS / "default/c1/config.json", {"annotations": {"nerdctl/name": name}})
    assert RuntimeFiles(tmp_path).lookup("c1", None, None) == ContainerNames("containerd", name)


def test_foreign_entries_in_log_directories_are_skipped(node: Path) -> None:
    logs, pods = node / "var/log/containers", node / "var/log/pods"
    for name in ("x.log", "a_b_c.log", "a_b_-1.log", "a_b_c-.log", "a_b_c_d-2.log", "a_b_c-3"):
        (logs / name).touch()
    (logs / os.fsdecode(b"a_b_\xff-4.log")).touch()
    for name in ("5", "a_6", "_b_7", "a_b_", "a_b_c_8"):
        (pods / name).mkdir()
    names = RuntimeFiles(node)
    assert [names.lookup(key, None, None) for key in ("1", "2", "3", "4", "log")] == [None] * 5
    assert [names.lookup_pod(key) for key in ("", "5", "6", "7", "8", "c_8")] == [None] * 6
    assert names.lookup_pod(COREDNS_UID) is not None


def test_indexes_are_read_once_until_they_change(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(DATA / "podman", node, symlinks=True, dirs_exist_ok=True)
    scans: list[object] = []
    loads: list[str] = []
    scandir, load = os.scandir, runtime_files.load_json
    monkeypatch.setattr(os, "scandir", lambda fd: (scans.append(fd), scandir(fd))[1])
    monkeypatch.setattr(
        "threadtrace.identity.runtimes.storage.load_json",
        lambda path, size: (loads.append(path), load(path, size))[1],
    )
    names = RuntimeFiles(node)
    for _ in range(2):
        assert names.lookup("e" * 64, "podman", "no-such-uid") is None
        scanned, loaded = len(scans), len(loads)
    for number in range(100):
        assert names.lookup(f"{number:064x}", "podman", "no-such-uid") is None
    assert (len(scans), len(loads)) == (scanned, loaded)

    link = node / f"var/log/containers/web-0_shop_web-{'d' * 64}.log"
    link.symlink_to("/nowhere")
    found = names.lookup("d" * 64, "podman", None)
    assert found == ContainerNames(None, "web", None, "shop", "web-0", None, "web")
    assert len(scans) == scanned + 1
    link.unlink()
    os.utime(link.parent, ns=(1, 1))  # not within the same tick of the clock
    assert names.lookup("d" * 64, "podman", None) is None


@pytest.mark.parametrize("store", [STORAGE, USER_STORAGE])
def test_store_index_follows_its_file(store: str, tmp_path: Path) -> None:
    index = tmp_path / store / "containers.json"
    old, new = "a" * 64, "b" * 64
    put(index, [{"id": old, "names": ["old"]}])
    node = RuntimeFiles(tmp_path)
    assert node.lookup(old, "podman", None) == ContainerNames("podman", "old")

    put(index.with_name("next"), [{"id": new, "names": ["new"]}])
    os.utime(index.with_name("next"), ns=(1, index.stat().st_mtime_ns))
    index.with_name("next").rename(index)  # replaced within one tick of the clock
    assert node.lookup(new, "podman", None) == ContainerNames("podman", "new")
    assert node.lookup(old, "podman", None) is None

    for how in ("truncated", "5 MB, well-formed", "zeroed by a crash", "fifo", "link loop"):
        WRITERS[how](index)
        assert node.lookup(new, "podman", None) is None
        index.unlink()
        put(index, [{"id": new, "names": ["new"]}])
        assert node.lookup(new, "podman", None) == ContainerNames("podman", "new")
    shutil.rmtree(index.parent)
    assert node.lookup(new, "podman", None) is None


def test_users_cannot_make_the_agent_read_much(tmp_path: Path) -> None:
    rows = [{"id": f"{number:064x}", "names": ["x"]} for number in range(4000)]
    for store in (STORAGE, USER_STORAGE):
        put(tmp_path / store / "containers.json", rows)
    node = RuntimeFiles(tmp_path)
    assert node.lookup(f"{1:064x}", "podman", None) == ContainerNames("podman", "x")
    shutil.rmtree(tmp_path / "var")
    assert node.lookup(f"{1:064x}", "podman", None) is None


def test_moved_log_directories_are_followed(node: Path) -> None:
    (node / "var/log/pods").rename(node / "data")
    (node / "var/log/pods").symlink_to("../../data")
    assert RuntimeFiles(node).lookup_pod(COREDNS_UID) is not None


FORBIDDEN = ("os.exec", "os.fork", "os.posix_spawn", "os.system", "subprocess", "socket", "_thread")


def test_no_process_thread_or_socket_is_needed() -> None:
    seen: list[str] = []
    recorders = [seen]

    def audit(event: str, _: object) -> None:  # a hook stays for the life of the interpreter
        if event.startswith(FORBIDDEN):
            for recorder in recorders:
                recorder.append(event)

    sys.addaudithook(audit)
    for tree, container_id, names in NAMED:
        node = RuntimeFiles(DATA / tree)
        node.lookup(container_id, names.runtime, COREDNS_UID)
        node.available()
    os.system("true")
    recorders.clear()
    assert seen == ["os.system"], "the hook works, and saw nothing else"
