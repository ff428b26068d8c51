"""An output with the flight recorder beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from threadtrace.agent import Agent
from threadtrace.clock import Clock
from threadtrace.feed import Output
from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output.events import EventWriter
from threadtrace.output.fields import Fields
from threadtrace.output.record_files import RecordDirectory
from threadtrace.output.recorder import Recorder, RecorderOptions


class RecordedOutput:
    """Gives all of it to both, and tells the output what the recorder lost."""

    def __init__(self, output: Output, recorder: Recorder) -> None:
        """Of these two."""
        self._output = output
        self._recorder = recorder

    def on_happenings(self, happened: Happenings) -> None:
        """The record first: a reader that does not read holds up the output."""
        self._recorder.on_happenings(happened)
        self._output.on_happenings(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Likewise."""
        self._recorder.on_snapshot(snapshot)
        lost = self._recorder.take_lost()
        if lost:
            snapshot = snapshot._replace(losses=(*snapshot.losses, Loss("recorder", lost)))
        self._output.on_snapshot(snapshot)


@contextmanager
def recorded(
    output: Output, directory: str | None, agent: Agent, details: Fields
) -> Iterator[Output]:
    """The output, with a recorder if a directory is given; an open record is completed at the end.

    Raises:
        OutputError: nothing can be written to the directory.
    """
    if directory is None:
        yield output
        return
    options = RecorderOptions()
    records = RecordDirectory(directory, options.max_total_bytes, options.min_free_bytes)
    writer = EventWriter(counts_refusals=agent.counts_refusals)
    recorder = Recorder(writer, records, options, Clock())
    recorder.on_start(time.time_ns(), details)
    try:
        yield RecordedOutput(output, recorder)
    finally:
        recorder.close()
