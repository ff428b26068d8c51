"""What is written where no live view can be: tables and JSON, one picture a sample."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import snapshot, workload
from screen_builders import HOSTILE, IDLE, NOW, explosion, forecast, named, refusal

from threadtrace.feed import About
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import Happenings, Loss
from threadtrace.screen.board import Choice, chosen
from threadtrace.screen.views import JsonView, PlainView, View
from threadtrace.text import clean


def fed(view: View, about: About = About("node-1")) -> None:  # noqa: B008
    with view:
        view.on_start(about)
        view.on_happenings(Happenings([], [refusal()], [explosion()]))
        shots = workload(), workload(named("calm"), counts=IDLE, growth=0.0)
        view.on_snapshot(snapshot(*shots)._replace(losses=(Loss("recorder", 2),)))
        view.on_snapshot(snapshot(*shots)._replace(time_ns=NOW + 10**9))


def samples(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().out.split("\n")[:-1]]


def test_an_object_a_sample(capfd: pytest.CaptureFixture[str]) -> None:
    fed(JsonView(Choice(), lambda: False))
    first, second = samples(capfd)
    assert [entry["workload"]["name"] for entry in first["workloads"]] == [
        "shop/checkout-7d9f/web",
        "shop/calm/web",
    ]
    assert first["node"]["tasks_count"] == 31_635
    assert first["workloads"][0]["tasks_count"] == 501
    assert [entry["refused_count"] for entry in first["refusals"]] == [1]
    assert second["refusals"] == [], "told once"
    assert len(first["explosions"]) == len(second["explosions"]) == 1, "as long as it goes on"
    assert first["losses"] == second["losses"] == [{"where": "recorder", "lost_count": 2}]


def test_a_filter_holds_for_json_too(capfd: pytest.CaptureFixture[str]) -> None:
    fed(JsonView(chosen("calm", "danger"), lambda: False))
    for sample in samples(capfd):
        assert [entry["workload"]["name"] for entry in sample["workloads"]] == ["shop/calm/web"]


def test_what_is_not_counted_is_absent(capfd: pytest.CaptureFixture[str]) -> None:
    missing = ({"what": "refusals", "effect": "not counted", "remedy": "a newer kernel"},)
    fed(JsonView(Choice(), lambda: False), About(counts_refusals=False, missing=missing))
    for sample in samples(capfd):
        assert "refused_count" not in sample["node"]
        assert "refused_count" not in sample["workloads"][0]
        assert sample["missing"] == [dict(missing[0])]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_valid_json(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    view = JsonView(Choice(), lambda: False)
    about = named(clean(name))
    shot = workload(about)._replace(state=State.EXPLODING, forecast=forecast(0.0))
    view.on_start(About(clean(name)))
    view.on_happenings(Happenings([], [refusal(about)], [explosion(about)]))
    view.on_snapshot(snapshot(shot))
    (sample,) = samples(capfd)
    assert sample["workloads"][0]["seconds_to_exhaustion"] == 0.0


def test_refusals_between_two_samples_are_bounded(capfd: pytest.CaptureFixture[str]) -> None:
    view = JsonView(Choice(), lambda: False)
    view.on_start(About())
    view.on_happenings(Happenings([], [refusal(refused_count=n) for n in range(1_000)], []))
    view.on_snapshot(snapshot())
    (sample,) = samples(capfd)
    assert [entry["refused_count"] for entry in sample["refusals"]] == list(range(936, 1_000))


def test_tables_one_below_the_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    missing = ({"what": "RLIMIT_NPROC", "effect": "its users are unseen", "remedy": "be root"},)
    fed(PlainView(Choice(), "a file", ("a note",)), About("node-1", missing=missing))
    text = capsys.readouterr().out
    first, second, rest = text.split("\n\n")
    assert rest == ""
    for table in (first, second):
        lines = table.splitlines()
        assert lines[0].startswith("node-1  a file  2023-11-14")
        assert "a note" in lines
        assert "not seen: RLIMIT_NPROC: its users are unseen (be root)" in lines
        assert all(len(line) <= 160 for line in lines)
        assert "\x1b" not in table, "no colours in a file"
        assert lines[-2].startswith("shop/checkout-7d9f/web")
        assert lines[-1].startswith("shop/calm/web")


def test_a_file_without_utf_8(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setenv("COLUMNS", "80")
    sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
    fed(PlainView(Choice(), "live"))
    text = capsys.readouterr().out
    assert "####" in text, "the bar"
    assert "?" not in text.splitlines()[1]
