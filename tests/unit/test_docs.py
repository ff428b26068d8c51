"""What the documentation says of the events is what the schema says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from threadtrace.probe.plan import HookKind

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads(files("threadtrace").joinpath("schema/events.schema.json").read_text())
EVENTS = (ROOT / "docs/events.md").read_text()


def property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "properties":
                yield from inner
            yield from property_names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from property_names(inner)


def test_every_field_and_event_is_documented() -> None:
    words = set(re.findall(r"[A-Za-z0-9_]+", EVENTS))
    assert set(property_names(SCHEMA)) <= words
    for name in SCHEMA["properties"]["event"]["properties"]["name"]["enum"]:
        assert f"`{name}`" in EVENTS


def test_every_place_of_a_loss_is_documented() -> None:
    places = SCHEMA["$defs"]["threadtrace.loss"]["properties"]["where"]["enum"]
    assert all(f"| `{place}` |" in EVENTS for place in places)


def test_every_kind_of_hook_is_in_the_schema() -> None:
    hooks = SCHEMA["$defs"]["threadtrace.started"]["properties"]["hooks"]["items"]
    assert set(hooks["properties"]["kind"]["enum"]) == {kind.value for kind in HookKind}
