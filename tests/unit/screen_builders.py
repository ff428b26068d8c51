"""What the tests of the live view have in common: names that break tables, explosions, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from builders import NAMES, WEB, workload
from rich.cells import cell_len

from threadtrace.identity.workloads import Workload
from threadtrace.model.explosion import (
    CreatingProcess,
    Evidence,
    Explosion,
    Forecast,
    Rates,
    Shape,
    State,
    ThreadName,
    Transition,
)
from threadtrace.model.refusal import Culprit, LargestProcess, Refusal, Victim
from threadtrace.model.snapshot import Totals, WorkloadSnapshot
from threadtrace.probe.records import Evidence as RefusalEvidence
from threadtrace.probe.records import Limit, Refused

NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
IDLE = Totals()

HOSTILE = {
    "long": "p" * 253,
    "wide": "容器的名字很長而且每個字佔兩格" * 4,
    "emoji": "🚀👍🏽👨\u200d👩\u200d👧🇩🇪" * 6,
    "combining": "e\u0301\u0302\u0303\u0304" * 20,
    "jamo": "\u1112\u1161\u11ab" * 20,
    "escape": "\x1b]0;owned\x07\x1b[2J[bold red]x[/]",
    "breaks": "one\ntwo\rthree\tfour\u2028five\x85six",
    "turned": "\u202eabc\u2066def\u200f",
    "surrogates": "caf\udce9\udcff",
    "replaced": "caf\ufffd\ufffd",
    "nothing": "",
    "slashes": "/" * 50,
}
"""By what is wrong with them."""

FORBIDDEN = "\x1b\x07\n\r\t\u202e\u2066\u200f\u2028\x85\u0301"


def named(name: str, **names: Any) -> Workload:
    """A container of a pod of that name."""
    key = f"container:{name}{names}"
    return replace(WEB, key=key, names=replace(NAMES, k8s_pod_name=name or None, **names))


def pod(namespace: str, name: str, container: str = "web", **changes: Any) -> WorkloadSnapshot:
    """A container by its pod."""
    names = replace(NAMES, k8s_namespace=namespace, k8s_pod_name=name, k8s_container_name=container)
    about = replace(WEB, key=f"{namespace}/{name}/{container}", names=names)
    return workload(about, **changes)


def with_state(
    shot: WorkloadSnapshot, state: State | None = None, seconds: float | None = None
) -> WorkloadSnapshot:
    """The same, as a detector tells."""
    return shot._replace(state=state, forecast=forecast(seconds))


def forecast(seconds: float | None) -> Forecast:
    """Of a pod's limit."""
    return Forecast(Limit.PIDS_MAX, "/kubepods/pod1", 1_000, 900, seconds, "podPidsLimit")


def explosion(about: Workload = WEB, **changes: Any) -> Explosion:
    """A leak."""
    return Explosion(
        transition=Transition.STARTED,
        number=1,
        time_ns=NOW,
        onset_ns=NOW - 26 * SECOND,
        workload=about,
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
        forecast=forecast(160.0),
        process=CreatingProcess(4242, "java", 7, 4000, "java -jar web.jar", "sh -c start"),
        thread_names=(ThreadName("pool-#-thread-#", 160),),
        top_processes=(),
        victims=(),
        victims_count=0,
    )._replace(**changes)


def refusal(about: Workload = WEB, **changes: Any) -> Refusal:
    """By the limit of a pod, which another container holds."""
    process = LargestProcess(77, "java", 280)
    return Refusal(
        time_ns=NOW,
        victim=Victim(about, 4711, 4712, "probe"),
        error=11,
        refused=Refused.THREAD,
        limit=Limit.PIDS_MAX,
        limit_value=300,
        usage=300,
        owner="/kubepods/pod1",
        is_own_limit=False,
        knob="podPidsLimit of the kubelet",
        evidence=RefusalEvidence.INFERRED,
        also_reached=(),
        culprits=(Culprit(named("leaky"), 299, 0.997, process),),
        refused_count=1,
        suppressed=0,
    )._replace(**changes)


def assert_shown(text: str, width: int) -> None:
    """It fits, and nothing in it moves a cursor or turns a row around."""
    assert cell_len(text) <= width, f"{cell_len(text)} cells of {width}: {text!r}"
    assert not set(text) & set(FORBIDDEN), ascii(text)
    assert "nan" not in text.split(), text
    text.encode()  # what no terminal could be sent
