"""A thread explosion as fields and as a sentence."""

from __future__ import annotations

from threadtrace.model.explosion import (
    CreatingProcess,
    End,
    Explosion,
    Forecast,
    Shape,
    State,
    Transition,
)
from threadtrace.model.snapshot import WorkloadSnapshot
from threadtrace.output.fields import (
    Fields,
    known,
    process_fields,
    shown_path,
    timestamp,
    workload_fields,
    workload_label,
)
from threadtrace.text import printable

_MAX_COMMAND_LINE_BYTES = 1024
_MAX_NAME_CHARACTERS = 256

# A limit is urgent this long before it is used up: sooner where much of it is used already, since
# most growth ends by itself.
_URGENT_SECONDS = 60.0
_URGENT_SECONDS_IF_USED, _USED_RATIO = 600.0, 0.5

_ENDS = {
    End.GONE: "the workload is gone",
    End.FELL_BACK: "it gave back most of what it had gained",
    End.PLATEAU: "it has not grown for a while, and keeps what it gained",
    End.CALMED: "births have calmed down",
    End.AGENT_STOPPED: "threadtrace stopped watching",
}


def is_urgent(explosion: Explosion) -> bool:
    """Whether a limit is reached, or will be within a minute; in ten, if half of it is used."""
    if explosion.state is State.EXHAUSTED:
        return True
    forecast = explosion.forecast
    if forecast is None or forecast.seconds is None:
        return False
    is_used = forecast.usage >= forecast.value * _USED_RATIO
    return forecast.seconds <= (_URGENT_SECONDS_IF_USED if is_used else _URGENT_SECONDS)


def explosion_fields(explosion: Explosion, run: str, onset: str) -> Fields:
    """What ``threadtrace.explosion.*`` carries under ``threadtrace``.

    Args:
        explosion: what is told.
        run: of the agent, so that ids of episodes are unique.
        onset: timestamp of when the growth began.
    """
    rates, counts = explosion.rates, explosion.counts
    share = explosion.share_of_node_ratio
    process = explosion.process
    return known(
        {
            "explosion_id": f"{run[:8]}-{explosion.number}",
            "state": explosion.state.value,
            "shape": explosion.shape.value,
            "reason": reason(explosion),
            "evidence": _evidence_fields(explosion),
            "onset": onset,
            "duration_seconds": round(explosion.duration_seconds, 3),
            "tasks_count": explosion.tasks,
            "tasks_at_start": explosion.tasks_at_start,
            "tasks_peak": explosion.tasks_peak,
            "threads_created_per_second": round(rates.threads_created, 3),
            "processes_created_per_second": round(rates.processes_created, 3),
            "exited_per_second": round(rates.exited, 3),
            "growth_per_second": round(explosion.growth_per_second, 3),
            "threads_created_count": counts.threads_created,
            "processes_created_count": counts.processes_created,
            "exited_count": counts.exited,
            "refused_count": counts.refused,
            "share_of_node_ratio": None if share is None else round(min(1.0, share), 4),
            **forecast_fields(explosion.forecast),
            "parent_command_line": None
            if process is None
            else _clipped_bytes(process.parent_command_line)[0],
            "thread_names": [
                {"name": entry.name[:_MAX_NAME_CHARACTERS], "count": entry.threads}
                for entry in explosion.thread_names
            ],
            "top_processes": [process_fields(entry) for entry in explosion.top_processes],
            "victims": [
                {"workload": workload_label(victim.workload), "refused_count": victim.refused}
                for victim in explosion.victims
            ],
            "victims_count": explosion.victims_count,
            "ended_because": None if explosion.ended is None else explosion.ended.value,
        }
    )


def explosion_under_way_fields(explosion: Explosion) -> Fields:
    """One that has not ended, outside of an event: in ``top --json`` and ``why``."""
    fields = explosion_fields(explosion, "", timestamp(explosion.onset_ns))
    del fields["explosion_id"]
    about = workload_fields(explosion.workload)
    process = {**about.get("process", {}), **creating_process_fields(explosion.process)}
    if process:
        about["process"] = process
    return {"workload": workload_label(explosion.workload), **about, **fields}


def forecast_fields(forecast: Forecast | None) -> Fields:
    """The limit that will be exhausted first."""
    if forecast is None:
        return {}
    seconds = forecast.seconds
    return known(
        {
            "nearest_limit": forecast.limit.name.lower(),
            "nearest_limit_owner": shown_path(forecast.owner),
            "nearest_limit_value": forecast.value,
            "nearest_limit_usage": forecast.usage,
            "seconds_to_exhaustion": None if seconds is None else round(seconds, 1),
            "knob": forecast.knob,
        }
    )


