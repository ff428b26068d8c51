"""Events of explosions: what they carry, how they read, and that hostile text stays text."""

from __future__ import annotations

from typing import Any

import pytest
from builders import WEB
from test_events import NOW, parsed

from threadtrace.identity.workloads import identify
from threadtrace.model.explosion import (
    CreatingProcess,
    End,
    Evidence,
    Explosion,
    Forecast,
    Rates,
    Shape,
    State,
    ThreadName,
    Transition,
    VictimCount,
)
from threadtrace.model.snapshot import ProcessSnapshot, Totals
from threadtrace.output.events import EventWriter
from threadtrace.probe.records import Limit

LEAK = Explosion(
    transition=Transition.STARTED,
    number=3,
    time_ns=NOW,
    onset_ns=NOW - 26_000_000_000,
    workload=WEB,
    state=State.EXPLODING,
    shape=Shape.LEAK,
    evidence=Evidence("leak", 130, 26.0, 5.0, 128.0),
    tasks=180,
    tasks_at_start=50,
    tasks_peak=180,
    counts=Totals(130, 2, 2, 0),
    growth_per_second=5.0,
    rates=Rates(5.0, 0.1, 0.1),
    share_of_node_ratio=0.25,
    forecast=Forecast(Limit.PIDS_MAX, "/kubepods/pod1", 1_000, 200, 160.0, "podPidsLimit"),
    process=CreatingProcess(4242, "java", 7, 4000, "java -jar web.jar", "sh -c start"),
    thread_names=(ThreadName("pool-#-thread-#", 160),),
    top_processes=(ProcessSnapshot(4242, "java", 178, 5),),
    victims=(VictimCount(identify("/system.slice/kubelet.service"), 12),),
    victims_count=1,
)


def event_of(**changes: Any) -> dict[str, Any]:
    return parsed(EventWriter({}).explosion(LEAK._replace(**changes)))


def test_started() -> None:
    event = event_of()
    assert event["event"]["name"] == "threadtrace.explosion.started"
    assert event["severity_text"] == "WARN", "minutes are left, and most of the limit"
    details = event["threadtrace"]
    assert details["explosion_id"] == event["agent"]["id"][:8] + "-3"
    assert details["evidence"] == {
        "rule": "leak",
        "gained_count": 130,
        "growing_seconds": 26.0,
        "growth_per_second": 5.0,
        "threshold": 128.0,
    }
    assert details["onset"] == "2023-11-14T22:12:54.123456789Z"
    assert details["duration_seconds"] == 26.0
    assert details["thread_names"] == [{"name": "pool-#-thread-#", "count": 160}]
    assert details["victims"][0]["refused_count"] == 12
    assert event["process"] == {
        "linux": {"cgroup": WEB.cgroup_path},
        "pid": 4242,
        "vpid": 7,
        "parent_pid": 4000,
        "executable": {"name": "java"},
        "command_line": "java -jar web.jar",
    }
    for words in ("shop/checkout-7d9f/web explodes by 5", "gained 130 tasks", "is used up in"):
        assert words in event["message"]


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"forecast": None}, "WARN"),
        ({"forecast": LEAK.forecast and LEAK.forecast._replace(seconds=None)}, "WARN"),
        ({"forecast": LEAK.forecast and LEAK.forecast._replace(seconds=601)}, "WARN"),
        ({"forecast": LEAK.forecast and LEAK.forecast._replace(usage=500)}, "ERROR"),
        ({"forecast": LEAK.forecast and LEAK.forecast._replace(seconds=59)}, "ERROR"),
        ({"state": State.EXHAUSTED}, "ERROR"),
        (
            {"transition": Transition.ENDED, "state": State.QUIET, "ended": End.FELL_BACK},
            "INFO",
        ),
    ],
)
def test_severity(changes: dict[str, Any], severity: str) -> None:
    assert event_of(**changes)["severity_text"] == severity


@pytest.mark.parametrize("end", End)
def test_each_end_has_words(end: End) -> None:
    event = event_of(transition=Transition.ENDED, state=State.QUIET, ended=end)
    assert event["threadtrace"]["ended_because"] == end.value
    assert "over after 26 s, since " in event["message"]


@pytest.mark.parametrize("rule", ["burst", "jump", "leak", "limit", "storm", "refused"])
def test_each_rule_has_words(rule: str) -> None:
    event = event_of(evidence=LEAK.evidence._replace(rule=rule))
    assert event["threadtrace"]["reason"] in event["message"]


def test_a_process_that_is_gone_is_absent() -> None:
    event = event_of(process=None, thread_names=())
    assert event["process"] == {"linux": {"cgroup": WEB.cgroup_path}}
    assert "parent_command_line" not in event["threadtrace"]


def test_hostile_and_endless_text() -> None:
    evil = "\x1b[2J<b>\u202e" + "é" * 3_000
    process = CreatingProcess(1, evil, None, None, evil, evil)
    names = tuple(ThreadName(evil, 1) for _ in range(5))
    event = event_of(process=process, thread_names=names)
    assert "\x1b" not in event["message"]
    assert len(event["process"]["command_line"].encode()) <= 1_024
    assert event["process"]["command_line_truncated"] is True
