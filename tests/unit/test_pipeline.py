"""The tick, with counts and a clock of the test's own. Cgroups are scratch directories."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from threadtrace.clock import Clock
from threadtrace.identity.runtimes import RuntimeFiles
from threadtrace.identity.workloads import Directory
from threadtrace.model.snapshot import Snapshot, Totals, WorkloadSnapshot
from threadtrace.node.cgroups import CgroupTree
from threadtrace.node.hierarchy import PidsHierarchy
from threadtrace.node.limits import NodeLimits
from threadtrace.node.processes import ProcessTable
from threadtrace.pipeline import Pipeline
from threadtrace.probe.records import (
    CgroupChange,
    CgroupRecord,
    Counts,
    Evidence,
    HiddenLimits,
    Limit,
    NodeLimit,
    ProcessKey,
    Record,
    RefusalCounts,
    RefusalKey,
)
from threadtrace.probe.source import Counters

SECOND = 1_000_000_000
NOBODY = Counts(0, 0, 0, 0)


class Script:
    """A source that tells what the test says."""

    def __init__(self) -> None:
        self.cgroups: dict[int, Counts] = {}
        self.refusals: dict[RefusalKey, RefusalCounts] = {}
        self.records: list[Record] = []
        self.told_limits: dict[NodeLimit, int] = {}
        self.unattributed = NOBODY
        self.lost: dict[str, int] = {}
        self.moves = 0

    def fileno(self) -> int:
        return -1

    def read_records(self) -> list[Record]:
        records, self.records = self.records, []
        return records

    def read_counters(self) -> Counters:
        return Counters(
            dict(self.cgroups), self.unattributed, dict(self.refusals), {}, self.moves, self.lost
        )

    def read_cgroup(self, cgroup_id: int) -> Counts | None:
        return self.cgroups.get(cgroup_id)

    def read_hidden_limits(self, cgroup_id: int) -> HiddenLimits | None:
        return None

    def forget_cgroup(self, cgroup_id: int, refusals: list[RefusalKey]) -> None:
        self.cgroups.pop(cgroup_id, None)
        for key in refusals:
            self.refusals.pop(key, None)

    def tell_limit(self, limit: NodeLimit, value: int) -> None:
        self.told_limits[limit] = value

    def forget_process(self, key: ProcessKey) -> None:
        raise AssertionError(f"no process was counted, {key} neither")

    def close(self) -> None:
        pass


class Node:
    """A pipeline over scratch directories."""

    def __init__(self, root: Path, counting_since_seconds: float = 0.0) -> None:
        self.mount = root / "pids"
        self.mount.mkdir()
        (root / "proc").mkdir()
        self.source = Script()
        self.monotonic_ns = 5 * SECOND
        self.realtime_ns = 1_700_000_000 * SECOND
        self.tasks = 100
        self.cgroup("/system.slice/a.service", tasks=3)
        hierarchy = PidsHierarchy(str(self.mount), 1, "v1", 8, is_whole=True)
        self.tree = CgroupTree(hierarchy)
        table = ProcessTable(1, self.tree.id_of_path, 0, root)
        clock = Clock(lambda: self.monotonic_ns, lambda: self.realtime_ns)
        self.pipeline = Pipeline(
            self.source,
            self.tree,
            table,
            Directory(RuntimeFiles(root)),
            clock,
            self.limits,
            counting_since_ns=self.monotonic_ns + int(counting_since_seconds * SECOND),
        )

    def limits(self) -> NodeLimits:
        return NodeLimits(self.tasks, 32_768, 1_545_000)

    def cgroup(self, path: str, tasks: int, limit: str = "max") -> int:
        """Make a cgroup, or write into one that is there; its id."""
        directory = self.mount / path.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        for above in itertools.takewhile(
            lambda p: p != self.mount, [directory, *directory.parents]
        ):
            if not (above / "pids.max").exists():
                (above / "pids.max").write_text("max\n")
                (above / "pids.current").write_text("0\n")
        (directory / "pids.current").write_text(f"{tasks}\n")
        (directory / "pids.max").write_text(f"{limit}\n")
        return directory.stat().st_ino

    def remove(self, path: str) -> None:
        directory = self.mount / path.lstrip("/")
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()

    def tell(self, change: CgroupChange, cgroup_id: int, path: str) -> None:
        self.source.records.append(CgroupRecord(change, self.monotonic_ns, cgroup_id, path))

    def tick(self, seconds: float = 1.0) -> Snapshot:
        self.monotonic_ns += int(seconds * SECOND)
        self.realtime_ns += int(seconds * SECOND)
        return self.pipeline.tick()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def named(snapshot: Snapshot, name: str) -> WorkloadSnapshot:
    (found,) = (entry for entry in snapshot.workloads if entry.workload.name == name)
    return found


def test_the_baseline_is_there_from_the_first_tick(node: Node) -> None:
    node.cgroup("/system.slice", tasks=3)
    snapshot = node.tick(0)
    assert named(snapshot, "a.service").tasks == 3
    assert named(snapshot, "host").tasks == 97
    assert snapshot.node.tasks == 100
    assert named(snapshot, "a.service").growth_per_second == 0


def test_the_first_interval_is_as_long_as_was_counted(tmp_path: Path) -> None:
    """Programs are attached before the agent is ready for its first tick."""
    node = Node(tmp_path, counting_since_seconds=-0.5)
    web = node.cgroup("/web", tasks=1)
    node.tell(CgroupChange.CREATED, web, "/web")
    node.pipeline.handle_records()
    node.source.cgroups[web] = Counts(0, 30, 0, 0)
    first = node.tick(0.5)
    assert first.node.interval_seconds == 1.0
    assert named(first, "/web").processes_created_per_second == 30.0


def test_a_clock_set_back_changes_no_rate(node: Node) -> None:
    service = node.tree.id_of_path("/system.slice/a.service")
    assert service is not None
    node.tick()
    node.realtime_ns -= 3600 * SECOND
    node.source.cgroups[service] = Counts(500, 0, 0, 0)
    entry = named(node.tick(2.0), "a.service")
    assert entry.interval_seconds == 2.0
    assert entry.threads_created_per_second == 250.0


def test_kernel_times_become_times_of_day(node: Node) -> None:
    node.tick()
    new = node.cgroup("/system.slice/b.service", tasks=0)
    node.tell(CgroupChange.CREATED, new, "/system.slice/b.service")
    node.monotonic_ns += 40_000_000  # handled 40 ms later
    node.realtime_ns += 40_000_000
    (started,) = node.pipeline.handle_records().started
    assert started.workload.name == "b.service"
    assert started.time_ns == node.realtime_ns - 40_000_000


def test_a_cgroup_between_two_ticks_is_counted_named_and_ended(node: Node) -> None:
    node.tick()
    path = "/system.slice/short.service"
    new = node.cgroup(path, tasks=0)
    node.tell(CgroupChange.CREATED, new, path)
    node.pipeline.handle_records()
    node.remove(path)
    node.tell(CgroupChange.REMOVED, new, path)
    node.source.cgroups[new] = Counts(2, 3, 2, 3)
    node.pipeline.handle_records()
    snapshot = node.tick()
    assert named(snapshot, "short.service").counts == Totals(2, 3, 5, 0)
    (ended,) = snapshot.ended
    assert (ended.workload.name, ended.totals) == ("short.service", Totals(2, 3, 5, 0))
    assert new not in node.source.cgroups
    assert node.tick().ended == ()


def test_what_comes_meanwhile_is_handled_and_a_flood_is_left_in_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring that is never empty, as where cgroups are made faster than they are filed."""
    made = itertools.count()

    def flood() -> list[Record]:
        paths = [f"/flood/{next(made)}" for _ in range(600)]
        return [
            CgroupRecord(CgroupChange.CREATED, 0, 1_000_000 + i, p) for i, p in enumerate(paths)
        ]

    monkeypatch.setattr(node.source, "read_records", flood)
    node.pipeline.handle_records()
    assert 2 * 600 <= next(made) <= 20_000


