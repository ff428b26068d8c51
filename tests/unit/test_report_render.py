"""The documents: whole, self-contained, and safe whatever names they carry."""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from report_builders import POD, Stream, incident, read, reported

from threadtrace.report.escaping import markdown_code, markdown_text
from threadtrace.report.incident import report_of
from threadtrace.report.render import render

HOSTILE = "<script>alert(1)</script>|`rm`\x1b[31m\u202e[a](http://e.vil)@team\n# x" + "y" * 200
VOID = {"meta", "br", "link", "input"}


class Page(HTMLParser):
    """Fails on tags that do not close; gathers what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def html(stream: Stream) -> str:
    return render(reported(stream), "html").decode()


def markdown(stream: Stream) -> str:
    return render(reported(stream), "md").decode()


def hostile() -> Stream:
    return incident((HOSTILE, f"{POD}/4f4f"), (f"v{HOSTILE}", f"{POD}/c7c7"))


@pytest.mark.parametrize("stream", [incident, hostile], ids=["plain", "hostile"])
def test_html_is_whole_and_refers_to_nothing(stream: object) -> None:
    text = html(stream())  # type: ignore[operator]
    page = Page(text)
    assert {"script", "link", "img", "iframe", "a", "object"}.isdisjoint(page.seen)
    names = {name for name, _ in page.attributes}
    assert {"href", "src", "onload", "onclick", "srcset", "style"}.isdisjoint(names)
    assert "@import" not in text
    assert "url(" not in text
    assert page.seen.count("svg") == 2


@pytest.mark.parametrize("format_name", ["html", "md"])
def test_nothing_that_moves_a_cursor_or_turns_a_line(format_name: str) -> None:
    text = render(reported(hostile()), format_name).decode()
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_names_stay_within_their_table_cell() -> None:
    text = re.sub(r"````text\n.*\n````\n", "", markdown(hostile()), flags=re.DOTALL)
    assert "<script>" not in text
    assert "@team" not in text
    assert "://" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            assert cells in (2, 4, 5), line


def test_names_do_not_end_the_block_of_code() -> None:
    stream = incident(("`" * 8, f"{POD}/4f4f"), ("x\n````", f"{POD}/c7c7"))
    text = markdown(stream)
    assert text.count("\n````") == 2
    assert re.search(r"\n````text\n.*\n````\n", text, re.DOTALL)


def test_markdown_text() -> None:
    assert markdown_text("a_b pids_max") == "a_b pids_max", "readable where nothing is special"
    assert markdown_text("_a_ *b* `c`") == r"\_a\_ \*b\* \`c\`"
    assert markdown_text("<b>&amp;") == "&lt;b&gt;&amp;amp;"
    assert markdown_text("http://x www.y @z") == "http&#58;//x www&#46;y &#64;z"
    assert markdown_text("a|b\nc") == r"a\|b\\nc"
    assert markdown_text(7) == "7"


def test_markdown_code() -> None:
    assert markdown_code("a b") == "`a b`"
    assert markdown_code("`a`` b") == "``` `a`` b ```"


def test_what_a_report_shows() -> None:
    text = markdown(incident())
    for part in (
        "# shop/checkout-7d9f/web exhausted pids_max 300",
        "## What to change",
        "2. Change podPidsLimit of the kubelet (the limit of every pod on this node)",
        "- It was not pid_max 32,468 of the node: used by 1.7 % at most",
        "| shop/checkout-7d9f/web | 12 → 299 | 99.6 % of pids_max 300",
        "java (PID 12457), 299 threads",
        "pool-#-thread-# 279",
        "| shop/checkout-7d9f/sidecar | 41 | 10:00:20 | 10:00:29 |",
        "the culprit itself",
        "█",
        "## About this recording",
    ):
        assert part in text, part
    assert "\n\n\n" not in text


def test_html_has_limit_axes_and_labels() -> None:
    text = html(incident())
    assert 'class="limit"' in text
    assert "pids_max 300 of" in text
    assert "time, UTC" in text
    assert "refused / s" in text
    assert "first refusal" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_plots_stay_within_their_frame() -> None:
    points = re.findall(r'<polygon[^>]*points="([^"]+)"', html(incident()))
    assert points
    for pair in " ".join(points).split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 960
        assert 0 <= y <= 400


def test_json_has_times_and_leaves_out_what_is_not_known() -> None:
    told = json.loads(render(reported(incident()), "json"))
    assert told["report_version"] == "1.0"
    assert told["outcome"] == "refused"
    assert told["start"] == "2026-11-24T10:00:10.100000000Z"
    assert told["victims"][0]["first"] == "2026-11-24T10:00:20.200000000Z"
    assert told["task_plot"]["times"][0].startswith("2026-11-24T10:00:0")
    assert told["culprits"][0]["process"] == {"pid": 12457, "name": "java", "threads": 299}
    calm = Stream()
    calm.node(1, 10, refused=None)
    told = json.loads(render(reported(calm), "json"))
    assert "refused_count" not in told
    assert "start" not in told


@pytest.mark.parametrize("format_name", ["html", "md", "json"])
def test_a_single_event_is_enough(format_name: str) -> None:
    stream = Stream()
    stream.started()
    assert render(reported(stream), format_name).endswith(b"\n")


@pytest.mark.parametrize("format_name", ["html", "md", "json"])
def test_refusals_alone_are_enough(format_name: str) -> None:
    stream = Stream()
    stream.add("fork.refused", 3, {}, ("web", "/w"))
    text = render(reported(stream), format_name).decode()
    assert "1 clone" in text


_STRANGE: list[Any] = [
    None, True, 0, -1, 1, 2**62, 2**53 - 1, 1e308, "", "x", "\x1b[0m", "</script>", "|", [], [1],
    [{}], {}, {"name": {}}, "a" * 5000, "9999-12-31T23:59:59.999999999Z",
    "1970-01-01T00:00:00.000000000Z",
]  # fmt: skip


def _damaged(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.02:
        return chance.choice(_STRANGE)
    if isinstance(value, dict):
        kept = ((name, inner) for name, inner in value.items() if chance.random() > 0.01)
        return {name: _damaged(inner, chance) for name, inner in kept}
    if isinstance(value, list):
        return [_damaged(inner, chance) for inner in value]
    return value


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fields_are_damaged_there_is_a_report(seed: int) -> None:
    chance = random.Random(seed)
    lines = [json.dumps(_damaged(event, chance)).encode() for event in incident().events]
    recording = read(lines)
    assert recording.nodes
    for node in recording.nodes.values():
        report = report_of(recording, node, "recording")
        Page(render(report, "html").decode())
        assert render(report, "md").startswith(b"# ")
        assert json.loads(render(report, "json"))["report_version"] == "1.0"
