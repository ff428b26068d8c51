"""Cgroup paths against two tables of real ones, and against hostile ones."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from threadtrace.identity.paths import CgroupIdentity, parse

DATA = Path(__file__).parent.parent / "data"
DOCKER_ID = "3f2a9c1b04de5a7788990011223344556677889900aabbccddeeff0011223344"
OTHER_ID = "40c03570b6f4c30bc8d69923d37ee698f5cfcced92c7b7df1c47f6f7887378a9"
POD_UID = "44c76ce5-f953-4bd3-bc89-12621681af49"
POD_SLICE = f"kubepods-besteffort-pod{POD_UID.replace('-', '_')}.slice"
NOTHING = CgroupIdentity(None, None, None, None)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


CORPUS = rows("cgroup_paths.jsonl")
MORE = rows("cgroup_paths_more.jsonl")
BARE = [
    row
    for row in CORPUS + MORE
    if row["path"].startswith("/") and not row["path"].endswith(" (deleted)")
]


def told(identity: CgroupIdentity) -> tuple[str | None, ...]:
    return (identity.container_id, identity.pod_uid, identity.runtime, identity.unit)


def expected(row: dict[str, Any]) -> tuple[str | None, ...]:
    runtime = None if row["runtime"] == "none" else row["runtime"]
    return (row["container_id"], row["pod_uid"], runtime, row["unit"])


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row["path"])
def test_corpus(row: dict[str, Any]) -> None:
    assert told(parse(row["path"])) == expected(row)


@pytest.mark.parametrize("row", MORE, ids=lambda row: repr(row["path"]))
def test_further_cases(row: dict[str, Any]) -> None:
    assert told(parse(row["path"])) == expected(row)


def test_tables_do_not_overlap_and_name_their_sources() -> None:
    paths = [row["path"] for row in CORPUS + MORE]
    assert len(paths) == len(set(paths))
    assert all(row["source"] for row in CORPUS + MORE)


@pytest.mark.parametrize("prefix", ["0::", "8:pids:", "1:name=systemd:", "4:cpu,cpuacct:"])
@pytest.mark.parametrize("row", BARE, ids=lambda row: row["path"])
def test_a_line_of_proc_tells_what_its_path_tells(prefix: str, row: dict[str, Any]) -> None:
    assert parse(prefix + row["path"]) == parse(row["path"])
    assert parse(prefix + row["path"] + "\n") == parse(row["path"])


@pytest.mark.parametrize("row", BARE, ids=lambda row: row["path"])
def test_removed_and_trailing_slash_and_private_namespace(row: dict[str, Any]) -> None:
    path = row["path"].rstrip()
    assert parse(path + " (deleted)") == parse(path)
    assert parse(path + "/") == parse(path)
    assert parse("/../.." + path) == parse(path)


@pytest.mark.parametrize("row", BARE, ids=lambda row: row["path"])
def test_a_cgroup_made_inside_a_container_belongs_to_it(row: dict[str, Any]) -> None:
    if row["container_id"] is not None:
        for inside in ("/init.scope", "/system.slice/nginx.service", "/app.slice"):
            assert told(parse(row["path"].rstrip() + inside)) == expected(row)


@pytest.mark.parametrize("row", BARE, ids=lambda row: row["path"])
def test_inside_a_node_container_the_inner_container_wins(row: dict[str, Any]) -> None:
    """kind, minikube and docker-in-docker: a whole host's tree below one container."""
    nested = parse(f"/system.slice/docker-{DOCKER_ID}.scope" + row["path"])
    assert nested.unit is None
    if row["path"].startswith(("/default/", "/k8s.io/")):
        return  # containerd's namespaces are known by standing at the root
    assert nested.pod_uid == row["pod_uid"]
    if row["container_id"] is not None:
        assert (nested.container_id, nested.runtime) == (row["container_id"], row["runtime"])
    elif row["pod_uid"] is None:
        assert (nested.container_id, nested.runtime) == (DOCKER_ID, "docker")


