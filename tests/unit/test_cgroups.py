"""The cgroup tree over scratch directories; what only cgroup file systems do is in tests/kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from threadtrace.node.cgroups import CgroupTree
from threadtrace.node.hierarchy import PidsHierarchy


def make(directory: Path, tasks: int = 0, limit: str = "max") -> int:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pids.current").write_text(f"{tasks}\n")
    (directory / "pids.max").write_text(f"{limit}\n")
    return directory.stat().st_ino


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    make(tmp_path / "a", 10, "100")
    make(tmp_path / "a/b", 7)
    make(tmp_path / "a/b/c", 4, "5")
    make(tmp_path / "d", 1)
    return tmp_path


@pytest.fixture
def tree(mount: Path) -> CgroupTree:
    # No descriptor is kept: only a kernel's cgroup file is gone for who has it open.
    return CgroupTree(PidsHierarchy(str(mount), 1, "v1", 8, is_whole=True))


def own_tasks(tree: CgroupTree, changes: dict[object, int]) -> dict[str, int]:
    return {cgroup.path: changes.get(cgroup, 0) for cgroup in tree if changes.get(cgroup, 0)}


def test_a_scan_finds_everything_once(tree: CgroupTree) -> None:
    assert sorted(cgroup.path for cgroup in tree.scan()) == ["/a", "/a/b", "/a/b/c", "/d"]
    assert tree.scan() == []
    assert len(tree) == 5


def test_own_tasks_are_without_the_childrens(tree: CgroupTree) -> None:
    tree.scan()
    changes = tree.refresh(set(), everything=True)
    assert own_tasks(tree, changes) == {"/a": 3, "/a/b": 3, "/a/b/c": 4, "/d": 1, "/": -11}


def test_ancestors_are_read_with_what_was_active(tree: CgroupTree, mount: Path) -> None:
    tree.scan()
    tree.refresh(set(), everything=True)
    make(mount / "a", 12, "100")
    make(mount / "a/b", 9)
    inner = make(mount / "a/b/c", 6, "5")
    cgroup = tree.find(inner)
    assert cgroup is not None
    assert own_tasks(tree, tree.refresh({cgroup})) == {"/a/b/c": 2, "/": -2}


def test_limits(tree: CgroupTree) -> None:
    tree.scan()
    limits = {cgroup.path: cgroup.limit for cgroup in tree}
    assert limits == {"/": None, "/a": 100, "/a/b": None, "/a/b/c": 5, "/d": None}


def test_idle_ones_are_read_in_turn(tree: CgroupTree, mount: Path) -> None:
    tree.scan()
    tree.refresh(set(), everything=True)
    make(mount / "d", 30, "31")
    changes: dict[str, int] = {}
    for _ in range(12):
        changes |= own_tasks(tree, tree.refresh(set()))
    assert changes["/d"] == 29
    assert [cgroup.limit for cgroup in tree if cgroup.path == "/d"] == [31]


def test_descriptors_are_bounded_and_given_back(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadtrace.node.cgroups._KEPT_DESCRIPTORS", 1)
    tree = CgroupTree(PidsHierarchy(str(mount), 1, "v1", 8, is_whole=True), max_descriptors=2)
    tree.scan()
    active = {cgroup for cgroup in tree if cgroup.path != "/"}
    tree.refresh(active)
    assert sum(cgroup.fd >= 0 for cgroup in tree) == 1
    tree.refresh(active)
    assert sum(cgroup.fd >= 0 for cgroup in tree) == 2
    for _ in range(200):
        tree.refresh(set())
    assert sum(cgroup.fd >= 0 for cgroup in tree) == 1
    for cgroup in list(tree):
        tree.remove(cgroup)
    assert sum(cgroup.fd >= 0 for cgroup in tree) == 0


def test_what_is_gone_is_told(tree: CgroupTree, mount: Path) -> None:
    tree.scan()
    tree.refresh(set(), everything=True)
    for file in (mount / "d").iterdir():
        file.unlink()
    (mount / "d").rmdir()
    changes = tree.refresh(set(), everything=True)
    (gone,) = set(tree.take_vanished())
    assert gone.path == "/d"
    assert changes[gone] == -1
    tree.remove(gone)
    assert tree.find(gone.id) is None
    assert tree.take_vanished() == []


def test_a_path_that_is_told_before_its_parents(tree: CgroupTree, mount: Path) -> None:
    child = make(mount / "e/f/g")
    make(mount / "e/f")
    make(mount / "e")
    cgroup = tree.add(child, "/e/f/g")
    above = []
    while cgroup.parent is not None:
        cgroup = cgroup.parent
        above.append(cgroup.path)
    assert above == ["/e/f", "/e", "/"]


def test_a_path_that_is_gone_already_hangs_below_the_root(tree: CgroupTree) -> None:
    cgroup = tree.add(999_999, "/never/was")
    assert cgroup.parent is tree.root
    assert tree.refresh({cgroup}) == {}


def test_renaming_takes_everything_below_along(tree: CgroupTree, mount: Path) -> None:
    tree.scan()
    inode = (mount / "a/b").stat().st_ino
    (mount / "a/b").rename(mount / "a/z")
    tree.rename(inode, "/a/z")
    assert sorted(cgroup.path for cgroup in tree) == ["/", "/a", "/a/z", "/a/z/c", "/d"]
    assert tree.id_of_path("/a/z/c") == (mount / "a/z/c").stat().st_ino
    assert tree.id_of_path("/a/b") is None


def test_a_name_that_is_not_utf_8(tree: CgroupTree, mount: Path) -> None:
    inode = make(mount / "caf\udce9", 2)
    (cgroup,) = [entry for entry in tree.scan() if entry.id == inode]
    assert tree.refresh({cgroup})[cgroup] == 2
