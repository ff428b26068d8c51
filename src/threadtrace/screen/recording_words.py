"""What is wrong with a recording, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Collection

from threadtrace.report.notes import Notes
from threadtrace.report.words import plural, short_name


def recording_words(notes: Notes, node: str | None, nodes: Collection[str]) -> list[str]:
    """A phrase each; none where all of it is shown.

    Args:
        notes: what was found while it was read.
        node: whose events are shown.
        nodes: all that tell any.
    """
    words = []
    if notes.damage is not None:
        damage = short_name(notes.damage)
        words.append(f"the gzip file is damaged ({damage}): what follows is not shown")
    if notes.is_cut_off:
        words.append("the recording is cut off: its end is missing")
    unread = notes.not_json + notes.not_events + notes.too_long
    if unread:
        words.append(f"{plural(unread, 'line')} left out: no events")
    if len(nodes) > 1 and node is not None:
        others = ", ".join(short_name(other) for other in nodes if other != node)
        words.append(f"shown is {short_name(node)} alone; --node chooses of: {others}")
    return words