def test_without_any_record_the_gone_are_counted_and_found_out(node: Node) -> None:
    node.tick()
    path = "/system.slice/a.service"
    service = node.tree.id_of_path(path)
    assert service is not None
    node.remove(path)
    node.source.cgroups[service] = Counts(1, 0, 4, 0)
    snapshot = node.tick()
    assert named(snapshot, "a.service").counts == Totals(1, 0, 4, 0)
    # Found out after the counters were read: they are read once more before it is closed.
    assert snapshot.ended == ()
    assert [ended.workload.name for ended in node.tick().ended] == ["a.service"]


def test_a_cgroup_made_anew_under_the_same_path_takes_nothing_with_it(node: Node) -> None:
    path = "/system.slice/a.service"
    old = node.tree.id_of_path(path)
    assert old is not None
    node.cgroup("/system.slice", tasks=3)
    node.tick()
    renamed = node.mount / "system.slice/old"
    (node.mount / path.lstrip("/")).rename(renamed)  # keeps the inode from being given away again
    new = node.cgroup(path, tasks=50)
    node.cgroup("/system.slice", tasks=50)
    node.tasks = 150
    node.tell(CgroupChange.REMOVED, old, path)
    node.tell(CgroupChange.CREATED, new, path)
    node.pipeline.handle_records()
    node.source.cgroups[new] = Counts(50, 0, 0, 0)
    snapshot = node.tick()
    assert named(snapshot, "a.service").tasks == 50
    node.source.moves += 1
    snapshot = node.tick()
    assert named(snapshot, "a.service").tasks == 50
    assert named(snapshot, "host").tasks == 100
    assert "/system.slice" not in [entry.workload.name for entry in snapshot.workloads]


