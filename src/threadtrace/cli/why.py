"""``threadtrace why``: one answer."""

from __future__ import annotations

import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threadtrace.cli.connecting import access_to, connect_options, refuse_beside
from threadtrace.cli.options import (
    Seconds,
    host_root_option,
    max_cgroups_option,
    refusal_hook_option,
    socket_option,
)
from threadtrace.errors import UsageError

if TYPE_CHECKING:
    from threadtrace.agent import AgentOptions
    from threadtrace.feeds.transport import Access
    from threadtrace.pipeline import Pipeline
    from threadtrace.probe.plan import RefusalHook
    from threadtrace.stopping import StopSignal

_UNKNOWN = "unknown"
_EXIT_CODES = {"healthy": 0, "pressure": 1, "refusing": 2, _UNKNOWN: 3}

# How long programs that are attached for this one answer look: the whole takes less than a second.
_LOOK_SECONDS = 0.1

_OF_THIS_NODE = ("max_cgroups", "host_root", "refusal_hook")


@click.command()
@max_cgroups_option
@host_root_option
@refusal_hook_option
@socket_option
@connect_options("Ask an agent (stream or top) that runs elsewhere, not this node")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an answer, for scripts.")
@click.option(
    "--watch",
    "watch_seconds",
    metavar="SECONDS",
    type=Seconds(min=0.1, max=86400),
    help="Answer again each time so many seconds have passed, until Ctrl-C.",
)
def why(
    max_cgroups: int,
    host_root: Path,
    refusal_hook: RefusalHook,
    socket: Path,
    url: str | None,
    token_file: str | None,
    ca_file: str | None,
    as_json: bool,
    watch_seconds: float | None,
) -> int:
    """Tell whether this node can fork, and if not: which limit, who holds it, what to change.

    Asks the agent (stream or top) that runs on this node, which knows what was refused before. Only
    the user who started the agent may ask it. Where none answers within two seconds, looks for
    itself, with kernel programs or with /proc and cgroup files alone: what was refused before is
    not known then. With --connect, an agent elsewhere is asked, and nobody else.

    Exit code 0 healthy, 1 under pressure, 2 forks are refused, 3 could not tell. Others as in
    `threadtrace --help`.
    """
    from threadtrace.errors import OutputError

    if sys.stdout is None:
        raise OutputError("standard output is closed: redirect it to a file")
    access = access_to(url, token_file, ca_file)
    if url is not None and access is not None:
        _refuse_this_node()
        return _why_elsewhere(url, access, as_json, watch_seconds)
    return _why_here(max_cgroups, host_root, refusal_hook, socket, as_json, watch_seconds)


def _refuse_this_node() -> None:
    """Raises UsageError for options that say how or where to ask here."""
    refuse_beside("--connect", _OF_THIS_NODE)
    source = click.get_current_context().get_parameter_source("socket")
    if source is click.core.ParameterSource.COMMANDLINE:
        raise UsageError("--socket and --connect exclude each other: --connect unix:PATH")


def _why_elsewhere(url: str, access: Access, as_json: bool, watch_seconds: float | None) -> int:
    from threadtrace.errors import UnavailableError
    from threadtrace.feeds.inquiry import ask_elsewhere, other_version
    from threadtrace.feeds.transport import transport_to
    from threadtrace.stopping import StopSignal

    transport = transport_to(url, access)
    code = _EXIT_CODES[_UNKNOWN]

    def show(answer: dict[str, Any]) -> None:
        nonlocal code
        try:
            words, code = _words(answer, as_json), _EXIT_CODES[answer["state"]]
        except (LookupError, TypeError, ValueError, AttributeError):
            # Another version, or a stranger: it lacks what this one shows.
            code = _EXIT_CODES[_UNKNOWN]
            raise UnavailableError(other_version(transport.address)) from None
        click.echo(words)

    stop = StopSignal()
    with stop:
        ask_elsewhere(transport, show, watch_seconds, stop)
    return stop.exit_code or code


def _why_here(
    max_cgroups: int,
    host_root: Path,
    refusal_hook: RefusalHook,
    socket: Path,
    as_json: bool,
    watch_seconds: float | None,
) -> int:
    from threadtrace.agent import AgentOptions
    from threadtrace.stopping import StopSignal

    options = AgentOptions(max_cgroups, host_root, refusal_hook=refusal_hook)
    stop = StopSignal()
    with stop:
        while True:
            state = _answer(options, socket, as_json, stop)
            if watch_seconds is None or stop.is_set() or _waited(stop, watch_seconds):
                break
    return stop.exit_code or _EXIT_CODES[state]


def _answer(options: AgentOptions, socket: Path, as_json: bool, stop: StopSignal) -> str:
    """Show the answer, unless it came to a stop before; the state that it tells."""
    from threadtrace.agent import start_agent
    from threadtrace.asking import ask
    from threadtrace.errors import ThreadtraceError, UsageError
    from threadtrace.output.why import Seen, why_fields

    answer = ask(socket)
    if answer is not None:
        return _shown(answer, as_json)
    try:
        with start_agent(options) as agent:
            if stop.is_set():
                return _UNKNOWN
            _look(agent.pipeline, agent.source.fileno())
            seen = Seen("programs", [_no_agent(socket), *agent.details()["missing"]])
            # Shown before the programs are detached, which takes as long as to find it out.
            return _shown(why_fields(agent.pipeline.diagnose(), seen), as_json)
    except UsageError:
        raise
    except ThreadtraceError as error:
        if stop.is_set():
            return _UNKNOWN
        return _shown(_answer_without_programs(options, socket, error), as_json)


def _no_agent(socket: Path) -> dict[str, str]:
    return {
        "what": "an agent",
        "effect": "what was refused before now is not known",
        "remedy": f"none answers at {socket}: keep threadtrace stream or top running, or name its "
        "--socket",
    }


def _answer_without_programs(
    options: AgentOptions, socket: Path, error: Exception
) -> dict[str, Any]:
    from threadtrace.agent import start_pipeline_without_programs
    from threadtrace.output.why import Seen, why_fields

    wrong, _, remedy = str(error).partition(": ")
    missing = {
        "what": f"kernel programs ({wrong})",
        "effect": "what was refused, and nested PID namespaces, are out of sight",
        "remedy": remedy or "threadtrace doctor",
    }
    with start_pipeline_without_programs(options) as pipeline:
        _look(pipeline, None)
        return why_fields(pipeline.diagnose(), Seen("files", [_no_agent(socket), missing]))


def _look(pipeline: Pipeline, fd: int | None) -> None:
    """Two ticks, so that growth and refusals show."""
    pipeline.tick()
    poller = select.poll()
    if fd is not None:
        poller.register(fd, select.POLLIN)
    poller.poll(_LOOK_SECONDS * 1000)
    pipeline.handle_records()
    pipeline.tick()


def _shown(answer: dict[str, Any], as_json: bool) -> str:
    click.echo(_words(answer, as_json))
    state: str = answer["state"]
    return state


def _words(answer: dict[str, Any], as_json: bool) -> str:
    import orjson

    from threadtrace.output.why import as_text

    return orjson.dumps(answer).decode() if as_json else as_text(answer)


def _waited(stop: StopSignal, seconds: float) -> bool:
    """Wait for the next answer; whether to end instead."""
    poller = select.poll()
    poller.register(stop.fileno(), select.POLLIN)
    poller.poll(seconds * 1000)
    return stop.is_set()
