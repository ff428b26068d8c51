"""Of the runs that the kernel skipped, those are lost that nobody made up for."""

from __future__ import annotations

from threadtrace.probe.skipped import RECHECKING, Runs, SkippedRuns

READINGS = 5


def skipped(births: int = 0, exits: int = 0, returned: int = 0, **others: int) -> Runs:
    first = {"on_task_newtask": births, "on_sched_process_exit": exits}
    return Runs({**first, **dict.fromkeys(RECHECKING, 0), **others}, returned)


def test_what_another_program_caught_is_not_lost() -> None:
    runs = SkippedRuns()
    found = skipped(births=30, exits=12, recheck_newtask=5, recheck_exit=7)
    assert {runs.lost(found, 42, 0) for _ in range(2 * READINGS)} == {0}


def test_what_is_between_two_programs_is_not_lost() -> None:
    runs = SkippedRuns()
    readings = [(10, 10), (13, 12), (15, 15), (19, 17), (20, 20), (24, 23)] * 3
    assert {runs.lost(skipped(births=missed), caught, 0) for missed, caught in readings} == {0}


def test_what_all_missed_is_lost_for_good() -> None:
    runs = SkippedRuns()
    told = [runs.lost(skipped(births=10, exits=4), 11, 0) for _ in range(READINGS + 1)]
    assert told == [0, 0, 0, 0, 3, 3]
    assert runs.lost(skipped(births=50), 50, 0) == 3


def test_returns_of_clones_that_succeeded_are_not_lost() -> None:
    runs = SkippedRuns()
    for tick in range(2 * READINGS):
        born, unseen, under_way = 7 + 1000 * tick, 3 * tick, tick % 3
        found = skipped(
            # seven were born before the program at the return was attached
            returned=1000 * tick - unseen - under_way,
            on_copy_process_exit=unseen,
            on_alloc_pid_exit=9,
            on_cgroup_can_fork_exit=9,
        )
        assert runs.lost(found, 0, born) == 0


def test_refused_clones_whose_return_was_not_seen_are_lost() -> None:
    runs = SkippedRuns()
    for _ in range(READINGS):
        assert runs.lost(skipped(returned=100, on_copy_process_exit=0), 0, 100) == 0
    assert runs.lost(skipped(returned=197, on_copy_process_exit=5), 0, 200) == 2
    assert runs.lost(skipped(returned=290, on_copy_process_exit=5), 0, 300) == 2


def test_other_programs_have_none_behind_them() -> None:
    assert SkippedRuns().lost(skipped(on_cgroup_mkdir=2, on_clone_exit=1), 0, 0) == 3
