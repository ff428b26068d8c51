"""``threadtrace stream``: events as JSON lines."""

from __future__ import annotations

import os
import time

import click

from threadtrace.cli.options import Counting, Seconds, counting_options


@click.command()
@counting_options
@click.option(
    "--duration",
    "duration_seconds",
    metavar="SECONDS",
    type=Seconds(min=0, min_open=True),
    help="End after that long; without it, run until a signal comes.",
)
@click.option(
    "--output",
    metavar="-|FILE",
    default="-",
    show_default=True,
    help="Standard output, or a file to append to.",
)
@click.option("--all", "include_idle", is_flag=True, help="Also workloads without any activity.")
def stream(
    counting: Counting,
    duration_seconds: float | None,
    output: str,
    include_idle: bool,
) -> int:
    """Write one JSON event a line.

    What is there at the start comes at once; then, each interval, what happened, by workload, and
    without waiting for it what cannot wait: refused clones and thread explosions. The events are
    described in docs/events.md, and by a JSON Schema. The end, by a signal or by --duration, is a
    tick too: nothing counted is left out.
    """
    from threadtrace.agent import run, start_agent
    from threadtrace.errors import OutputError
    from threadtrace.output.events import EventWriter
    from threadtrace.output.recording import recorded
    from threadtrace.output.relay import relayed
    from threadtrace.output.sink import LineSink
    from threadtrace.output.stream import EventStream
    from threadtrace.stopping import StopSignal

    if not output:
        raise click.BadParameter("must be - or the name of a file", param_hint="--output")
    if "://" in output or output.startswith("unix:"):
        raise click.BadParameter(
            "sockets cannot be written to yet: use - and pipe it", param_hint="--output"
        )
    stop = StopSignal()
    options = counting.agent_options()
    sink = LineSink.open(output, stop.is_set)
    with start_agent(options) as agent, stop:
        details = {**agent.details(), "interval_seconds": counting.interval_seconds}
        events = EventStream(EventWriter(counts_refusals=agent.counts_refusals), sink, include_idle)
        told = relayed(events, agent, details)
        with recorded(told, counting.record_dir, agent, details) as shown:
            events.on_start(time.time_ns(), details)
            run(agent, shown, stop, counting.interval_seconds, duration_seconds)
    if sink.total_lost:
        raise OutputError(
            f"{sink.total_lost:,} events could not be written to {output}: free some room, or "
            "choose another --output"
        )
    return stop.exit_code or os.EX_OK
