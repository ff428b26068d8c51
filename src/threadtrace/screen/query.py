"""The filter of the live view: what is typed after ``/``. Pure.

Words must all match. ``shop`` matches a name, path, image or process; ``ns:shop`` a part of one
field; ``ns=shop`` the whole of it; ``refused>0`` a number; a minus before any of these turns it
around. Quotes hold spaces together. A backslash is a character like others: names that hold what a
terminal cannot show are shown with one.
"""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable
from functools import partial

from threadtrace.identity.workloads import WorkloadKind
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import WorkloadSnapshot
from threadtrace.screen.limits import seconds_left, used_ratio

Matches = Callable[[WorkloadSnapshot], bool]
_Number = Callable[[WorkloadSnapshot], "float | None"]
_Text = Callable[[WorkloadSnapshot], "str | None"]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_TERM = re.compile(r"(?P<field>[a-z_/]+)(?P<operator>>=|<=|!=|==|>|<|=|:)(?P<value>.*)", re.DOTALL)
_NUMBER = re.compile(r"(?P<number>-?(\d[\d,]*(\.\d+)?|\.\d+))(?P<unit>[a-z%]*)")
_COUNT_UNITS = {"": 1.0, "k": 1e3, "m": 1e6}
_UNITS = {
    "used": {"": 1.0, "%": 1.0},
    "left": {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0},
}
"""Of the fields that are no counts."""
_EXAMPLES = {"used": "80 or 80%", "left": "90, 90s, 5m, 2h or 1d"}
_BETWEEN = "\0"
"""Names: none of those that the kernel gives can hold it."""


class QueryError(ValueError):
    """A filter that cannot be understood; the text says what can."""


def compiled(text: str) -> Matches:
    """Whether a workload is to be shown.

    Raises:
        QueryError: a field that is none, or no number where one is needed.
    """
    try:
        words = _words(text)
    except ValueError:
        raise QueryError("a quote is not closed") from None
    terms = [_term(word) for word in words]
    return lambda shot: all(term(shot) for term in terms)


def _words(text: str) -> list[str]:
    splitter = shlex.shlex(text, posix=True)
    splitter.whitespace_split, splitter.commenters, splitter.escape = True, "", ""
    return list(splitter)


def _term(word: str) -> Matches:
    if word.startswith("-") and len(word) > 1:
        inner = _term(word[1:])
        return lambda shot: not inner(shot)
    folded = word.casefold()
    found = _TERM.fullmatch(folded)
    if found is None or ("/" in found["field"] and found["operator"] == ":"):
        return partial(_matches_anything, folded)  # an image's name has slashes and a colon
    field, sign, value = found["field"], found["operator"], found["value"]
    if sign in ("!=", "=="):
        right = f"-{field}={value}" if sign == "!=" else f"{field}={value}"
        raise QueryError(f"there is no {sign}: write {right}")
    if field in _TEXTS and sign in (":", "="):
        _check_word(field, value.casefold())
        return partial(_matches_text, _TEXTS[field], sign == "=", value)
    if field in _NUMBERS and sign in _OPERATORS:
        return partial(_matches_number, _NUMBERS[field], _OPERATORS[sign], _number(field, value))
    if field in _NUMBERS:
        raise QueryError(f"{field} is a number: write {field}>0 or {field}<=100")
    if field in _TEXTS:
        raise QueryError(f"{field} is text: write {field}:{value or 'text'}")
    raise QueryError(f"no field {field}: there are {' '.join([*_TEXTS, *_NUMBERS])}")


def _number(field: str, value: str) -> float:
    units = _UNITS.get(field, _COUNT_UNITS)
    found = _NUMBER.fullmatch(value)
    if found is None or found["unit"] not in units:
        example = _EXAMPLES.get(field, "100, 1,500 or 2k")
        raise QueryError(f"{field}: {value or 'nothing'} is no number: write {example}")
    return float(found["number"].replace(",", "")) * units[found["unit"]]


def _matches_text(text_of: _Text, is_whole: bool, wanted: str, shot: WorkloadSnapshot) -> bool:
    text = (text_of(shot) or "").casefold()
    return wanted in text.split(_BETWEEN) if is_whole else wanted in text


def _matches_number(
    number_of: _Number,
    holds: Callable[[float, float], bool],
    wanted: float,
    shot: WorkloadSnapshot,
) -> bool:
    number = number_of(shot)
    return number is not None and holds(number, wanted)


def _matches_anything(wanted: str, shot: WorkloadSnapshot) -> bool:
    return wanted in _searched(shot).casefold()


def _searched(shot: WorkloadSnapshot) -> str:
    workload = shot.workload
    image = workload.names.image_name if workload.names else None
    texts = (workload.name, workload.cgroup_path or "", workload.container_id or "", image or "")
    return _BETWEEN.join([*texts, *(process.name for process in shot.top_processes)])


def namespace(shot: WorkloadSnapshot) -> str | None:
    """Of a pod's container; None of anything else."""
    return shot.workload.names.k8s_namespace if shot.workload.names else None


def _pod(shot: WorkloadSnapshot) -> str | None:
    return shot.workload.names.k8s_pod_name if shot.workload.names else None


def _container(shot: WorkloadSnapshot) -> str | None:
    names = shot.workload.names
    return (names.k8s_container_name or names.container_name) if names else None


def state_word(shot: WorkloadSnapshot) -> str:
    """``quiet`` where nothing else is known; ``refused`` while clones are."""
    if shot.state is not None and shot.state is not State.QUIET:
        return str(shot.state.value)
    return "refused" if shot.counts.refused else "quiet"


def _state(shot: WorkloadSnapshot) -> str:
    """Both words, where a workload explodes and is refused."""
    word = state_word(shot)
    return f"{word}{_BETWEEN}refused" if shot.counts.refused and word != "refused" else word


def _processes(shot: WorkloadSnapshot) -> str:
    return _BETWEEN.join(process.name for process in shot.top_processes)


def _percent(shot: WorkloadSnapshot) -> float | None:
    ratio = used_ratio(shot)
    return None if ratio is None else ratio * 100


_WORDS = {
    "state": (*(state.value for state in State), "refused"),
    "kind": tuple(kind.value for kind in WorkloadKind),
}


def _check_word(field: str, value: str) -> None:
    """That it is a part of one of the few words that there are."""
    words = _WORDS.get(field)
    if words is not None and not any(value in word for word in words):
        raise QueryError(f"no {field} {value}: there are {' '.join(words)}")


_TEXTS: dict[str, _Text] = {
    "name": lambda shot: shot.workload.name,
    "ns": namespace,
    "pod": _pod,
    "container": _container,
    "id": lambda shot: shot.workload.container_id,
    "unit": lambda shot: shot.workload.unit,
    "kind": lambda shot: shot.workload.kind.value,
    "state": _state,
    "process": _processes,
    "cgroup": lambda shot: shot.workload.cgroup_path,
    "image": lambda shot: shot.workload.names.image_name if shot.workload.names else None,
    "runtime": lambda shot: shot.workload.runtime,
}

_NUMBERS: dict[str, _Number] = {
    "tasks": lambda shot: shot.tasks,
    "limit": lambda shot: shot.limit,
    "used": _percent,
    "threads": lambda shot: shot.threads_created_per_second,
    "processes": lambda shot: shot.processes_created_per_second,
    "exits": lambda shot: shot.exited_per_second,
    "net": lambda shot: shot.growth_per_second,
    "refused": lambda shot: shot.refused_per_second,
    "left": seconds_left,
}
