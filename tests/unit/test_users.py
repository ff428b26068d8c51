"""Users near RLIMIT_NPROC, from a /proc of the test's own."""

from __future__ import annotations

from pathlib import Path

from threadtrace.node.users import UserTasks, users_with_limits

NO_CAPABILITIES = "0000000000000000"
SYS_RESOURCE = "0000000001000000"


def process(
    root: Path,
    pid: int,
    uid: int,
    threads: int,
    limit: str,
    capabilities: str = NO_CAPABILITIES,
) -> None:
    directory = root / f"proc/{pid}"
    directory.mkdir(parents=True)
    (directory / "status").write_text(
        f"Name:\tUid: 7\nUmask:\t0022\nUid:\t{uid}\t0\t0\t0\nGid:\t0\t0\t0\t0\n"
        f"Threads:\t{threads}\nCapInh:\t{NO_CAPABILITIES}\nCapEff:\t{capabilities}\n"
    )
    (directory / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        f"Max processes             {limit:20} 99999                processes \n"
        "Max open files            1024                 4096                 files     \n"
    )


def test_tasks_of_a_user_add_up_and_the_lowest_limit_binds(tmp_path: Path) -> None:
    process(tmp_path, 10, 1000, 30, "200")
    process(tmp_path, 11, 1000, 5, "100")
    process(tmp_path, 12, 1001, 2, "50")
    assert users_with_limits((10, 11, 12), tmp_path) == [
        UserTasks(1000, 35, 100),
        UserTasks(1001, 2, 50),
    ]


def test_who_is_not_held_to_it_counts_all_the_same(tmp_path: Path) -> None:
    process(tmp_path, 10, 1000, 30, "5", SYS_RESOURCE)
    process(tmp_path, 11, 1000, 4, "100")
    assert users_with_limits((10, 11), tmp_path) == [UserTasks(1000, 34, 100)]


def test_root_the_unlimited_and_the_dead_are_left_out(tmp_path: Path) -> None:
    process(tmp_path, 10, 0, 30, "5")
    process(tmp_path, 11, 1000, 4, "unlimited")
    assert users_with_limits((10, 11, 12), tmp_path) == []
