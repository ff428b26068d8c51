"""When Prometheus says that an alert fires."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from e2e.test_prometheus import Prometheus


@dataclass
class Alerts:
    """Call it again and again; when each alert fired first, since the epoch."""

    prometheus: Prometheus
    fired: dict[str, float] = field(default_factory=dict)
    whom: dict[str, str] = field(default_factory=dict)
    """The pod that the first of each was about, if any."""

    def __call__(self) -> None:
        for alert in self.prometheus.get("alerts")["alerts"]:
            name = alert["labels"]["alertname"]
            if alert["state"] == "firing" and name not in self.fired:
                self.fired[name] = time.time()
                self.whom[name] = alert["labels"].get("pod", "")
