"""Events become again what they were made of; what is none of that is counted, never raised."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from builders import WEB, node, snapshot, workload
from test_explosion_events import LEAK

from support.heard import Heard
from support.recording import STARTED, container, rates, refusal
from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import HOST, KERNEL, Workload, WorkloadKind, identify, unknown
from threadtrace.model.explosion import End, Explosion, Forecast, State, Transition, VictimCount
from threadtrace.model.knobs import knob_of_cgroup, knob_of_user
from threadtrace.model.refusal import Culprit, LargestProcess, Refusal
from threadtrace.model.snapshot import (
    EndedWorkload,
    Happenings,
    Loss,
    ProcessSnapshot,
    Snapshot,
    StartedWorkload,
    Totals,
    WorkloadSnapshot,
)
from threadtrace.output.events import EventWriter
from threadtrace.output.stream import EventStream
from threadtrace.probe.records import Evidence, Limit, Refused
from threadtrace.report.notes import Notes
from threadtrace.report.reading import EventReader
from threadtrace.restore.decoder import EventDecoder

SECOND = 1_000_000_000
START = snapshot().time_ns
RECORD = Path(__file__).parents[1] / "data" / "pids-max-of-parent.jsonl.gz"


QUIET_LEAK = LEAK._replace(victims=(), victims_count=0)
"""It has not harmed anybody yet."""


class _Lines:
    """Takes what a stream writes."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, lines: list[bytes], rank: object) -> None:
        self.lines += lines

    def take_lost(self) -> dict[str, int]:
        return {}


class Told:
    """What an agent tells, through events and back."""

    def __init__(self, **options: Any) -> None:
        self._lines = _Lines()
        self.stream = EventStream(EventWriter({}, **options), self._lines, False)  # type: ignore[arg-type]

    @property
    def lines(self) -> list[bytes]:
        return self._lines.lines

    def heard(self) -> Heard:
        return decoded(self.lines)[0]


def decoded(lines: Iterable[bytes]) -> tuple[Heard, EventDecoder]:
    heard = Heard()
    decoder = EventDecoder(heard)
    for event in EventReader(Notes()).read(lines):
        decoder.feed(event)
    decoder.flush()
    return heard, decoder


def tick(*workloads: WorkloadSnapshot, seconds: int = 0, **changes: Any) -> Snapshot:
    return snapshot(*workloads)._replace(time_ns=START + seconds * SECOND, **changes)


def back(*snapshots: Snapshot) -> list[Snapshot]:
    told = Told()
    for entry in snapshots:
        told.stream.on_snapshot(entry)
    return told.heard().snapshots


UNIT = identify("/system.slice/kubelet.service")
POD_UID = "b53dfa9e-2dc9-b890-f7fa-db2770857b03"
POD = Workload(
    WorkloadKind.POD,
    f"pod:{POD_UID}",
    f"/kubepods/burstable/pod{POD_UID}",
    pod_uid=POD_UID,
    names=ContainerNames(k8s_namespace="shop", k8s_pod_name="web-1", k8s_pod_uid=POD_UID),
)
PAUSE = replace(
    WEB,
    names=ContainerNames(
        "containerd", None, None, "shop", "checkout-7d9f", WEB.pod_uid, None, is_sandbox=True
    ),
)


@pytest.mark.parametrize(
    "about",
    [
        WEB,
        PAUSE,
        POD,
        UNIT,
        HOST,
        KERNEL,
        container(7),
        unknown(4711),
        identify("/user.slice/user-1000.slice/session-3.scope"),
        identify("/some/cgroup"),
        identify("/user.slice/user-1000.slice/user@1000.service/app.slice/a b.service"),
    ],
    ids=lambda about: about.name,
)
def test_a_workload_is_the_same_again(about: Workload) -> None:
    original = tick(workload(about, limit=None))
    assert back(original) == [original]


