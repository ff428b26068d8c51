"""docs/reliability.md, out of what the scenes found when they were played."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import machine
from bench.figures import Result, Row

_ROOT = Path(__file__).parents[2]
_DOCUMENT = _ROOT / "docs/reliability.md"

_INTRODUCTION = """\
# Reliability

What the node agent (`threadtrace stream`) withstands, shown on real parts: the kernel of this
machine, containerd, runc, rsyslog, syslog-ng, Prometheus. `make bench-reliability` (as root) plays
all of it anew and rewrites this page, which takes three quarters of an hour, thirty minutes of it
the soak; `make bench-reliability ARGS="incident"` plays one scene and replaces its figures. Nothing
here is written by hand but what each scene is.

Each scene cleans up after itself, takes no port that is in use, and sets no limit but on cgroups
and PID namespaces of its own.
"""


@dataclass(frozen=True)
class Played:
    """A scene's figures, and what they were measured on."""

    name: str
    method: str
    rows: list[Row]
    commit: str
    time_s: float
    machine: list[tuple[str, str]]

    @classmethod
    def of(cls, result: Result) -> Played:
        rows = list(result.rows)
        now = time.time()
        return cls(result.name, result.method, rows, _commit(), now, machine.describe())

    @classmethod
    def read(cls, file: Path) -> Played:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return cls(**{**kept, "rows": [Row(**row) for row in kept["rows"]]})

    def keep(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1))

    def as_markdown(self) -> str:
        """A section."""
        title, _, rest = self.method.strip().partition("\n")
        lines = [f"## {self.name.capitalize()}", "", f"**{title}**", rest, ""]
        lines += ["| what | measured | to reach | |", "| --- | --- | --- | --- |"]
        for row in self.rows:
            met = {None: "", True: "yes", False: "**no**"}[row.is_met]
            cells = (_indented(row.what), row.figure, row.target, met)
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.time_s))
        load = dict(self.machine).get("load at the start", "unknown")
        lines += ["", f"Played {day} UTC at {self.commit}; load averages at its end {load}.", ""]
        return "\n".join(lines)


def write_document(directory: Path, order: Sequence[str]) -> Path:
    """Of all scenes that were played so far; it says which were not."""
    files = {name: directory / f"{name}.json" for name in order}
    played = [Played.read(file) for file in files.values() if file.exists()]
    absent = [name for name, file in files.items() if not file.exists()]
    parts = [_INTRODUCTION]
    if absent:
        parts.append(f"Not played yet: {', '.join(absent)}.\n")
    parts.append(_summary(played))
    parts += [one.as_markdown() for one in played]
    parts.append(_machine(played[-1]))
    _DOCUMENT.write_text("\n".join(parts), encoding="utf-8")
    return _DOCUMENT


def _summary(played: Sequence[Played]) -> str:
    lines = ["| scene | figures with a target | reached |", "| --- | --- | --- |"]
    for one in played:
        aims = [row.is_met for row in one.rows if row.is_met is not None]
        anchor = one.name.replace(" ", "-")
        lines.append(f"| [{one.name}](#{anchor}) | {len(aims)} | {sum(aims)} |")
    return "\n".join(lines) + "\n"


def _machine(played: Played) -> str:
    lines = ["## Machine", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in played.machine if "load" not in name]
    lines += [f"| {name} | {version} |" for name, version in _versions()]
    return "\n".join(lines) + "\n"


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in ("containerd", "runc"):
        done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
        found.append((name, " ".join(done.stdout.partition("\n")[0].split()[1:4])))
    return found


def _commit() -> str:
    """Of the checkout, and whether src/ was as committed."""
    git = ["git", "-C", str(_ROOT)]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    changed = subprocess.run(
        [*git, "status", "--porcelain", "src", "bpf"],
        capture_output=True, text=True, check=False, env=environment,
    ).stdout  # fmt: skip
    commit = done.stdout.strip() or "an unknown commit"
    return commit + (" (with changes in src/)" if changed.strip() else "")


def _indented(text: str) -> str:
    return text.replace("  ", "&emsp;", 1) if text.startswith("  ") else text
