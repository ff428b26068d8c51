"""Values out of an event that may hold anything: of the wanted type, or None."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

Fields = dict[str, Any]

_MAX_COUNT = 1 << 53
_MAX_CHARACTERS = 4096
_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def count(fields: Fields, name: str) -> int | None:
    """A whole number from 0 on. A bool is none, nor is one that no counter reaches."""
    value = fields.get(name)
    if type(value) is int and 0 <= value < _MAX_COUNT:
        return value
    return None


def number(fields: Fields, name: str) -> float | None:
    """A number, unless it is beyond what any counter or clock tells."""
    value = fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_COUNT:
        return float(value)
    return None


def text(fields: Fields, name: str) -> str | None:
    """A text that is not empty, as far as it is of any use."""
    value = fields.get(name)
    return value[:_MAX_CHARACTERS] if isinstance(value, str) and value else None


def inner(fields: Fields, name: str) -> Fields:
    """An object; an empty one where there is none."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def objects(fields: Fields, name: str) -> list[Fields]:
    """The objects of a list; none where there is no list."""
    value = fields.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(fields: Fields, name: str) -> list[str]:
    """The texts of a list; none where there is no list."""
    value = fields.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def time_ns(fields: Fields, name: str) -> int | None:
    """A timestamp of RFC 3339 in UTC, in nanoseconds since 1970; None for one before."""
    value = fields.get(name)
    if not isinstance(value, str) or not value.endswith("Z") or len(value) > 40:
        return None
    whole, _, fraction = value[:-1].partition(".")
    try:
        if len(whole) != len("2000-01-01T00:00:00"):
            return None
        moment = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
        nanoseconds = int(fraction[:9].ljust(9, "0")) if fraction else 0
    except ValueError:
        return None
    passed = moment - _EPOCH
    seconds = passed.days * 86400 + passed.seconds
    return seconds * _NS + nanoseconds if seconds >= 0 and nanoseconds >= 0 else None
