"""Beside the drill-down's tables: every line fits, and tells what is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import WEB, snapshot, workload
from screen_builders import (
    HOSTILE,
    IDLE,
    NOW,
    SECOND,
    assert_shown,
    explosion,
    named,
    with_state,
)

from threadtrace.identity.workloads import KERNEL
from threadtrace.model.details import LimitLevel, ProcessDetails, ProcessInspection
from threadtrace.model.explosion import State, ThreadName
from threadtrace.model.snapshot import Totals
from threadtrace.probe.records import Limit
from threadtrace.screen import panel
from threadtrace.screen.history import History
from threadtrace.screen.news import Entry
from threadtrace.screen.panel import PanelLine

WIDTHS = (20, 40, 60, 80, 100, 120, 200)
POD_LIMIT = LimitLevel(Limit.PIDS_MAX, "/kubepods/pod1", 300, 299, "podPidsLimit of the kubelet")
NODE_LIMIT = LimitLevel(Limit.PID_MAX, "PID namespace level 0", 32_468, 400, "kernel.pid_max")
PROCESS = ProcessDetails(4242, "java", "java -jar web.jar", 498, 0.0, 86_400.0)


def text(lines: list[PanelLine]) -> str:
    return "\n".join("".join(cell.text for cell in line) for line in lines)


def seen(key: str = WEB.key, seconds: int = 60, refused: int = 0) -> History:
    history = History()
    for second in range(seconds):
        shot = workload(replace(WEB, key=key), tasks=second, counts=Totals(second, 0, 0, refused))
        history.add(snapshot(shot)._replace(time_ns=NOW + second * SECOND))
    return history


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_every_line_fits(name: str, width: int) -> None:
    about = named(name, image_name=name, k8s_container_name=name)
    shot = workload(about, tasks=10**7, counts=Totals(*[10**9] * 4), growth=-1e9)
    process = ProcessDetails(4_194_304, name, name, 10**7, 1e9, 1e12)
    level = LimitLevel(Limit.RLIMIT_NPROC, name, 10**7, 10**9, name)
    told = explosion(about, thread_names=(ThreadName(name, 10**7),))
    entries = [Entry(NOW, "explosion.started", "warning", "x" * 500, None)] * 20
    inspection = ProcessInspection(process, 1, 4_294_967_295, (), ())
    for lines in (
        panel.title_lines(shot, width),
        panel.title_lines(with_state(shot, State.RECOVERING), width),
        panel.number_lines(with_state(shot, State.EXPLODING, 1e9), width),
        panel.history_lines(seen(about.key, refused=10**6), shot, width),
        panel.history_lines(History(), shot, width),
        panel.limit_lines([level, POD_LIMIT], width),
        panel.limit_lines([], width),
        panel.news_lines(told, entries, width),
        panel.news_lines(None, [], width),
        panel.inspection_lines(inspection, width),
    ):
        assert lines
        for line in lines:
            assert_shown("".join(cell.text for cell in line), width)


def test_who_it_is() -> None:
    name, about = text(panel.title_lines(workload(), 250)).split("\n")
    assert name == "shop/checkout-7d9f/web  refused"
    assert about.startswith(
        f"container  containerd  {WEB.container_id}  image shop/web:1  cgroup /ku"
    )
    assert text(panel.title_lines(workload(KERNEL, counts=IDLE), 80)) == (
        "kernel  quiet\nkernel  no cgroup known"
    )
    states = {State.EXPLODING: "danger", State.GROWING: "plain"}
    for state, style in states.items():
        assert panel.title_lines(with_state(workload(), state), 80)[0][-1].style == style


def test_the_numbers() -> None:
    shown = text(panel.number_lines(with_state(workload(), State.EXPLODING, 43.0), 200))
    assert shown == (
        "501 tasks  600 at most  threads 997/s  processes 3.0/s  exits 499/s  net +166/s\n"
        "refused 13.0/s\n"
        "pids_max is used up in 43s"
    )


def test_a_rate_of_nothing_is_0() -> None:
    shown = text(panel.number_lines(workload(counts=IDLE, growth=0.0), 200))
    assert "threads 0/s  processes 0/s  exits 0/s  net 0/s" in shown
    assert "-/s" not in shown
    assert "refused" not in shown


def test_no_time_left() -> None:
    lines = panel.number_lines(with_state(workload(), State.EXHAUSTED, 0.0), 80)
    assert text(lines).endswith("its limit is used up")
    assert lines[-1][0].style == "danger"


@pytest.mark.parametrize("width", WIDTHS)
def test_history_has_a_plot_with_its_time(width: int) -> None:
    shown = text(panel.history_lines(seen(), workload(), width)).split("\n")
    assert shown[0].startswith("tasks, the last two")
    plot = shown[1:5]
    room = min(width, 120)
    assert [len(line) for line in plot] == [room] * 4
    assert "█" in plot[0]
    assert shown[5].startswith("-2m")
    assert shown[5].endswith("now")
    assert len(shown[5]) == room
    assert shown[6].startswith("births, up to 59.0/s"[:width])
    assert len(shown) == 8, "no line for refusals, as there were none"


def test_history_of_refusals_and_of_nothing() -> None:
    shown = text(panel.history_lines(seen(refused=13), workload(), 80))
    assert "refused, up to 13.0/s" in shown
    history = History()
    for second in range(3):
        shot = workload(counts=IDLE, tasks=7)._replace(is_active=second == 0)
        history.add(snapshot(shot)._replace(time_ns=NOW + second * SECOND))
    shown = text(panel.history_lines(history, workload(), 80))
    assert "7 to 7" in shown
    assert "births, up to 0/s" in shown
    assert "-/s" not in shown
    shown = text(panel.history_lines(History(), workload(tasks=1_234), 80))
    assert shown == "tasks: 1,234, unchanged for two minutes"


def test_limits_up_the_tree() -> None:
    shown = text(panel.limit_lines([POD_LIMIT, NODE_LIMIT], 80)).split("\n")
    assert shown[1:] == [
        "  99%  pids_max     299 of 300  /kubepods/pod1",
        "   1%  pid_max      400 of 32,468  the node",
        "change podPidsLimit of the kubelet",
    ]
    assert "change" not in text(panel.limit_lines([NODE_LIMIT], 80)), "nothing is near"
    assert "none is known" in text(panel.limit_lines([], 80))
    unknown = text(panel.limit_lines([POD_LIMIT._replace(usage=None)], 80))
    assert "    -  pids_max     - of 300" in unknown
    nothing = text(panel.limit_lines([POD_LIMIT._replace(value=0, usage=0)], 80))
    assert "0 of 0" in nothing


def test_what_happened_newest_first_and_bounded() -> None:
    entries = [Entry(NOW, "fork.refused", "danger", f"number {n}", WEB.key) for n in range(50)]
    shown = text(panel.news_lines(None, entries, 80)).split("\n")
    assert len(shown) == 9
    assert shown[1].rstrip() == "22:13:20 fork.refused: number 0"
    assert "nothing since" in text(panel.news_lines(None, [], 80))
    told = text(panel.news_lines(explosion(), [], 200))
    assert "shop/checkout-7d9f/web explodes by 5 tasks a second" in told
    assert "    160  pool-#-thread-#" in told


def test_a_process() -> None:
    found = ProcessInspection(PROCESS, 4000, 0, (), ())
    assert text(panel.inspection_lines(found, 120)) == (
        "java -jar web.jar\nPID 4242  parent 4000  uid 0  498 threads  births 0/s  age 24h"
    )
    unknown = PROCESS._replace(
        command_line=None, name="", created_per_second=None, age_seconds=None
    )
    shown = text(panel.inspection_lines(ProcessInspection(unknown, None, None, (), ()), 120))
    assert shown == "?\nPID 4242  parent -  uid -  498 threads  births -  age -"
