"""A kernel that tells nothing of its types: headers serve, and without them the remedy is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from kernels import scene
from kernels.conftest import HIDE_BTF
from support.command import assert_one_line, in_private_mounts, threadtrace
from support.stream import Stream

HEADERS_START_SECONDS = 150  # emulated, with the kernel's headers to read
HIDE_HEADERS = f"mount -t tmpfs none /usr/lib/modules/{os.uname().release}\n"


def test_headers_serve(
    beside: Mapping[str, Stream],
    puppet_program: Path,
    record_property: Callable[[str, object], None],
) -> None:
    stream = beside["headers"]
    stream.wait_until_it_counts(HEADERS_START_SECONDS)
    scene.births_are_counted(stream, puppet_program)
    with scene.place(puppet_program) as own:
        own.cgroup.set_limit(1)
        own.puppet.do("forks", scene.REFUSED)
        details = scene.told(stream, own.cgroup.path, scene.REFUSED)
    record_property("hooks", sorted(scene.hook_kinds(stream)))
    record_property("missing", scene.missing(stream))
    record_property("limit", details["limit"])
    assert any("decides" in what for what in scene.missing(stream)), "it says what it cannot tell"
    stream.finish()


def test_neither_is_told_in_one_line(guest: str) -> None:
    hide = in_private_mounts(HIDE_BTF + HIDE_HEADERS)
    done = threadtrace("stream", before=hide)
    release = os.uname().release
    assert_one_line(done, os.EX_UNAVAILABLE, f"apt-get install linux-headers-{release}", "BTF")
