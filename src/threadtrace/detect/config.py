"""Thresholds out of one TOML file: for all workloads, for a namespace, for single workloads."""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from threadtrace.detect.config_checks import DETECT, TABLES, TYPES, Check
from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.toml_lines import find_lines
from threadtrace.errors import ThreadtraceError
from threadtrace.text import printable, shortened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1024 * 1024

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_AT_END = re.compile(r" \(at end of document\)$")
_SHOWN_CHARACTERS = 160
# A node has some thousands of workloads at a time; names of those that are gone leave.
_MAX_CACHED = 16_384


# Each container that starts adds a process of ten threads to its runtime's service: a node that
# boots with a hundred pods adds a thousand.
_RUNTIMES = frozenset(
    f"{name}.service"
    for name in ("containerd", "crio", "docker", "k3s", "k3s-agent", "rke2-agent", "rke2-server")
)
_OF_RUNTIMES: Mapping[str, Any] = {"burst_tasks": 2_000, "jump_tasks": 5_000, "leak_tasks": 2_000}


class ConfigError(ThreadtraceError):
    """A file with settings that cannot be used."""

    exit_code = os.EX_CONFIG


class WorkloadRule(NamedTuple):
    """A ``[workload."PATTERN"]`` table."""

    pattern: str
    matcher: re.Pattern[str]
    values: Mapping[str, Any]


class DetectionConfig:
    """What a file sets, or nothing."""

    def __init__(
        self,
        defaults: Mapping[str, Any],
        namespaces: Mapping[str, Mapping[str, Any]],
        workloads: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Of checked tables, see ``load_config``.

        Args:
            defaults: key to value, of ``[defaults]``.
            namespaces: the same by the name of the namespace.
            workloads: the same by pattern.
        """
        self._defaults = defaults
        self._namespaces = namespaces
        rules = (
            WorkloadRule(pattern, re.compile(fnmatch.translate(pattern)), values)
            for pattern, values in workloads.items()
        )
        self._rules = sorted(rules, key=_specificity, reverse=True)
        self._cached = functools.lru_cache(_MAX_CACHED)(self._find)

    def thresholds_for(self, namespace: str | None, name: str) -> Thresholds | None:
        """Those of one workload; None where explosions of it are not to be detected.

        A workload's table is asked first, then that of its namespace, then the defaults, key by
        key. Of several patterns that match, the one with the longest beginning without a wildcard
        counts alone; among such the longest one, then the first in the file. Services of container
        runtimes have defaults of their own.

        Args:
            namespace: of Kubernetes; None elsewhere.
            name: as events show it, ``threadtrace.workload.name``.
        """
        return self._cached(namespace, name)

    def _find(self, namespace: str | None, name: str) -> Thresholds | None:
        values = {**(_OF_RUNTIMES if name in _RUNTIMES else {}), **self._defaults}
        if namespace is not None:
            values.update(self._namespaces.get(namespace, {}))
        for rule in self._rules:
            if rule.matcher.match(name):
                values.update(rule.values)
                break
        if not values.pop(DETECT, True):
            return None
        return Thresholds(**values)


def load_config(path: Path) -> DetectionConfig:
    """Read and check a file.

    Raises:
        ConfigError: it cannot be read, or something in it cannot be used; of several things the
            first one is told, with its line.
    """
    shown = printable(str(path))
    text = _decoded(shown, _read(shown, path))
    document = _parsed(shown, text)
    problems = sorted(Check(document, find_lines(text)).problems())
    if problems:
        raise _error(shown, *problems[0])
    return DetectionConfig(*(_values(document.get(table, {})) for table in TABLES))


def _values(table: Any) -> Any:
    """Checked values with the types that ``Thresholds`` has."""
    return {
        key: _values(value) if isinstance(value, dict) else _typed(key, value)
        for key, value in table.items()
    }


def _typed(key: str, value: Any) -> Any:
    return float(value) if TYPES.get(key) is float else value


def _specificity(rule: WorkloadRule) -> tuple[int, int]:
    return len(re.split(r"[*?[]", rule.pattern, maxsplit=1)[0]), len(rule.pattern)


def _error(shown: str, line: int, text: str) -> ConfigError:
    return ConfigError(f"{shown}:{line}: {text}")


def _read(shown: str, path: Path) -> bytes:
    """Its bytes; neither a pipe nor a device holds it up."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(fd, "rb", closefd=True) as file:
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                raise ConfigError(f"{shown}: is a directory; name a TOML file")
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{shown}: is no regular file; name a TOML file")
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise ConfigError(f"{shown}: is a directory; name a TOML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file has such a name"
        raise ConfigError(f"{shown}: {reason}; name a TOML file that can be read") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{shown}: is larger than 1 MiB; name a file of settings")
    return data


def _decoded(shown: str, data: bytes) -> str:
    """With newlines alone; editors leave a byte order mark at the beginning."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _error(shown, line, "is not UTF-8; save the file as UTF-8") from None
    return text.replace("\r\n", "\n")


def _parsed(shown: str, text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        line = _line_of_error(message, text)
        message = _AT_END.sub(", and the file ends", _AT_LINE.sub("", message))
        problem = f"no valid TOML: {printable(shortened(message, _SHOWN_CHARACTERS))}"
        raise _error(shown, line, f"{problem}; see https://toml.io") from None
    except (RecursionError, ValueError):
        line = _line_of_bad_value(text)
        raise _error(shown, line, "a value is too long or too deep; shorten it") from None
    return document


def _line_of_error(message: str, text: str) -> int:
    """Where somebody would look for what the parser complains of."""
    at_line = _AT_LINE.search(message)
    if at_line is None:
        return find_lines(text).statement_of(text.count("\n") + 1)
    line = int(at_line.group(1))
    # What is there twice is noticed at its end.
    return find_lines(text).statement_of(line) if message.startswith("Cannot ") else line


def _line_of_bad_value(text: str) -> int:
    """Of the first statement that cannot be parsed for itself."""
    lines = text.split("\n")
    starts = find_lines(text).of_statement
    for start, end in zip(starts, [*starts[1:], len(lines) + 1]):
        try:
            tomllib.loads("\n".join(lines[start - 1 : end - 1]))
        except (RecursionError, ValueError):
            return start
    return 1
