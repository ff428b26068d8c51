"""The metrics by name: what of the node and its workloads is told as which series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from threadtrace.metrics.labels import Labels, limit_label
from threadtrace.metrics.series import Series
from threadtrace.metrics.tally import Metrics
from threadtrace.model.explosion import Forecast
from threadtrace.model.snapshot import WorkloadSnapshot

WORKLOAD = ("namespace", "pod", "container", "node")
NODE = ("node",)

_BIRTHS: tuple[tuple[str, str, Callable[[Series], int]], ...] = (
    (
        "threadtrace_threads_created",
        "Threads that were born in a workload.",
        lambda series: series.threads_created,
    ),
    (
        "threadtrace_processes_created",
        "Processes that were born in a workload.",
        lambda series: series.processes_created,
    ),
    (
        "threadtrace_exits",
        "Threads and processes of a workload that exited.",
        lambda series: series.exits,
    ),
)


def workload_families(metrics: Metrics, node: str) -> Iterator[Metric]:
    """All that is told by workload; nothing before the first tick."""
    if metrics.node is None:
        return
    counting = [(_values(series.labels, node), series) for series in metrics.counters()]
    if metrics.counts_births:
        for name, text, count in _BIRTHS:
            births = CounterMetricFamily(name, text, labels=WORKLOAD)
            for values, series in counting:
                births.add_metric(values, count(series))
            yield births
    explosions = CounterMetricFamily(
        "threadtrace_explosions", "Thread explosions of a workload that began.", labels=WORKLOAD
    )
    for values, series in counting:
        explosions.add_metric(values, series.explosions)
    yield explosions
    if metrics.counts_refusals:
        yield _refusals(counting)
    yield from _present_families(metrics, node)


def node_families(metrics: Metrics, node: str) -> Iterator[Metric]:
    """All that is told of the node as a whole; what could not be read is left out."""
    now = metrics.node
    if now is None:
        return
    gauges = (
        ("tasks", "Threads of all processes, the kernel's own included.", now.tasks),
        ("pid_max", "kernel.pid_max.", now.pid_max),
        ("pid_max_usable", "Ids of kernel.pid_max that can be given out.", now.pid_max_usable),
        ("threads_max", "kernel.threads-max.", now.threads_max),
        ("used_ratio", "Share of the limit of which most is used.", now.used_ratio),
        (
            "seconds_to_exhaustion",
            "Until that limit is used up; absent while the node's tasks do not grow.",
            now.seconds_to_exhaustion,
        ),
        ("explosions_active", "Thread explosions under way.", metrics.explosions_active),
        ("workloads", "Workloads that hold a task.", metrics.workloads_count),
    )
    for name, text, value in gauges:
        if value is not None:
            yield gauge(f"threadtrace_node_{name}", text, [((node,), value)], NODE)
    totals = metrics.node_totals
    births = (
        ("threads_created", "Threads that were born on the node.", totals.threads_created),
        ("processes_created", "Processes that were born on the node.", totals.processes_created),
        ("exits", "Threads and processes that exited on the node.", totals.exited),
    )
    yield counter(
        "threadtrace_node_explosions",
        "Thread explosions that began on the node.",
        [((node,), metrics.explosions_started)],
        NODE,
    )
    if metrics.counts_births:
        for name, text, count in births:
            yield counter(f"threadtrace_node_{name}", text, [((node,), count)], NODE)
    if metrics.counts_refusals:
        yield counter(
            "threadtrace_node_forks_refused",
            "Clones that the kernel refused on the node, by the limit that refused.",
            [((node, limit), count) for limit, count in metrics.refused.items()],
            ("node", "limit"),
        )


def counter(
    name: str, text: str, samples: Iterable[tuple[Sequence[str], float]], labels: Sequence[str]
) -> Metric:
    """One that only grows; ``_total`` is added to its name."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def gauge(
    name: str, text: str, samples: Iterable[tuple[Sequence[str], float]], labels: Sequence[str]
) -> Metric:
    """One that goes up and down."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _values(labels: Labels, node: str) -> tuple[str, ...]:
    return (*labels, node)


def _refusals(counting: Iterable[tuple[tuple[str, ...], Series]]) -> Metric:
    return counter(
        "threadtrace_forks_refused",
        "Clones of a workload that the kernel refused, by the limit that refused.",
        (
            ((*values, cause.error, cause.limit), count)
            for values, series in counting
            for cause, count in series.refused.items()
        ),
        (*WORKLOAD, "errno", "limit"),
    )


def _present_families(metrics: Metrics, node: str) -> Iterator[Metric]:
    """Of those that are there: the dead have no tasks."""
    tasks = GaugeMetricFamily("threadtrace_tasks", "Tasks of a workload.", labels=WORKLOAD)
    limit = GaugeMetricFamily(
        "threadtrace_tasks_limit",
        "The nearest pids.max at a workload's cgroup or above it; absent where there is none.",
        labels=WORKLOAD,
    )
    usage = GaugeMetricFamily(
        "threadtrace_tasks_limit_usage",
        "What the kernel compares with that limit: all tasks below the cgroup that has it.",
        labels=WORKLOAD,
    )
    left = GaugeMetricFamily(
        "threadtrace_seconds_to_exhaustion",
        "Until the first of all limits that bind a workload is used up; absent while it does not "
        "grow.",
        labels=(*WORKLOAD, "limit"),
    )
    exploding = GaugeMetricFamily(
        "threadtrace_explosion_active",
        "Thread explosions of a workload that are under way.",
        labels=WORKLOAD,
    )
    under_way = metrics.exploding()
    for series, workloads in metrics.present().items():
        values = _values(series.labels, node)
        tasks.add_metric(values, sum(workload.tasks for workload in workloads))
        exploding.add_metric(values, under_way.get(series, 0))
        nearest = None if series is metrics.other else _most_used(workloads)
        if nearest is not None and nearest.limit is not None and nearest.limit_tasks is not None:
            limit.add_metric(values, nearest.limit)
            usage.add_metric(values, nearest.limit_tasks)
        forecast = _soonest(workloads)
        if forecast is not None and forecast.seconds is not None:
            left.add_metric((*values, limit_label(forecast.limit)), forecast.seconds)
    yield from (tasks, limit, usage, left, exploding)


def _most_used(workloads: Iterable[WorkloadSnapshot]) -> WorkloadSnapshot | None:
    """Of a container that is being restarted there are two for a moment."""
    limited = [workload for workload in workloads if workload.limit is not None]
    return max(limited, key=lambda workload: workload.limit_used_ratio or 0.0, default=None)


def _soonest(workloads: Iterable[WorkloadSnapshot]) -> Forecast | None:
    found: Forecast | None = None
    for workload in workloads:
        forecast = workload[13]
        if forecast is None or forecast.seconds is None:
            continue
        if found is None or found.seconds is None or forecast.seconds < found.seconds:
            found = forecast
    return found
