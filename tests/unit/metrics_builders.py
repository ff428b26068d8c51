"""Ticks for the metrics, and what they render."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from builders import NAMES, WEB, node, snapshot
from prometheus_client.parser import text_string_to_metric_families

from support.recording import refusal as refusal_of
from threadtrace.identity.workloads import Workload
from threadtrace.metrics.exposition import Exposition
from threadtrace.metrics.tally import Metrics
from threadtrace.model.cost import AgentCost, DeliveryState
from threadtrace.model.explosion import State
from threadtrace.model.refusal import Refusal, Victim
from threadtrace.model.snapshot import EndedWorkload, Snapshot, Totals, WorkloadSnapshot
from threadtrace.probe.records import Limit

NODE = "node-1"
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
    now = node(tasks)._replace(interval_seconds=seconds, counts=counts or summed or Totals())
    return snapshot(*workloads)._replace(node=now, **changes)


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
