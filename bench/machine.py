"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version as version_of

from threadtrace import __version__
from threadtrace.node.hierarchy import find_pids_hierarchy


def describe() -> list[tuple[str, str]]:
    return [
        ("threadtrace", __version__),
        ("kernel", f"{platform.release()} {platform.machine()}"),
        ("processor", f"{os.cpu_count()} x {_processor()}"),
        ("memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.1f} GB"),
        ("pids controller", f"version {find_pids_hierarchy().version}"),
        ("Python", platform.python_version()),
        ("psutil", version_of("psutil")),
        ("bpftrace", _bpftrace()),
        ("load at the start", " ".join(f"{load:.1f}" for load in os.getloadavg())),
    ]


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("model name", "Processor", "uarch")):
                return line.partition(":")[2].strip()
    return "unknown"


def _bpftrace() -> str:
    try:
        done = subprocess.run(
            ["bpftrace", "--version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return "not installed"
    return done.stdout.strip().removeprefix("bpftrace ")
