"""The head: each limit with a bar, rates, the verdict, what the numbers rest on; it always fits."""

from __future__ import annotations

import itertools

import pytest
from builders import node, snapshot
from rich.cells import cell_len
from screen_builders import HOSTILE, NOW, SECOND, assert_shown

from threadtrace.feed import About
from threadtrace.model.snapshot import Loss, NodeSnapshot, Totals
from threadtrace.screen.head import HeadFacts, HeadLine, head_lines
from threadtrace.screen.history import History

WIDTHS = (20, 40, 60, 80, 100, 120, 200)
HEIGHTS = (*range(5, 30), 40, 60)
HOOKS = (
    {"program": "on_task_newtask", "kind": "typed_raw_tracepoint"},
    {"program": "on_sched_process_exit", "kind": "typed_raw_tracepoint"},
    {"program": "on_cgroup_mkdir", "kind": "raw_tracepoint"},
    {"program": "on_alloc_pid_exit", "kind": "fexit"},
    {"program": "on_copy_process_exit", "kind": "fexit"},
)
VERDICT = (
    "clone by shop/a/web (PID 1, x) refused with EAGAIN: pid_max 32,468; shop/b/web holds it; "
    "change kernel.pid_max",
    "danger",
)


def seen(seconds: int = 130) -> History:
    history = History()
    for second in range(seconds):
        counts = Totals(second, 1, second // 2, 13 if second % 10 == 0 else 0)
        shot = snapshot()._replace(
            time_ns=NOW + second * SECOND, node=node()._replace(counts=counts)
        )
        history.add(shot)
    return history


HISTORY = seen()


def facts(**changes: object) -> HeadFacts:
    found = HeadFacts(
        About("node-1", hooks=HOOKS),
        "live, every 1s",
        "5,000 workloads",
        NOW,
        node()._replace(seconds_to_exhaustion=43.0),
        HISTORY,
        None,
        (),
    )
    return found._replace(**changes)


def words(line: HeadLine) -> str:
    return "".join(cell.text for cell in line)


def text(width: int = 120, height: int = 40, **changes: object) -> str:
    return "\n".join(words(line) for line in head_lines(facts(**changes), width, height))


def style_of(part: str, **changes: object) -> str:
    lines = head_lines(facts(**changes), 120, 40)
    return next(cell.style for cell in itertools.chain(*lines) if part in cell.text)


def test_all_that_the_head_tells() -> None:
    title, pid_max, threads_max, rates, rest = text(120).split("\n")
    assert title == "node-1  live, every 1s  2023-11-14 22:13:20Z  5,000 workloads"
    assert pid_max.startswith("pid_max     ███")
    assert " 97.4%  31,635 of 32,468     full in 43s" in pid_max
    assert threads_max.startswith("threads-max █▏░░")
    assert "2.0%  31,635 of 1,545,000" in threads_max
    assert "full" not in threads_max, "the nearest limit alone tells when"
    for part in ("born 1,000/s ", "exited 499/s ", "refused 13/s "):
        assert part in rates
    assert rest == "births and exits by raw tracepoints, refusals by fexit; nothing lost"


def test_the_bars_can_be_compared() -> None:
    for width in WIDTHS[1:]:
        _, one, other, *_ = head_lines(facts(), width, 40)
        assert cell_len(one[1].text) == cell_len(other[1].text) >= 6


@pytest.mark.parametrize("width", range(20, 201))
def test_limits_on_any_width(width: int) -> None:
    """A bar of each, how much is used and how long is left."""
    shown = text(width)
    assert "97.4%" in shown
    assert "2.0%" in shown
    if width >= 40:
        assert "full in 43s" in shown
        assert "█" in shown.split("\n")[1]
    if width >= 60:
        assert "31.6k of 32.5k" in shown or "31,635 of 32,468" in shown
    if width >= 80:
        assert "31,635 of 1,545,000" in shown


@pytest.mark.parametrize("width", range(20, 201))
@pytest.mark.parametrize("height", [5, 40])
def test_refusals_are_told_on_any_width(width: int, height: int) -> None:
    assert "refused 13/s" in text(width, height)


def test_sparklines_of_two_minutes() -> None:
    rates = head_lines(facts(), 120, 40)[3]
    assert [cell.style for cell in rates].count("spark") == 3
    assert all(any(c in cell.text for c in "▁█") for cell in rates if cell.style == "spark")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_every_line_fits(name: str, width: int) -> None:
    missing = ({"what": name, "effect": name, "remedy": name},)
    about = About(name, hooks=HOOKS, missing=missing)
    huge = NodeSnapshot(0.001, Totals(*[10**7] * 4), 10**7, 10**9, 10**9, 1, name, 10.0, 1e12)
    for changes in (
        {},
        {"about": about, "source": name, "status": name},
        {"note": name or "gone", "losses": (Loss(name, 10**9), Loss("recorder", 1))},
        {"node": huge, "verdict": (name * 5, "danger")},
        {"about": about._replace(counts_refusals=False), "node": None, "history": History()},
        {"about": about._replace(counts_births=False), "time_ns": 0},
    ):
        for height in HEIGHTS:
            lines = head_lines(facts(**changes), width, height)
            assert len(lines) <= max(1, height - 3), "room for a heading, a row and the keys"
            for line in lines:
                assert_shown(words(line), width)


@pytest.mark.parametrize("height", HEIGHTS)
def test_the_verdict_is_seen_on_any_height(height: int) -> None:
    lines = head_lines(facts(verdict=VERDICT, losses=(Loss("recorder", 1),)), 80, height)
    red = [line for line in lines if line and line[0].style == "danger"]
    assert words(red[0]).startswith("clone by shop/a/web")
    assert "97.4%" in "".join(map(words, lines)), "and so is the limit"
    if height >= 18:
        assert len(red) == 2, "the whole of it"
        assert "lost: 1 recorder" in words(lines[-1])


def test_no_time_left_is_told() -> None:
    now = node()._replace(seconds_to_exhaustion=0.0)
    assert "full in 0.0s" in text(node=now)
    assert "full in 0.0s" in text(height=5, node=now)
    assert "full in" not in text(node=node())


def test_on_a_low_terminal_the_nearest_limit_comes_first() -> None:
    assert text(height=5).startswith("pid_max 97.4%  full in 43s  threads-max 2.0%")
    threads = node()._replace(nearest_limit="threads_max", seconds_to_exhaustion=None)
    assert text(height=5, node=threads).startswith("threads-max 2.0%  pid_max 97.4%")


def test_what_is_not_used_up_is_not_100_percent() -> None:
    for tasks, shown in ((32_467, "99.9%"), (32_468, "100.0%"), (40_000, "123.2%")):
        assert shown in text(node=node(tasks)), tasks
        assert shown in text(height=5, node=node(tasks))
    assert ">999%" in text(node=node(10**7))


def test_limits_that_could_not_be_read() -> None:
    unknown = node(None, None)._replace(threads_max=None)
    for height in (5, 40):
        shown = text(height=height, node=unknown)
        assert "0.0%" not in shown
        assert "-" in shown
    assert "0.0%" not in text(node=node(0)._replace(pid_max_usable=0, threads_max=None))


def test_before_the_first_tick() -> None:
    shown = text(node=None, time_ns=0, history=History(), about=About())
    assert shown.startswith("threadtrace  live")
    assert "born -" in shown
    assert shown.endswith("nothing lost")


def test_what_is_not_counted_is_not_zero() -> None:
    about = About("n", hooks=HOOKS[:2], counts_refusals=False)
    assert "refused not counted" in text(about=about)
    assert "births and exits by raw tracepoints, refusals by nothing" in text(about=about)
    files = text(about=About("n", counts_births=False, counts_refusals=False))
    assert "births, exits and refusals are not counted" in files
    assert "born" not in files


@pytest.mark.parametrize(
    ("program", "kind", "shown"),
    [
        ("on_copy_process_return", "kretprobe", "refusals by return probes"),
        ("on_clone_exit", "tracepoint", "refusals by tracepoints"),
        ("on_clone_exit", "some_new_kind", "refusals by some new kind"),
    ],
)
def test_which_hooks_run(program: str, kind: str, shown: str) -> None:
    hooks = (
        {"program": "on_task_newtask", "kind": "raw_tracepoint"},
        {"program": program, "kind": kind},
    )
    assert f"births and exits by raw tracepoints, {shown}" in text(about=About(hooks=hooks))


def test_what_is_missing_and_what_is_lost() -> None:
    missing = ({"what": "container names"}, {"what": "RLIMIT_NPROC"})
    shown = text(about=About(missing=missing))
    assert shown.endswith("nothing lost; not seen: container names, RLIMIT_NPROC")
    shown = text(losses=(Loss("records_ring", 12_000), Loss("recorder", 1)))
    assert shown.endswith("lost: 12,000 records_ring, 1 recorder (e tells more)")
    assert "nothing lost" not in shown
    both = text(note="the agent is gone", losses=(Loss("recorder", 1),))
    assert both.endswith("the agent is gone\nlost: 1 recorder (e tells more)")
    low = text(height=10, note="the agent is gone", losses=(Loss("recorder", 1),))
    assert low.endswith("the agent is gone; lost: 1 recorder (e tells more)")


@pytest.mark.parametrize("width", range(20, 201, 5))
def test_that_nothing_is_lost_is_told_on_any_width(width: int) -> None:
    shown = text(width).split("\n")[-1]
    assert "nothing lost" in shown
    missing = ({"what": "RLIMIT_NPROC"},)
    if width >= 40:
        assert "not seen: RLIMIT_NPROC" in text(width, about=About(missing=missing))
        assert "not seen: RLIMIT_NPROC" in text(width, about=About(hooks=HOOKS, missing=missing))


def test_styles_call_only_where_something_is_wrong() -> None:
    assert style_of("97.4%") == "danger"
    assert style_of("2.0%") == "plain"
    assert style_of("full in") == "danger"
    assert style_of("refused") == "danger"
    quiet = node()._replace(counts=Totals(5, 5, 5, 0))
    assert style_of("refused", node=quiet) == "plain"


def test_an_interval_of_no_length() -> None:
    assert "refused 13/s" in text(node=node()._replace(interval_seconds=0.0))


def test_slow_rates_are_not_none() -> None:
    slow = node()._replace(interval_seconds=100.0, counts=Totals(1, 0, 0, 1))
    shown = text(node=slow)
    assert "born 0.1/s" in shown
    assert "exited 0/s" in shown
    assert "refused 0.1/s" in shown


def test_a_narrow_title_keeps_how_many_rows_there_are() -> None:
    assert words(head_lines(facts(), 30, 40)[0]).endswith("5,000 workloads")
    assert "PAUSED" in words(head_lines(facts(status="PAUSED  3 workloads"), 40, 40)[0])
