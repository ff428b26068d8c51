"""What is told of the node, its workloads, refusals and explosions, and of the agent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parsed_open_metrics,
)

from support.metrics import (
    COST,
    NODE,
    OUTPUTS,
    WEB,
    active,
    ended,
    pod,
    refused,
    rendered,
    resting,
    series,
    tick,
)
from support.recording import explosion
from threadtrace import __version__
from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import HOST, KERNEL, Workload, WorkloadKind, identify, unknown
from threadtrace.metrics.exposition import Exposition
from threadtrace.metrics.labels import OTHER, labels_of
from threadtrace.metrics.tally import LOSSES, Metrics
from threadtrace.model.explosion import Forecast, State, Transition
from threadtrace.model.snapshot import Happenings, Loss, Totals
from threadtrace.output import events
from threadtrace.probe.records import Limit

UNIT = identify("/system.slice/kubelet.service")
COMMON = ("", OTHER.container)


def metrics_of(*ticks: object, places: int = 100, **options: object) -> Metrics:
    metrics = Metrics(NODE, places, **options)  # type: ignore[arg-type]
    for told in ticks:
        metrics.on_snapshot(told)  # type: ignore[arg-type]
    return metrics


def value(metrics: Metrics, name: str) -> float | None:
    """Of a metric that is told once for the node."""
    return series(metrics, name, "node").get((NODE,))


def test_nothing_is_told_of_the_node_before_the_first_tick() -> None:
    text = rendered(Metrics(NODE, 100))
    assert "threadtrace_build_info" in text
    assert "threadtrace_node_" not in text
    assert "threadtrace_threads_created" not in text


def test_counts_of_a_workload_add_up() -> None:
    metrics = metrics_of(tick(active()), tick(active(counts=Totals(997, 13, 11))))
    labels = ("namespace", "pod", "container", "node")
    web = ("shop", "checkout-7d9f", "web", NODE)
    for name, total in (("threads_created", 1_004), ("processes_created", 16), ("exits", 16)):
        found = series(metrics, f"threadtrace_{name}_total", *labels)
        assert found[web] == total
        assert found["", "", "(other)", NODE] == 0
        assert value(metrics, f"threadtrace_node_{name}_total") == total


def test_what_no_workload_could_be_found_for_is_in_the_common_series() -> None:
    metrics = metrics_of(tick(active(), counts=Totals(107, 3, 5)))
    assert series(metrics, "threadtrace_threads_created_total")[COMMON] == 100
    assert value(metrics, "threadtrace_node_threads_created_total") == 107


def test_what_is_present() -> None:
    limited = active(tasks=300)._replace(
        limit=500, limit_tasks=450, forecast=Forecast(Limit.PIDS_MAX, "/", 500, 450, 12.5, "")
    )
    metrics = metrics_of(tick(limited, resting(UNIT, 40)))
    web = ("checkout-7d9f", "web")
    tasks = series(metrics, "threadtrace_tasks")
    assert tasks == {web: 300, ("", "kubelet.service"): 40, COMMON: 0}
    assert series(metrics, "threadtrace_tasks_limit")[web] == 500
    assert series(metrics, "threadtrace_tasks_limit_usage")[web] == 450
    left = series(metrics, "threadtrace_seconds_to_exhaustion", "pod", "limit")
    assert left == {("checkout-7d9f", "pids_max"): 12.5}
    metrics.on_snapshot(tick(resting(UNIT, 41)))
    assert series(metrics, "threadtrace_tasks")[web] == 0, "it is there, and holds nothing"
    assert not series(metrics, "threadtrace_seconds_to_exhaustion", "pod")


def test_the_node() -> None:
    now = tick()
    now = now._replace(node=now.node._replace(seconds_to_exhaustion=93.0))
    metrics = metrics_of(now)
    for name, expected in (
        ("tasks", 31_635),
        ("pid_max", 32_768),
        ("pid_max_usable", 32_468),
        ("threads_max", 1_545_000),
        ("used_ratio", pytest.approx(0.974, abs=0.001)),
        ("seconds_to_exhaustion", 93),
        ("workloads", 0),
        ("explosions_active", 0),
    ):
        assert value(metrics, f"threadtrace_node_{name}") == expected, name


def test_what_cannot_be_read_is_absent() -> None:
    now = tick(tasks=None)
    metrics = metrics_of(now._replace(node=now.node._replace(pid_max=None, pid_max_usable=None)))
    for name in ("tasks", "pid_max", "pid_max_usable", "used_ratio", "seconds_to_exhaustion"):
        assert value(metrics, f"threadtrace_node_{name}") is None, name
    assert value(metrics, "threadtrace_node_threads_max") == 1_545_000


def test_refusals_by_limit_and_errno() -> None:
    metrics = metrics_of(tick(active(), resting(UNIT)))
    metrics.on_happenings(Happenings([], [refused(suppressed=4), refused(error=12)], []))
    late = (refused(suppressed=6, limit=Limit.PID_MAX), refused(UNIT), refused(error=12345))
    counts = Totals(7, 3, 5, 14)
    metrics.on_snapshot(tick(active(counts=counts), resting(UNIT), refusals=late))
    name = "threadtrace_forks_refused_total"
    found = series(metrics, name, "container", "errno", "limit")
    assert found == {
        ("web", "EAGAIN", "pids_max"): 5,
        ("web", "ENOMEM", "pids_max"): 1,
        ("web", "EAGAIN", "pid_max"): 7,
        ("web", "other", "pids_max"): 1,
        ("kubelet.service", "EAGAIN", "pids_max"): 1,
    }
    whole = series(metrics, "threadtrace_node_forks_refused_total", "limit")
    assert {limit: count for (limit,), count in whole.items() if count} == {
        "pids_max": 8,
        "pid_max": 7,
    }
    assert whole["threads_max",] == 0, "so that the first one is an increase"
    metrics.on_snapshot(tick(active()))
    assert series(metrics, name, "container", "errno", "limit") == found, "none counted twice"


def test_a_refusal_of_the_dead_is_told_with_their_last_counts() -> None:
    metrics = metrics_of(tick(active(), ended=ended(WEB)), tick(refusals=(refused(suppressed=2),)))
    found = series(metrics, "threadtrace_forks_refused_total", "container", "limit")
    assert found == {("web", "pids_max"): 3}


def test_refusals_of_who_has_no_series_are_in_the_common_one() -> None:
    metrics = metrics_of(tick(active()), places=0)
    metrics.on_happenings(Happenings([], [refused(pod(n)) for n in range(2_003)], []))
    metrics.on_snapshot(tick())
    found = series(metrics, "threadtrace_forks_refused_total", "container", "limit")
    assert found == {("(other)", "pids_max"): 2_003}


def test_without_counts_there_are_no_series() -> None:
    blind = metrics_of(tick(active()), counts_births=False, counts_refusals=False, blind_spots=2)
    blind.on_happenings(Happenings([], [refused()], []))
    blind.on_snapshot(tick(active()))
    text = rendered(blind)
    for name in ("forks_refused", "threads_created", "processes_created", "exits"):
        assert f"threadtrace_{name}" not in text
        assert f"threadtrace_node_{name}" not in text
    assert value(blind, "threadtrace_agent_refusals_counted") == 0
    assert value(blind, "threadtrace_agent_blind_spots") == 2
    assert series(blind, "threadtrace_tasks")["checkout-7d9f", "web"] == 20


def test_explosions() -> None:
    began = explosion(Transition.STARTED)._replace(workload=WEB)
    metrics = metrics_of(tick(active()))
    metrics.on_happenings(Happenings([], [], [began]))
    metrics.on_snapshot(tick(active(state=State.EXPLODING)))
    web = ("checkout-7d9f", "web")
    assert series(metrics, "threadtrace_explosion_active") == {web: 1, COMMON: 0}
    assert value(metrics, "threadtrace_node_explosions_active") == 1
    over = began._replace(transition=Transition.ENDED)
    again = began._replace(number=2)
    metrics.on_snapshot(tick(active(), explosions=(over, again, again._replace(number=1))))
    metrics.on_snapshot(tick(active(), explosions=(over, over._replace(number=2))))
    assert series(metrics, "threadtrace_explosion_active") == {web: 0, COMMON: 0}
    assert series(metrics, "threadtrace_explosions_total")[web] == 3
    assert value(metrics, "threadtrace_node_explosions_total") == 3


def test_what_is_lost_is_told_from_the_start() -> None:
    metrics = metrics_of(tick(losses=(Loss("records_ring", 5),)), tick(losses=(Loss("new", 2),)))
    found = series(metrics, "threadtrace_lost_total", "where")
    assert found["records_ring",] == 5
    assert found["new",] == 2
    assert found["cgroups_map",] == 0
    # Those are told by the outputs, the sockets and the filters themselves.
    elsewhere = {"output", "connection", "rate_limit", "history"}
    assert set(LOSSES) == events._LOSSES.keys() - elsewhere


def test_the_agent_and_its_outputs() -> None:
    metrics = metrics_of(tick())
    assert series(metrics, "threadtrace_build_info", "version", "node") == {(__version__, NODE): 1}
    for name, expected in (
        ("cpu_seconds_total", COST.cpu_seconds),
        ("ticks_total", COST.ticks),
        ("resident_bytes", COST.resident_bytes),
        ("open_descriptors", COST.open_descriptors),
        ("tick_seconds", COST.tick_seconds),
        ("lag_seconds", COST.lag_seconds),
        ("interval_seconds", COST.interval_seconds),
        ("last_tick_timestamp_seconds", pytest.approx(1_700_000_000.123)),
        ("refusals_counted", 1),
        ("blind_spots", 0),
    ):
        assert value(metrics, f"threadtrace_agent_{name}") == expected, name
    far = ("tcp://[::1]:9",)
    for name, expected in (
        ("written_total", 7),
        ("lost_total", 3),
        ("buffered_bytes", 64),
        ("connected", 0),
    ):
        found = series(metrics, f"threadtrace_output_{name}", "output")
        assert found[far] == expected, name
        assert ("-",) in found


def test_an_output_that_is_given_twice() -> None:
    text = rendered(metrics_of(tick()), (OUTPUTS[0], OUTPUTS[0]))
    assert f'threadtrace_output_written_total{{node="{NODE}",output="- (2)"}}' in text


@pytest.mark.parametrize(
    ("about", "labels"),
    [
        (WEB, ("shop", "checkout-7d9f", "web")),
        (pod(1, None, is_sandbox=True), ("shop", "checkout-1", "(pod)")),
        (replace(WEB, kind=WorkloadKind.POD, key="pod:1"), ("shop", "checkout-7d9f", "(pod)")),
        (replace(WEB, names=ContainerNames("docker", "redis")), ("", "", "redis")),
        (replace(WEB, names=None), ("", "", "container 40c03570b6f4")),
        (UNIT, ("", "", "kubelet.service")),
        (identify("/foo/bar"), ("", "", "/foo/bar")),
        (HOST, ("", "", "host")),
        (KERNEL, ("", "", "kernel")),
        # Whoever names a container must not count as somebody else.
        (replace(WEB, names=ContainerNames("docker", "(other)")), ("", "", "container (other)")),
        (replace(WEB, names=ContainerNames("docker", "host")), ("", "", "container host")),
        (
            replace(WEB, names=ContainerNames("docker", "kubelet.service")),
            ("", "", "container kubelet.service"),
        ),
        (replace(WEB, names=ContainerNames("docker", "hostile")), ("", "", "hostile")),
    ],
)
def test_labels(about: Workload, labels: tuple[str, str, str]) -> None:
    assert labels_of(about) == labels


def test_what_nobody_could_tell_from_others_has_no_labels() -> None:
    assert labels_of(unknown(4711)) is None
    metrics = metrics_of(tick(active(unknown(4711), counts=Totals(5, 0, 0))))
    assert series(metrics, "threadtrace_threads_created_total") == {COMMON: 5}


def test_pause_and_pod_count_together() -> None:
    pause = pod(1, None, is_sandbox=True)
    cgroup = replace(pause, kind=WorkloadKind.POD, key="pod:1")
    metrics = metrics_of(tick(active(pause, tasks=1), active(cgroup, tasks=2)))
    assert series(metrics, "threadtrace_tasks")["checkout-1", "(pod)"] == 3
    assert series(metrics, "threadtrace_threads_created_total")["checkout-1", "(pod)"] == 14


@pytest.mark.parametrize(
    ("accept", "is_open_metrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=x", False),
        ("application/openmetrics-text;version=1.é", False),
        ("application/openmetrics-text;version=5.\x01", False),
        ("text/plain;version=;escaping", False),
    ],
)
def test_format(accept: str, is_open_metrics: bool) -> None:
    exposition = Exposition(metrics_of(tick(active(), refusals=(refused(),))))
    body, content_type = exposition.render(accept, COST, OUTPUTS)
    assert content_type.isascii()
    assert body.endswith(b"# EOF\n") == is_open_metrics
    assert content_type.startswith("application/openmetrics-text") == is_open_metrics
    if is_open_metrics:
        names = {family.name for family in parsed_open_metrics(body.decode())}
        assert {"threadtrace_threads_created", "threadtrace_tasks", "threadtrace_build"} <= names
