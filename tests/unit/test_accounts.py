"""Cumulative counts become counts of an interval, exactly."""

from __future__ import annotations

import pytest

from threadtrace.identity.workloads import identify
from threadtrace.model.accounts import Accounts, growth_weight
from threadtrace.model.snapshot import Totals
from threadtrace.probe.records import (
    Counts,
    Evidence,
    Limit,
    ProcessCounts,
    ProcessKey,
    RefusalCounts,
    RefusalKey,
)
from threadtrace.probe.source import Counters

NONE = Counts(0, 0, 0, 0)
A, B = identify("/a.service"), identify("/b.service")


def counters(
    cgroups: dict[int, Counts] | None = None,
    refusals: dict[RefusalKey, RefusalCounts] | None = None,
    processes: dict[ProcessKey, ProcessCounts] | None = None,
    unattributed: Counts = NONE,
    lost: dict[str, int] | None = None,
    moves: int = 0,
) -> Counters:
    return Counters(cgroups or {}, unattributed, refusals or {}, processes or {}, moves, lost or {})


def refusals(*counts: tuple[int, int, int]) -> dict[RefusalKey, RefusalCounts]:
    """Of (cgroup id, errno, count)."""
    return {
        RefusalKey(cgroup_id, 0, error, Limit.OTHER, Evidence.INFERRED): RefusalCounts(
            count, 1, 2, 1
        )
        for cgroup_id, error, count in counts
    }


def process(threads: int, start: int = 1, refused: int = 0, exited: int = 0) -> ProcessCounts:
    return ProcessCounts(start, threads, 0, refused, exited, b"java\0")


@pytest.fixture
def accounts() -> Accounts:
    accounts = Accounts()
    accounts.assign(7, A)
    accounts.assign(8, A)
    accounts.assign(9, B)
    return accounts


def test_intervals_are_differences_and_add_up_to_the_life(accounts: Accounts) -> None:
    account = accounts.account(A.key)
    assert accounts.count(counters({7: Counts(997, 3, 499, 1), 8: Counts(0, 2, 0, 2)})).active == [
        7,
        8,
    ]
    assert account.interval == Totals(997, 5, 502, 0)
    assert accounts.count(counters({7: Counts(1000, 3, 499, 1), 8: Counts(0, 2, 0, 2)})).active == [
        7
    ]
    assert account.interval == Totals(3, 0, 0, 0)
    assert (
        accounts.count(counters({7: Counts(1000, 3, 499, 1), 8: Counts(0, 2, 0, 2)})).active == []
    )
    assert account.interval == Totals()
    accounts.close_cgroup(8)
    accounts.close_cgroup(7)
    assert account.closed == Totals(1000, 5, 502, 0)


def test_nothing_happened_is_nothing_active(accounts: Accounts) -> None:
    now = counters({7: Counts(1, 1, 1, 1)}, refusals((9, 11, 13)))
    assert accounts.count(now).active == [7, 9]
    assert accounts.count(now).active == []


def test_cgroups_with_as_many_exits_as_births_are_told_apart(accounts: Accounts) -> None:
    found = accounts.count(
        counters({7: Counts(2, 1, 1, 2), 8: Counts(2, 1, 1, 1)}, refusals((9, 11, 1)))
    )
    assert found.active == [7, 8, 9]
    assert found.unbalanced == [8]


def test_refusals_by_errno(accounts: Accounts) -> None:
    accounts.count(counters(refusals=refusals((9, 11, 10), (9, 12, 1))))
    accounts.count(counters(refusals=refusals((9, 11, 23), (9, 12, 1))))
    assert accounts.account(B.key).interval_refused == {11: 13}
    assert accounts.account(B.key).interval.refused == 13
    assert accounts.account(A.key).interval == Totals()


def test_a_cgroup_without_a_workload_is_named(accounts: Accounts) -> None:
    assert sorted(
        accounts.unassigned(
            counters({7: Counts(1, 0, 0, 0), 20: Counts(1, 0, 0, 0)}, refusals((21, 11, 1)))
        )
    ) == [20, 21]


def test_the_last_cgroup_closes_the_account(accounts: Accounts) -> None:
    accounts.count(counters({7: Counts(1, 0, 0, 0)}, refusals((7, 11, 2))))
    assert [key.error for key in accounts.refusal_keys(7)] == [11]
    left = accounts.close_cgroup(7)
    assert left is not None
    assert left.cgroup_ids == {8}
    closed = accounts.close_cgroup(8)
    assert closed is left
    assert closed.cgroup_ids == set()
    assert [account.workload for account in accounts] == [B]
    assert accounts.close_cgroup(8) is None


def test_an_id_that_comes_back_begins_at_zero(accounts: Accounts) -> None:
    accounts.count(counters({7: Counts(100, 0, 0, 0)}))
    accounts.close_cgroup(7)
    account = accounts.assign(7, identify("/c.service"))
    accounts.count(counters({7: Counts(5, 0, 0, 0)}))
    assert account.interval.threads_created == 5


