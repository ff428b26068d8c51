"""The agent in this process, driven by an event loop: what the live view looks at."""

from __future__ import annotations

import asyncio
import os

from threadtrace import __version__
from threadtrace.agent import Agent, BlindAgent
from threadtrace.feed import About, FeedOutput, Output
from threadtrace.heart import Heart, drive
from threadtrace.model.details import ProcessInspection, WorkloadDetails


class Live:
    """Ticks and listens; counting goes on in the kernel whatever the view does."""

    def __init__(self, agent: Agent | BlindAgent, about: About, interval_seconds: float) -> None:
        """See ``about_live`` and ``about_blind``."""
        self._agent = agent
        self._about = about
        self._interval_seconds = interval_seconds
        self._heart: Heart | None = None
        self._through: Output | None = None
        self._wake = asyncio.Event()
        self.note = ""
        """That samples come less often than they should, and why; empty where they do not."""

    @property
    def interval_seconds(self) -> float:
        """Between two ticks."""
        return self._interval_seconds

    @interval_seconds.setter
    def interval_seconds(self, seconds: float) -> None:
        self._interval_seconds = seconds
        if self._heart is not None:
            self._heart.set_interval(seconds)
        self._wake.set()

    def pass_through(self, output: Output) -> None:
        """Tell this one, which passes on, instead of who is given to ``run``."""
        self._through = output

    async def run(self, output: FeedOutput) -> None:
        """Until cancelled."""
        agent = self._agent
        self._heart = heart = Heart(
            agent, self._through or output, self._interval_seconds, on_pace=self._on_pace
        )
        output.on_start(self._about)
        await drive(heart, agent, self._wake, lambda: False)

    def _on_pace(self, words: str, is_slowed: bool) -> None:
        self.note = words if is_slowed else ""

    async def inspect_workload(self, key: str) -> WorkloadDetails | None:
        """See Feed."""
        return self._agent.pipeline.inspect_workload(key)

    async def inspect_process(self, pid: int) -> ProcessInspection | None:
        """See Feed."""
        return self._agent.pipeline.inspect_process(pid)


def about_live(agent: Agent, interval_seconds: float) -> About:
    """Out of what ``threadtrace.started`` tells of that agent."""
    details = agent.details()
    return About(
        node=node_name(),
        version=__version__,
        kernel_release=details["kernel_release"],
        hooks=details["hooks"],
        missing=details["missing"],
        counts_refusals=agent.counts_refusals,
        interval_seconds=interval_seconds,
    )


def about_blind(reason: str, interval_seconds: float) -> About:
    """Of an agent without programs.

    Args:
        reason: why there are none, with the remedy after a colon.
        interval_seconds: between two samples.
    """
    what, _, remedy = reason.partition(": ")
    missing = {
        "what": f"kernel programs ({what})",
        "effect": "births, exits and refusals are not counted",
        "remedy": remedy or "threadtrace doctor",
    }
    return About(
        node=node_name(),
        version=__version__,
        missing=(missing,),
        counts_births=False,
        counts_refusals=False,
        interval_seconds=interval_seconds,
    )


def node_name() -> str:
    """As Kubernetes calls it where a pod is told, else the host's."""
    return os.environ.get("NODE_NAME") or os.uname().nodename
