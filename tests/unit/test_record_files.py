"""Records on disk: the oldest go first, strangers stay, and what a killed agent left is read."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from pathlib import Path

import pytest

from support.recording import (
    SMALL,
    Recording,
    names_of,
    rates,
    with_options,
)
from threadtrace.errors import OutputError, UsageError
from threadtrace.output.record_files import RecordDirectory
from threadtrace.output.record_recovery import whole_bytes
from threadtrace.output.record_window import compressed
from threadtrace.output.recorder import RecorderOptions


def test_the_oldest_records_go_first(tmp_path: Path) -> None:
    old = [f"threadtrace-2026010{day}T000000Z-01234567-refused.jsonl.gz" for day in range(1, 6)]
    for name in old:
        (tmp_path / name).write_bytes(bytes(100_000))
    # What must not be touched: other names, a link, a directory, what another agent writes.
    target = tmp_path / "precious"
    target.write_bytes(bytes(300_000))
    (tmp_path / "threadtrace-20250101T000000Z-01234567-refused.jsonl.gz").symlink_to(target)
    (tmp_path / "threadtrace-20250102T000000Z-01234567-refused.jsonl.gz").mkdir()
    (tmp_path / "threadtrace-20250103T000000Z-01234567-refused.jsonl.gz.bak").write_bytes(b"x")
    (tmp_path / "threadtrace-later-01234567-refused.jsonl.gz").write_bytes(b"x")
    options = with_options(max_window_bytes=10_000, max_file_bytes=100_000, max_total_bytes=600_000)
    before = {entry.name for entry in tmp_path.iterdir()} - set(old)
    recording = Recording(tmp_path, options)
    recording.refuse()
    recording.recorder.close()
    left = set(recording.names())
    assert before < left
    # 256 KiB are asked for at once: of 500,000 bytes 340,000 may stay.
    assert sorted(left & set(old)) == old[2:]
    assert target.stat().st_size == 300_000


def test_nothing_is_removed_where_that_would_not_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "threadtrace-20260101T000000Z-01234567-refused.jsonl.gz"
    old.write_bytes(bytes(1000))
    recording = Recording(tmp_path, with_options(min_free_bytes=1 << 60))
    recording.refuse()
    recording.until_calm()
    assert recording.only() == old
    assert recording.recorder.take_lost() > 60
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "have to stay free" in error


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("missing", "file"):
        with pytest.raises(OutputError, match="make a directory there") as caught:
            RecordDirectory(str(tmp_path / name), 1 << 20)
        assert caught.value.exit_code == os.EX_IOERR


def test_a_directory_that_vanishes_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "records"
    directory.mkdir()
    recording = Recording(directory)
    recording.refuse()
    recording.only().unlink()
    directory.rmdir()
    for _ in range(3):
        recording.tick(rates(1))
    error = capsys.readouterr().err
    assert error.count("\n") == 1, "said once"
    assert "No such file or directory" in error
    directory.mkdir()
    recording.tick(rates(2))
    assert "again" in capsys.readouterr().err
    recording.recorder.close()
    names = names_of(recording.only())
    assert names[:2] == ["started", "fork.refused"], "all of it is there"
    assert names.count("workload.rates") == 4
    assert recording.recorder.take_lost() == 0


def test_a_directory_that_stays_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "records"
    directory.mkdir()
    recording = Recording(directory)
    recording.tick(rates(1))
    directory.rmdir()
    recording.refuse()
    recording.until_calm()
    assert recording.recorder.take_lost() == 2 + 1 + 60, "as many as were to be written"
    assert recording.recorder.take_lost() == 0
    directory.mkdir()
    recording.tick(seconds=600.0)
    recording.refuse()
    recording.recorder.close()
    assert recording.only()
    assert capsys.readouterr().err.count("\n") == 2


def test_a_limit_of_file_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """EFBIG in the middle of a member: the piece is taken back, and written again later."""
    recording = Recording(tmp_path)
    workloads = [rates(number, number) for number in range(1, 500)]
    recording.refuse()
    before = recording.only().stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 1000, limits[1]))
    try:
        recording.tick(*workloads)
        assert recording.only().stat().st_size == before
        assert names_of(recording.only())[-1] == "fork.refused"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.strerror(errno.EFBIG) in capsys.readouterr().err
    recording.tick()
    recording.recorder.close()
    assert names_of(recording.only()).count("workload.rates") == 499
    assert recording.recorder.take_lost() == 0


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    recording = Recording(tmp_path)
    run = recording.recorder._run
    for suffix in ("", ".part"):
        name = f"threadtrace-20261124T000000Z-{run}-refused.jsonl.gz{suffix}"
        (tmp_path / name).symlink_to(target)
    recording.refuse()
    recording.recorder.close()
    assert target.read_bytes() == b"precious"
    (made,) = (name for name in recording.names() if "-refused-2" in name)
    assert names_of(tmp_path / made) == ["started", "fork.refused"]


def _killed(tmp_path: Path, cut: int) -> Path:
    """The record of an agent that was killed, without its last bytes."""
    recording = Recording(tmp_path)
    recording.refuse()
    recording.tick(rates(1))
    recording.tick(rates(2))
    path = recording.only()
    incident = recording.recorder._incident
    assert incident is not None
    assert incident.file is not None
    incident.file.close()
    os.truncate(path, path.stat().st_size - cut)
    return path


@pytest.mark.parametrize(("cut", "rates_left"), [(0, 2), (1, 1), (9, 1), (60, 1)])
def test_the_record_of_a_killed_agent(tmp_path: Path, cut: int, rates_left: int) -> None:
    part = _killed(tmp_path, cut)
    Recording(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path == part.with_suffix("")
    assert names_of(path).count("workload.rates") == rates_left


def test_zeros_after_a_power_failure(tmp_path: Path) -> None:
    part = _killed(tmp_path, 0)
    size = part.stat().st_size
    os.truncate(part, size + 1_000_000)
    Recording(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == size
    assert names_of(path).count("workload.rates") == 2


def test_every_cut_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "members"
    members = [compressed(b"%d " % number * 50 + os.urandom(40)) for number in range(4)]
    path.write_bytes(b"".join(members))
    ends = [sum(map(len, members[:count])) for count in range(5)]
    for size in range(ends[-1] + 1):
        with path.open("rb") as file:
            os.truncate(path, size) if size == 0 else path.write_bytes(b"".join(members)[:size])
            assert whole_bytes(file.fileno(), size) == max(end for end in ends if end <= size)


def test_what_another_agent_writes_is_left_alone(tmp_path: Path) -> None:
    part = _killed(tmp_path, 1)
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        Recording(tmp_path)
        assert list(tmp_path.iterdir()) == [part]
    empty = tmp_path / part.name.replace("refused", "explosion")
    empty.write_bytes(b"")
    linked = tmp_path / part.name.replace("20261124", "20261125")
    os.link(part, linked)
    Recording(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([part, linked]), "whose else it is, is not known"


@pytest.mark.parametrize("sizes", [(64, 100, 512), (32, 600, 512)])
def test_sizes_that_do_not_fit(sizes: tuple[int, int, int]) -> None:
    window, file, total = (size << 20 for size in sizes)
    with pytest.raises(UsageError, match="choose other sizes"):
        RecorderOptions(max_window_bytes=window, max_file_bytes=file, max_total_bytes=total)
    assert SMALL.max_total_bytes == 512 << 20