def test_inner_pod_without_container_is_not_the_outer_container() -> None:
    outer = f"/docker/{DOCKER_ID}"
    for inner in (f"/kubepods/besteffort/pod{POD_UID}", f"/kubelet.slice/{POD_SLICE}"):
        assert told(parse(outer + inner)) == (None, POD_UID, "kubelet-unknown", None)
    assert told(parse(f"{outer}/kubepods/pod123")) == (None, None, "kubelet-unknown", None)


def test_inner_pod_forgets_the_outer_pod() -> None:
    path = f"/kubepods/pod{POD_UID}/{DOCKER_ID}/kubepods/besteffort/pod123/{OTHER_ID}"
    assert told(parse(path)) == (OTHER_ID, None, "kubelet-unknown", None)


def test_docker_in_a_pod_stays_in_the_pod() -> None:
    path = f"/kubepods/besteffort/pod{POD_UID}/{DOCKER_ID}/docker/{OTHER_ID}"
    assert told(parse(path)) == (OTHER_ID, POD_UID, "docker", None)


def test_colon_form_is_the_same_as_the_two_levels_it_stands_for() -> None:
    colon = parse(f"/kubepods.slice/{POD_SLICE}:cri-containerd:{OTHER_ID}")
    assert colon == parse(f"/kubepods.slice/{POD_SLICE}/cri-containerd-{OTHER_ID}.scope")
    assert parse(f"{POD_SLICE}:crio:{OTHER_ID}").container_id == OTHER_ID


@pytest.mark.parametrize(
    ("path", "session", "user_id"),
    [
        ("/user.slice/user-1000.slice/session-2.scope", "session-2.scope", 1000),
        ("/user.slice/user-1000.slice/session-c1.scope/foobar.service", "session-c1.scope", 1000),
        ("/user.slice/user-0.slice/user@0.service/init.scope", None, 0),
        ("/user.slice/user-1006.slice", None, 1006),
        ("/user.slice/user-waldo.slice", None, None),
        ("/user.slice/user-4294967295.slice/user@4294967295.service", None, None),
        ("/session-3.scope", "session-3.scope", None),
        ("/session-.scope", None, None),
        ("/system.slice/ssh.service/session-3.scope", None, None),
        (f"/docker/{DOCKER_ID}/user.slice/user-1000.slice/session-2.scope", None, None),
    ],
)
def test_session_and_user(path: str, session: str | None, user_id: int | None) -> None:
    identity = parse(path)
    assert (identity.session, identity.user_id) == (session, user_id)


@pytest.mark.parametrize(
    "unit",
    ["getty@.service", ".service", "a b.service", "@x.service", "ü.service", "a/b#.service"],
)
def test_names_that_are_no_units(unit: str) -> None:
    assert parse(f"/system.slice/{unit}").unit is None


@pytest.mark.parametrize("driver", ["qemu", "xen", "libxl", "kvm", "ch\\x2d7"])
def test_virtual_machines_are_no_containers(driver: str) -> None:
    assert parse(f"/machine.slice/machine-{driver}\\x2dweb.scope/libvirt") == NOTHING


@pytest.mark.parametrize(
    ("path", "container_id", "runtime"),
    [
        (f"/default/{OTHER_ID}.scope", OTHER_ID, "containerd"),
        (f"/default/docker/{OTHER_ID}", OTHER_ID, "docker"),
        (f"/default/kubepods/pod{POD_UID}/{OTHER_ID}", OTHER_ID, "kubelet-unknown"),
        ("/default/kubepods/besteffort", None, None),
        ("/default/foo.service/bar", None, None),
        ("/default/web/init", "web", "containerd"),
        ("/default/web--1", None, None),
        ("/app/default/web", None, None),
    ],
)
def test_namespaces_of_containerd(path: str, container_id: str | None, runtime: str | None) -> None:
    assert (parse(path).container_id, parse(path).runtime) == (container_id, runtime)


def test_machine_names_are_unescaped() -> None:
    name = parse("/machine.slice/machine-b\\xc3\\xbcro\\x2d1.scope").container_id
    assert name == "büro-1"
    lone = parse("/machine.slice/machine-b\\xfcro.scope").container_id
    assert lone == "b\udcfcro"