def test_rates_field_for_field() -> None:
    original = workload(
        refused={11: 12, 12: 1},
        processes=(ProcessSnapshot(4242, "java", 498, 997), ProcessSnapshot(7, "", 1, 0)),
    )._replace(limit_path="/kubepods", limit_tasks=700, state=State.EXHAUSTED, tasks_peak=777)
    assert back(tick(original)) == [tick(original)]


OWN = WEB.cgroup_path or ""


@pytest.mark.parametrize(
    "forecast",
    [
        Forecast(Limit.PIDS_MAX, OWN, 1000, 501, 12.5, knob_of_cgroup(OWN)),
        Forecast(Limit.PIDS_MAX, "/kubepods", 0, 0, 12.5, knob_of_cgroup("/kubepods")),
        Forecast(Limit.RLIMIT_NPROC, "uid 1000", 0, 0, 1.0, knob_of_user(1000)),
        Forecast(
            Limit.PID_MAX,
            "PID namespace level 0",
            32_468,
            31_635,
            5.0,
            "sysctl -w kernel.pid_max=4194304, or a PID limit on the pods",
        ),
        Forecast(
            Limit.PID_MAX,
            "PID namespace level 1 of init 4711",
            0,
            0,
            5.0,
            "the pid_max of that PID namespace: nsenter -t 4711 -p sysctl -w kernel.pid_max=N",
        ),
    ],
    ids=lambda forecast: forecast.owner,
)
def test_a_forecast_has_what_the_same_tick_tells_of_its_limit(forecast: Forecast) -> None:
    original = tick(workload()._replace(state=State.GROWING, forecast=forecast))
    assert back(original) == [original]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seconds_to_exhaustion": 12.3},
        {"tasks": None, "used_ratio": None, "nearest_limit": None},
        {
            "pid_max": None,
            "pid_max_usable": None,
            "nearest_limit": "threads_max",
            "used_ratio": 0.5,
        },
    ],
)
def test_the_node_field_for_field(changes: dict[str, Any]) -> None:
    original = tick(node=node()._replace(**changes))
    assert back(original) == [original]


def test_what_else_a_tick_tells() -> None:
    ended = EndedWorkload(UNIT, START - 5, Totals(1, 2, 3, 4), 9)
    original = tick(
        workload(),
        ended=(ended,),
        refusals=(refusal(1, START - 7),),
        losses=(Loss("output", 4), Loss("records_ring", 1)),
        explosions=(QUIET_LEAK._replace(time_ns=START),),
    )
    assert back(original) == [original]


REFUSALS = [
    refusal(1),
    refusal(2)._replace(
        refused=Refused.UNKNOWN,
        limit=Limit.PID_MAX,
        owner="PID namespace level 2 of init 99",
        pid_namespace_level=2,
        evidence=Evidence.KERNEL_STAGE,
        also_reached=(Limit.THREADS_MAX, Limit.RLIMIT_NPROC),
        suppressed=12,
        refused_count=40,
        is_own_limit=False,
        culprits=(
            Culprit(WEB, 30_000, 0.9375, LargestProcess(4242, "java", 29_000)),
            Culprit(KERNEL, 100, None, None),
        ),
    ),
    refusal(3)._replace(limit=Limit.OTHER, error=22, limit_value=None, usage=None, owner=None),
]


@pytest.mark.parametrize("original", REFUSALS, ids=["pids_max", "namespace", "other"])
def test_a_refusal_field_for_field(original: Refusal) -> None:
    told = Told()
    told.stream.on_snapshot(tick(workload()))
    told.stream.on_happenings(Happenings([], [original], []))
    assert told.heard().refusals == [original]


def test_only_counts_are_known_of_a_victim() -> None:
    original = refusal(1)
    original = original._replace(
        victim=original.victim._replace(pid=0, thread_id=0, thread_name="")
    )
    told = Told()
    told.stream.on_happenings(Happenings([], [original], []))
    assert told.heard().refusals == [original]


