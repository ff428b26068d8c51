"""Who speaks, out of the first event of a run."""

from __future__ import annotations

from threadtrace.feed import About
from threadtrace.model.refusal import REFUSAL_PROGRAMS
from threadtrace.report.fields import Fields, inner, number, objects, text
from threadtrace.report.reading import NODE, RATES, STARTED, Event

_MAX_ENTRIES = 64
_UNKNOWN_NODE = "unknown"  # as the reader of events says where none is told


def about_of(event: Event) -> About:
    """What ``threadtrace.started`` tells; of any other event, what its envelope does."""
    details = event.details
    about = About(
        node="" if event.node == _UNKNOWN_NODE else event.node,
        version=text(inner(event.fields, "agent"), "version") or "",
    )
    if event.name != STARTED:
        # Like all counts of refusals, this one is absent where they are not counted.
        is_counted = event.name not in (NODE, RATES) or "refused_count" in details
        return about._replace(counts_refusals=is_counted)
    hooks = [_texts_of(hook) for hook in objects(details, "hooks")[:_MAX_ENTRIES]]
    interval_seconds = number(details, "interval_seconds")
    is_told = isinstance(details.get("hooks"), list)
    return about._replace(
        kernel_release=text(details, "kernel_release") or "",
        hooks=hooks,
        missing=_missing(details),
        counts_refusals=not is_told
        or any(hook.get("program") in REFUSAL_PROGRAMS for hook in hooks),
        interval_seconds=interval_seconds if interval_seconds and interval_seconds > 0 else None,
    )


def _missing(details: Fields) -> list[dict[str, str]]:
    """Entries that say what and why it matters; the remedy may be absent."""
    found = []
    for entry in objects(details, "missing")[:_MAX_ENTRIES]:
        what, effect = text(entry, "what"), text(entry, "effect")
        if what is not None and effect is not None:
            found.append({"what": what, "effect": effect, "remedy": text(entry, "remedy") or ""})
    return found


def _texts_of(entry: Fields) -> dict[str, str]:
    return {name: value for name, value in entry.items() if isinstance(value, str)}
