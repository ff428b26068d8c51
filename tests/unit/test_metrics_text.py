"""Whatever strangers call their things, the text parses."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.metrics import COST, HOSTILE, hostile_metrics
from threadtrace.metrics.exposition import Exposition
from threadtrace.model.cost import DeliveryState


@pytest.mark.parametrize("node", ["node-1", *HOSTILE[:3]])
def test_hostile_names(node: str) -> None:
    metrics = hostile_metrics(node)
    outputs = [DeliveryState(name, 1, 0, 0, True) for name in (*HOSTILE, *HOSTILE)]
    body, _ = Exposition(metrics).render("", COST, outputs)
    text = body.decode("utf-8")
    seen = set()
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("threadtrace_")
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in seen, "two samples with the same labels"
            seen.add(key)
            assert all(len(label) <= 300 for label in sample.labels.values())
            assert set(sample.labels) <= {
                *("namespace", "pod", "container", "node", "errno", "limit"),
                *("where", "output", "version"),
            }
    own = {key for key in seen if key[0] == "threadtrace_threads_created_total"}
    assert len(own) > 3 * len(HOSTILE), "nearly each has a series of its own"
    assert sum(line.startswith("threadtrace_node_tasks") for line in text.split("\n")) == 1
