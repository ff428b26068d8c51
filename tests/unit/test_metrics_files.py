"""Documents, alerts and dashboard name the metrics that there are, and the dashboard is whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from support.metrics import SickNode

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/metrics.md").read_text()
RULES = ROOT / "deploy/prometheus/threadtrace.rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/threadtrace.json"
_NAME = re.compile(r"\bthreadtrace_[a-z_]+[a-z]\b")


def metrics() -> dict[str, set[str]]:
    """The labels of each metric of a node on which everything happens."""
    node = SickNode()
    node.tick()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(node.render("")[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(_NAME.findall(DOCUMENT)) == set(metrics())


def test_labels_are_documented() -> None:
    usual = {"namespace", "pod", "container", "node"}
    told = dict(re.findall(r"`(threadtrace_[a-z_]+)\{([a-z,]+)\}`", DOCUMENT))
    for name, labels in metrics().items():
        assert labels - usual == set(filter(None, told.get(name, "").split(","))), name


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    known = set(metrics())
    expressions = re.findall(r'"(?:expr|query|definition)": "(.*)"', DASHBOARD.read_text())
    for text in (RULES.read_text(), "\n".join(expressions)):
        names = set(_NAME.findall(text))
        assert len(names) > 10
        assert names <= known


def test_the_dashboard_is_whole() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert dashboard["id"] is None
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert variables == ["datasource", "node", "namespace"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, f"{panel['title']} lies upon another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            names = [target["refId"] for target in panel["targets"]]
            assert len(set(names)) == len(names) > 0
