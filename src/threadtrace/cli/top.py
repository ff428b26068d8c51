"""``threadtrace top``: the live view."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from threadtrace.cli.options import counting_options
from threadtrace.probe.plan import RefusalHook

if TYPE_CHECKING:
    from threadtrace.output.views import JsonView, Limitations, LiveView, PlainView


@click.command()
@counting_options
@click.option("--once", is_flag=True, help="Measure one interval, print it, end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sample, for scripts.")
def top(
    interval_seconds: float,
    max_cgroups: int,
    host_root: Path,
    refusal_hook: RefusalHook,
    socket: Path,
    once: bool,
    as_json: bool,
) -> int:
    """Show which workloads hold and create threads, the most dangerous first.

    Refreshes until Ctrl-C. Where standard output is no terminal, prints one table after the
    other, as wide as COLUMNS says.
    """
    from threadtrace.agent import AgentOptions, StopSignal, run, start_agent
    from threadtrace.errors import OutputError
    from threadtrace.output.views import Limitations
    from threadtrace.output.why import agents_answer

    stop = StopSignal()
    options = AgentOptions(
        max_cgroups, host_root, None if once else socket, agents_answer, refusal_hook
    )
    with start_agent(options) as agent, stop:
        limits = Limitations(agent.details()["missing"], agent.counts_refusals)
        duration = interval_seconds if once else None
        with _view(limits, once, as_json, stop.is_set) as view:
            run(agent, view, stop, interval_seconds, duration)
    if view.lost_lines:
        raise OutputError(f"{view.lost_lines:,} samples could not be written to standard output")
    return stop.exit_code or os.EX_OK


def _view(
    limits: Limitations, once: bool, as_json: bool, is_stopping: Callable[[], bool]
) -> JsonView | PlainView | LiveView:
    from threadtrace.output import views

    if as_json:
        return views.JsonView(limits, once, is_stopping)
    if once or not views.is_terminal():
        return views.PlainView(limits, once)
    return views.LiveView(limits)
