"""Why a recording cannot be shown, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

from threadtrace.errors import ThreadtraceError, UsageError
from threadtrace.report.faults import RecordingWithoutEvents
from threadtrace.report.lines import STDIN
from threadtrace.report.loading import what_it_is
from threadtrace.report.notes import Notes
from threadtrace.report.words import short_name

_LONGEST_NAME = 200


def no_tick(path: str, notes: Notes, node: str | None, others: Iterable[str]) -> ThreadtraceError:
    """What to raise where a recording was read to its end and no tick of the node was in it.

    Args:
        path: of the recording.
        notes: of what was read.
        node: that which was wanted; None: any.
        others: names of other nodes that tell something.
    """
    name = "standard input" if path == STDIN else short_name(path, _LONGEST_NAME)
    if not notes.events:
        return RecordingWithoutEvents(f"{name} {what_it_is(notes)}")
    known = ", ".join(short_name(other) for other in list(others)[:10])
    if node is not None and known:
        return UsageError(f"--node: no tick of {short_name(node)} in it; there are {known}")
    return RecordingWithoutEvents(
        f"{name} holds no threadtrace.node.limits, so no tick to show: "
        "name a file that threadtrace stream --output has written"
    )
