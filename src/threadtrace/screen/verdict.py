"""The line that an operator reads first while forks are refused. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from threadtrace.identity.workloads import WorkloadKind, identify
from threadtrace.model.refusal import Culprit, Refusal
from threadtrace.report.limits import NODE_OWNER, NODES_PID_NAMESPACE
from threadtrace.text import error_name, printable

_SHOWN_VICTIMS = 2


def describe_refusals(refusals: Sequence[Refusal]) -> str:
    """Which limit, who holds it, who suffers, what to change: of what was refused last.

    Of a limit that others suffer from before one's own; of victims before whoever holds it.

    Args:
        refusals: at least one, oldest first.
    """
    others = [refusal for refusal in refusals if _is_a_victim(refusal)]
    last = (others or refusals)[-1]
    parts = [f"forks are refused: {error_name(last.error)} from {_limit(last)}"]
    if last.culprits:
        parts.append(f"held by {_culprit(last.culprits[0])}")
    # Last, since a narrow terminal cuts it: the rows below tell the victims too.
    parts += [f"change {last.knob}", f"refused {_victims(refusals, last)}"]
    return printable("; ".join(parts))


def _is_a_victim(refusal: Refusal) -> bool:
    """Whether it is another one than who holds the limit."""
    if refusal.is_own_limit:
        return False
    return not refusal.culprits or refusal.culprits[0].workload.key != refusal.victim.workload.key


def _limit(refusal: Refusal) -> str:
    text = refusal.limit.name.lower()
    if refusal.limit_value is not None:
        text += f" {refusal.limit_value:,}"
    return f"{text}{_owner(refusal.owner)}"


def _owner(owner: str | None) -> str:
    """Whose it is: of pods and containers the kind, since the holder's name tells which."""
    if owner is None:
        return ""
    if owner in (NODE_OWNER, NODES_PID_NAMESPACE):
        return " of the node"
    if owner.startswith("/"):
        kind = identify(owner).kind
        if kind in (WorkloadKind.POD, WorkloadKind.CONTAINER):
            return f" of the {kind.value}"
    return f" of {owner}"


def _culprit(culprit: Culprit) -> str:
    text = f"{culprit.workload.name} with {culprit.tasks:,}"
    if culprit.share_ratio is not None:
        text += f" ({culprit.share_ratio:.0%})"
    process = culprit.process
    return f"{text}, {process.name}[{process.pid}]" if process and process.name else text


def _victims(refusals: Sequence[Refusal], last: Refusal) -> str:
    """Who was refused by the same limit, most often told first."""
    same = [r for r in refusals if (r.limit, r.owner) == (last.limit, last.owner)]
    found = Counter({last.victim.workload.name: 0})
    for refusal in same:
        found[refusal.victim.workload.name] += 1
    others = [name for name, _ in found.most_common() if name != last.victim.workload.name]
    shown = [last.victim.workload.name, *others][:_SHOWN_VICTIMS]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
