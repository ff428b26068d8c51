"""Prometheus' text format, or OpenMetrics, out of what was counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from prometheus_client import exposition
from prometheus_client.core import InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.registry import CollectorRegistry

from threadtrace import __version__
from threadtrace.clock import NANOSECONDS
from threadtrace.metrics.families import (
    NODE,
    counter,
    gauge,
    node_families,
    workload_families,
)
from threadtrace.metrics.labels import valid
from threadtrace.metrics.tally import Metrics
from threadtrace.model.cost import AgentCost, DeliveryState


class Exposition:
    """Renders the metrics of one agent."""

    def __init__(self, metrics: Metrics) -> None:
        """A registry of its own: what the library tells of this process is left out."""
        self._metrics = metrics
        self._node = valid(metrics.node_name)
        self._cost: AgentCost | None = None
        self._deliveries: Sequence[DeliveryState] = ()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(
        self, accept: str, cost: AgentCost, deliveries: Sequence[DeliveryState]
    ) -> tuple[bytes, str]:
        """All series as they stand.

        Args:
            accept: the request's header; whatever it holds, there is an answer.
            cost: of the agent, now.
            deliveries: of each output, now.

        Returns:
            The body, UTF-8, and its content type.
        """
        self._cost, self._deliveries = cost, deliveries
        encode, content_type = _encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        yield from node_families(self._metrics, self._node)
        yield from workload_families(self._metrics, self._node)
        yield from self._agent_families()
        yield from self._output_families()

    def _agent_families(self) -> Iterator[Metric]:
        node, metrics = self._node, self._metrics
        build = InfoMetricFamily(
            "threadtrace_build", "The threadtrace that counts.", labels=("node",)
        )
        build.add_metric((node,), {"version": __version__})
        yield build
        yield counter(
            "threadtrace_lost",
            "What was not counted, delivered or kept, by place.",
            [((node, valid(where)), lost) for where, lost in metrics.lost.items()],
            ("node", "where"),
        )
        cost = self._cost
        if cost is not None:
            for name, text, count in (
                ("cpu_seconds", "Processor time of the agent.", cost.cpu_seconds),
                ("ticks", "How often the agent read all counters.", cost.ticks),
            ):
                yield counter(f"threadtrace_agent_{name}", text, [((node,), count)], NODE)
        for name, text, value in _agent_gauges(metrics, cost):
            yield gauge(f"threadtrace_agent_{name}", text, [((node,), value)], NODE)

    def _output_families(self) -> Iterator[Metric]:
        outputs = [
            ((self._node, name), delivery)
            for name, delivery in zip(_different(self._deliveries), self._deliveries)
        ]
        if not outputs:
            return
        labels = ("node", "output")
        yield counter(
            "threadtrace_output_written",
            "Lines that an output took.",
            [(values, delivery.written) for values, delivery in outputs],
            labels,
        )
        yield counter(
            "threadtrace_output_lost",
            "Lines that an output had no room or no reader for.",
            [(values, delivery.lost) for values, delivery in outputs],
            labels,
        )
        yield gauge(
            "threadtrace_output_buffered_bytes",
            "What waits for an output.",
            [(values, delivery.buffered_bytes) for values, delivery in outputs],
            labels,
        )
        yield gauge(
            "threadtrace_output_connected",
            "Whether an output could be written to the last time.",
            [(values, delivery.is_connected) for values, delivery in outputs],
            labels,
        )


def _agent_gauges(metrics: Metrics, cost: AgentCost | None) -> Iterator[tuple[str, str, float]]:
    if cost is not None:
        yield "resident_bytes", "Memory of the agent.", cost.resident_bytes
        yield "open_descriptors", "Open file descriptors of the agent.", cost.open_descriptors
        yield "tick_seconds", "How long the last tick took.", cost.tick_seconds
        yield "lag_seconds", "By how much the last tick was late.", cost.lag_seconds
        yield "interval_seconds", "Between two ticks, now.", cost.interval_seconds
    if metrics.time_ns:
        yield (
            "last_tick_timestamp_seconds",
            "When the last tick was, since the epoch.",
            metrics.time_ns / NANOSECONDS,
        )
    yield (
        "blind_spots",
        "What the agent cannot see here; threadtrace doctor names it.",
        metrics.blind_spots,
    )
    yield (
        "refusals_counted",
        "Whether refused clones are seen here at all.",
        metrics.counts_refusals,
    )


def _different(deliveries: Sequence[DeliveryState]) -> list[str]:
    """Their names; the same output given twice gets a number."""
    seen: dict[str, int] = {}
    names = []
    for delivery in deliveries:
        name = valid(delivery.name)
        count = seen[name] = seen.get(name, 0) + 1
        names.append(name if count == 1 else f"{name} ({count})")
    return names


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """What answers that header best; what cannot be understood gets the plain format."""
    try:
        encode, content_type = exposition.choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        content_type = ""
    # The library repeats the version as it was asked for.
    if not (content_type.isascii() and content_type.isprintable() and content_type):
        encode, content_type = exposition.choose_encoder("")
    if isinstance(encode, partial) and encode.keywords.get("escaping") == UNDERSCORES:
        # No name here needs it, and to look character by character takes half of the time.
        encode = partial(encode, escaping=ALLOWUTF8)
    return encode, content_type
