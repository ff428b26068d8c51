"""What is wrong with a recording is said."""

from __future__ import annotations

from threadtrace.report.notes import Notes
from threadtrace.screen.recording_words import recording_words


def test_a_whole_recording_of_one_node_needs_no_words() -> None:
    assert recording_words(Notes(lines=7, events=7), "a", ["a"]) == []


def test_each_fault_is_told() -> None:
    notes = Notes(damage="CRC check failed", is_cut_off=True, not_json=3, too_long=1)
    words = recording_words(notes, "a", ["a", "b", "c\x1b"])
    assert words == [
        "the gzip file is damaged (CRC check failed): what follows is not shown",
        "the recording is cut off: its end is missing",
        "4 lines left out: no events",
        "shown is a alone; --node chooses of: b, c\\x1b",
    ]
