"""Thresholds out of one TOML file: for all workloads, for a namespace, for single workloads."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from threadtrace.detect.config_checks import DETECT, TABLES, TYPES, Check
from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.toml_document import load_document

# A node has some thousands of workloads at a time; names of those that are gone leave.
_MAX_CACHED = 4_096


# Each container that starts adds a process of ten threads to its runtime's service: a node that
# boots with a hundred pods adds a thousand.
_RUNTIMES = frozenset(
    f"{name}.service"
    for name in ("containerd", "crio", "docker", "k3s", "k3s-agent", "rke2-agent", "rke2-server")
)
_OF_RUNTIMES: Mapping[str, Any] = {"burst_tasks": 2_000, "jump_tasks": 5_000, "leak_tasks": 2_000}


_FOR_ALL, _FOR_RUNTIMES = Thresholds(), Thresholds(**_OF_RUNTIMES)


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
        self._has_settings = bool(defaults or namespaces or workloads)
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
        if not self._has_settings:  # no name has to be kept for it
            return _FOR_RUNTIMES if name in _RUNTIMES else _FOR_ALL
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
    document = load_document(path)
    problems = sorted(Check(document.values, document.lines()).problems())
    if problems:
        raise document.error(*problems[0])
    return DetectionConfig(*(_values(document.values.get(table, {})) for table in TABLES))


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
