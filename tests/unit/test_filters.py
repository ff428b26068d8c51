"""Which events there are at all."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import orjson
import pytest

from threadtrace.detect.toml_document import ConfigError
from threadtrace.output.filters import EVENT_NAMES, EventFilter, FilterRules, load_filters

RATES, LIMITS, REFUSED, LOSS, STARTED = (
    f"threadtrace.{name}"
    for name in ("workload.rates", "node.limits", "fork.refused", "loss", "started")
)
INFO, WARN, ERROR = 9, 13, 17


def rules_of(tmp_path: Path, text: str) -> FilterRules:
    path = tmp_path / "filters.toml"
    path.write_text(text)
    return load_filters(path)


def filter_of(tmp_path: Path, text: str) -> EventFilter:
    return EventFilter(rules_of(tmp_path, text))


@pytest.mark.parametrize("text", ["", "[event]\n[namespace]\n"])
def test_nothing_set_lets_everything_through(tmp_path: Path, text: str) -> None:
    admission = filter_of(tmp_path, text)
    for name in (RATES, LIMITS, REFUSED, LOSS, STARTED):
        assert admission.admits(name, INFO, "shop")
        assert admission.admits(name, INFO, None)
    assert EventFilter().admits(RATES, INFO, None)


def test_names(tmp_path: Path) -> None:
    admission = filter_of(
        tmp_path, '[event]\nallow = ["threadtrace.*"]\ndeny = ["*.rates", "threadtrace.node.*"]\n'
    )
    assert admission.admits(REFUSED, ERROR, None)
    assert not admission.admits(RATES, INFO, "shop")
    assert not admission.admits(LIMITS, WARN, None)


def test_what_explains_the_others_always_comes(tmp_path: Path) -> None:
    admission = filter_of(
        tmp_path, 'minimum_severity = "fatal"\n[event]\nallow = ["threadtrace.fork.refused"]\n'
    )
    assert admission.admits(LOSS, ERROR, None)
    assert admission.admits(STARTED, INFO, None)
    assert not admission.admits(REFUSED, ERROR, "shop")


def test_the_names_of_events_are_those_of_the_schema() -> None:
    schema = orjson.loads(files("threadtrace.schema").joinpath("events.schema.json").read_bytes())
    named = schema["properties"]["event"]["properties"]["name"]["enum"]
    assert sorted(EVENT_NAMES) == sorted(named)


def test_namespaces(tmp_path: Path) -> None:
    admission = filter_of(
        tmp_path, '[namespace]\nallow = ["shop", "team-*"]\ndeny = ["team-noise"]\n'
    )
    assert admission.admits(RATES, INFO, "shop")
    assert admission.admits(RATES, INFO, "team-a")
    assert not admission.admits(RATES, INFO, "team-noise")
    assert not admission.admits(RATES, INFO, "kube-system")
    assert admission.admits(RATES, INFO, None), "a unit of the host is in no namespace"


def test_severity(tmp_path: Path) -> None:
    admission = filter_of(tmp_path, 'minimum_severity = "WARN"\n')
    assert [admission.admits(RATES, number, None) for number in (INFO, WARN, ERROR)] == [
        False,
        True,
        True,
    ]


def test_rate(tmp_path: Path) -> None:
    now = [50.0]
    rules = rules_of(tmp_path, "max_workload_events_per_second = 5\n")
    admission = EventFilter(rules, lambda: now[0])
    admitted = [admission.admits(RATES, INFO, None) for _ in range(80)]
    assert admitted == [True] * 50 + [False] * 30
    assert (admission.take_lost(), admission.take_lost()) == (30, 0)
    assert all(admission.admits(name, INFO, None) for name in (REFUSED, LIMITS, LOSS))
    now[0] += 1.0
    assert [admission.admits(RATES, INFO, None) for _ in range(6)] == [True] * 5 + [False]
    now[0] += 3_600.0
    assert sum(admission.admits(RATES, INFO, None) for _ in range(100)) == 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evnt = 1", ":1: unknown evnt; there are event, namespace, "),
        ("\n[event]\nallowed = []", ":3: unknown allowed; there are allow, deny"),
        ('[event]\nallow = "threadtrace.*"', ":2: allow has to be a list of texts"),
        (
            '[event]\ndeny = [\n"threadtrace.loss", "threadtrace.workload.strted"]',
            ":2: no event is ",
        ),
        ('[event]\nallow = ["workload.*"]', "called workload.*; there are threadtrace.started, "),
        ("[namespace]\ndeny = [1]", ":2: deny has to be a list of texts"),
        ("event = 3", ":1: event has to be a table; write [event]"),
        ('minimum_severity = "LOUD"', ":1: minimum_severity has to be one of INFO, WARN"),
        ("minimum_severity = 13", ":1: minimum_severity has to be one of"),
        ("max_workload_events_per_second = 0", ":1: max_workload_events_per_second has to be"),
        ("max_workload_events_per_second = true", "has to be a number above 0"),
        ("max_workload_events_per_second = nan", "has to be a number above 0"),
        ("[event", "no valid TOML"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules_of(tmp_path, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; name a TOML file"):
        load_filters(tmp_path / "absent.toml")
