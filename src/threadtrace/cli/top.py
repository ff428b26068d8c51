"""``threadtrace top``: the live view."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from threadtrace.cli.options import Counting, counting_options

if TYPE_CHECKING:
    from threadtrace.output.views import JsonView, Limitations, LiveView, PlainView


@click.command()
@counting_options
@click.option("--once", is_flag=True, help="Measure one interval, print it, end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sample, for scripts.")
def top(counting: Counting, once: bool, as_json: bool) -> int:
    """Show which workloads hold and create threads, the most dangerous first.

    Refreshes until Ctrl-C. Where standard output is no terminal, prints one table after the
    other, as wide as COLUMNS says.
    """
    from threadtrace.agent import run, start_agent
    from threadtrace.errors import OutputError
    from threadtrace.output.recording import recorded
    from threadtrace.output.relay import relayed
    from threadtrace.output.views import Limitations
    from threadtrace.stopping import StopSignal

    stop = StopSignal()
    options = counting.agent_options(is_answering=not once)
    with start_agent(options) as agent, stop:
        details = {**agent.details(), "interval_seconds": counting.interval_seconds}
        limits = Limitations(details["missing"], agent.counts_refusals)
        duration = counting.interval_seconds if once else None
        with (
            _view(limits, once, as_json, stop.is_set) as view,
            recorded(relayed(view, agent, details), counting.record_dir, agent, details) as shown,
        ):
            run(agent, shown, stop, counting.interval_seconds, duration)
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