HOSTILE = [
    "", "/", "//", "///../.././", ":", "::", ":::", "0::", "0:", "8:pids:", "0::0::/x", "\0", "\n",
    " ", " (deleted)", "/ (deleted)", "..", "/..", "\udcff/\udcfe", "/lxc/\udcff", "/pod", "/pod-",
    "/kubepods/pod", "/docker/", "/lxc/", "/lxc.payload.", "/default/", "/k8s.io/..", "/a:b:c",
    "/::", "/:cri-containerd:", "/.slice", "/_", "/_.service", "/\\x2d.service", "/\\x", "/٣::/x",
    "٣::/docker", "/user-٣.slice", "/machine-\\xff\\xfe.scope", "/machine-.scope", "\u2028/\x1c",
    "/docker-.scope", "/bpm-", "/systemd-nspawn@.service", "/" + "9" * 5000 + "::/x",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE, ids=repr)
def test_hostile_strings_tell_nothing_and_do_not_raise(path: str) -> None:
    identity = parse(path)
    assert identity.pod_uid is None
    assert identity.container_id in (None, "\udcff", "\udcff\udcfe")


def test_a_digit_string_of_any_length_is_no_user() -> None:
    assert parse("/user-" + "9" * 100_000 + ".slice").user_id is None


def test_surrogates_survive_in_names() -> None:
    assert parse("/lxc.payload.b\udcfcro/init.scope").container_id == "b\udcfcro"
    assert parse(f"/\udcff/docker-{DOCKER_ID}.scope").container_id == DOCKER_ID


def test_random_mixtures_never_raise_and_stay_consistent() -> None:
    chance = random.Random(20240229)
    words = sorted({word for row in CORPUS + MORE for word in row["path"].split("/")})
    letters = "abcf0189/:-_.@\\ x2d\n\0\udc80é٣"
    for _ in range(20_000):
        parts = chance.choices(words, k=chance.randrange(8))
        if parts and chance.random() < 0.5:
            place = chance.randrange(len(parts))
            at = chance.randrange(len(parts[place]) + 1)
            parts[place] = parts[place][:at] + chance.choice(letters) + parts[place][at + 1 :]
        path = chance.choice(["", "/", "0::/", "8:pids:/"]) + "/".join(parts)
        identity = parse(path)
        assert parse(path) == identity
        assert identity.container_id is None or identity.runtime not in (None, "systemd")
        assert (identity.runtime == "systemd") <= (identity.unit is not None)
        assert identity.pod_uid is None or len(identity.pod_uid) in (32, 36)
        assert identity.container_id != ""
        assert identity.unit != ""


@pytest.mark.parametrize(
    "unit",
    [
        "a/", "-", "a-", "pod", "-pod", "kubepods-pod", ":", "a:b:c/", "x.slice/", ".service/",
        "docker/", "lxc.payload.", "\\x2d", "machine-lxc-1-", "bpm-.", "1-", "0", ".scope",
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["/", "/machine-", "/default/", "/user@", "/lxc/", "/bpm-"])
def test_time_is_linear_in_length(prefix: str, unit: str) -> None:
    """Ten times the length may take far less than the hundredfold of a quadratic rule."""

    def best_seconds(length: int) -> float:
        path = prefix + unit * (length // len(unit)) + "!"
        spent = []
        for _ in range(3):
            start = time.perf_counter()
            parse(path)
            spent.append(time.perf_counter() - start)
        return min(spent)

    short, long = best_seconds(2_000), best_seconds(20_000)
    assert long < 40 * short + 0.002


def test_identities_are_frozen_values() -> None:
    identity = parse("/system.slice/ssh.service")
    assert identity == CgroupIdentity(None, None, "systemd", "ssh.service")
    assert hash(identity) == hash(parse("0::/system.slice/ssh.service"))
    assert not hasattr(identity, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        identity.unit = "other.service"  # type: ignore[misc]
