"""The demo from its first line to its last."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from threadtrace.agent import Agent, AgentOptions, start_agent
from threadtrace.demo import cgroups, containers
from threadtrace.demo.director import Director
from threadtrace.demo.incidents import MAX_TASKS, Incident, incident_a, incident_b
from threadtrace.demo.recording import Recording, recordings, write_report
from threadtrace.demo.restricted import Restricted, diagnosis_below
from threadtrace.demo.screen import DirectedView, Lines
from threadtrace.demo.stage import Stage, open_directory
from threadtrace.demo.stage_main import StageSpec
from threadtrace.errors import OutputError, PrivilegeError, UnavailableError
from threadtrace.feeds.live import about_live
from threadtrace.heart import run
from threadtrace.log import warn
from threadtrace.node.limits import read_node_limits
from threadtrace.output.events import EventWriter
from threadtrace.output.sink import LineSink
from threadtrace.output.stream import EventStream
from threadtrace.output.why import agents_answer, as_text
from threadtrace.screen.views import is_terminal
from threadtrace.stopping import StopSignal

_INTERVAL_SECONDS = 1.0
# Longer than any director's patience.
_STAGE_LIFETIME_RATIO, _STAGE_LIFETIME_SECONDS = 3.0, 60.0
# What must be free on the node: several times what is used.
_NEEDED_ROOM = 4 * MAX_TASKS

_INCIDENTS: dict[str, Callable[[float], Incident]] = {"a": incident_a, "b": incident_b}


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a user may choose."""

    incidents: Sequence[str]
    """Of ``a`` and ``b``."""
    seconds: float
    """About how long each takes."""
    is_plain: bool
    report: Path | None


@dataclass(frozen=True, slots=True)
class _Played:
    incident: Incident
    verdict: str
    ending: str


class _Until(StopSignal):
    """Ends the agent's loop when the incident is over, too."""

    def __init__(self, stop: StopSignal, director: Director) -> None:
        super().__init__()
        self._stop_signal, self._director = stop, director

    def fileno(self) -> int:
        return self._stop_signal.fileno()

    def is_set(self) -> bool:
        return self._stop_signal.is_set() or self._director.is_over


def play(options: DemoOptions) -> int:
    """Play the incidents, show the verdicts; the exit code.

    Raises:
        ThreadtraceError: with the remedy.
    """
    _require_room()
    with StopSignal() as stop:
        for name in cgroups.remove_leftovers():
            click.echo(f"removed {name}, left by a demo that was killed")
        _announce(options)
        with (
            recordings(options.report, options.incidents, stop.is_set) as recorded,
            start_agent(AgentOptions()) as agent,
        ):
            for letter in options.incidents:
                if not stop.is_set():
                    incident = _INCIDENTS[letter](options.seconds)
                    played = _play_one(agent, incident, options, recorded[letter].sink, stop)
                    if played is not None:
                        _tell(played)
    if not stop.is_set():
        for files in recorded.values():
            _tell_files(files)
    return stop.exit_code or os.EX_OK


def _play_one(
    agent: Agent, incident: Incident, options: DemoOptions, sink: LineSink, stop: StopSignal
) -> _Played | None:
    """One incident; None where it came to a stop before its end."""
    events = EventStream(EventWriter(counts_refusals=agent.counts_refusals), sink, False)
    events.on_start(time.time_ns(), {**agent.details(), "interval_seconds": _INTERVAL_SECONDS})
    with cgroups.own_cgroup(agent.hierarchy) as directory:
        above = f"/{directory.name}"
        fd = open_directory(directory)
        try:
            spec = _spec(agent, incident, options.seconds, above, fd)
            with Stage(spec) as stage:
                director = Director(
                    incident, stage, options.seconds, _diagnoser(agent, above, time.time_ns())
                )
                _watch(agent, director, above, options.is_plain, events, stop)
        finally:
            os.close(fd)
    _record_end(agent, Restricted([events], above))
    if stage.note:
        warn(stage.note)
    if not director.is_over or director.verdict is None:
        return None
    return _Played(incident, director.verdict, director.ending)


def _record_end(agent: Agent, output: Restricted) -> None:
    """Workloads end with their cgroups."""
    output.on_happenings(agent.pipeline.handle_records())
    output.on_snapshot(agent.pipeline.tick(is_last=True))


def _watch(
    agent: Agent,
    director: Director,
    above: str,
    is_plain: bool,
    events: EventStream,
    stop: StopSignal,
) -> None:
    is_live = not is_plain and is_terminal()
    view = DirectedView(director) if is_live else Lines(director)
    view.on_start(about_live(agent, _INTERVAL_SECONDS))
    with view:
        shown = Restricted([view], above, is_shortened=True)
        output = Restricted([director, events, shown], above)
        run(agent, output, _Until(stop, director), _INTERVAL_SECONDS, None)


def _spec(
    agent: Agent, incident: Incident, seconds: float, above: str, cgroup_fd: int
) -> StageSpec:
    # A hierarchy that is seen through another process's root is not seen by runc.
    sees_cgroups = not agent.hierarchy.mount_point.startswith("/proc/")
    return StageSpec(
        actors=incident.actors,
        max_tasks=MAX_TASKS,
        has_pid_max_per_namespace=agent.loaded.has_pid_max_per_namespace,
        cgroup=above,
        cgroup_fd=cgroup_fd,
        use_runc=sees_cgroups and containers.can_run_containers(),
        lifetime_seconds=seconds * _STAGE_LIFETIME_RATIO + _STAGE_LIFETIME_SECONDS,
    )


def _diagnoser(agent: Agent, above: str, since_ns: int) -> Callable[[], str]:
    """What ``threadtrace why`` would tell of this incident."""

    def diagnose() -> str:
        diagnosis = diagnosis_below(agent.pipeline.diagnose(), above, since_ns)
        return as_text(agents_answer(diagnosis, agent.details()["missing"]))

    return diagnose


def _require_room() -> None:
    if os.geteuid() != 0:
        raise PrivilegeError("the demo makes a PID namespace and cgroups: run it as root")
    limits = read_node_limits()
    for name, limit in (("pid_max", limits.pid_max), ("threads-max", limits.threads_max)):
        if limit is not None and limit - (limits.tasks_count or 0) < _NEEDED_ROOM:
            raise UnavailableError(
                f"this node has less than {_NEEDED_ROOM:,} tasks left of {name} {limit:,}: "
                "too little room for a demo; run it on another"
            )


def _announce(options: DemoOptions) -> None:
    letters = " and ".join(letter.upper() for letter in options.incidents)
    many = " each" if len(options.incidents) > 1 else ""
    click.echo(
        f"Incident {letters} in small, about {options.seconds:.0f} s{many}: threads use up all "
        "PIDs, probes are refused."
    )
    click.echo(
        f"Harmless: at most {MAX_TASKS} tasks, under a limit of their own; nothing stays. Ctrl-C "
        "ends it."
    )


def _tell(played: _Played) -> None:
    incident = played.incident
    click.echo(f"\nIncident {incident.letter}: {incident.title}. threadtrace why said:\n")
    click.echo(played.verdict)
    click.echo(f"\n{played.ending}")


def _tell_files(recorded: Recording) -> None:
    if recorded.sink.total_lost:
        lost = recorded.sink.total_lost
        raise OutputError(f"{lost:,} events could not be written to {recorded.events}")
    write_report(recorded)
    click.echo(f"\nreport  {recorded.report}\nevents  {recorded.events}")
