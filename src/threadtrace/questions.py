"""What may be asked of a running agent, one JSON object a question, beside its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from threadtrace.model.details import ProcessInspection, WorkloadDetails
from threadtrace.model.diagnosis import Diagnosis
from threadtrace.pipeline import Pipeline

Fields = dict[str, Any]
Question = Mapping[str, Any]
Handler = Callable[[Question], Fields]

_HIGHEST_PID = 1 << 31


class WrongQuestion(ValueError):
    """One that cannot be answered; the text says why."""


@dataclass(frozen=True, slots=True)
class Renderers:
    """What makes answers out of what the pipeline tells."""

    why: Callable[[Diagnosis, list[dict[str, str]]], Fields]
    """Out of a diagnosis and of what is missing here."""
    workload: Callable[[WorkloadDetails], Fields]
    process: Callable[[ProcessInspection], Fields]


def handlers(
    pipeline: Pipeline, missing: Callable[[], list[dict[str, str]]], renderers: Renderers
) -> dict[str, Handler]:
    """By the value of ``get``. Each may raise WrongQuestion, or OSError of a reading that failed.

    A workload or process that is gone is answered with an empty object.
    """

    def why(_: Question) -> Fields:
        return renderers.why(pipeline.diagnose(), missing())

    def workload(question: Question) -> Fields:
        key = question.get("key")
        if not isinstance(key, str):
            raise WrongQuestion('"key" must be the key of a workload, as text')
        details = pipeline.inspect_workload(key)
        return {} if details is None else renderers.workload(details)

    def process(question: Question) -> Fields:
        pid = question.get("pid")
        if type(pid) is not int or not 0 < pid < _HIGHEST_PID:
            raise WrongQuestion('"pid" must be the number of a process')
        inspection = pipeline.inspect_process(pid)
        return {} if inspection is None else renderers.process(inspection)

    return {"why": why, "workload": workload, "process": process}