def workload_forecast_fields(snapshot: WorkloadSnapshot) -> Fields:
    """How a workload stands and how long is left, in ``threadtrace.workload.rates``."""
    fields: Fields = {}
    if snapshot.state is not None:
        fields["state"] = snapshot.state.value
    forecast = snapshot.forecast
    if forecast is not None and forecast.seconds is not None:
        fields["seconds_to_exhaustion"] = round(forecast.seconds, 1)
        fields["nearest_limit"] = forecast.limit.name.lower()
        fields["nearest_limit_owner"] = shown_path(forecast.owner)
    return fields


def creating_process_fields(process: CreatingProcess | None) -> Fields:
    """The process that creates most, after the semantic conventions."""
    if process is None:
        return {}
    text, is_truncated = _clipped_bytes(process.command_line)
    fields = known(
        {
            "pid": process.pid,
            "vpid": process.vpid,
            "parent_pid": process.parent_pid,
            "command_line": text,
            "executable": {"name": process.name[:_MAX_NAME_CHARACTERS]} if process.name else None,
        }
    )
    if is_truncated:
        fields["command_line_truncated"] = True
    return fields


def reason(explosion: Explosion) -> str:
    """On what evidence it was called."""
    evidence = explosion.evidence
    if evidence.rule == "storm":
        return (
            f"more than {evidence.needed:,.0f} births a second, and as many exits, for "
            f"{_length(evidence.growing_seconds)}"
        )
    text = (
        f"gained {_tasks(evidence.gained)} in {_length(evidence.growing_seconds)} "
        f"({evidence.growth_per_second:,.1f}/s)"
    )
    if evidence.rule == "limit":
        return f"{text}, and its nearest limit is less than {evidence.needed:,.0f} s away"
    if evidence.rule == "refused":
        return f"{text} and has used up its limit"
    return f"{text} and goes on; from {evidence.needed:,.0f} on that is called a {evidence.rule}"


def describe_explosion(explosion: Explosion) -> str:
    """One sentence: who, how fast, how long is left, what to change."""
    name, tasks = explosion.workload.name, _tasks(explosion.tasks)
    if explosion.transition is Transition.ENDED:
        assert explosion.ended is not None
        parts = [
            f"{name}: its explosion is over after {_length(explosion.duration_seconds)}, since "
            f"{_ENDS[explosion.ended]}: {tasks} now, {explosion.tasks_peak:,} at most"
        ]
        return printable("; ".join([*parts, *_victim_words(explosion)]))
    parts = [f"{name} {_state_words(explosion)}: {tasks}"]
    if explosion.share_of_node_ratio is not None:
        parts[0] += f", {explosion.share_of_node_ratio:.0%} of the node's"
    if explosion.transition is Transition.STARTED:
        parts.append(reason(explosion))
    parts += _forecast_words(explosion.forecast)
    parts += _victim_words(explosion)
    if explosion.process is not None and explosion.process.name:
        parts.append(f"most by {explosion.process.name} (PID {explosion.process.pid})")
    if explosion.forecast is not None and is_urgent(explosion):
        parts.append(f"change {explosion.forecast.knob}")
    return printable("; ".join(parts))


def _state_words(explosion: Explosion) -> str:
    if explosion.state is State.EXHAUSTED:
        return "has exhausted its limit"
    if explosion.state is State.RECOVERING:
        return "no longer grows"
    if explosion.shape is Shape.STORM:
        rates = explosion.rates
        created = rates.threads_created + rates.processes_created
        return f"creates and ends {created:,.0f} tasks a second"
    if explosion.growth_per_second > 0:
        return f"explodes by {explosion.growth_per_second:,.0f} tasks a second"
    return "explodes"


def _forecast_words(forecast: Forecast | None) -> list[str]:
    if forecast is None:
        return []
    limit = f"{forecast.limit.name.lower()} {forecast.value:,} of {shown_path(forecast.owner)}"
    left = max(0, forecast.value - forecast.usage)
    if forecast.seconds is None or not left:
        return [f"{left:,} left of {limit}"]
    return [f"{limit} is used up in {_length(forecast.seconds)}"]


def _victim_words(explosion: Explosion) -> list[str]:
    if not explosion.victims:
        return []
    named = ", ".join(f"{v.workload.name} {v.refused:,} times" for v in explosion.victims[:2])
    others = explosion.victims_count - 2
    return [f"refused were {named}" + (f" and {others} more" if others > 0 else "")]


def _evidence_fields(explosion: Explosion) -> Fields:
    evidence = explosion.evidence
    return {
        "rule": evidence.rule,
        "gained_count": evidence.gained,
        "growing_seconds": round(evidence.growing_seconds, 3),
        "growth_per_second": round(evidence.growth_per_second, 3),
        "threshold": round(evidence.needed, 3),
    }


def _clipped_bytes(text: str | None) -> tuple[str | None, bool]:
    """At most 1 KiB of UTF-8, and whether anything was cut."""
    if text is None:
        return None, False
    raw = text.encode()
    if len(raw) <= _MAX_COMMAND_LINE_BYTES:
        return text, False
    return raw[:_MAX_COMMAND_LINE_BYTES].decode("utf-8", "ignore"), True


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def _length(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
