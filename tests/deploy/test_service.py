"""The unit of deploy/systemd: as systemd itself checks it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.requirements import require
from threadtrace.cli.stream import stream

from .agent_container import CAPABILITIES_WITHOUT_SYS_ADMIN

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/systemd/threadtrace.service"

# From 0, shut in, to 10; what is left is what counting in the kernel takes.
MOST_EXPOSURE = 2.9


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is here in the place of the one that is installed."""
    require(shutil.which("systemd-analyze"), "deploy", "systemd-analyze", "apt-get install systemd")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/threadtrace/bin/threadtrace", "/bin/true"))
    return copy


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_is_understood(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    complaints = [line for line in done.stderr.splitlines() if "threadtrace" in line]
    assert (done.returncode, complaints) == (0, [])


def test_is_shut_in_as_far_as_it_can_be(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def settings() -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            values.setdefault(name, []).append(value)
    return values


def test_has_the_capabilities_that_are_tested() -> None:
    (bounding,) = settings()["CapabilityBoundingSet"]
    assert set(bounding.split()) == set(CAPABILITIES_WITHOUT_SYS_ADMIN)


def test_has_limits_of_its_own_and_a_watchdog() -> None:
    found = settings()
    assert found["Type"] == ["notify"]
    for name in ("WatchdogSec", "TasksMax", "MemoryMax", "OOMScoreAdjust", "Restart"):
        assert name in found
    # Its processor is not rationed: it is needed when everybody wants one.
    assert "CPUQuota" not in found


def test_settings_are_explained_with_options_that_are_there() -> None:
    text = (ROOT / "deploy/systemd/threadtrace.env").read_text() + UNIT.read_text()
    lines = [line for line in text.splitlines() if "THREADTRACE_OPTIONS=" in line]
    named = set(re.findall(r"[= ](--[a-z-]+)", "\n".join(lines)))
    assert "--listen" in named
    known = {option for parameter in stream.params for option in parameter.opts}
    assert named <= known, named - known
