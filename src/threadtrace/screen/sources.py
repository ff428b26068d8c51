"""What the numbers rest on: which hooks run, what was lost, what cannot be seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from threadtrace.feed import About
from threadtrace.model.refusal import REFUSAL_PROGRAMS
from threadtrace.model.snapshot import Loss
from threadtrace.text import printable

_BIRTH_PROGRAMS = ("on_task_newtask", "on_sched_process_exit")
_KINDS = {
    "kretprobe": "return probes",
    "typed_raw_tracepoint": "raw tracepoints",
    "raw_tracepoint": "raw tracepoints",
    "tracepoint": "tracepoints",
}
"""Of hooks, as people say them."""


def rests_on(about: About, width: int) -> str:
    """One line, where nothing was lost: ``births and exits by raw tracepoints, ...``.

    What would be cut off a narrow terminal is which hooks run.
    """
    hooks = ", ".join(_hook_words(about))
    parts = [hooks, "nothing lost"] if hooks else ["nothing lost"]
    if about.missing:
        parts.append("not seen: " + ", ".join(str(entry.get("what")) for entry in about.missing))
    text = printable("; ".join(parts))
    if not hooks or cell_len(text) <= width:
        return text
    return printable("; ".join([*parts[1:], hooks]))


def wrong_with(note: str, losses: Sequence[Loss]) -> list[str]:
    """Lines for what makes the numbers doubtful; none where nothing does.

    Args:
        note: about the source; may be empty.
        losses: all of this run.
    """
    found = [printable(note)] if note else []
    if losses:
        lost = ", ".join(f"{loss.lost:,} {printable(loss.where)}" for loss in losses)
        found.append(f"lost: {lost} (e tells more)")
    return found


def _hook_words(about: About) -> list[str]:
    births = _kind(about.hooks, _BIRTH_PROGRAMS)
    refusals = _kind(about.hooks, REFUSAL_PROGRAMS)
    words = [f"births and exits by {births}"] if births else []
    if refusals:
        words.append(f"refusals by {refusals}")
    elif about.hooks:
        words.append("refusals by nothing")
    return words


def _kind(hooks: Sequence[Mapping[str, str]], programs: Sequence[str]) -> str:
    kinds = [hook.get("kind", "") for hook in hooks if hook.get("program") in programs]
    return _KINDS.get(kinds[0], kinds[0].replace("_", " ")) if kinds else ""
