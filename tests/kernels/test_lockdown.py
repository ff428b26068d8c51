"""Lockdown: integrity does not matter; confidentiality is refused, in one line that says why."""

from __future__ import annotations

import os

from support.command import assert_one_line, threadtrace
from support.requirements import require
from threadtrace.probe.host import gather


def test_the_mode_is_the_stages(guest: str) -> None:
    mode = gather().lockdown
    require(mode, "lockdown", "the lockdown module", "boot with lsm=lockdown")
    assert mode == (guest if guest in ("integrity", "confidentiality") else "none")


def test_confidentiality_is_refused(guest: str) -> None:
    require(guest == "confidentiality", "lockdown", "confidentiality", "make test-kernels")
    error = assert_one_line(threadtrace("stream"), os.EX_UNAVAILABLE, "lockdown=integrity")
    assert "confidentiality" in error