def births(count: int) -> dict[int, Counts]:
    return {7: Counts(count, 0, 0, 0)}


def created(accounts: Accounts, counted: Counters) -> dict[ProcessKey, int]:
    accounts.count(counted)
    return accounts.count_processes(counted)


def test_creations_by_process(accounts: Accounts) -> None:
    key = (7, 4242)
    assert created(accounts, counters(births(10), processes={key: process(10)})) == {key: 10}
    assert created(accounts, counters(births(10), processes={key: process(10)})) == {}
    assert created(accounts, counters(births(17), processes={key: process(17)})) == {key: 7}


def test_a_pid_that_was_given_away_again_begins_at_zero(accounts: Accounts) -> None:
    key = (7, 4242)
    created(accounts, counters(births(10), processes={key: process(10, start=1)}))
    again = counters(births(14), processes={key: process(4, start=2)})
    assert created(accounts, again) == {key: 4}


def test_a_dropped_entry_begins_at_zero(accounts: Accounts) -> None:
    key = (7, 4242)
    created(accounts, counters(births(10), processes={key: process(10)}))
    accounts.forget_process(key)
    assert created(accounts, counters(births(13), processes={key: process(3)})) == {key: 3}


def test_a_creation_ahead_of_the_workloads_count_waits_for_it(accounts: Accounts) -> None:
    """The birth came after the cgroups were read and before the processes were."""
    key = (7, 4242)
    assert created(accounts, counters(births(0), processes={key: process(3)})) == {}
    assert created(accounts, counters(births(0), processes={key: process(4)})) == {}
    assert created(accounts, counters(births(4), processes={key: process(4)})) == {key: 4}
    assert created(accounts, counters(births(4), processes={key: process(4)})) == {}


def test_a_creation_ahead_goes_with_its_process_or_cgroup(accounts: Accounts) -> None:
    dropped, closed, ended = (7, 4242), (9, 4343), (8, 4444)
    processes = {key: process(3) for key in (dropped, closed, ended)}
    assert created(accounts, counters(births(0), processes=processes)) == {}
    accounts.forget_process(dropped)
    accounts.close_cgroup(9)
    left = {key: process(3) for key in (dropped, closed)}
    assert created(accounts, counters(births(3), processes=left)) == {dropped: 3}


def test_what_is_unattributed_is_told_once(accounts: Accounts) -> None:
    full = counters(unattributed=Counts(5, 1, 2, 1))
    assert accounts.count_unattributed(full) == Totals(5, 1, 3)
    assert accounts.count_unattributed(full) == Totals()


def test_losses_are_told_once(accounts: Accounts) -> None:
    assert accounts.count_losses({"cgroups_map": 3}) == {"cgroups_map": 3}
    assert accounts.count_losses({"cgroups_map": 3}) == {}
    assert accounts.count_losses({"cgroups_map": 5, "records_ring": 1}) == {
        "cgroups_map": 2,
        "records_ring": 1,
    }


def test_the_baseline_is_no_growth(accounts: Accounts) -> None:
    accounts.add_tasks(7, 21_317)
    account = accounts.account(A.key)
    assert not account.follow_growth(1.0, 1.0)
    assert account.growth_per_second == 0.0
    assert not account.follow_growth(1.0, 1.0)


def test_a_workload_that_comes_later_grows_from_zero(accounts: Accounts) -> None:
    accounts.end_baseline()
    account = accounts.assign(70, identify("/late.service"))
    accounts.add_tasks(70, 100)
    assert account.follow_growth(2.0, 1.0)
    assert account.growth_per_second == 50.0


def test_a_leak_shows_within_two_ticks_and_fades_when_it_ends(accounts: Accounts) -> None:
    account, weight = accounts.account(A.key), growth_weight(1.0, 1000.0)
    account.follow_growth(1.0, weight)
    for _ in range(2):
        accounts.add_tasks(7, 100)
        assert account.follow_growth(1.0, weight)
    assert 40 < account.growth_per_second < 100
    for _ in range(30):
        account.follow_growth(1.0, weight)
    assert account.growth_per_second == 0.0


def test_growth_does_not_depend_on_the_length_of_the_interval(accounts: Accounts) -> None:
    fine, coarse = accounts.account(A.key), accounts.account(B.key)
    fine.follow_growth(0.1, 0.0)
    coarse.follow_growth(1.0, 0.0)
    for _ in range(10):
        accounts.add_tasks(7, 10)
        fine.follow_growth(0.1, growth_weight(0.1, 1000.0))
    accounts.add_tasks(9, 100)
    coarse.follow_growth(1.0, growth_weight(1.0, 1000.0))
    assert fine.growth_per_second == pytest.approx(coarse.growth_per_second)


def test_the_first_interval_counts_in_full_and_later_ones_less() -> None:
    assert growth_weight(1.0, 1.0) == 1.0
    assert growth_weight(1.0, 2.0) == 0.5
    assert growth_weight(1.0, 1000.0) == pytest.approx(0.283, abs=0.001)
    assert growth_weight(0.0, 0.0) == 0.0
