"""``threadtrace top``: the live view."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from threadtrace.cli.options import counting_options

if TYPE_CHECKING:
    from threadtrace.output.views import JsonView, LiveView, PlainView


@click.command()
@counting_options
@click.option("--once", is_flag=True, help="Measure one interval, print it, end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sample, for scripts.")
def top(
    interval_seconds: float, max_cgroups: int, host_root: Path, once: bool, as_json: bool
) -> int:
    """Show which workloads hold and create threads, the most dangerous first.

    Refreshes until Ctrl-C. Where standard output is no terminal, prints one table after the
    other.
    """
    from threadtrace.agent import AgentOptions, StopSignal, run, start_agent

    stop = StopSignal()
    with start_agent(AgentOptions(max_cgroups, host_root)) as agent, stop:
        notes = [
            f"{entry['what']}: {entry['effect']} ({entry['remedy']})"
            for entry in agent.details()["missing"]
        ]
        duration = interval_seconds if once else None
        with _view(notes, once, as_json, stop.is_set) as view:
            run(agent, view, stop, interval_seconds, duration)
    return stop.exit_code or os.EX_OK


def _view(
    notes: list[str], once: bool, as_json: bool, is_stopping: Callable[[], bool]
) -> JsonView | PlainView | LiveView:
    from threadtrace.output import views

    if as_json:
        return views.JsonView(once, is_stopping)
    if once or not views.is_terminal():
        return views.PlainView(notes, once)
    return views.LiveView(notes)
