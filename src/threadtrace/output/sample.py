"""One sample as one JSON object, with the fields of the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from threadtrace.model.explosion import Explosion
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Loss, Snapshot, WorkloadSnapshot
from threadtrace.output.explosions import explosion_under_way_fields, workload_forecast_fields
from threadtrace.output.fields import (
    Fields,
    node_fields,
    rates_fields,
    refusal_fields,
    without_refusals,
    workload_fields,
    workload_label,
)


def sample_fields(
    snapshot: Snapshot,
    shots: Iterable[WorkloadSnapshot],
    refusals: Sequence[Refusal],
    explosions: Sequence[Explosion],
    losses: Sequence[Loss],
    missing: Sequence[Mapping[str, str]],
    counts_refusals: bool,
) -> Fields:
    """``{"node": {...}, "workloads": [...], ...}``.

    Args:
        snapshot: the tick.
        shots: those of its workloads that are told, in this order.
        refusals: the last ones.
        explosions: under way.
        losses: so far.
        missing: what the agent cannot see here.
        counts_refusals: whether refused clones are counted here.
    """
    counted = dict if counts_refusals else without_refusals
    seconds = snapshot.node.interval_seconds
    return {
        "node": counted(node_fields(snapshot.node)),
        "workloads": [
            {
                **workload_fields(shot.workload),
                "workload": workload_label(shot.workload),
                **counted(rates_fields(shot, seconds)),
                **workload_forecast_fields(shot),
            }
            for shot in shots
        ],
        "refusals": [
            {**workload_fields(entry.victim.workload), **refusal_fields(entry)}
            for entry in refusals
        ],
        "explosions": [explosion_under_way_fields(entry) for entry in explosions],
        "losses": [{"where": loss.where, "lost_count": loss.lost} for loss in losses],
        "missing": [dict(entry) for entry in missing],
    }
