"""``threadtrace report``: an incident report out of a recorded event stream."""

from __future__ import annotations

import os

import click


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["md", "html", "json"]),
    help="Markdown, one self-contained HTML page, or JSON. Without it the ending of OUT decides; "
    "Markdown where that tells nothing.",
)
@click.option(
    "-o",
    "--output",
    metavar="-|OUT",
    default="-",
    show_default=True,
    help="Standard output, or a file, which is replaced.",
)
@click.option(
    "--node",
    "node_name",
    metavar="NAME",
    help="Of a file with events of several nodes, report this one; without it, the worst.",
)
def report(file: str, format_name: str | None, output: str, node_name: str | None) -> int:
    """Turn a recorded event stream into an incident report.

    FILE holds what `threadtrace stream` has written, as it is or compressed with gzip; - is
    standard input. The report says what happened, which limit it was, who used it up, who was
    refused, and what to change. It needs neither root nor the node. What is wrong with the
    recording (lines cut off, events missing or lost) is said in the report.

    Exit codes: 65 FILE has no event that can be read, 66 FILE cannot be read. Others as in
    `threadtrace --help`.
    """
    from threadtrace.report.incident import report_of
    from threadtrace.report.loading import chosen_node, load
    from threadtrace.report.render import render
    from threadtrace.report.writing import check_output, write

    check_output(output, file)
    recording = load(file)
    told = report_of(recording, chosen_node(recording, node_name), _source(file))
    write(render(told, format_name or _format_of(output)), output)
    return os.EX_OK


def _format_of(output: str) -> str:
    """What the file's ending tells."""
    ending = os.path.splitext(output)[1].lower()
    return {".html": "html", ".htm": "html", ".json": "json"}.get(ending, "md")


def _source(file: str) -> str:
    return "standard input" if file == "-" else os.path.basename(file) or file
