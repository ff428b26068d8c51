"""What a report concludes from a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_builders import LEAK, POD, VICTIM, Stream, culprit, incident, ns, reported

from threadtrace.report.incident import _change_of_knob, report_of
from threadtrace.report.loading import chosen_node, load
from threadtrace.report.model import Change, Outcome, ThreadName
from threadtrace.report.series import UNKNOWN, Grid
from threadtrace.report.words import duration, joined, percent, short_name
from threadtrace.report.workloads import ProcessSeen

DATA = Path(__file__).resolve().parents[1] / "data"
SECOND = 1_000_000_000
WEB = ("shop/web", "/kubepods/web")


def test_an_incident() -> None:
    report = reported(incident())
    assert report.outcome is Outcome.REFUSED
    assert report.headline.startswith("shop/checkout-7d9f/web exhausted pids_max 300 of ")
    assert len(report.summary) == 3
    assert report.summary[0] == (
        "At 2026-11-24 10:00:04 UTC shop/checkout-7d9f/web began to grow by up to 20/s, from 12 to "
        "299 tasks, mostly threads called pool-#-thread-# in java[12457]."
    )
    assert (
        "refused 101 clones of shop/checkout-7d9f/sidecar (41) and the culprit itself (60)"
        in (report.summary[1])
    )
    assert "not the node's" in report.summary[2]
    assert report.summary[2].endswith("the explosion ended at 10:00:36: its tasks fell back.")
    assert (report.start_ns, report.end_ns) == (ns(10.1), ns(36.1))
    assert report.refused_count == 101


def test_the_culprit() -> None:
    (web,) = reported(incident()).culprits
    assert (web.name, web.kind, web.exploded, web.shape) == (LEAK[0], "container", True, "leak")
    assert (web.tasks_at_start, web.tasks_count) == (12, 299)
    assert web.share_ratio == 0.9967
    assert web.process == ProcessSeen(12457, "java", 299)
    assert web.thread_names == (ThreadName("pool-#-thread-#", 279),)
    assert web.growth_per_second == 20
    assert web.parent_command_line == "/bin/sh /entrypoint.sh"
    assert web.refused_count == 60


def test_the_victims() -> None:
    report = reported(incident())
    assert [(one.name, one.refused_count, one.is_culprit) for one in report.victims] == [
        (VICTIM[0], 41, False),
        (LEAK[0], 60, True),
    ]
    assert (report.victims[0].first_ns, report.victims[0].last_ns) == (ns(20.2), ns(29.2))
    assert report.victims_count == 2


def test_the_verdict() -> None:
    verdict = reported(incident()).verdict
    assert verdict is not None
    assert (verdict.limit.limit, verdict.limit.limit_owner) == ("pids_max", POD)
    assert (verdict.limit.limit_value, verdict.limit.refused_count) == (300, 101)
    assert verdict.has_refused
    assert not verdict.limit.is_of_node
    assert verdict.evidence is not None
    assert "inferred" in verdict.evidence
    assert [use.limit for use in verdict.not_reached] == ["pid_max", "threads_max"]
    ratio = verdict.not_reached[0].peak_ratio
    assert ratio is not None
    assert ratio < 0.02


def test_the_plot_is_of_those_below_the_limit() -> None:
    plot = reported(incident()).task_plot
    assert plot is not None
    assert [layer.name for layer in plot.layers] == [LEAK[0], VICTIM[0]]
    assert [mark.value for mark in plot.limits] == [300]
    assert {mark.value for mark in plot.limits_out_of_sight} == {32_468, 192_730}
    at = dict(zip(plot.times_ns, plot.layers[0].tasks))
    assert at[ns(10)] == 132
    assert max(filter(None, at.values())) == 299


def test_refusals_a_second() -> None:
    plot = reported(incident()).refusal_plot
    assert plot is not None
    assert sum(1 for rate in plot.refused_per_second if rate == 10) == 10


def test_nothing_happened() -> None:
    stream = Stream()
    for at in range(1, 20):
        stream.node(at, 200 + at)
        stream.rates(at, WEB, 70 + at, (100, WEB[1], 70 + at))
    report = reported(stream)
    assert report.outcome is Outcome.CALM
    assert report.headline == "Nothing happened on node-1"
    assert report.start_ns is None
    assert report.summary[1] == (
        "There were 219 tasks at most, at 10:00:19; the largest workload, shop/web, held up to 89 "
        "tasks."
    )
    assert report.summary[2] == (
        "The nearest limit was pids_max 100 of /kubepods/web, used by 89 % at most."
    )
    assert report.culprits == report.victims == report.changes == ()
    assert report.refusal_plot is None


def test_an_explosion_without_a_refusal() -> None:
    stream = Stream()
    for at in range(1, 20):
        stream.node(at, 200 + at)
    details = {"nearest_limit": "pid_max", "nearest_limit_owner": "PID namespace level 0"}
    numbers = {"nearest_limit_value": 32_468, "nearest_limit_usage": 219, "knob": "sysctl -w x=N"}
    stream.explosion(
        "started", 10, WEB, "exploding", **details, **numbers, seconds_to_exhaustion=200.0
    )
    report = reported(stream)
    assert report.outcome is Outcome.EXPLODED
    assert report.headline == "shop/web exploded in threads on node-1; no clone was refused"
    assert (
        "No clone was refused; the nearest limit was pid_max 32,468 of the node"
        in (report.summary[1])
    )
    assert report.summary[2] == "When the recording ended, shop/web was still exploding."
    assert report.changes[1].command == "sysctl -w x=N"


def node_incident(**more: Any) -> Stream:
    stream = Stream()
    for at in range(1, 30):
        tasks = 20_000 if at < 10 else 32_468
        stream.node(at, tasks, refused=5 if at == 15 else 0)
        stream.rates(at, WEB, tasks - 10_000)
    stream.refused(
        15, VICTIM, 5, 4, limit="pid_max", owner="PID namespace level 0", value=32_768,
        culprits=[culprit(WEB[0], 22_468, 0.69)], evidence="kernel_stage",
        knob="sysctl -w kernel.pid_max=4194304, or a PID limit on the pods", **more,
    )  # fmt: skip
    return stream


def test_a_limit_of_the_node() -> None:
    report = reported(node_incident())
    assert report.headline == "shop/web exhausted pid_max 32,768 of the node on node-1"
    assert report.verdict is not None
    assert report.verdict.limit.is_of_node
    assert "the node's own limit" in report.verdict.scope
    assert "seen in the kernel" in (report.verdict.evidence or "")
    plot = report.task_plot
    assert plot is not None
    assert plot.layers[-1].name == "all others"
    assert plot.layers[-1].tasks[-1] == 10_000
    commands = [change.command for change in report.changes if change.command]
    assert commands == ["sysctl -w kernel.pid_max=4194304"]
    assert any("a limit of its own" in change.text for change in report.changes)


@pytest.mark.parametrize(
    "knob",
    [
        "TasksMax of a;reboot.service: systemctl set-property a;reboot.service TasksMax=N",
        "TasksMax of $(reboot).service: systemctl set-property $(reboot).service TasksMax=N",
        "TasksMax of a`b`.service: systemctl set-property a`b`.service TasksMax=N",
    ],
)
def test_no_command_is_offered_that_a_name_has_tampered_with(knob: str) -> None:
    stream = Stream()
    stream.refused(1, VICTIM, 1, knob=knob)
    for change in reported(stream).changes:
        assert set(change.command or "").isdisjoint(";$`()&|<>")


def test_a_limit_of_a_unit_has_its_command() -> None:
    stream = Stream()
    knob = "TasksMax of app@1.service: systemctl set-property app@1.service TasksMax=N"
    stream.refused(1, VICTIM, 1, knob=knob)
    commands = [change.command for change in reported(stream).changes]
    assert "systemctl set-property app@1.service TasksMax=N" in commands


def test_limits_lead_before_bans_and_others_harm_before_own_limits() -> None:
    stream = Stream()
    stream.refused(1, VICTIM, 900, 899, limit="other", owner="/x", errno="EPERM", knob="a policy")
    stream.refused(2, LEAK, 500, 499, owner="/own", is_own_limit=True)
    stream.refused(3, VICTIM, 7, 6)
    verdict = reported(stream).verdict
    assert verdict is not None
    assert verdict.limit.limit_owner == POD
    assert [use.limit_owner for use in verdict.others] == ["/own", "/x"]


def test_several_explosions_are_all_told_and_the_worst_leads() -> None:
    stream = incident()
    stream.explosion("started", 50, WEB, "exploding", 2, tasks_at_start=5, tasks_peak=90)
    stream.explosion("ended", 55, WEB, "quiet", 2, ended_because="gone", tasks_peak=90)
    report = reported(stream)
    assert [one.name for one in report.culprits] == [LEAK[0], WEB[0]]
    assert report.headline.startswith(LEAK[0])
    text = "\n".join(moment.text for moment in report.timeline)
    assert "shop/web explodes" in text
    assert "the explosion of shop/web ends: the workload is gone, 90 tasks at most" in text
    assert "1 other explosion" in report.summary[0]


def test_what_explodes_elsewhere_is_not_blamed_for_the_limit() -> None:
    """A larger explosion at the same time, in a cgroup that is not under the limit that refused."""
    stream = incident()
    for at, what, state in ((20, "started", "exploding"), (21, "updated", "exhausted")):
        stream.explosion(
            what, at, WEB, state, 2, tasks_at_start=5, tasks_peak=9_000, refused_count=5_000,
            nearest_limit="pids_max", nearest_limit_owner=WEB[1],
        )  # fmt: skip
    report = reported(stream)
    assert report.headline.startswith(f"{LEAK[0]} exhausted pids_max 300 of")
    assert f" {LEAK[0]} began to grow" in report.summary[0]
    assert [one.name for one in report.culprits] == [LEAK[0], WEB[0]]

    stream.events = [
        event
        for event in stream.events
        if not event["event"]["name"].startswith("threadtrace.explosion")
        or event["threadtrace"]["workload"]["name"] != LEAK[0]
    ]
    report = reported(stream)
    assert report.headline.startswith(f"{LEAK[0]} exhausted pids_max 300 of"), "the holder"
    assert f"{LEAK[0]} held 299 tasks" in report.summary[0]
    assert [one.name for one in report.culprits] == [LEAK[0], WEB[0]]


def test_the_timeline_is_in_order_and_bounded() -> None:
    stream = incident()
    for number in range(200):
        workload = (f"pod-{number}", f"/pods/{number}")
        stream.explosion("started", 100 + number, workload, "exploding", number + 2)
    report = reported(stream)
    times = [moment.time_ns for moment in report.timeline]
    assert times == sorted(times)
    assert len(times) <= 40
    assert report.timeline_left_out_count > 150


def test_counts_of_refusals_without_their_events() -> None:
    stream = incident()
    stream.events = [
        event
        for event in stream.events
        if event["event"]["name"]
        not in ("threadtrace.fork.refused", "threadtrace.explosion.started")
        and not event["event"]["name"].startswith("threadtrace.explosion")
    ]
    report = reported(stream)
    assert report.outcome is Outcome.REFUSED
    assert report.refused_count == 100
    assert report.victims == ()
    assert any("no threadtrace.fork.refused events" in remark for remark in report.about.remarks)


def test_the_name_that_came_later_is_shown() -> None:
    stream = Stream()
    stream.node(1, 100)
    stream.rates(1, ("container 4f4f", "/c/4f4f"), 10)
    stream.rates(2, ("shop/web", "/c/4f4f"), 20)
    stream.node(2, 100)
    plot = reported(stream).task_plot
    assert plot is not None
    assert [layer.name for layer in plot.layers] == ["shop/web", "all others"]


def test_a_workload_that_is_gone_holds_nothing() -> None:
    stream = Stream()
    for at in range(1, 10):
        stream.node(at, 100)
    stream.rates(2, WEB, 30)
    stream.add("workload.ended", 5, {"tasks_peak": 33}, WEB)
    plot = reported(stream).task_plot
    assert plot is not None
    tasks = dict(zip(plot.times_ns, plot.layers[0].tasks))
    assert tasks[ns(4)] == 30, "idle workloads send nothing, and last"
    assert tasks[ns(6)] == 0


def test_a_changed_limit_is_in_the_timeline() -> None:
    stream = Stream()
    stream.node(1, 100)
    stream.node(2, 100, pid_max=4_194_004)
    texts = [moment.text for moment in reported(stream).timeline]
    assert "pid_max of the node changes from 32,468 to 4,194,004" in texts


def test_a_short_incident_in_a_long_recording_is_seen_closely() -> None:
    """A day, and ten seconds of trouble in it: bins stay finer than the trouble."""
    stream = Stream()
    day = 86_400
    for at in sorted({*range(0, day, 20), *range(40_000, 40_020)}):
        is_bad = 40_005 <= at < 40_015
        stream.node(at, 5_000 if is_bad else 300, refused=7 if is_bad else 0)
        if is_bad:
            stream.refused(at, VICTIM, 7 * (at - 40_004), 6)
    report = reported(stream)
    plot = report.task_plot
    assert plot is not None
    assert plot.times_ns[0] > ns(39_900)
    assert plot.times_ns[-1] < ns(40_100)
    inside = [time for time in plot.times_ns if ns(40_005) <= time < ns(40_015)]
    assert len(inside) >= 9


def test_grids_keep_the_highest_and_the_sum() -> None:
    grid = Grid(bins=8, width_ns=SECOND)
    for at in range(100):
        grid.put("tasks", at * SECOND, at % 10)
        grid.put("refused", at * SECOND, 1, is_sum=True)
    assert len(grid.bins()) <= 8
    assert max(grid.values("tasks")) == 9
    assert sum(grid.values("refused")) == 100
    assert grid.values("nobody") == [UNKNOWN] * len(grid.bins())


def test_sliding_grids_forget_the_oldest_but_the_last_value() -> None:
    grid = Grid(bins=10, width_ns=SECOND, is_sliding=True)
    grid.put("idle", 0, 7)
    for at in range(100):
        grid.put("busy", at * SECOND, at)
    assert grid.width_ns == SECOND
    assert len(grid.bins()) <= 11
    assert set(grid.values("idle", lasts=True)) == {7}
    grid.put("busy", 0, 1_000)
    assert max(grid.values("busy")) == 99, "too old"


def test_words() -> None:
    assert [duration(at * SECOND) for at in (0, 14, 200, 7_500, 100_000)] == [
        "less than 1 s", "14 s", "3 min 20 s", "2 h 5 min", "1 d 3 h",
    ]  # fmt: skip
    assert [percent(ratio) for ratio in (0, 0.0002, 0.014, 0.03, 0.5, 0.9967, 1, 1.2)] == [
        "0 %", "less than 0.1 %", "1.4 %", "3 %", "50 %", "99.6 %", "100 %", "120 %",
    ]  # fmt: skip
    assert [joined(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a", "a and b", "a, b and c",
    ]  # fmt: skip
    assert short_name("a" * 100 + "-pod-b", 20) == "aaaaaaaaaa…aaa-pod-b"
    assert short_name("\x1b[31m") == "\\x1b[31m"


def test_a_recording_of_a_real_node() -> None:
    """Threads leaked in one cgroup below a parent with pids.max 300, forks in another beside it.

    Recorded by threadtrace 0.1.0, which knew of no explosions, for 22 seconds on kernel 6.18.
    """
    recording = load(str(DATA / "pids-max-of-parent.jsonl.gz"))
    report = report_of(recording, chosen_node(recording, None), "recording")
    assert [one.refused_count for one in report.victims] == [194, 486]
    assert report.refused_count == 680
    (leak,) = report.culprits
    assert (leak.tasks_count, leak.share_ratio) == (299, 0.9967)
    assert report.victims[1].name == leak.name
    assert report.verdict is not None
    assert (report.verdict.limit.limit, report.verdict.limit.limit_value) == ("pids_max", 300)
    plot = report.task_plot
    assert plot is not None
    assert [max(filter(None, layer.tasks)) for layer in plot.layers] == [299, 1]
    assert report.about.remarks == ()


@pytest.mark.parametrize(
    ("knob", "text", "command"),
    [
        (
            "sysctl -w kernel.pid_max=4194304, or a PID limit on the pods",
            "Raise the limit, or a PID limit on the pods",
            "sysctl -w kernel.pid_max=4194304",
        ),
        (
            "the pid_max of that PID namespace: nsenter -t 7 -p sysctl -w kernel.pid_max=N",
            "Change the pid_max of that PID namespace",
            "nsenter -t 7 -p sysctl -w kernel.pid_max=N",
        ),
        ("podPidsLimit of the kubelet", "Change podPidsLimit of the kubelet", None),
    ],
)
def test_a_command_is_told_once(knob: str, text: str, command: str | None) -> None:
    assert _change_of_knob(knob) == Change(text, command)
