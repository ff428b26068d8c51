"""The flight recorder on a disk that is full: a real one, small, for the test alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.recording import Recording, names_of, rates, with_options
from support.requirements import require

SIZE = 1024 * 1024
RESERVE = 512 * 1024
WORKLOADS = [rates(number, number) for number in range(1, 700)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    require(os.geteuid() == 0, "e2e", "root", "run the tests as root")
    path = tmp_path / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "none"]
    subprocess.run(["mount", *options, str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _free_bytes(path: Path) -> int:
    system = os.statvfs(path)
    return system.f_bavail * system.f_frsize


def _fill(path: Path, left: int) -> Path:
    """All but that many bytes, with somebody else's file."""
    filler = path / "filler"
    filler.write_bytes(bytes(_free_bytes(path) - left))
    return filler


def test_a_full_disk(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ENOSPC in the middle of a member; what is there stays readable, the rest comes later."""
    recording = Recording(disk)
    recording.refuse()
    # Within the 256 KiB that were asked for at the first write, so that nobody asks again.
    filler = _fill(disk, 4096)
    recording.tick(*WORKLOADS)
    (part,) = disk.glob("*.part")
    assert names_of(part)[:2] == ["started", "fork.refused"]
    assert names_of(part).count("workload.rates") < len(WORKLOADS)
    recording.tick()
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "No space left on device" in error
    filler.unlink()
    recording.tick()
    recording.recorder.close()
    (path,) = disk.iterdir()
    assert names_of(path).count("workload.rates") == len(WORKLOADS)
    assert recording.recorder.take_lost() == 0
    assert "again" in capsys.readouterr().err


def test_what_never_finds_room_is_counted(disk: Path) -> None:
    recording = Recording(disk)
    recording.refuse()
    filler = _fill(disk, 0)
    recording.tick(*WORKLOADS)
    (part,) = disk.glob("*.part")
    there = len(names_of(part)) - 1
    recording.recorder.close()
    assert recording.recorder.take_lost() == 1 + 1 + len(WORKLOADS) - there
    filler.unlink()
    (path,) = disk.iterdir()
    assert names_of(path)[:2] == ["started", "fork.refused"], "completed with what is there"


def test_lines_that_leave_the_window_before_there_is_room(disk: Path) -> None:
    """The record says in its own words how many are missing."""
    options = with_options(max_window_bytes=20_000)
    recording = Recording(disk, options)
    recording.refuse()
    filler = _fill(disk, 0)
    for _ in range(5):
        recording.tick(*WORKLOADS)
    filler.unlink()
    recording.tick()
    recording.recorder.close()
    (path,) = disk.iterdir()
    names = names_of(path)
    assert "loss" in names
    lost = recording.recorder.take_lost()
    assert lost > 0
    told = names.count("workload.rates") + names.count("node.limits") + names.count("fork.refused")
    assert told + lost == 5 * (1 + len(WORKLOADS)) + 1 + 1


def test_a_reserve_stays_free(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Others find room on the disk, whatever explodes."""
    old = disk / "threadtrace-20260101T000000Z-01234567-refused.jsonl.gz"
    old.write_bytes(bytes(300 * 1024))
    recording = Recording(disk, with_options(min_free_bytes=RESERVE))
    recording.refuse()
    assert not old.exists(), "the oldest went first"
    for _ in range(40):
        recording.tick(*WORKLOADS)
    assert _free_bytes(disk) >= RESERVE
    assert "have to stay free" in capsys.readouterr().err
    recording.recorder.close()
    (path,) = disk.iterdir()
    assert path.stat().st_size > 200 * 1024
    assert names_of(path)[:2] == ["started", "fork.refused"]
    assert recording.recorder.take_lost() > 0


def test_a_disk_that_is_full_at_the_start(disk: Path) -> None:
    """It may have room when it counts."""
    filler = _fill(disk, 0)
    recording = Recording(disk)
    filler.unlink()
    recording.refuse()
    recording.recorder.close()
    (path,) = disk.iterdir()
    assert names_of(path) == ["started", "fork.refused"]


def test_a_disk_that_may_only_be_read(disk: Path) -> None:
    from threadtrace.errors import OutputError

    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OutputError, match="Read-only file system"):
        Recording(disk)
