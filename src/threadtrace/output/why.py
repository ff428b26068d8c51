"""The answer of ``threadtrace why``, as fields and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from threadtrace.model.diagnosis import Cause, Diagnosis, NearLimit, State, VictimCount
from threadtrace.model.refusal import Culprit
from threadtrace.model.snapshot import NodeSnapshot, Totals
from threadtrace.output.events import limit_words
from threadtrace.output.explosions import describe_explosion, explosion_under_way_fields
from threadtrace.output.fields import (
    Fields,
    count_fields,
    culprit_fields,
    known,
    node_fields,
    refusal_fields,
    shown_path,
    timestamp,
    workload_fields,
    workload_label,
)
from threadtrace.text import error_name, printable

_SHOWN_CAUSES = 5
_SHOWN_VICTIMS = 5

# Bounds of the object, which an agent sends through a socket without waiting.
_MAX_CAUSES = 20
_MAX_VICTIMS = 20
_MAX_EXPLOSIONS = 5

_COUNTED = {"interval_seconds", *count_fields(Totals())}

_WORDS = {
    State.HEALTHY: "this node can fork",
    State.PRESSURE: "this node can fork, under pressure",
    State.REFUSING: "forks are refused",
    State.UNKNOWN: "could not tell",
}


class Seen(NamedTuple):
    """Through what the answer was found, and what was out of sight."""

    source: str
    """``agent``: one that was running; ``programs``: attached for this; ``files``: /proc and
    cgroups alone."""
    missing: Sequence[Mapping[str, str]]
    """what, effect, remedy."""


def why_fields(diagnosis: Diagnosis, seen: Seen) -> Fields:
    """The object of ``threadtrace why --json``."""
    nearest = diagnosis.nearest
    return known(
        {
            "timestamp": timestamp(diagnosis.time_ns),
            "state": diagnosis.state.value,
            "answer": answer(diagnosis),
            "node": _node_fields(diagnosis.node),
            "causes": [_cause_fields(cause) for cause in diagnosis.causes[:_MAX_CAUSES]],
            "causes_count": len(diagnosis.causes),
            "explosions": [
                explosion_under_way_fields(entry)
                for entry in diagnosis.explosions[:_MAX_EXPLOSIONS]
            ],
            "explosions_count": len(diagnosis.explosions),
            "nearest_limit": None if nearest is None else _near_fields(nearest),
            "source": seen.source,
            "missing": list(seen.missing),
        }
    )


def agents_answer(diagnosis: Diagnosis, missing: list[dict[str, str]]) -> Fields:
    """What a running agent answers to who asks it."""
    return why_fields(diagnosis, Seen("agent", missing))


def answer(diagnosis: Diagnosis) -> str:
    """One line."""
    words = _WORDS[diagnosis.state]
    now = next((cause for cause in diagnosis.causes if cause.is_now), None)
    if now is not None:
        return printable(f"{words}: {_cause_line(now)}")
    if diagnosis.explosions:
        return f"{words}: {describe_explosion(diagnosis.explosions[0])}"
    if diagnosis.nearest is not None:
        return printable(f"{words}: {_near_line(diagnosis.nearest)}")
    return words


def as_text(fields: Fields) -> str:
    """The same object for people."""
    lines = [fields["answer"]]
    for cause in fields["causes"][:_SHOWN_CAUSES]:
        lines += ["", *_cause_lines(cause)]
    hidden = fields["causes_count"] - _SHOWN_CAUSES
    if hidden > 0:
        lines.append(f"{hidden} more limits have refused")
    for explosion in fields["explosions"]:
        lines += ["", *_explosion_lines(explosion)]
    if "nearest_limit" in fields and not _is_told(fields["nearest_limit"], fields["causes"]):
        lines += ["", *_near_lines(fields["nearest_limit"], fields["state"])]
    for entry in fields["missing"]:
        lines += ["", f"not seen: {entry['what']}: {entry['effect']}", f"  -> {entry['remedy']}"]
    return "\n".join(map(printable, lines))


def _is_told(near: dict[str, Any], causes: Sequence[dict[str, Any]]) -> bool:
    """Whether the nearest limit is one that refuses, which says more."""
    return any(
        cause["is_now"] and cause.get("limit_owner") == near["limit_owner"] for cause in causes
    )


def _cause_line(cause: Cause) -> str:
    last = cause.last
    parts = [f"{error_name(last.error)} from {limit_words(last)}"]
    if last.culprits:
        parts.append(f"held by {_culprit_words(last.culprits[0])}")
    victims = [f"{victim.workload.name} {victim.refused:,}" for victim in cause.victims[:3]]
    parts.append(f"refused {', '.join(victims)}")
    parts.append(f"change {last.knob}")
    return "; ".join(parts)


def _culprit_words(culprit: Culprit) -> str:
    share = "" if culprit.share_ratio is None else f" ({culprit.share_ratio:.0%})"
    return f"{culprit.workload.name} with {_tasks(culprit.tasks)}{share}"


def _near_line(near: NearLimit) -> str:
    text = (
        f"the nearest limit is {near.limit.name.lower()} of {shown_path(near.owner)}, "
        f"{near.used_ratio:.0%} used, {max(0, near.value - near.usage):,} left"
    )
    if near.fastest is not None:
        text += f"; {near.fastest.name} grows by {near.fastest_per_second:,.0f}/s"
    elif near.holders:
        text += f"; most is held by {_culprit_words(near.holders[0])}"
    return text


def _node_fields(node: NodeSnapshot) -> Fields:
    """Its limits; nothing is counted for an answer."""
    fields = node_fields(node)
    return {name: fields[name] for name in fields if name not in _COUNTED}


def _cause_fields(cause: Cause) -> Fields:
    last = refusal_fields(cause.last)
    for name in ("kind", "suppressed_count", "is_own_limit"):
        last.pop(name, None)
    last.update(
        is_now=cause.is_now,
        is_own_limit=cause.is_own_limit,
        refused_count=cause.refused,
        victims=[_victim_fields(victim) for victim in cause.victims[:_MAX_VICTIMS]],
        victims_count=len(cause.victims),
    )
    return last


def _victim_fields(victim: VictimCount) -> Fields:
    return {
        "workload": workload_label(victim.workload),
        **workload_fields(victim.workload),
        "refused_count": victim.refused,
        "first_refused": timestamp(victim.first_ns),
        "last_refused": timestamp(victim.last_ns),
        "is_gone": victim.is_gone,
    }


def _near_fields(near: NearLimit) -> Fields:
    fastest = near.fastest
    return known(
        {
            "limit": near.limit.name.lower(),
            "limit_owner": shown_path(near.owner),
            "limit_value": near.value,
            "usage_value": near.usage,
            "used_ratio": round(near.used_ratio, 4),
            "headroom_count": max(0, near.value - near.usage),
            "knob": near.knob,
            "culprits": [culprit_fields(culprit) for culprit in near.holders],
            "fastest": None
            if fastest is None
            else {
                "workload": workload_label(fastest),
                "growth_per_second": round(near.fastest_per_second, 3),
            },
        }
    )


def _cause_lines(cause: dict[str, Any]) -> list[str]:
    head = f"{cause['errno']} from {cause['limit']}"
    if "limit_value" in cause:
        head += f" {cause['limit_value']:,}"
    if "limit_owner" in cause:
        head += f" of {cause['limit_owner']}"
    when = "now" if cause["is_now"] else "earlier"
    lines = [f"{head}, {when}, {_times(cause['refused_count'])} ({cause['evidence']})"]
    if cause["also_reached"]:
        lines.append(f"  also reached  {', '.join(cause['also_reached'])}")
    lines += _holder_lines(cause["culprits"])
    for victim in cause["victims"][:_SHOWN_VICTIMS]:
        lines.append(
            f"  refused   {victim['workload']['name']}  {_times(victim['refused_count'])}, "
            f"{_clock(victim['first_refused'])} to {_clock(victim['last_refused'])}"
            + (", gone since" if victim["is_gone"] else "")
        )
    hidden = cause["victims_count"] - _SHOWN_VICTIMS
    if hidden > 0:
        lines.append(f"  refused   {hidden} more workloads")
    if cause["is_own_limit"]:
        lines.append("  nobody else suffers: the limit is the refused workload's own")
    lines.append(f"  change    {cause['knob']}")
    return lines


def _holder_lines(culprits: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for culprit in culprits:
        line = f"  held by   {culprit['workload']['name']}  {_tasks(culprit['tasks_count'])}"
        if "share_ratio" in culprit:
            line += f"  {culprit['share_ratio']:.0%}"
        process = culprit.get("process")
        if process is not None:
            threads = process["threads"]
            line += f"  {process['name']}[{process['pid']}]"
            line += f" {threads:,} threads" if threads > 1 else ""
        lines.append(line)
    return lines


def _explosion_lines(explosion: dict[str, Any]) -> list[str]:
    rate = explosion["growth_per_second"]
    lines = [
        f"explosion ({explosion['shape']}, {explosion['state']}) since "
        f"{_clock(explosion['onset'])}: {explosion['workload']['name']}, "
        f"{_tasks(explosion['tasks_count'])}"
        + (f", {rate:,.1f} more a second" if rate > 0 else ""),
        f"  because   {explosion['reason']}",
    ]
    process = explosion.get("process", {})
    if "pid" in process:
        name = process.get("executable", {}).get("name", "process")
        command = process.get("command_line", "")
        lines.append(f"  by        {name}[{process['pid']}]  {command}".rstrip())
    if explosion["thread_names"]:
        named = (f"{entry['name']} {entry['count']:,}" for entry in explosion["thread_names"])
        lines.append(f"  threads   {', '.join(named)}")
    if "nearest_limit" in explosion:
        left = explosion.get("seconds_to_exhaustion")
        lines.append(
            f"  limit     {explosion['nearest_limit']} {explosion['nearest_limit_value']:,} of "
            f"{explosion['nearest_limit_owner']}, {explosion['nearest_limit_usage']:,} in use"
            + ("" if left is None else f", {left:,.0f} s left")
        )
        lines.append(f"  change    {explosion['knob']}")
    return lines


def _near_lines(near: dict[str, Any], state: str) -> list[str]:
    lines = [
        f"nearest limit: {near['limit']} {near['limit_value']:,} of {near['limit_owner']}, "
        f"{near['usage_value']:,} in use, {near['headroom_count']:,} left"
    ]
    lines += _holder_lines(near["culprits"])
    if "fastest" in near:
        fastest = near["fastest"]
        rate = fastest["growth_per_second"]
        lines.append(f"  grows     {fastest['workload']['name']}  {rate:,.1f} tasks/s")
    if state != State.HEALTHY.value:
        lines.append(f"  change    {near['knob']}")
    return lines


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def _clock(moment: str) -> str:
    """Hours, minutes and seconds of a timestamp."""
    return moment[11:19]
