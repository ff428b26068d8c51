"""The HTTP server of a running agent, once it counts."""

from __future__ import annotations

import time

from threadtrace.agent import Agent
from threadtrace.delivery.outputs import Outputs
from threadtrace.feeds.live import node_name
from threadtrace.metrics.exposition import Exposition
from threadtrace.metrics.tally import Metrics
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.output.fields import Fields
from threadtrace.output.relay import Relay
from threadtrace.questions import Renderers, handlers
from threadtrace.selfcare.own_cost import Ticking
from threadtrace.serving.history import History
from threadtrace.serving.server import Server
from threadtrace.serving.sources import Sources
from threadtrace.streaming.endpoints import Endpoints
from threadtrace.streaming.kept import LatestSample


class AgentServer:
    """What is told at the endpoints, kept up to date by the agent (it is an ``Output``)."""

    def __init__(
        self,
        endpoints: Endpoints,
        agent: Agent,
        renderers: Renderers,
        details: Fields,
        max_workloads: int,
    ) -> None:
        """Nobody is served yet.

        Args:
            endpoints: where they come from.
            agent: that counts.
            renderers: of its answers.
            details: what ``threadtrace.started`` carries.
            max_workloads: with a series of their own.
        """
        self._endpoints, self._agent, self._renderers = endpoints, agent, renderers
        self._missing = details["missing"]
        self.history = History()
        self._latest = LatestSample(self._missing, agent.counts_refusals)
        self._metrics = Metrics(
            node_name(),
            max_workloads,
            counts_refusals=agent.counts_refusals,
            blind_spots=len(self._missing),
        )
        self._server: Server | None = None

    def on_happenings(self, happened: Happenings) -> None:
        """See Output."""
        if any(happened):
            self._latest.on_happenings(happened)
            self._metrics.on_happenings(happened)
            self._wake()

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """See Output."""
        self._latest.on_snapshot(snapshot)
        self._metrics.on_snapshot(snapshot)
        self._wake()

    async def open(self, relay: Relay, ticking: Ticking, sinks: Outputs) -> None:
        """Serve from now on.

        Args:
            relay: of the events.
            ticking: how the agent fares.
            sinks: whose state is told.
        """
        exposition = Exposition(self._metrics)
        sources = Sources(
            questions=handlers(self._agent.pipeline, lambda: self._missing, self._renderers),
            snapshot=self._latest.fields,
            metrics=lambda accept: exposition.render(accept, ticking.cost(), sinks.states),
            health=lambda: ticking.silence(time.monotonic()),
            is_ready=lambda: ticking.ticks > 0,
            listen=relay.listen,
            history=self.history,
        )
        self._server = Server(
            self._endpoints.sockets, sources, self._endpoints.token, self._endpoints.tls
        )
        await self._server.start()

    def reload(self) -> None:
        """Token and certificate."""
        if self._server is not None:
            self._server.reload()

    async def close(self) -> None:
        """Hang up."""
        if self._server is not None:
            await self._server.close()

    def _wake(self) -> None:
        """Whoever waits for what is new gets it."""
        if self._server is not None:
            self._server.tick()
