"""The flight recorder: the last ten minutes in memory, on disk once something happens."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from threadtrace.clock import Clock
from threadtrace.errors import UsageError
from threadtrace.log import warn
from threadtrace.model.explosion import Explosion, Transition
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output.events import EventWriter
from threadtrace.output.fields import Fields
from threadtrace.output.lines import happening_lines, tick_lines
from threadtrace.output.record_files import RecordDirectory, RecordFile
from threadtrace.output.record_window import Window, compressed
from threadtrace.probe.records import Limit

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """How much is kept, and for how long."""

    window_seconds: float = 600.0
    """What a record tells of the time before its trigger."""
    max_window_bytes: int = 32 * _MIB
    """Compressed, in memory."""
    max_file_bytes: int = 128 * _MIB
    """A record ends there."""
    max_total_bytes: int = 512 * _MIB
    """Of all records; the oldest are removed."""
    min_free_bytes: int | None = None
    """On the file system; None: 5 %, at least 64 MiB."""
    key_frame_seconds: float = 60.0
    """So often idle workloads are told too."""
    quiet_seconds: float = 60.0
    """A record goes on for so long after the last refusal and the end of the last explosion."""
    max_seconds: float = 1_800.0
    """A record goes on for so long after its trigger at the most."""
    calm_seconds: float = 600.0
    """So long without a refusal, and the next one is a trigger again."""

    def __post_init__(self) -> None:
        """Check that a record has room for the window, and the directory for a record.

        Raises:
            UsageError: it has not.
        """
        if not 2 * self.max_window_bytes <= self.max_file_bytes <= self.max_total_bytes:
            raise UsageError(
                f"records of at most {self.max_file_bytes // _MIB:,} MiB do not fit between twice "
                f"the {self.max_window_bytes // _MIB:,} MiB in memory and the "
                f"{self.max_total_bytes // _MIB:,} MiB for all of them; choose other sizes"
            )


class Trigger:
    """When a record begins and when it ends. Time is monotonic."""

    def __init__(self, options: RecorderOptions) -> None:
        """Nothing has happened yet."""
        self._options = options
        self._exploding: set[int] = set()
        self._last_refusal: float | None = None
        self._last_activity = 0.0

    def see(self, now: float, explosions: Iterable[Explosion], has_refusals: bool) -> str | None:
        """What this would begin a record for: ``explosion``, ``refused``, or nothing."""
        reason = None
        if has_refusals:
            calm = self._options.calm_seconds
            if self._last_refusal is None or now - self._last_refusal >= calm:
                reason = "refused"
            self._last_refusal = self._last_activity = now
        for explosion in explosions:
            self._last_activity = now
            if explosion.transition is Transition.ENDED:
                self._exploding.discard(explosion.number)
            else:
                self._exploding.add(explosion.number)
            if explosion.transition is Transition.STARTED:
                reason = "explosion"
        return reason

    def is_over(self, now: float) -> bool:
        """Whether all of it ended long enough ago."""
        return not self._exploding and now - self._last_activity >= self._options.quiet_seconds


@dataclass(slots=True)
class _Incident:
    """What is being recorded."""

    reason: str
    time_ns: int
    began: float
    file: RecordFile | None = None
    """None while it could not be made."""
    next_line: int = 0
    """Of the window: the first that is not in the file."""
    untold: int = 0
    """Lines that are missing before ``next_line`` and that the record does not tell of yet."""
    is_full: bool = False


class Recorder:
    """Keeps what the agent finds; writes it down from a trigger on.

    The window is also what waits for the disk: lines that cannot be written are tried again with
    the next tick, and lost only when they leave the window or the record ends before.
    """

    def __init__(
        self,
        writer: EventWriter,
        directory: RecordDirectory,
        options: RecorderOptions,
        clock: Clock,
    ) -> None:
        """A recorder of one run.

        Args:
            writer: of its own, so that its sequence has no gaps of others.
            directory: where records go.
            options: bounds.
            clock: the monotonic one bounds, the other names files.
        """
        self._writer = writer
        self._directory = directory
        self._options = options
        self._clock = clock
        self.window = Window(options.window_seconds, options.max_window_bytes)
        """What is kept in memory."""
        self._trigger = Trigger(options)
        self._incident: _Incident | None = None
        self._head = b""
        self._run = ""
        self._key_frame_due = clock.seconds()
        self._written = clock.seconds()
        self._lost = 0
        self._is_failing = False

    def on_start(self, time_ns: int, details: Fields) -> None:
        """The agent counts. Every record begins with this event. Once, before all else."""
        line = self._writer.started(time_ns, details)
        self._head = compressed(line)
        self._run = orjson.loads(line)["agent"]["id"][:8]

    def on_happenings(self, happened: Happenings) -> None:
        """Workloads appeared, clones were refused, an explosion was called."""
        now, writer = self._clock.seconds(), self._writer
        for _, line in happening_lines(writer, happened):
            self.window.add(line, now)
        reason = self._trigger.see(now, happened.explosions, _by_a_limit(happened.refusals))
        self._begin(reason, now)
        # At once when it begins; then at most once a second, so that members do not get too small.
        if self._incident is not None and (reason or now - self._written >= 1.0):
            self._record(now)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        now, writer, window = self._clock.seconds(), self._writer, self.window
        is_key_frame = now >= self._key_frame_due
        if is_key_frame:
            window.seal(now)
            self._key_frame_due = now + self._options.key_frame_seconds
        for _, line in tick_lines(writer, snapshot, is_key_frame):
            window.add(line, now)
        reason = self._trigger.see(now, snapshot.explosions, _by_a_limit(snapshot.refusals))
        self._begin(reason, now)
        if self._incident is not None:
            self._record(now)

    def close(self) -> None:
        """The agent ends: a record that is being written is completed."""
        if self._incident is not None:
            self._record(self._clock.seconds())
        if self._incident is not None:
            self._finish(self._incident)

    def take_lost(self) -> int:
        """How many lines should be in a record and are not, since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def _begin(self, reason: str | None, now: float) -> None:
        if reason is not None and self._incident is None:
            self._incident = _Incident(reason, self._clock.realtime_ns(), now)

    def _record(self, now: float) -> None:
        """Bring the record up to date, and end it when it is time; what fails is tried again."""
        incident = self._incident
        assert incident is not None
        self._written = now
        self.window.seal(now)
        try:
            self._open(incident)
            self._append(incident)
            self._tell_untold(incident, now)
            if self._is_failing:
                self._is_failing = False
                warn(f"records can be written to {self._directory.path} again")
        except OSError as error:
            self._complain(error)
        is_too_long = now - incident.began >= self._options.max_seconds
        if incident.is_full or is_too_long or self._trigger.is_over(now):
            self._finish(incident)

    def _open(self, incident: _Incident) -> None:
        if incident.file is not None and incident.file.is_removed:
            incident.file.close()
            incident.file = None
        if incident.file is None:
            file = self._directory.create(incident.time_ns, self._run, incident.reason)
            incident.file = file
            incident.next_line = self.window.first_line
            incident.untold = self.window.cut_lines()
        if incident.file.size == 0:
            incident.file.append(self._head)

    def _append(self, incident: _Incident) -> None:
        assert incident.file is not None
        lost = self.window.first_line - incident.next_line
        if lost > 0:
            # They left the window before there was room for them.
            self._lost += lost
            incident.untold += lost
            incident.next_line = self.window.first_line
        for member in self.window.since(incident.next_line):
            if incident.file.size + len(member.data) > self._options.max_file_bytes:
                incident.is_full = True
                return
            incident.file.append(member.data)
            incident.next_line = member.end_line

    def _tell_untold(self, incident: _Incident, now: float) -> None:
        """In the record itself, once all that is left is in it."""
        if incident.untold and not incident.is_full:
            loss = Loss("recorder", incident.untold)
            incident.untold = 0
            self.window.add(self._writer.loss(self._clock.realtime_ns(), loss), now)
            self.window.seal(now)
            self._append(incident)

    def _finish(self, incident: _Incident) -> None:
        self._incident = None
        if not incident.is_full:
            begin = self.window.first_line if incident.file is None else incident.next_line
            self._lost += self.window.end_line - begin
        if incident.file is not None:
            try:
                incident.file.complete()
            except OSError as error:
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            reason = error.strerror or errno.errorcode.get(error.errno or 0, "unknown error")
            warn(
                f"cannot write a record to {self._directory.path}: {reason}; it is tried again, "
                "and what does not get there is counted"
            )


def _by_a_limit(refusals: Iterable[Refusal]) -> bool:
    """Whether any is more than a mistake or a ban, of which some programs make one a second."""
    return any(refusal.limit is not Limit.OTHER for refusal in refusals)
