"""Recordings as they come: whole, cut off, damaged, mixed, out of order. Each is read and said."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from report_builders import AGENT, LEAK, POD, Stream, incident, ns, read, reported

from threadtrace.output.events import SCHEMA_VERSION
from threadtrace.report.faults import RecordingUnreadable, RecordingWithoutEvents
from threadtrace.report.lines import read_lines
from threadtrace.report.loading import load
from threadtrace.report.notes import Notes
from threadtrace.report.reading import KNOWN_MINOR, MAJOR
from threadtrace.report.runs import SequenceRanges

OTHER_AGENT = "7a1b0000-8a62-4c17-989f-2e6a51bb108b"


def remarks(lines: list[bytes]) -> str:
    return "\n".join(reported(lines).about.remarks)


def test_this_version_reads_what_it_writes() -> None:
    major, minor = map(int, SCHEMA_VERSION.split("."))
    assert major == MAJOR
    assert minor <= KNOWN_MINOR


def test_a_sound_recording_has_no_remarks() -> None:
    assert reported(incident()).about.remarks == ()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_and_gzip_tell_the_same(tmp_path: Path, pack: type[bytes]) -> None:
    plain = incident().write(tmp_path / "plain")
    (tmp_path / "told").write_bytes(pack(plain.read_bytes()))
    told, expected = load(str(tmp_path / "told")), load(str(plain))
    assert told.notes.events == expected.notes.events == len(incident().events)
    assert told.notes.is_compressed == (pack is gzip.compress)


def test_gzip_members_one_after_the_other(tmp_path: Path) -> None:
    lines = incident().lines
    halves = b"\n".join(lines[:50]) + b"\n", b"\n".join(lines[50:]) + b"\n"
    (tmp_path / "two").write_bytes(b"".join(map(gzip.compress, halves)))
    assert load(str(tmp_path / "two")).notes.events == len(lines)


def test_cut_off_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = incident().write(tmp_path / "cut")
    path.write_bytes(path.read_bytes()[:-20])
    notes = load(str(path)).notes
    assert notes.is_cut_off
    assert notes.not_json == 0
    assert notes.events == len(incident().events) - 1


def test_a_last_line_without_its_end_is_an_event(tmp_path: Path) -> None:
    path = incident().write(tmp_path / "whole")
    path.write_bytes(path.read_bytes()[:-1])
    notes = load(str(path)).notes
    assert not notes.is_cut_off
    assert notes.events == len(incident().events)


def test_gzip_that_is_cut_off_or_damaged(tmp_path: Path) -> None:
    noise = random.Random(7)
    stream = incident()
    for event in stream.events:
        event["message"] = f"{noise.random()}"  # hard to compress: blocks of some size
    packed = gzip.compress(b"".join(line + b"\n" for line in stream.lines))
    (tmp_path / "cut").write_bytes(packed[: len(packed) * 3 // 4])
    notes = load(str(tmp_path / "cut")).notes
    assert notes.is_cut_off
    assert 0 < notes.events < len(stream.events)

    (tmp_path / "bad").write_bytes(gzip.compress(stream.lines[0] + b"\n") + b"no gzip at all")
    notes = load(str(tmp_path / "bad")).notes
    assert notes.damage is not None
    assert notes.events == 1


def test_lines_that_are_no_events_are_counted() -> None:
    lines = incident().lines
    other = [b"plain words", b"{", b"[1,2]", b"17", b"null", b'{"level":"info"}']
    lines[10:10] = other
    notes = read(lines).notes
    assert (notes.not_json, notes.not_events) == (2, 4)
    assert notes.events == len(incident().events)
    said = remarks(lines)
    assert "not JSON: 2 lines" in said
    assert "not events of threadtrace: 4 lines" in said


def test_lines_without_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * (3 << 20) + b"\n" + b"\n".join(incident().lines))
    notes = load(str(path)).notes
    assert notes.too_long == 1
    assert notes.events == len(incident().events)


def test_text_that_is_not_utf8_is_read() -> None:
    lines = [line.replace(b"shop/checkout", b"shop\xff/checkout") for line in incident().lines]
    assert reported(lines).culprits[0].name == "shop\ufffd/checkout-7d9f/web"


@pytest.mark.parametrize("value", [None, True, -1, 1.5, "12", [], [7], {}, 1 << 63], ids=repr)
def test_fields_of_another_kind_are_not_known(value: object) -> None:
    """Whatever stands in a field: a report, no failure."""
    stream = incident()
    for event in stream.events:
        event["threadtrace"] = {
            name: value if name != "explosion_id" else "x-1" for name in event["threadtrace"]
        }
        event["process"] = value
    report = reported(stream)
    assert report.about.events_count == len(stream.events)
    assert report.tasks_peak is None


def test_envelopes_that_are_not_sound_are_no_events() -> None:
    stream = Stream()
    for _ in range(7):
        stream.node(1, 100)
    events = stream.events
    events[1]["timestamp"] = "yesterday"
    events[2]["timestamp"] = "2026-13-01T00:00:00.000000000Z"
    events[3]["event"]["sequence"] = 0
    del events[4]["agent"]
    events[5]["schema_version"] = "one"
    events[6]["event"] = "threadtrace.started"
    notes = read(stream.lines).notes
    assert (notes.events, notes.not_events) == (1, 6)


def test_newer_minor_version() -> None:
    stream = incident()
    for event in stream.events:
        event["schema_version"] = "1.7"
        event["threadtrace"]["of_the_future"] = {"a": 1}
    stream.add("weather", 41, {"sun": True})["schema_version"] = "1.7"
    report = reported(stream)
    assert report.refused_count == 101
    said = "\n".join(report.about.remarks)
    assert "newer threadtrace (schema_version 1.7" in said
    assert "not known here: 1 event called threadtrace.weather" in said
    assert "Missing" not in said, "an event that is not known is no gap"


def test_newer_major_version_is_refused(tmp_path: Path) -> None:
    stream = incident()
    for event in stream.events:
        event["schema_version"] = "2.0"
    path = stream.write(tmp_path / "future.jsonl")
    with pytest.raises(RecordingWithoutEvents, match=r"schema_version 2\.0.*reads 1\.x") as caught:
        load(str(path))
    assert caught.value.exit_code == 65


def test_some_events_of_another_major_version_are_said() -> None:
    stream = incident()
    stream.node(50, 100)["schema_version"] = "2.3"
    assert "1 event of schema_version 2.3, which" in remarks(stream.lines)


def test_any_order_tells_the_same() -> None:
    lines = incident().lines
    expected = reported(lines)
    random.Random(3).shuffle(lines)
    told = reported(lines)
    assert told.summary == expected.summary
    assert told.culprits == expected.culprits
    assert told.victims == expected.victims
    assert told.timeline == expected.timeline
    assert told.task_plot == expected.task_plot
    assert any("Out of order" in remark for remark in told.about.remarks)


def test_events_that_are_there_twice_count_once() -> None:
    lines = incident().lines
    told = reported(lines + lines[20:50])
    assert told.refused_count == 101
    assert "counted once: 30 events" in "\n".join(told.about.remarks)


def test_gaps_are_lost_events() -> None:
    lines = incident().lines
    del lines[30:37]
    del lines[60]
    assert "Missing: 8 events" in remarks(lines)


def test_refusals_are_exact_whatever_events_are_lost() -> None:
    """Each event tells the number so far: only what the first and last lack is not known."""
    stream = incident()
    of_leak = [
        event
        for event in stream.events
        if event["event"]["name"] == "threadtrace.fork.refused"
        and event["threadtrace"]["workload"]["name"] == LEAK[0]
    ]
    for event in of_leak[2:-1]:
        stream.events.remove(event)
    victims = {victim.name: victim.refused_count for victim in reported(stream).victims}
    assert victims[LEAK[0]] == 60


def test_a_beginning_within_a_run_is_no_gap() -> None:
    said = remarks(incident().lines[40:])
    assert "begins within a run, at event 41" in said
    assert "Missing" not in said


def test_a_record_of_the_flight_recorder() -> None:
    """The event of the start, days ago, and then the last minutes."""
    stream = incident()
    stream.events[0]["timestamp"] = "2026-11-20T07:00:00.000000000Z"
    report = reported([stream.lines[0], *stream.lines[40:]])
    said = "\n".join(report.about.remarks)
    assert "begins within a run, at event 41" in said
    assert "Missing" not in said
    assert report.about.kernel_release == "6.12.1"
    assert report.about.start_ns > ns(0)
    assert report.timeline[0].time_ns > ns(0)
    plot = report.task_plot
    assert plot is not None
    assert plot.times_ns[0] >= ns(0)


def test_a_record_with_lost_events() -> None:
    lines = incident().lines
    assert "Missing: 3 events" in remarks([lines[0], *lines[40:60], *lines[63:]])


def test_several_runs() -> None:
    first, second = incident(), Stream(OTHER_AGENT)
    second.started(100)
    for at in range(101, 110):
        second.node(at, 200)
    report = reported(first.lines + second.lines)
    assert report.about.runs_count == 2
    assert "threadtrace ran 2 times" in "\n".join(report.about.remarks)
    assert "Missing" not in "\n".join(report.about.remarks)
    assert any(moment.text == "a new run of threadtrace begins" for moment in report.timeline)


def test_several_nodes_the_worst_leads() -> None:
    calm = Stream(OTHER_AGENT, node="node-2")
    for at in range(1, 30):
        calm.node(at, 200)
    lines = calm.lines + incident().lines
    report = reported(lines)
    assert report.node == "node-1"
    assert [(other.name, other.outcome.value) for other in report.about.other_nodes] == [
        ("node-2", "calm")
    ]
    assert reported(lines, "node-2").tasks_peak == 200


def test_the_clock_goes_back() -> None:
    stream = Stream()
    for at in (10, 11, 12, 5, 6, 13):
        stream.node(at, 100 + at)
    assert "The clock went back 1 time, by 7 s at most" in remarks(stream.lines)


def test_losses_are_said() -> None:
    stream = incident()
    stream.add("loss", 12, {"where": "cgroups_map", "lost_count": 17})
    stream.add("loss", 13, {"where": "cgroups_map", "lost_count": 6})
    report = reported(stream)
    assert "threadtrace lost 23 of cgroups_map" in "\n".join(report.about.remarks)
    assert any(moment.kind == "loss" for moment in report.timeline)


def test_what_the_agent_missed_is_said() -> None:
    stream = Stream()
    stream.started(missing=[{"what": "BTF", "effect": "slower", "remedy": "a newer kernel"}])
    stream.node(1, 100, refused=None)
    report = reported(stream)
    said = "\n".join(report.about.remarks)
    assert "Missing on that node: BTF: slower (a newer kernel)" in said
    assert "Refused clones were not counted" in said
    assert report.refused_count is None, "unknown is not 0"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "is empty"),
        (b"hello\nworld\n", "holds no event of threadtrace in 2 lines"),
        (bytes(range(256)) * 40, "holds no event"),
        (b"\x1f\x8b" + b"\0" * 40, "damaged gzip"),
        (gzip.compress(b""), "is empty"),
    ],
    ids=["empty", "blank", "words", "binary", "not gzip", "empty gzip"],
)
def test_nothing_to_read(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingWithoutEvents, match=words) as caught:
        load(str(path))
    assert caught.value.exit_code == 65


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(RecordingUnreadable) as caught:
            load(str(path))
        assert caught.value.exit_code == 66


def test_a_byte_order_mark_is_no_part_of_the_line(tmp_path: Path) -> None:
    path = tmp_path / "marked"
    path.write_bytes(b"\xef\xbb\xbf{}\n")
    assert list(read_lines(str(path), Notes())) == [b"{}"]


def test_sequence_ranges() -> None:
    ranges = SequenceRanges()
    numbers = list(range(5, 1005))
    random.Random(11).shuffle(numbers)
    assert all(ranges.add(number) for number in numbers)
    assert not any(ranges.add(number) for number in (5, 500, 1004))
    assert (ranges.first, ranges.missing) == (5, 0)
    ranges.add(1010)
    assert ranges.missing == 5


def test_sequence_ranges_are_bounded() -> None:
    ranges = SequenceRanges()
    for number in range(1, 40_001, 2):
        ranges.add(number)
    assert ranges.missing == 19_999
    assert len(ranges._starts) <= 4097


def test_explosion_events_that_say_nothing() -> None:
    stream = Stream()
    stream.add("explosion.started", 3, {}, LEAK)
    stream.add("explosion.ended", 4, {}, LEAK)
    report = reported(stream)
    assert report.outcome.value == "exploded"
    assert len(report.culprits) == 1
    assert json.dumps(report.summary)
    assert POD not in report.headline
    assert report.about.runs_count == 1
    assert report.task_plot is None
    assert AGENT not in report.headline
