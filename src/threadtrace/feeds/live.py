"""The agent in this process, driven by an event loop: what the live view looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from threadtrace.agent import Agent, BlindAgent, Heart
from threadtrace.feed import About, FeedOutput
from threadtrace.model.details import ProcessInspection, WorkloadDetails


class Live:
    """Ticks and listens; counting goes on in the kernel whatever the view does."""

    def __init__(self, agent: Agent | BlindAgent, about: About, interval_seconds: float) -> None:
        """See ``about_live`` and ``about_blind``."""
        self._agent = agent
        self._about = about
        self._interval_seconds = interval_seconds
        self._heart: Heart | None = None
        self._wake = asyncio.Event()

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

    async def run(self, output: FeedOutput) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        wake = self._wake
        self._heart = heart = Heart(self._agent, output, self._interval_seconds)
        descriptors = self._agent.descriptors
        for descriptor in descriptors:
            loop.add_reader(descriptor, wake.set)
        output.on_start(self._about)
        try:
            while True:
                seconds = heart.beat()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(wake.wait(), max(0.001, seconds))
                wake.clear()
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)

    async def inspect_workload(self, key: str) -> WorkloadDetails | None:
        """See Feed."""
        return self._agent.pipeline.inspect_workload(key)

    async def inspect_process(self, pid: int) -> ProcessInspection | None:
        """See Feed."""
        return self._agent.pipeline.inspect_process(pid)


def about_live(details: Mapping[str, Any], node: str, version: str, counts_refusals: bool) -> About:
    """Out of what ``threadtrace.started`` carries.

    Args:
        details: as ``Agent.details`` gives.
        node: its name.
        version: of this threadtrace.
        counts_refusals: whether refused clones are seen.
    """
    return About(
        node=node,
        version=version,
        kernel_release=details["kernel_release"],
        hooks=details["hooks"],
        missing=details["missing"],
        counts_refusals=counts_refusals,
        interval_seconds=details.get("interval_seconds"),
    )


def about_blind(reason: str, node: str, version: str, interval_seconds: float) -> About:
    """Of an agent without programs.

    Args:
        reason: why there are none, with the remedy after a colon.
        node: its name.
        version: of this threadtrace.
        interval_seconds: between two samples.
    """
    what, _, remedy = reason.partition(": ")
    missing = {
        "what": f"kernel programs ({what})",
        "effect": "births, exits and refusals are not counted",
        "remedy": remedy or "threadtrace doctor",
    }
    return About(
        node=node,
        version=version,
        missing=(missing,),
        counts_births=False,
        counts_refusals=False,
        interval_seconds=interval_seconds,
    )
