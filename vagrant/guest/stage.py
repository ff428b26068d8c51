#!/usr/bin/env python3
"""How the tests of a stage (stages.toml) are run: in a headless guest, and in a machine of Vagrant.

In the latter by itself, as root: sudo .venv/bin/python vagrant/guest/stage.py v2
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).resolve().parents[2]
STAGES = CHECKOUT / "vagrant/stages.toml"
# Since then each PID namespace has a pid_max of its own.
OWN_PID_MAX_SINCE = (6, 14)

Stage = dict[str, Any]


def stages() -> list[Stage]:
    """All of them, in their order."""
    found: list[Stage] = tomllib.loads(STAGES.read_text())["stage"]
    return found


def command(stage: Stage, arguments: list[str]) -> list[str]:
    """What runs its tests, with further arguments of pytest."""
    words = [sys.executable, "-m", "pytest", "-p", "told", "-p", "no:cacheprovider"]
    for test in stage.get("left_out", ()):
        words += ["--deselect", test]
    return [*words, *arguments, *stage["tests"]]


def environment(stage: Stage, release: str) -> dict[str, str]:
    """What its tests are to know: where they are, and what must not be missing there."""
    needs = list(stage["needs"])
    if tuple(int(part) for part in release.split(".")[:2]) >= OWN_PID_MAX_SINCE:
        needs.append("pid_namespaces")
    path = f"{CHECKOUT}/src:{CHECKOUT}/vagrant/guest:{CHECKOUT}/tests"
    return {
        "PYTHONPATH": path,
        "THREADTRACE_GUEST": stage["name"],
        "THREADTRACE_REQUIRE": ",".join(needs),
    }


def main() -> None:
    """Run one stage in this machine, whose cgroups and lockdown are as they are."""
    name, *arguments = sys.argv[1:]
    chosen = next(stage for stage in stages() if stage["name"] == name)
    known = {**os.environ, **environment(chosen, os.uname().release)}
    done = subprocess.run(command(chosen, arguments), cwd=CHECKOUT, env=known, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
