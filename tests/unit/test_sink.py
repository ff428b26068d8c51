"""Lines go out whole or are counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.small_files import SMALL_BYTES, small_files
from threadtrace.delivery.errors import ReaderGone
from threadtrace.errors import OutputError
from threadtrace.output.sink import LineSink

LINES = [b'{"n":%d}\n' % number for number in range(10)]


def never() -> bool:
    return False


def test_lines_are_appended_and_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        LineSink.open(str(path), never).write(LINES)
    assert path.read_bytes() == b"".join(LINES) * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_unwritable_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory; choose another --output"):
        LineSink.open(str(tmp_path / "absent/events.jsonl"), never)


def test_a_full_disk_leaves_whole_lines_and_counts_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    sink = LineSink.open(str(path), never)
    fit = SMALL_BYTES // len(LINES[0])
    with small_files():
        sink.write(LINES)
        lost = sink.take_lost(), sink.take_lost()
        sink.write(LINES)
    assert path.read_bytes() == b"".join(LINES[:fit])
    assert lost == ({str(path): len(LINES) - fit}, {})
    assert sink.total_lost == 2 * len(LINES) - fit
    assert len(capsys.readouterr().err.splitlines()) == 1, "said once, not for each event"


def test_after_a_full_disk_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.jsonl"
    sink = LineSink.open(str(path), never)
    with small_files():
        sink.write(LINES)
        os.truncate(path, 0)
        sink.write(LINES[:3])
    assert path.read_bytes() == b"".join(LINES[:3])
    assert "can be written again" in capsys.readouterr().err


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_closed_pipe_is_told(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = LineSink(writer, "pipe", never)
    sink.write(LINES)
    os.close(reader)
    with pytest.raises(ReaderGone):
        sink.write(LINES)


def test_a_reader_that_does_not_read_does_not_hold_up_the_end(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    line = b"x" * 999 + b"\n"
    sink = LineSink(writer, "pipe", lambda: True)
    sink.write([line] * 200)  # the pipe takes 65,536 bytes
    assert 130 <= sink.take_lost()["pipe"] <= 140
    os.set_blocking(reader, False)
    assert len(os.read(reader, 1 << 20)) <= 65_536


def test_a_pipe_that_does_not_block_takes_everything(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    sink = LineSink(writer, "pipe", never)
    sink.write([b"y" * 499 + b"\n"] * 60)
    assert len(os.read(reader, 1 << 20)) == 30_000
    assert sink.total_lost == 0


def test_a_redirected_file_has_no_holes(tmp_path: Path) -> None:
    """The shell opens it not to append: after a part of a line was taken back, others follow."""
    path = tmp_path / "events.jsonl"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    sink = LineSink(fd, "standard output", never)
    with small_files():
        sink.write([b"x" * 40 + b"\n", b"y" * 40 + b"\n"])
    sink.write([b"z\n"])
    os.close(fd)
    assert path.read_bytes() == b"x" * 40 + b"\nz\n"
