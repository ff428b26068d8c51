"""Whatever strangers call their things, the text parses; and Prometheus' own tool likes it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from builders import WEB
from metrics_builders import COST, OUTPUTS, active, ended, pod, refused, rendered, resting, tick
from prometheus_client.parser import text_string_to_metric_families

from support.recording import explosion
from support.requirements import require
from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import identify
from threadtrace.metrics.exposition import Exposition
from threadtrace.metrics.tally import Metrics
from threadtrace.model.cost import DeliveryState
from threadtrace.model.explosion import Forecast, State, Transition
from threadtrace.model.snapshot import Happenings, Totals
from threadtrace.probe.records import Limit

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


def busy_metrics() -> Metrics:
    """A node with all that there can be."""
    metrics = Metrics("node-1", 100)
    limited = active(WEB, Totals(997, 3, 499, 13), 900, 166.0, State.EXPLODING)._replace(
        forecast=Forecast(Limit.PIDS_MAX, "/", 1_000, 900, 0.6, "")
    )
    others = [active(pod(n)) for n in range(150)]
    dead = pod(7, life=1)
    began = explosion(Transition.STARTED)._replace(workload=WEB)
    metrics.on_happenings(Happenings([], [refused(), refused(limit=Limit.PID_MAX)], [began]))
    metrics.on_snapshot(tick(active(dead), limited, *others, ended=ended(dead)))
    now = tick(limited, *map(resting, (entry.workload for entry in others)))
    metrics.on_snapshot(now._replace(node=now.node._replace(seconds_to_exhaustion=12.5)))
    return metrics


@pytest.mark.parametrize("metrics", [busy_metrics(), hostile_metrics()], ids=["busy", "hostile"])
def test_promtool_finds_nothing_to_mend(metrics: Metrics) -> None:
    require(shutil.which("promtool"), "prometheus", "promtool", "apt-get install prometheus")
    text = rendered(metrics, OUTPUTS)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text.encode(), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
