"""Ticks for the metrics, and what they render: of nodes that are well, sick, full of strangers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from support.recording import explosion
from support.recording import refusal as refusal_of
from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import Workload, WorkloadKind, identify
from threadtrace.metrics.exposition import Exposition
from threadtrace.metrics.tally import Metrics
from threadtrace.model.cost import AgentCost, DeliveryState
from threadtrace.model.explosion import Forecast, State, Transition
from threadtrace.model.refusal import Refusal, Victim
from threadtrace.model.snapshot import (
    EndedWorkload,
    Happenings,
    Loss,
    NodeSnapshot,
    Snapshot,
    Totals,
    WorkloadSnapshot,
)
from threadtrace.probe.records import Limit

NODE = "node-1"
TIME_NS = 1_700_000_000_123_456_789
_ID = "40c03570b6f4c30bc8d69923d37ee698f5cfcced92c7b7df1c47f6f7887378a9"
_POD_UID = "b53dfa9e-2dc9-b890-f7fa-db2770857b03"
NAMES = ContainerNames(
    "containerd", "web", "shop/web:1", "shop", "checkout-7d9f", _POD_UID, "web", False
)
WEB = Workload(
    WorkloadKind.CONTAINER,
    f"container:{_ID}",
    f"/kubepods/burstable/pod{_POD_UID}/{_ID}",
    _ID,
    _POD_UID,
    "containerd",
    None,
    NAMES,
)
COST = AgentCost(1.5, 30_000_000, 200, 10, 0.011, 0.002, 1.0)
OUTPUTS = (DeliveryState("-", 1_009, 0, 0, True), DeliveryState("tcp://[::1]:9", 7, 3, 64, False))


def pod(number: int, container: str | None = "web", life: int = 0, **changes: Any) -> Workload:
    """A container of pod ``number``; each life has an id of its own."""
    identity = f"{number:032x}{life:032x}"
    names = replace(
        NAMES,
        k8s_pod_name=f"checkout-{number}",
        container_name=container,
        k8s_container_name=container,
        **changes,
    )
    return replace(WEB, key=f"container:{identity}", container_id=identity, names=names)


def active(
    about: Workload = WEB,
    counts: Totals = Totals(7, 3, 5),  # noqa: B008
    tasks: int = 20,
    growth: float = 0.0,
    state: State | None = None,
) -> WorkloadSnapshot:
    return WorkloadSnapshot(
        about, 1.0, counts, {}, tasks, tasks, 1_000, "/kubepods", tasks, growth, (), True, state
    )


def resting(about: Workload, tasks: int = 20) -> WorkloadSnapshot:
    return active(about, Totals(), tasks)._replace(is_active=False)


def ended(*workloads: Workload) -> tuple[EndedWorkload, ...]:
    return tuple(EndedWorkload(about, 1, Totals(), 1) for about in workloads)


def tick(
    *workloads: WorkloadSnapshot,
    seconds: float = 1.0,
    counts: Totals | None = None,
    tasks: int | None = 31_635,
    **changes: Any,
) -> Snapshot:
    """The node's counts are those of all workloads, unless told otherwise."""
    summed = Totals(*map(sum, zip(*(entry.counts for entry in workloads)))) if workloads else None
    pid_max = 32_768
    ratio = None if tasks is None else tasks / (pid_max - 300)
    nearest = None if tasks is None else "pid_max"
    now = NodeSnapshot(
        seconds,
        counts or summed or Totals(),
        tasks,
        pid_max,
        pid_max - 300,
        1_545_000,
        nearest,
        ratio,
    )
    return Snapshot(TIME_NS, now, workloads, (), (), ())._replace(**changes)


def refused(about: Workload = WEB, suppressed: int = 0, **changes: Any) -> Refusal:
    changes = {"limit": Limit.PIDS_MAX, **changes}
    return refusal_of()._replace(
        victim=Victim(about, 4_242, 4_243, "worker"), suppressed=suppressed, **changes
    )


