"""What in a file of thresholds cannot be used, where, and what could be written instead."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_type_hints

from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.toml_lines import TomlLines
from threadtrace.text import printable, shortened

DETECT = "detect"
TABLES = ("defaults", "namespace", "workload")
TYPES = get_type_hints(Thresholds)
"""``int`` or ``float`` of each threshold."""

_FIELDS = {field.name: field for field in dataclasses.fields(Thresholds)}
_KEYS = (DETECT, *_FIELDS)
# RFC 1123, as Kubernetes demands it of a namespace.
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SHOWN_CHARACTERS = 80


class Problem(NamedTuple):
    """Something that cannot be used."""

    line: int
    text: str


class Check:
    """Goes through a document and finds what cannot be used."""

    def __init__(self, document: Mapping[str, Any], lines: TomlLines) -> None:
        """Of a valid document, with the lines of its keys."""
        self._document = document
        self._lines = lines

    def problems(self) -> Iterable[Problem]:
        """In no order."""
        for table, value in self._document.items():
            if table not in TABLES:
                yield self._unknown_table(table, value)
            elif not isinstance(value, dict):
                yield self._problem((table,), f"{table} has to be a table; write {_header(table)}")
            elif table == "defaults":
                yield from self._settings((table,), value)
            else:
                for name, settings in value.items():
                    yield from self._named(table, name, settings)

    def _unknown_table(self, table: str, value: Any) -> Problem:
        if isinstance(value, dict):
            remedy = _similar(table, TABLES) or f"there are {', '.join(TABLES)}"
            return self._problem((table,), f"unknown table {_shown(table)}; {remedy}")
        remedy = _similar(table, _KEYS) or "put settings below [defaults]"
        if table in _KEYS:
            remedy = "put it below [defaults]"
        return self._problem((table,), f"{_shown(table)} stands outside of a table; {remedy}")

    def _named(self, table: str, name: str, settings: Any) -> Iterable[Problem]:
        path = (table, name)
        if not isinstance(settings, dict):
            text = f"{_shown(name)} has to be a table; write {_header(table)}"
            yield self._problem(path, text)
            return
        if table == "namespace" and not _NAMESPACE.fullmatch(name):
            remedy = 'use the whole name, or [workload."PATTERN"]'
            yield self._problem(path, f"no namespace is called {_shown(name)}; {remedy}")
        elif not name:
            yield self._problem(path, f"no workload has an empty name; write {_header(table)}")
        yield from self._settings(path, settings)

    def _settings(self, path: tuple[str, ...], settings: Mapping[str, Any]) -> Iterable[Problem]:
        for key, value in settings.items():
            text = _unknown_key(key, value, path) if key not in _KEYS else _unusable(key, value)
            if text is not None:
                yield self._problem((*path, key), text)

    def _problem(self, path: tuple[str, ...], text: str) -> Problem:
        return Problem(self._lines.of_key[path], text)


def _unknown_key(key: str, value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, dict) and path[0] == "workload":
        return f"{_shown(key)} is no setting; quote names with dots: {_header('workload')}"
    remedy = _similar(key, _KEYS) or f"there are {', '.join(_KEYS)}"
    return f"unknown setting {_shown(key)}; {remedy}"


def _unusable(key: str, value: Any) -> str | None:
    """Why this value cannot be used, and which one could."""
    if key == DETECT:
        good = isinstance(value, bool)
        return None if good else f"{key} has to be true or false, without quotes; correct it"
    lowest, highest = (_FIELDS[key].metadata[bound] for bound in ("min", "max"))
    usual = shown_number(key, _FIELDS[key].default)
    remedy = (
        f"choose {shown_number(key, lowest)} to {shown_number(key, highest)} (without it: {usual})"
    )
    if TYPES[key] is int:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{key} has to be a whole number, without quotes; {remedy}"
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return f"{key} has to be a number, without quotes; {remedy}"
    if not lowest <= value <= highest:
        return f"{key} is out of range; {remedy}"
    return None


def shown_number(key: str, number: Any) -> str:
    """As that threshold has it: a whole number or not."""
    return f"{number:,}" if TYPES[key] is int else f"{number:,.10g}"


def _similar(word: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word[:_SHOWN_CHARACTERS], known, n=1)
    return f"did you mean {close[0]}?" if close else None


def _shown(name: str) -> str:
    return printable(shortened(name, _SHOWN_CHARACTERS)) or '""'


def _header(table: str) -> str:
    example = {"namespace": '."NAMESPACE"', "workload": '."NAME OR PATTERN"'}.get(table, "")
    return f"[{table}{example}]"
