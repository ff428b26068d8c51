"""Where the pids controller is, told from the text of mountinfo and cgroup files."""

from __future__ import annotations

from pathlib import Path

import pytest

from threadtrace.errors import UnavailableError
from threadtrace.node.hierarchy import cgroup_path_of, find_pids_hierarchy

_HYBRID_MOUNTS = """\
24 1 0:22 / /proc rw,nosuid - proc proc rw
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd
38 30 0:34 / /sys/fs/cgroup/pids rw shared:15 master:2 - cgroup cgroup rw,pids
"""
_HYBRID_MEMBERSHIP = "8:pids:/\n1:name=systemd:/\n0::/\n"


def _node(root: Path, mounts: str, membership: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(mounts)
    (root / "proc/self/cgroup").write_text(membership)
    for mount in mounts.splitlines():
        point = root / mount.split()[4].replace("\\040", " ").lstrip("/")
        point.mkdir(parents=True, exist_ok=True)
        (point / "cgroup.procs").touch()
    return root


def test_hybrid(tmp_path: Path) -> None:
    found = find_pids_hierarchy(_node(tmp_path, _HYBRID_MOUNTS, _HYBRID_MEMBERSHIP))
    assert found.mount_point == "/sys/fs/cgroup/pids"
    assert (found.version, found.mode, found.hierarchy_id) == (1, "hybrid", 8)


def test_a_mount_that_is_hidden_by_another_does_not_count(tmp_path: Path) -> None:
    root = _node(tmp_path, _HYBRID_MOUNTS, _HYBRID_MEMBERSHIP)
    (root / "sys/fs/cgroup/pids/cgroup.procs").unlink()
    with pytest.raises(UnavailableError, match="no cgroup hierarchy"):
        find_pids_hierarchy(root)


def test_pure_version_1_with_joined_controllers(tmp_path: Path) -> None:
    mounts = "38 30 0:34 / /cgroup/all rw - cgroup cgroup rw,cpu,pids,memory\n"
    found = find_pids_hierarchy(_node(tmp_path, mounts, "4:cpu,pids,memory:/x\n"))
    assert (found.mount_point, found.version, found.mode, found.hierarchy_id) == (
        "/cgroup/all",
        1,
        "v1",
        4,
    )


def test_pure_version_2(tmp_path: Path) -> None:
    root = _node(tmp_path, "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/init\n")
    (root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
    (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu io memory pids\n")
    found = find_pids_hierarchy(root)
    assert (found.mount_point, found.version, found.mode, found.hierarchy_id) == (
        "/sys/fs/cgroup",
        2,
        "v2",
        0,
    )


def test_hybrid_with_pids_in_the_unified_hierarchy(tmp_path: Path) -> None:
    mounts = (
        "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    root = _node(tmp_path, mounts, "3:memory:/\n0::/\n")
    (root / "sys/fs/cgroup/unified").mkdir(parents=True, exist_ok=True)
    (root / "sys/fs/cgroup/unified/cgroup.controllers").write_text("pids\n")
    found = find_pids_hierarchy(root)
    assert (found.version, found.mode) == (2, "hybrid")


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    mounts = r"38 30 0:34 / /my\040cgroups/pids rw - cgroup cgroup rw,pids" + "\n"
    found = find_pids_hierarchy(_node(tmp_path, mounts, _HYBRID_MEMBERSHIP))
    assert found.mount_point == "/my cgroups/pids"


def test_no_pids_controller_is_told_with_the_remedy(tmp_path: Path) -> None:
    root = _node(tmp_path, "24 1 0:22 / /proc rw - proc proc rw\n", "0::/\n")
    with pytest.raises(UnavailableError, match="mount -t cgroup2"):
        find_pids_hierarchy(root)


def test_a_part_of_the_hierarchy_is_not_the_whole(tmp_path: Path) -> None:
    root = _node(tmp_path, _HYBRID_MOUNTS, _HYBRID_MEMBERSHIP)
    (root / "sys/fs/cgroup/pids").mkdir(
        parents=True, exist_ok=True
    )  # any inode but the hierarchy's root
    assert not find_pids_hierarchy(root).is_whole


def test_process_1_shows_the_whole_where_the_own_mount_is_a_part(tmp_path: Path) -> None:
    root = _node(tmp_path, _HYBRID_MOUNTS, _HYBRID_MEMBERSHIP)
    (root / "proc/1").mkdir()
    (root / "proc/1/mountinfo").write_text(_HYBRID_MOUNTS)
    found = find_pids_hierarchy(root)
    # Its mount is no whole either here: the own one is kept.
    assert found.mount_point == "/sys/fs/cgroup/pids"


def test_membership() -> None:
    assert cgroup_path_of("8:pids:/a:b/c\n0::/\n", 1) == "/a:b/c"
    assert cgroup_path_of("8:pids:/a\n0::/x\n", 2) == "/x"
    assert cgroup_path_of("3:cpu,pids:/joined\n", 1) == "/joined"
    assert cgroup_path_of("0::/x\n", 1) is None
    assert cgroup_path_of("", 2) is None