@pytest.mark.parametrize(
    "original",
    [
        LEAK,
        LEAK._replace(transition=Transition.UPDATED, process=None, forecast=None, victims=()),
        LEAK._replace(transition=Transition.ENDED, state=State.QUIET, ended=End.CALMED),
        LEAK._replace(share_of_node_ratio=None, thread_names=(), top_processes=()),
        LEAK._replace(victims=(VictimCount(KERNEL, 3),), victims_count=40),
    ],
)
def test_an_explosion_field_for_field(original: Explosion) -> None:
    told = Told()
    told.stream.on_snapshot(tick(workload(UNIT, limit=None)))
    told.stream.on_happenings(Happenings([], [], [original]))
    assert told.heard().explosions == [original]


def test_who_was_never_told_of_is_called_the_same() -> None:
    culprits = tuple(
        Culprit(about, 3, None, None)
        for about in (WEB, PAUSE, POD, UNIT, HOST, KERNEL, container(7), identify("/a/b"))
    )
    told = Told()
    told.stream.on_happenings(Happenings([], [refusal(1)._replace(culprits=culprits)], []))
    (restored,) = told.heard().refusals
    names = [(entry.workload.kind, entry.workload.name) for entry in restored.culprits]
    assert names == [(entry.workload.kind, entry.workload.name) for entry in culprits]


def test_the_start() -> None:
    told = Told()
    missing = [{"what": "a", "effect": "b", "remedy": "c"}]
    told.stream.on_start(START, {**STARTED, "missing": missing})
    (about,) = told.heard().starts
    assert about.kernel_release == "6.12.1"
    assert about.interval_seconds == 1.0
    assert about.missing == missing
    assert about.hooks == STARTED["hooks"]
    assert not about.counts_refusals, "no program that sees refusals is attached"
    assert about.node
    assert about.version


def test_with_a_program_that_sees_refusals_they_are_counted() -> None:
    told = Told()
    hook = {"program": "on_clone_exit", "kind": "tracepoint", "target": "x", "reason": "y"}
    told.stream.on_start(START, {**STARTED, "hooks": [{**hook, "tracepoint_id": 3}]})
    (about,) = told.heard().starts
    assert about.counts_refusals
    assert about.hooks == [hook]


@pytest.mark.parametrize("is_counted", [True, False])
def test_without_a_start_the_counts_tell_whether_refusals_are_counted(is_counted: bool) -> None:
    told = Told(counts_refusals=is_counted)
    told.stream.on_snapshot(tick(workload()))
    assert [about.counts_refusals for about in told.heard().starts] == [is_counted]


def test_the_idle_stay_and_nothing_happens_to_them() -> None:
    busy = workload()._replace(state=State.GROWING)
    first, second, third, fourth = back(
        tick(busy, workload(UNIT, limit=None)),
        tick(busy, seconds=1),
        tick(seconds=2),
        tick(busy, seconds=3),
    )
    by_key = {entry.workload.key: entry for entry in second.workloads}
    rested = by_key[UNIT.key]
    assert by_key[WEB.key] == busy
    assert rested == workload(UNIT, limit=None)._replace(
        counts=Totals(),
        refused_by_errno={},
        growth_per_second=0.0,
        top_processes=(ProcessSnapshot(4242, "java", 498, 0),),
        is_active=False,
    )
    assert all(not entry.is_active and entry.state is None for entry in third.workloads)
    assert len(third.workloads) == 2
    assert {id(entry) for entry in third.workloads} >= {id(rested)}, "made once"
    assert {entry.workload.key: entry for entry in fourth.workloads}[WEB.key] == busy
    assert first.workloads[0].workload is fourth.workloads[0].workload


def test_who_holds_nothing_and_does_nothing_is_not_shown() -> None:
    first, second = back(tick(workload(tasks=0)), tick(seconds=1))
    assert len(first.workloads) == 1
    assert second.workloads == ()


