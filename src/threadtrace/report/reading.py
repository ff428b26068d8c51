"""Lines to events: what is no event, or of another version, is counted and left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from threadtrace.report.fields import Fields, inner, text, time_ns
from threadtrace.report.notes import MAX_NAMES, Notes

MAJOR = 1
KNOWN_MINOR = 0

STARTED = "threadtrace.started"
NODE = "threadtrace.node.limits"
RATES = "threadtrace.workload.rates"
REFUSED = "threadtrace.fork.refused"
APPEARED = "threadtrace.workload.started"
GONE = "threadtrace.workload.ended"
LOSS = "threadtrace.loss"
EXPLOSION = "threadtrace.explosion."
EXPLOSION_STARTED = EXPLOSION + "started"
EXPLOSION_UPDATED = EXPLOSION + "updated"
EXPLOSION_ENDED = EXPLOSION + "ended"

_EXPLOSIONS = {EXPLOSION_STARTED, EXPLOSION_UPDATED, EXPLOSION_ENDED}
_KNOWN = {STARTED, NODE, RATES, REFUSED, APPEARED, GONE, LOSS, *_EXPLOSIONS}
_NOT_JSON = object()


class Event(NamedTuple):
    """One event whose envelope is sound. Its fields may hold anything."""

    name: str
    sequence: int
    time_ns: int
    agent_id: str
    node: str
    fields: Fields
    """All of it."""
    details: Fields
    """What is under ``threadtrace``."""


class EventReader:
    """Turns lines into events, and counts what is none."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._last_time: tuple[str, int | None] = "", None

    def read(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """The events in the order of their lines."""
        notes = self._notes
        was_json = True
        for line in lines:
            fields = _parsed(line)
            was_json = fields is not _NOT_JSON
            if not was_json:
                notes.not_json += 1
                continue
            event = self._event(fields)
            if event is not None:
                yield event
        if notes.has_open_end and not was_json:
            notes.not_json -= 1
            notes.is_cut_off = True

    def _event(self, fields: Any) -> Event | None:
        """None when it is none, or not one that can be read here; then it is counted as such."""
        notes = self._notes
        if not isinstance(fields, dict):
            notes.not_events += 1
            return None
        about = inner(fields, "event")
        name, sequence = text(about, "name"), about.get("sequence")
        agent_id = text(inner(fields, "agent"), "id")
        moment = self._time(fields)
        if (
            name is None
            or agent_id is None
            or moment is None
            or type(sequence) is not int
            or not 1 <= sequence < 1 << 62
        ):
            notes.not_events += 1
            return None
        if not self._can_read(name, text(fields, "schema_version")):
            return None
        notes.events += 1
        node = text(inner(inner(fields, "k8s"), "node"), "name")
        node = node or text(inner(fields, "host"), "name") or "unknown"
        details = inner(fields, "threadtrace")
        return Event(name, sequence, moment, agent_id, node, fields, details)

    def _can_read(self, name: str, version: str | None) -> bool:
        """Whether this version knows the event; counted where not."""
        notes = self._notes
        major, _, minor = (version or "").partition(".")
        if not (major.isdecimal() and minor.isdecimal() and len(minor) < 9):
            notes.not_events += 1
            return False
        if major != str(MAJOR):
            notes.count_name(notes.other_major, version or "")
            return False
        if int(minor) > KNOWN_MINOR and len(notes.newer_minor) < MAX_NAMES:
            notes.newer_minor.add(version or "")
        if name not in _KNOWN:
            # Its number still counts: it is no gap.
            notes.count_name(notes.unknown_events, name)
        return True

    def _time(self, fields: Fields) -> int | None:
        """All events of a tick have the same: it is read once."""
        written = fields.get("timestamp")
        if written != self._last_time[0] or not isinstance(written, str):
            self._last_time = str(written), time_ns(fields, "timestamp")
        return self._last_time[1]


def _parsed(line: bytes) -> Any:
    """What the line says in JSON; bytes that are not UTF-8 become U+FFFD."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(line.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return _NOT_JSON