def rendered(metrics: Metrics, outputs: Sequence[DeliveryState] = OUTPUTS) -> str:
    return Exposition(metrics).render("", COST, outputs)[0].decode()


class Series(dict[tuple[str, ...], float]):
    """Values of one metric by the labels that were asked for."""


def series(metrics: Metrics, name: str, *labels: str) -> Series:
    """All samples of that name."""
    found = Series()
    for family in text_string_to_metric_families(rendered(metrics)):
        for sample in family.samples:
            if sample.name == name:
                values = tuple(sample.labels[label] for label in labels or ("pod", "container"))
                assert values not in found, "two samples with the same labels"
                found[values] = sample.value
    return found


HOSTILE = [
    'quote " and backslash \\ at the end \\',
    'x"} 1\nthreadtrace_node_tasks{node="evil"} 7\n# EOF\n',
    "\n\n\n",
    "\r\ncarriage\rreturn",
    "tab\tnull\0bell\x07escape\x1b[31m",
    "\x85\u2028\u2029 other ends of lines",
    "\ud800 alone, \udcff a byte, \udce2\udc82\udcac three",
    "\u202eright to left",
    "{}=,#",
    "ü€😀" * 200,
    "a" * 70_000,
    " ",
    "(other)",
    "\\n",
    "\\",
]


def hostile_metrics(node: str = "node-1") -> Metrics:
    """A node on which every name is such a text."""
    metrics = Metrics(node, 1_000)
    workloads = []
    for number, name in enumerate(HOSTILE):
        names = ContainerNames("docker", name)
        workloads.append(active(replace(pod(number, life=1), names=names, pod_uid=None)))
        workloads.append(active(pod(number, name, k8s_namespace=name)))
        path = name.replace("\ud800", "")  # no file system has that one
        workloads.append(active(identify("/" + path)))
        workloads.append(active(identify(f"/system.slice/{path}.service")))
    refusals = [refused(entry.workload) for entry in workloads]
    metrics.on_happenings(Happenings([], refusals, []))
    metrics.on_snapshot(tick(*workloads))
    return metrics


class SickNode:
    """A node on which everything is wrong that can be, a little more with each tick."""

    def __init__(self) -> None:
        self.metrics = Metrics(NODE, 20, blind_spots=1)
        self.ticks = 0
        began = explosion(Transition.STARTED)._replace(workload=WEB)
        self.metrics.on_happenings(Happenings([], [], [began]))

    def tick(self) -> None:
        self.ticks += 1
        tasks = 500 + 100 * self.ticks
        leak = active(WEB, Totals(100, 3, 7, 13), tasks, 100.0, State.EXPLODING)
        forecast = Forecast(Limit.PIDS_MAX, "/", 100_000, tasks, 99.0, "")
        leak = leak._replace(limit=100_000, limit_tasks=tasks, forecast=forecast)
        others = (active(pod(number)) for number in range(30))
        gone = pod(31, life=self.ticks)
        refusals = (
            refused(suppressed=11),
            refused(limit=Limit.PID_MAX),
            refused(pod(3), limit=Limit.OTHER, error=1),
        )
        losses = (Loss("cgroups_map", 1),)
        now = tick(leak, *others, active(gone), tasks=31_500, refusals=refusals, losses=losses)
        now = now._replace(node=now.node._replace(seconds_to_exhaustion=12.5), ended=ended(gone))
        self.metrics.on_snapshot(now)

    def render(self, accept: str) -> tuple[bytes, str]:
        cost = COST._replace(
            cpu_seconds=0.01 * self.ticks, ticks=self.ticks, tick_seconds=0.9, lag_seconds=7.0
        )
        outputs = [
            DeliveryState("-", 100 * self.ticks, self.ticks, 4_096, True),
            DeliveryState("tcp://[::1]:9", 7, 5 * self.ticks, 8 << 20, False),
        ]
        return Exposition(self.metrics).render(accept, cost, outputs)
