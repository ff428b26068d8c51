"""What was read of a recording and what was wrong with it, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# Names in the report are few; a hostile file could hold any number of them.
MAX_NAMES = 20


@dataclass
class Notes:
    """Filled while a recording is read. All counts are of lines, unless they say otherwise."""

    lines: int = 0
    events: int = 0
    not_json: int = 0
    not_events: int = 0
    too_long: int = 0
    duplicates: int = 0
    is_compressed: bool = False
    has_open_end: bool = False
    """The last line has no line end; it may be whole nevertheless."""
    is_cut_off: bool = False
    """The last line, or the gzip stream, ends in the middle."""
    damage: str | None = None
    """What is wrong with the gzip stream."""
    unknown_events: Counter[str] = field(default_factory=Counter)
    """By ``event.name``: of this major version, but not known here."""
    newer_minor: set[str] = field(default_factory=set)
    other_major: Counter[str] = field(default_factory=Counter)
    """By ``schema_version``: not read."""

    def count_name(self, counter: Counter[str], name: str) -> None:
        """One more of it; beyond so many names all others are one."""
        known = name in counter or len(counter) < MAX_NAMES
        counter[name[:100] if known else "others"] += 1