def test_an_explosion_goes_on_while_its_workload_is_idle() -> None:
    told = Told()
    told.stream.on_snapshot(tick(workload()._replace(state=State.EXPLODING)))
    told.stream.on_snapshot(tick(seconds=1))
    over = LEAK._replace(
        transition=Transition.ENDED,
        state=State.QUIET,
        ended=End.PLATEAU,
        time_ns=START + SECOND + 1,
    )
    told.stream.on_happenings(Happenings([], [], [over]))
    told.stream.on_snapshot(tick(seconds=2))
    states = [entry.workloads[0].state for entry in told.heard().snapshots]
    assert states == [State.EXPLODING, State.EXPLODING, None]


def test_who_is_gone_is_told_once_and_not_shown_again() -> None:
    ended = EndedWorkload(WEB, START + SECOND - 5, Totals(1, 2, 3, 0), 9)
    first, second, third = back(
        tick(workload()), tick(workload(), seconds=1, ended=(ended,)), tick(seconds=2)
    )
    assert (first.ended, second.ended, third.ended) == ((), (ended,), ())
    assert second.workloads == (workload(),)
    assert third.workloads == ()


def test_gone_without_rates_and_back_again() -> None:
    ended = EndedWorkload(WEB, START + SECOND - 5, Totals(), 9)
    snapshots = back(tick(workload()), tick(seconds=1, ended=(ended,)), tick(workload(), seconds=2))
    assert [len(entry.workloads) for entry in snapshots] == [1, 0, 1]


def test_what_comes_between_two_ticks_is_told_between_them() -> None:
    told = Told()
    started = StartedWorkload(WEB, START + 1)
    between = refusal(1, START + 2)
    told.stream.on_snapshot(tick())
    told.stream.on_happenings(
        Happenings([started], [between], [QUIET_LEAK._replace(time_ns=START + 3)])
    )
    told.stream.on_snapshot(tick(workload(), seconds=1))
    kinds = told.heard().told[1:]
    assert kinds == [
        tick(),
        Happenings([started], [], []),
        Happenings([], [between], []),
        Happenings([], [], [QUIET_LEAK._replace(time_ns=START + 3)]),
        tick(workload(), seconds=1),
    ]


def test_what_comes_after_a_tick_was_told_waits_for_the_next() -> None:
    told = Told()
    ended = EndedWorkload(UNIT, START, Totals(), 9)
    told.stream.on_snapshot(
        tick(workload(), workload(UNIT, limit=None), ended=(ended,), losses=(Loss("output", 2),))
    )
    told.stream.on_snapshot(tick(seconds=1))
    heard = Heard()
    decoder = EventDecoder(heard)
    for event in EventReader(Notes()).read(told.lines):
        decoder.feed(event)
        decoder.flush()  # as where every line comes by itself
    first, second = heard.snapshots
    assert (first.workloads, first.ended, first.losses) == ((), (), ())
    assert [entry.workload.key for entry in second.workloads] == [WEB.key]
    assert second.workloads[0].counts == workload().counts
    assert (second.ended, second.losses) == ((ended,), (Loss("output", 2),))


def test_rates_without_their_node_are_no_tick() -> None:
    told = Told()
    told.stream.on_snapshot(tick(workload()))
    told.stream.on_snapshot(tick(seconds=1))
    heard, decoder = decoded(told.lines[1:])
    assert [entry.time_ns for entry in heard.snapshots] == [START + SECOND]
    assert not heard.snapshots[0].workloads[0].is_active
    assert decoder.unusable == 0


@pytest.mark.parametrize("with_start", [True, False])
def test_nothing_of_another_run_stays(with_start: bool) -> None:
    one, other = Told(), Told()
    one.stream.on_snapshot(tick(workload(), losses=(Loss("output", 1),)))
    if with_start:
        other.stream.on_start(START, STARTED)
    other.stream.on_snapshot(tick(seconds=1))
    heard, _ = decoded([*one.lines, *other.lines])
    assert len(heard.starts) == 2
    assert [len(entry.workloads) for entry in heard.snapshots] == [1, 0]
    assert isinstance(heard.told[1], Snapshot), "told before the other run begins"


