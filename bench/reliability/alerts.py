"""When Prometheus says that an alert fires."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from e2e.test_prometheus import Prometheus


@dataclass
class Alerts:
    """Call it again and again; when each alert about one of the pods fired first.

    Others may test on the same machine, and have alerts of their own.
    """

    prometheus: Prometheus
    pods: Collection[str]
    fired: dict[str, float] = field(default_factory=dict)
    """Since the epoch."""
    whom: dict[str, str] = field(default_factory=dict)
    """The pod that the first of each was about."""

    def __call__(self) -> None:
        for alert in self.prometheus.get("alerts")["alerts"]:
            name, pod = alert["labels"]["alertname"], alert["labels"].get("pod")
            if alert["state"] == "firing" and pod in self.pods and name not in self.fired:
                self.fired[name] = time.time()
                self.whom[name] = pod