def test_a_file_that_cannot_be_read_is_not_a_cgroup_that_is_gone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = node.tree.id_of_path("/system.slice/a.service")
    assert service is not None
    node.tick()
    node.source.cgroups[service] = Counts(1, 0, 0, 0)

    def too_many(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("threadtrace.node.cgroups.os.open", too_many)
    snapshot = node.tick()
    assert named(snapshot, "a.service").tasks == 3
    assert snapshot.ended == ()


def test_the_nearest_limit_above_is_told_with_its_owner(node: Node) -> None:
    path = "/system.slice/a.service/child"
    child = node.cgroup(path, tasks=40)
    node.cgroup("/system.slice/a.service", tasks=43, limit="64")
    node.tell(CgroupChange.CREATED, child, path)
    node.pipeline.handle_records()
    node.source.moves += 1
    for _ in range(12):  # limits are read again in turn
        snapshot = node.tick()
    service = named(snapshot, "a.service")
    assert (service.limit, service.limit_tasks) == (64, 43)
    assert service.limit_path == "/system.slice/a.service"
    assert service.tasks == 43


def test_a_container_below_a_unit_is_not_counted_to_the_unit(node: Node) -> None:
    container_id = "40c03570b6f4c30bc8d69923d37ee698f5cfcced92c7b7df1c47f6f7887378a9"
    path = f"/system.slice/a.service/docker/{container_id}"
    child = node.cgroup(path, tasks=40)
    node.cgroup("/system.slice/a.service/docker", tasks=40)
    node.cgroup("/system.slice/a.service", tasks=43)
    node.tell(CgroupChange.CREATED, child, path)
    node.pipeline.handle_records()
    node.source.moves += 1
    snapshot = node.tick()
    assert named(snapshot, "container 40c03570b6f4").tasks == 40
    assert named(snapshot, "a.service").tasks == 3


def test_an_id_that_nobody_can_name_is_counted(node: Node) -> None:
    node.source.cgroups[987_654_321] = Counts(0, 1, 0, 1)
    refusal = RefusalKey(987_654_321, 0, 11, Limit.OTHER, Evidence.INFERRED)
    node.source.refusals[refusal] = RefusalCounts(2, 1, 1, 1)
    snapshot = node.tick()
    entry = named(snapshot, "cgroup id 987654321")
    assert entry.counts == Totals(0, 1, 1, 2)
    assert entry.workload.cgroup_path is None


def test_what_found_no_room_is_in_the_nodes_totals_and_a_loss(node: Node) -> None:
    node.tick()
    node.source.unattributed = Counts(5, 2, 1, 1)
    node.source.lost = {"cgroups_map": 9}
    snapshot = node.tick()
    assert snapshot.node.counts == Totals(5, 2, 2, 0)
    assert [(loss.where, loss.lost) for loss in snapshot.losses] == [("cgroups_map", 9)]
    assert node.tick().losses == ()


def test_after_lost_records_everything_is_looked_at(node: Node) -> None:
    node.tick()
    node.cgroup("/system.slice/silent.service", tasks=7)
    node.cgroup("/system.slice", tasks=10)
    node.source.lost = {"records_ring": 1}
    assert named(node.tick(), "silent.service").tasks == 7


def test_idle_workloads_show_zero_after_they_were_active(node: Node) -> None:
    service = node.tree.id_of_path("/system.slice/a.service")
    assert service is not None
    node.source.cgroups[service] = Counts(5, 0, 0, 0)
    assert named(node.tick(), "a.service").is_active
    entry = named(node.tick(), "a.service")
    assert not entry.is_active
    assert entry.counts == Totals()


def test_a_move_is_news_once(node: Node) -> None:
    node.tick()
    node.tick()
    node.cgroup("/system.slice/a.service", tasks=9)
    node.source.moves += 1
    assert named(node.tick(), "a.service").is_active
    for _ in range(3):
        entry = named(node.tick(), "a.service")
        assert (entry.is_active, entry.tasks) == (False, 9)


def test_unreadable_node_limits_are_unknown_not_zero(node: Node) -> None:
    node.pipeline._read_limits = lambda: NodeLimits(None, None, None)
    snapshot = node.tick()
    assert snapshot.node.tasks is None
    assert snapshot.node.used_ratio is None
    assert snapshot.node.nearest_limit is None
