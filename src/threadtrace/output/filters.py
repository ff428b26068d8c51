"""Which events are told at all: by name, namespace and severity, and how many a second.

What is filtered out was never an event: it has no number, so that a gap stays a loss.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Any

from threadtrace.detect.toml_document import ConfigError, TomlDocument, load_document
from threadtrace.text import printable

SEVERITIES = {"INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}

EVENT_NAMES = (
    "threadtrace.started",
    "threadtrace.node.limits",
    "threadtrace.workload.rates",
    "threadtrace.workload.started",
    "threadtrace.workload.ended",
    "threadtrace.fork.refused",
    "threadtrace.explosion.started",
    "threadtrace.explosion.updated",
    "threadtrace.explosion.ended",
    "threadtrace.loss",
)
"""All that there are."""
# Without these nobody could tell what the others mean, or that there were more.
_ALWAYS = {"threadtrace.started", "threadtrace.loss"}
_RATED_PREFIXES = ("threadtrace.workload.",)
_NAME, _NAMESPACE = "event", "namespace"
_MINIMUM, _RATE = "minimum_severity", "max_workload_events_per_second"
_LISTS = ("allow", "deny")


@dataclass(frozen=True)
class Patterns:
    """Shell patterns: out is what one of ``deny`` matches, and what none of ``allow`` does."""

    allow: Sequence[re.Pattern[str]] = ()
    deny: Sequence[re.Pattern[str]] = ()

    def admit(self, text: str) -> bool:
        """Whether it stays."""
        if self.allow and not any(pattern.match(text) for pattern in self.allow):
            return False
        return not any(pattern.match(text) for pattern in self.deny)


@dataclass(frozen=True)
class FilterRules:
    """What a file sets, or nothing."""

    names: Patterns = field(default_factory=Patterns)
    """Of events."""
    namespaces: Patterns = field(default_factory=Patterns)
    """Of Kubernetes; events about what is in none of them are not asked."""
    minimum_severity: int = 0
    max_per_second: float | None = None
    """Of ``threadtrace.workload.*``; the others have limits of their own."""


_EVERYTHING = FilterRules()


class EventFilter:
    """Asked before an event gets its number."""

    def __init__(
        self, rules: FilterRules | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """See ``FilterRules``; None lets everything through."""
        self.rules = rules or _EVERYTHING
        self._clock = clock
        self._allowance = 0.0
        self._allowance_s: float | None = None
        self._lost = 0

    def admits(self, name: str, severity_number: int, namespace: str | None) -> bool:
        """Whether that event is told.

        Args:
            name: ``event.name``.
            severity_number: see SEVERITIES.
            namespace: of the workload that it is about; None where it is in no namespace.
        """
        rules = self.rules
        if rules is _EVERYTHING or name in _ALWAYS:
            return True
        if severity_number < rules.minimum_severity or not rules.names.admit(name):
            return False
        if namespace is not None and not rules.namespaces.admit(namespace):
            return False
        if rules.max_per_second is None or not name.startswith(_RATED_PREFIXES):
            return True
        return self._is_within(rules.max_per_second)

    def take_lost(self) -> int:
        """How many were too many, since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def _is_within(self, per_second: float) -> bool:
        """A bucket that holds ten seconds' worth: a tick tells all that it has at once."""
        now, most = self._clock(), max(1.0, 10 * per_second)
        before = self._allowance_s
        gained = most if before is None else (now - before) * per_second
        self._allowance, self._allowance_s = min(most, self._allowance + gained), now
        if self._allowance < 1.0:
            self._lost += 1
            return False
        self._allowance -= 1.0
        return True


def load_filters(path: Path) -> FilterRules:
    """Read and check a file.

    Raises:
        ConfigError: it cannot be read, or something in it cannot be used.
    """
    document = load_document(path)
    _check_keys(document, document.values, (), (_NAME, _NAMESPACE, _MINIMUM, _RATE))
    return FilterRules(
        _patterns(document, _NAME),
        _patterns(document, _NAMESPACE),
        _severity(document),
        _rate(document),
    )


def _patterns(document: TomlDocument, table: str) -> Patterns:
    values = document.values.get(table, {})
    if not isinstance(values, dict):
        raise _error(document, (table,), f"{table} has to be a table; write [{table}]")
    _check_keys(document, values, (table,), _LISTS)
    allow, deny = (_compiled(document, table, key, values.get(key, [])) for key in _LISTS)
    return Patterns(allow, deny)


def _compiled(document: TomlDocument, table: str, key: str, value: Any) -> list[re.Pattern[str]]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        example = '["threadtrace.fork.*"]' if table == _NAME else '["shop", "team-*"]'
        raise _error(document, (table, key), f"{key} has to be a list of texts; as in {example}")
    patterns = [re.compile(translate(entry)) for entry in value]
    if table == _NAME:
        for entry, pattern in zip(value, patterns):
            if not any(map(pattern.match, EVENT_NAMES)):
                names = ", ".join(EVENT_NAMES)
                told = printable(entry)
                raise _error(
                    document, (table, key), f"no event is called {told}; there are {names}"
                )
    return patterns


def _severity(document: TomlDocument) -> int:
    value = document.values.get(_MINIMUM)
    if value is None:
        return 0
    if not isinstance(value, str) or value.upper() not in SEVERITIES:
        known = ", ".join(SEVERITIES)
        raise _error(document, (_MINIMUM,), f"{_MINIMUM} has to be one of {known}")
    return SEVERITIES[value.upper()]


def _rate(document: TomlDocument) -> float | None:
    value = document.values.get(_RATE)
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value < 1e9:
        raise _error(document, (_RATE,), f"{_RATE} has to be a number above 0")
    return float(value)


def _check_keys(
    document: TomlDocument, values: Mapping[str, Any], above: tuple[str, ...], known: Sequence[str]
) -> None:
    for key in values:
        if key not in known:
            told = printable(key)
            raise _error(document, (*above, key), f"unknown {told}; there are {', '.join(known)}")


def _error(document: TomlDocument, key: tuple[str, ...], text: str) -> ConfigError:
    return document.error(document.lines().of_key.get(key, 1), text)
