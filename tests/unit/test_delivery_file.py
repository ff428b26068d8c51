"""Files: rotation, other people's renames, full disks."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from support.small_files import SMALL_BYTES, small_files
from threadtrace.delivery.buffer import Rank
from threadtrace.delivery.file import FileOutlet, Rotation
from threadtrace.errors import OutputError

LINES = [b'{"n":%d}\n' % number for number in range(10)]
BUFFER_BYTES = 1 << 20


def opened(path: Path, rotation: Rotation | None = None, **others: object) -> FileOutlet:
    outlet = FileOutlet(str(path), BUFFER_BYTES, rotation, **others)  # type: ignore[arg-type]
    outlet.open()
    return outlet


def test_lines_are_appended_and_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        outlet = opened(path)
        outlet.write(LINES, Rank.RATES)
        outlet.close()
    assert path.read_bytes() == b"".join(LINES) * 2
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["absent/events.jsonl", "."])
def test_an_unwritable_file_is_told_with_the_remedy(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"cannot write to .*; choose another --output"):
        opened(tmp_path / name)


def test_on_a_full_disk_lines_wait_and_the_file_ends_with_a_whole_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    outlet = opened(path)
    fit = SMALL_BYTES // len(LINES[0])
    with small_files():
        outlet.write(LINES, Rank.RATES)
        outlet.write(LINES, Rank.RATES)
        assert path.read_bytes() == b"".join(LINES[:fit])
        assert (outlet.written, len(outlet.buffer), outlet.take_lost()) == (fit, 20 - fit, 0)
        assert not outlet.state.is_connected
    outlet.flush()
    assert path.read_bytes() == b"".join(LINES * 2), "nothing is lost, nothing comes twice"
    assert outlet.state.is_connected
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "events wait" in said[0]
    assert "can be written again" in said[1]


def test_what_finds_no_room_is_counted(tmp_path: Path) -> None:
    outlet = FileOutlet(str(tmp_path / "events.jsonl"), 1 << 12)
    outlet.open()
    with small_files():
        outlet.write(LINES * 50, Rank.RATES)
    fit = SMALL_BYTES // len(LINES[0])
    assert outlet.take_lost() == 500 - fit - len(outlet.buffer) > 0
    assert outlet.take_lost() == 0


def test_rotation_by_size(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    outlet = opened(path, Rotation(max_bytes=30, kept_files=2))
    for line in LINES:
        outlet.write([line], Rank.RATES)
    kept = [(tmp_path / f"events.jsonl{end}").read_bytes() for end in ("", ".1", ".2")]
    assert kept == [b"".join(LINES[9:]), b"".join(LINES[6:9]), b"".join(LINES[3:6])]
    assert len(list(tmp_path.iterdir())) == 3
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_rotation_by_age(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    now = [100.0]
    outlet = opened(path, Rotation(max_seconds=60.0), clock=lambda: now[0])
    outlet.write(LINES[:1], Rank.RATES)
    now[0] += 59.9
    outlet.write(LINES[1:2], Rank.RATES)
    assert path.read_bytes() == b"".join(LINES[:2])
    now[0] += 0.2
    outlet.write(LINES[2:3], Rank.RATES)
    assert path.read_bytes() == LINES[2]
    assert (tmp_path / "events.jsonl.1").read_bytes() == b"".join(LINES[:2])


def test_a_file_that_cannot_be_put_aside_goes_on_growing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    (tmp_path / "events.jsonl.1").mkdir()
    (tmp_path / "events.jsonl.1" / "something").touch()
    outlet = opened(path, Rotation(max_bytes=20, kept_files=1))
    for line in LINES:
        outlet.write([line], Rank.RATES)
    assert path.read_bytes() == b"".join(LINES)
    assert capsys.readouterr().err.count("cannot be rotated") == 1


def test_a_directory_among_those_put_aside_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    (tmp_path / "events.jsonl.1").mkdir()
    outlet = opened(path, Rotation(max_bytes=20))
    for line in LINES:
        outlet.write([line], Rank.RATES)
    assert path.read_bytes() == b"".join(LINES)
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "events.jsonl.1"]
    told = capsys.readouterr().err
    assert f"events.jsonl cannot be rotated: {path}.1 is no file; it goes on growing" in told
    assert told.count("cannot be rotated") == 1


def test_somebody_renames_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    outlet = opened(path)
    outlet.write(LINES[:3], Rank.RATES)
    path.rename(tmp_path / "aside")
    outlet.write(LINES[3:6], Rank.RATES)
    path.unlink()
    outlet.write(LINES[6:], Rank.RATES)
    assert (tmp_path / "aside").read_bytes() == b"".join(LINES[:3])
    assert path.read_bytes() == b"".join(LINES[6:])
    assert path.stat().st_mode & 0o777 == 0o600


def test_somebody_truncates_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    outlet = opened(path)
    outlet.write(LINES[:3], Rank.RATES)
    os.truncate(path, 0)
    outlet.write(LINES[3:], Rank.RATES)
    assert path.read_bytes() == b"".join(LINES[3:])


def test_the_directory_is_gone_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "log"
    directory.mkdir()
    path = directory / "events.jsonl"
    outlet = opened(path)
    outlet.write(LINES[:3], Rank.RATES)
    directory.rename(tmp_path / "aside")
    outlet.write(LINES[3:6], Rank.RATES)
    assert "cannot be made anew" in capsys.readouterr().err
    assert (tmp_path / "aside" / "events.jsonl").read_bytes() == b"".join(LINES[:6])
    directory.mkdir()
    outlet.write(LINES[6:], Rank.RATES)
    assert path.read_bytes() == b"".join(LINES[6:])


def test_a_redirected_file_has_no_holes(tmp_path: Path) -> None:
    """Standard output that the shell opened not to append: a part of a line is taken back there."""
    path = tmp_path / "events.jsonl"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    outlet = FileOutlet("standard output", BUFFER_BYTES, fd=fd)
    outlet.open()
    with small_files():
        outlet.write([b"x" * 40 + b"\n", b"y" * 40 + b"\n"], Rank.KEPT)
    outlet.write([b"z\n"], Rank.KEPT)
    os.truncate(path, 0)
    outlet.write([b"last\n"], Rank.KEPT)
    assert path.read_bytes() == b"last\n"
    outlet.close()
    assert os.write(fd, b"") == 0, "what was inherited stays open"
    os.close(fd)


def test_without_a_new_file_the_old_ones_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where no descriptor is left: rotation must not shift them away, one after the other."""
    path = tmp_path / "events.jsonl"
    for number in range(1, 4):
        (tmp_path / f"events.jsonl.{number}").write_text(f"old {number}\n")
    outlet = opened(path, Rotation(max_bytes=20, kept_files=5))
    outlet.write(LINES[:1], Rank.RATES)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        for line in LINES[1:]:
            outlet.write([line], Rank.RATES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert capsys.readouterr().err.count("cannot be made anew") == 1
    assert (tmp_path / "events.jsonl.2").read_text() == "old 1\n", "shifted once"
    assert (tmp_path / "events.jsonl.1").read_bytes() == b"".join(LINES)
    outlet.write([b"last\n"], Rank.RATES)
    assert path.read_bytes() == b"last\n"


def test_a_named_pipe_in_its_place_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    outlet = opened(path)
    outlet.write(LINES[:2], Rank.RATES)
    path.rename(tmp_path / "aside")
    os.mkfifo(path)
    outlet.write(LINES[2:4], Rank.RATES)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    outlet.write(LINES[4:], Rank.RATES)
    os.close(reader)
    assert (tmp_path / "aside").read_bytes() == b"".join(LINES)
    assert capsys.readouterr().err.count("cannot be made anew") == 1


def test_one_that_may_not_be_written_to_waits_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file system that was remounted read-only ends no other output."""
    path = tmp_path / "events.jsonl"
    outlet = opened(path)
    write = os.write

    def refuse(fd: int, data: bytes) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "write", refuse)
    outlet.write(LINES, Rank.KEPT)
    monkeypatch.setattr(os, "write", write)
    assert capsys.readouterr().err.count("Read-only file system") == 1
    outlet.flush()
    assert path.read_bytes() == b"".join(LINES)
