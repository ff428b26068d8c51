"""Asking a running agent over HTTP, with the time that it took."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_SECONDS = 20.0


class Answer(NamedTuple):
    status: int
    body: bytes
    seconds: float
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Agent:
    """Where it listens, and what it wants to see."""

    address: str
    token: str | None = None
    ca_file: str | None = None

    def get(self, path: str, **headers: str) -> Answer:
        """A connection of its own for each question."""
        if self.token is not None and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        start = time.monotonic()
        connection = self._connection()
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, body, time.monotonic() - start, told)

    def is_up(self) -> bool:
        """Whether it counts."""
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        text = self.get("/metrics").body.decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _connection(self) -> http.client.HTTPConnection:
        if self.ca_file is None:
            return http.client.HTTPConnection(self.address, timeout=_TIMEOUT_SECONDS)
        context = ssl.create_default_context(cafile=self.ca_file)
        return http.client.HTTPSConnection(self.address, timeout=_TIMEOUT_SECONDS, context=context)
