"""Starts with and without compiled programs that were kept: the same in the kernel, and exact."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from support.cgroups import OwnCgroup
from support.command import in_private_mounts
from support.kernel import Loaded, loaded_by
from support.puppet import Births, Puppet
from support.stream import Stream, counts
from threadtrace.probe.compiled import Text, decode, encode
from threadtrace.probe.kept import VARIABLE

FORKS, THREADS = 47, 31


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    directory = tmp_path / "cache"
    directory.mkdir(0o700)
    return directory


class Run(NamedTuple):
    """What an agent had in the kernel, what it told of that, and which files were kept."""

    loaded: Loaded
    told: list[object]
    files: list[str]


def counted(
    actor: Puppet, cgroup: OwnCgroup, environment: dict[str, str], before: Sequence[str] = ()
) -> Run:
    """An agent that counts a known workload to the unit, and says no word but of its pace."""
    with Stream(environment=environment, before=before) as stream:
        loaded = loaded_by(stream.pid)
        # Through its eyes: it may have mounts of its own.
        files = os.listdir(f"/proc/{stream.pid}/root{environment[VARIABLE]}")
        assert actor.do("forks", FORKS) == Births(FORKS, 0, 0)
        assert actor.do("threads", THREADS) == Births(THREADS, 0, 0)
        actor.do("join", THREADS)
        stream.wait_for_ticks()
        stream.finish()
        expected = counts(processes=FORKS, threads=THREADS, exited=FORKS + THREADS)
        assert stream.counts(cgroup.path) == expected
        assert [line for line in stream.errors.splitlines() if b"a sample every" not in line] == []
        told = stream.started["threadtrace"]
        return Run(loaded, [told["hooks"], told["missing"]], files)


def the_file(cache: Path) -> Path:
    (path,) = cache.iterdir()
    return path


def test_second_start_needs_no_compiler(
    cgroup: OwnCgroup, actor: Puppet, cache: Path, no_bcc: dict[str, str]
) -> None:
    first = counted(actor, cgroup, {VARIABLE: str(cache)})
    assert the_file(cache).stat().st_mode & 0o7777 == 0o600
    kept = the_file(cache).read_bytes()

    second = counted(actor, cgroup, {VARIABLE: str(cache), **no_bcc})
    assert len(first.loaded.programs) >= 6
    assert len(first.loaded.maps) >= 9
    assert second == first
    assert the_file(cache).read_bytes() == kept


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def changed(data: bytes, change: Callable[[Text], Text]) -> bytes:
    """A file that is whole, but says something else."""
    key = data.partition(b'"key":"')[2][:64].decode()
    text = decode(data, key)
    assert text is not None
    return encode(change(text), key)


def map_without_entries(data: bytes) -> bytes:
    def change(text: Text) -> Text:
        maps = [shape._replace(max_entries=0) for shape in text.compiled.maps]
        return text._replace(compiled=text.compiled._replace(maps=tuple(maps)))

    return changed(data, change)


def program_without_end(data: bytes) -> bytes:
    def change(text: Text) -> Text:
        programs = text.compiled.programs
        programs["on_sched_process_exit"] = programs["on_sched_process_exit"][:-8]
        return text

    return changed(data, change)


def program_missing(data: bytes) -> bytes:
    def change(text: Text) -> Text:
        del text.compiled.programs["on_sched_process_exit"]
        return text

    return changed(data, change)


@pytest.mark.parametrize(
    "damage", [halved, map_without_entries, program_without_end, program_missing]
)
def test_what_is_of_no_use_is_made_anew(
    cgroup: OwnCgroup,
    actor: Puppet,
    cache: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    first = counted(actor, cgroup, {VARIABLE: str(cache)})
    kept = the_file(cache).read_bytes()
    the_file(cache).write_bytes(damage(kept))
    assert counted(actor, cgroup, {VARIABLE: str(cache)}) == first
    assert the_file(cache).read_bytes() == kept


@pytest.mark.parametrize("options", ["ro", "size=4k", "mode=777"])
def test_nowhere_to_keep_it(cgroup: OwnCgroup, actor: Puppet, cache: Path, options: str) -> None:
    """Read-only, full, or writable by others: it counts, and says nothing about it."""
    before = in_private_mounts(f"mount -t tmpfs -o {options} none {cache}")
    assert counted(actor, cgroup, {VARIABLE: str(cache)}, before).files == []
