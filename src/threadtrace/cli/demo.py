"""``threadtrace demo``: two incidents in small."""

from __future__ import annotations

from pathlib import Path

import click

from threadtrace.cli.options import Seconds

_BOTH = "both"


@click.command()
@click.argument("incident", type=click.Choice(["a", "b", _BOTH]), default=_BOTH)
@click.option(
    "--seconds",
    metavar="SECONDS",
    type=Seconds(min=10, max=600),
    default=30.0,
    show_default=True,
    help="About how long each incident takes.",
)
@click.option("--plain", is_flag=True, help="A line a second in place of the live table.")
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the report goes: HTML, unless the name ends in .md or .json. The events that it is "
    "made of go to FILE.jsonl. Of both incidents, each has its own: NAME-a.html, NAME-b.html. "
    "Without it, into a temporary directory.",
)
def demo(incident: str, seconds: float, plain: bool, report: Path | None) -> int:
    """Play two incidents of PID exhaustion in small, and explain them.

    In a, a service leaks threads at a steady rate; in b, two blocked thread pools grow faster and
    faster. Another workload's probes are refused, until the culprits are killed.

    Harmless: at most 500 tasks, in a PID namespace with a pid_max of its own (Linux 6.14 and newer;
    before, in a cgroup with a pids.max). The workloads are runc containers where runc is installed.
    All of it ends with this command; of one that is ended by kill -9, empty cgroups stay until the
    next demo removes them. Needs root.
    """
    from threadtrace.demo.playing import DemoOptions, play

    incidents = ("a", "b") if incident == _BOTH else (incident,)
    return play(DemoOptions(incidents, seconds, plain, report))
