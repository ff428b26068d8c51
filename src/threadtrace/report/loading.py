"""A file read to its end, and the node that the report is about."""

from __future__ import annotations

from threadtrace.errors import UsageError
from threadtrace.report.collecting import NodeRecord, Recording, collect
from threadtrace.report.faults import RecordingWithoutEvents
from threadtrace.report.incident import worst_node
from threadtrace.report.lines import STDIN, read_lines
from threadtrace.report.notes import Notes
from threadtrace.report.reading import MAJOR, EventReader
from threadtrace.report.words import plural, short_name


def load(path: str) -> Recording:
    """Read it all: one pass, in bounded memory.

    Args:
        path: of a file, or ``-`` for standard input.

    Raises:
        RecordingUnreadable: it cannot be opened or read.
        RecordingWithoutEvents: nothing in it is an event that this version can read.
    """
    notes = Notes()
    recording = collect(EventReader(notes).read(read_lines(path, notes)), notes)
    if not recording.nodes:
        name = "standard input" if path == STDIN else short_name(path, 200)
        raise RecordingWithoutEvents(f"{name} {what_it_is(notes)}")
    return recording


def chosen_node(recording: Recording, name: str | None) -> NodeRecord:
    """The node of that name; without a name the one that was worst off.

    Raises:
        UsageError: the recording has no such node.
    """
    if name is None:
        return worst_node(recording)
    if name in recording.nodes:
        return recording.nodes[name]
    known = ", ".join(short_name(known) for known in list(recording.nodes)[:10])
    raise UsageError(f"--node: no event of {short_name(name)} in it; there are {known}")


def what_it_is(notes: Notes) -> str:
    """Words for a file in which no event was found, and the remedy."""
    if notes.other_major:
        versions = ", ".join(short_name(version) for version in sorted(notes.other_major))
        return (
            f"was written with schema_version {versions}, and this threadtrace reads {MAJOR}.x: "
            "use the threadtrace that wrote it"
        )
    remedy = "name a file that threadtrace stream --output has written"
    if notes.damage is not None:
        return f"is a damaged gzip file ({short_name(notes.damage)}): {remedy}"
    if not notes.lines:
        return f"is empty: {remedy}"
    return f"holds no event of threadtrace in {plural(notes.lines, 'line')}: {remedy}"
