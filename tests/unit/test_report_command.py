"""``threadtrace report`` as a command: formats, files, errors, and what it may not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_builders import Stream, incident

from threadtrace.cli.report import report
from threadtrace.errors import OutputError, ThreadtraceError, UsageError
from threadtrace.report.faults import RecordingUnreadable, RecordingWithoutEvents

# Runs a report in an interpreter that has nothing of the agent, and tells what was loaded.
_ALONE = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("bcc", "psutil", "rich", "fcntl") or name.startswith(
            ("threadtrace.agent", "threadtrace.probe", "threadtrace.node", "threadtrace.output")
        ):
            raise ImportError(name + " is not for reports")
sys.meta_path.insert(0, Forbidden())
from threadtrace.cli.report import report
report.main(sys.argv[1:], standalone_mode=False)
"""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return incident().write(tmp_path / "incident.jsonl")


def run(*words: str | Path, stdin: bytes | None = None) -> str:
    result = CliRunner().invoke(report, [str(word) for word in words], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_markdown_on_standard_output(recording: Path) -> None:
    assert run(recording).startswith("# shop/checkout-7d9f/web exhausted")


def test_from_standard_input(recording: Path) -> None:
    assert "- standard input: 2026-11-24" in run("-", stdin=recording.read_bytes())


@pytest.mark.parametrize(
    ("name", "start"),
    [("r.html", "<!doctype html>"), ("r.JSON", "{"), ("r.md", "# "), ("report", "# ")],
)
def test_the_ending_decides(recording: Path, tmp_path: Path, name: str, start: str) -> None:
    assert run(recording, "-o", tmp_path / name) == ""
    assert (tmp_path / name).read_text().startswith(start)


def test_the_format_decides_before_the_ending(recording: Path, tmp_path: Path) -> None:
    run(recording, "--format", "json", "-o", tmp_path / "r.html")
    assert json.loads((tmp_path / "r.html").read_bytes())["node"] == "node-1"


def test_one_of_several_nodes(recording: Path) -> None:
    other = Stream("7a1b0000-8a62-4c17-989f-2e6a51bb108b", node="node-2")
    other.node(1, 100)
    with recording.open("ab") as file:
        file.write(other.lines[0] + b"\n")
    assert "Nothing happened on node-2" in run(recording, "--node", "node-2")
    with pytest.raises(UsageError, match="node-1, node-2"):
        run(recording, "--node", "node-3")


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        (["missing.jsonl"], RecordingUnreadable, os.EX_NOINPUT),
        (["."], RecordingUnreadable, os.EX_NOINPUT),
        (["empty"], RecordingWithoutEvents, os.EX_DATAERR),
        (["incident.jsonl", "-o", "no/such/directory"], OutputError, os.EX_IOERR),
        (["incident.jsonl", "-o", "incident.jsonl"], UsageError, os.EX_USAGE),
        (["incident.jsonl", "-o", ""], UsageError, os.EX_USAGE),
    ],
)
def test_errors(
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    kind: type[ThreadtraceError],
    code: int,
) -> None:
    monkeypatch.chdir(recording.parent)
    Path("empty").touch()
    before = recording.read_bytes()
    with pytest.raises(kind) as caught:
        run(*words)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    assert recording.read_bytes() == before


def test_it_needs_nothing_of_the_agent(recording: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, recording],
        capture_output=True, timeout=60, check=False,
        env={**os.environ, "LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().startswith("# shop/checkout-7d9f/web exhausted")