def test_a_name_that_came_later() -> None:
    nameless = replace(WEB, names=None)
    first, second = back(tick(workload(nameless)), tick(workload(WEB), seconds=1))
    assert first.workloads[0].workload == nameless
    assert second.workloads == (workload(WEB),)


def _events() -> list[dict[str, Any]]:
    """One of each kind."""
    told = Told()
    told.stream.on_start(START, STARTED)
    told.stream.on_happenings(
        Happenings([StartedWorkload(WEB, START)], [REFUSALS[1]], [LEAK._replace(time_ns=START)])
    )
    told.stream.on_snapshot(
        tick(
            workload()._replace(state=State.GROWING, forecast=LEAK.forecast),
            ended=(EndedWorkload(WEB, START, Totals(), 9),),
            losses=(Loss("output", 1),),
        )
    )
    return [orjson.loads(line) for line in told.lines]


HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    1 << 62,
    1.5,
    -1e300,
    "",
    "x" * 70_000,
    "\x1b[2J\u202e",
    "/",
    "container:",
    [],
    [None],
    [[]],
    [{}],
    [{"pid": "1", "threads": -1}, {"name": 3, "workload": 4}],
    {},
    {"": None},
    {"name": {}, "id": [], "kind": 1, "uid": 0, "linux": 1, "cgroup": True},
]


def _changed(value: Any, hostile: Any) -> Iterable[Any]:
    """Copies with one field, at any depth, replaced."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {**value, name: hostile}
            yield {key: entry for key, entry in value.items() if key != name}
            for changed in _changed(inner, hostile):
                yield {**value, name: changed}
    if isinstance(value, list):
        yield [hostile]
        for number, inner in enumerate(value):
            for changed in _changed(inner, hostile):
                yield [*value[:number], changed, *value[number + 1 :]]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda value: repr(value)[:40])
def test_a_field_may_hold_anything(hostile: Any) -> None:
    events = _events()
    others = [orjson.dumps(event) for event in events]
    for event in events:
        name = event["event"]["name"]
        for changed in _changed(event, hostile):
            about, *rest = orjson.dumps(changed), *others
            heard, decoder = decoded([about, *rest])
            assert decoder.unusable <= 1, name
            _read_all(heard)


def _read_all(heard: Heard) -> None:
    """What is heard can be told again, with the names of all that is in it."""
    told = Told()
    for entry in heard.told:
        if isinstance(entry, Happenings):
            told.stream.on_happenings(entry)
        elif isinstance(entry, Snapshot):
            told.stream.on_snapshot(entry)
    assert all(told.lines)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("workload.rates", "tasks_count"),
        ("fork.refused", "limit"),
        ("fork.refused", "errno"),
        ("explosion.started", "explosion_id"),
        ("explosion.started", "shape"),
        ("loss", "where"),
        ("loss", "lost_count"),
    ],
)
def test_without_what_it_is_about_an_event_is_unusable(name: str, field: str) -> None:
    events = [entry for entry in _events() if entry["event"]["name"] == f"threadtrace.{name}"]
    for event in events:
        event["threadtrace"][field] = {}
    _, decoder = decoded([orjson.dumps(event) for event in events])
    assert decoder.unusable == len(events) == 1


def test_a_recorded_stream_goes_through() -> None:
    lines = gzip.decompress(RECORD.read_bytes()).splitlines()
    heard, decoder = decoded(lines)
    assert decoder.unusable == 0
    names = [orjson.loads(line)["event"]["name"] for line in lines]
    assert len(heard.snapshots) == names.count("threadtrace.node.limits")
    assert len(heard.refusals) == names.count("threadtrace.fork.refused")
    assert len(heard.explosions) == sum("explosion" in name for name in names)
    active = sum(entry.is_active for told in heard.snapshots for entry in told.workloads)
    assert active == names.count("threadtrace.workload.rates")
    assert heard.starts[0].counts_refusals


def test_rates_in_a_stream_of_all_workloads_are_the_same() -> None:
    originals = [tick(*(rates(number) for number in range(50)), seconds=at) for at in range(3)]
    assert back(*originals) == originals
