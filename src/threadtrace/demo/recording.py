"""The demo's event stream in a file, and the report that is made of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from threadtrace.errors import OutputError
from threadtrace.output.sink import LineSink

_FORMATS = {".md": "md", ".json": "json"}


class Recording(NamedTuple):
    """Where the events go and where the report will."""

    events: Path
    report: Path
    sink: LineSink


@contextmanager
def recordings(
    report: Path | None, letters: Sequence[str], is_stopping: Callable[[], bool]
) -> Iterator[dict[str, Recording]]:
    """New files for each incident: the events beside the report, or all in a new directory.

    Where the demo did not come to its end, no events are kept.

    Raises:
        OutputError: no file can be made, or it is there already.
    """
    directory = None
    made: dict[str, Recording] = {}
    is_complete = False
    with ExitStack() as files:
        try:
            if report is None:
                directory = _new_directory()
                report = directory / "incident.html"
            for letter in letters:
                told = report if len(letters) == 1 else report.with_stem(f"{report.stem}-{letter}")
                made[letter] = _new(told, files, is_stopping)
            yield made
            is_complete = not is_stopping()
        finally:
            if not is_complete:
                for one in made.values():
                    one.events.unlink(missing_ok=True)
                if directory is not None:
                    shutil.rmtree(directory, ignore_errors=True)


def _new_directory() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="threadtrace-demo-"))
    except OSError as error:
        raise OutputError(
            f"no temporary directory for the recording: {error.strerror}; set TMPDIR, or --report"
        ) from None


def _new(report: Path, files: ExitStack, is_stopping: Callable[[], bool]) -> Recording:
    events = report.with_name(report.name + ".jsonl")
    try:
        fd = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputError(
            f"cannot record the demo to {events}: {error.strerror}; choose another --report"
        ) from None
    files.callback(os.close, fd)
    return Recording(events, report, LineSink(fd, str(events), is_stopping))


def write_report(recorded: Recording) -> None:
    """What ``threadtrace report`` makes of the events: HTML, unless the file's name tells more.

    Raises:
        ThreadtraceError: it cannot be written.
    """
    from threadtrace.report.incident import report_of
    from threadtrace.report.loading import chosen_node, load
    from threadtrace.report.render import render
    from threadtrace.report.writing import write

    loaded = load(str(recorded.events))
    told = report_of(loaded, chosen_node(loaded, None), recorded.events.name)
    name = _FORMATS.get(recorded.report.suffix.lower(), "html")
    write(render(told, name), str(recorded.report))
