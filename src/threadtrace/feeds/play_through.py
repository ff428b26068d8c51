"""A whole recording told as fast as it can be read, for outputs that show no time passing."""

from __future__ import annotations

from typing import NamedTuple

from threadtrace.feed import FeedOutput
from threadtrace.feeds.nothing_to_show import no_tick
from threadtrace.report.lines import read_lines
from threadtrace.report.notes import MAX_NAMES, Notes
from threadtrace.report.reading import NODE, Event, EventReader
from threadtrace.restore.decoder import EventDecoder

_MOST_EARLY = 1024


class Played(NamedTuple):
    """What was played, and what else there is."""

    notes: Notes
    node: str
    nodes: tuple[str, ...]
    """All that tell anything."""


def play_through(path: str, output: FeedOutput, node: str | None = None) -> Played:
    """Tell it all, without a pause; needs no room on the disk.

    Args:
        path: of a file, plain or gzip, or ``-`` for standard input.
        output: is told.
        node: whose events are meant; None: the first of which a tick is told.

    Returns:
        What was wrong with the recording, and what was not shown of it.

    Raises:
        RecordingUnreadable: it cannot be opened or read.
        RecordingWithoutEvents: there is nothing in it to show.
        UsageError: the recording has no such node.
    """
    notes = Notes()
    decoder = EventDecoder(output)
    chosen = node
    has_tick = False
    early: list[Event] = []
    others: dict[str, None] = {}
    for event in EventReader(notes).read(read_lines(path, notes)):
        if chosen is None:
            early = [*early[-_MOST_EARLY:], event]
            if event.name != NODE:
                continue
            chosen = event.node
            for entry in early[:-1]:
                if entry.node == chosen:
                    decoder.feed(entry)
        if event.node == chosen:
            decoder.feed(event)
            has_tick = has_tick or event.name == NODE
        elif len(others) < MAX_NAMES:
            others[event.node] = None
    decoder.flush()
    if not has_tick:
        raise no_tick(path, notes, node, others)
    assert chosen is not None
    return Played(notes, chosen, (chosen, *others))
