"""``threadtrace top``: the live view."""

from __future__ import annotations

import click

from threadtrace.cli.connecting import access_to, connect_options, refuse_beside
from threadtrace.cli.options import Counting, counting_options
from threadtrace.errors import UsageError

_OF_COUNTING = (
    "interval_seconds",
    "max_cgroups",
    "host_root",
    "refusal_hook",
    "thresholds",
    "record_dir",
)


@click.command()
@counting_options
@click.option("--once", is_flag=True, help="Measure one interval, print it, end: -n 1.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sample, for scripts.")
@click.option("--batch", "is_batch", is_flag=True, help="Plain tables one below the other.")
@click.option(
    "-n", "samples", metavar="N", type=click.IntRange(min=1), help="End after so many samples."
)
@click.option(
    "--replay",
    metavar="FILE",
    help="Show a recorded stream (plain or gzip; - is standard input) instead of this node. Needs "
    "neither root nor Linux.",
)
@click.option("--node", metavar="NAME", help="Of a recording of several nodes, show this one.")
@click.option(
    "--speed",
    metavar="FACTOR",
    type=click.FloatRange(min=0.125, max=64),
    default=1.0,
    show_default=True,
    help="Of a replay.",
)
@connect_options("Show what an agent (stream or top) tells that runs elsewhere")
@click.option(
    "--filter", "query", metavar="QUERY", default="", help="As typed after /: ns:shop, refused>0."
)
@click.option("--sort", metavar="COLUMN", default="danger", help="tasks, used, net, left, ...")
def top(
    counting: Counting,
    once: bool,
    as_json: bool,
    is_batch: bool,
    samples: int | None,
    replay: str | None,
    node: str | None,
    speed: float,
    url: str | None,
    token_file: str | None,
    ca_file: str | None,
    query: str,
    sort: str,
) -> int:
    """Show which workloads hold and create threads, the most dangerous first.

    The live view: Enter looks closer, / filters, s sorts, ? lists all keys, q ends. Where standard
    output is no terminal, prints one table after the other, as wide as COLUMNS says. Where no PID
    is free to attach kernel programs, shows the agent that runs here, or else what /proc and
    cgroup files tell.
    """
    from threadtrace.screen.board import chosen
    from threadtrace.watching import Watching, watch, watch_recording, watch_remote

    if replay is not None and url is not None:
        raise UsageError("--replay and --connect exclude each other")
    if node is not None and replay is None:
        raise UsageError("--node goes with --replay")
    speed_given = click.get_current_context().get_parameter_source("speed")
    if replay is None and speed_given is click.core.ParameterSource.COMMANDLINE:
        raise UsageError("--speed goes with --replay")
    if replay is not None or url is not None:
        refuse_beside("--replay" if url is None else "--connect", _OF_COUNTING)
    access = access_to(url, token_file, ca_file)
    watching = Watching(
        choice=chosen(query, sort),
        samples=1 if once else samples,
        is_batch=is_batch or once or samples is not None,
        as_json=as_json,
    )
    if replay is not None:
        return watch_recording(watching, replay, node, speed)
    if url is not None:
        return watch_remote(watching, url, access=access)
    options = counting.agent_options(is_answering=not once)
    return watch(watching, options, counting.interval_seconds, counting.record_dir)
