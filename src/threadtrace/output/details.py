"""A closer look as fields, for who asks a running agent. ``restore/details.py`` reads them."""

from __future__ import annotations

from threadtrace.model.details import (
    LimitLevel,
    ProcessDetails,
    ProcessInspection,
    WorkloadDetails,
)
from threadtrace.output.fields import Fields, known, shown_path

_MAX_COMMAND_LINE_CHARACTERS = 1024
_MAX_NAME_CHARACTERS = 256


def workload_details_fields(details: WorkloadDetails) -> Fields:
    """The answer to ``{"get": "workload"}``."""
    return known(
        {
            "key": details.key,
            "processes": [process_details_fields(process) for process in details.processes],
            "processes_count": details.processes_count,
            "limits": [limit_level_fields(level) for level in details.limits],
        }
    )


def process_inspection_fields(inspection: ProcessInspection) -> Fields:
    """The answer to ``{"get": "process"}``."""
    return known(
        {
            "process": process_details_fields(inspection.process),
            "parent_pid": inspection.parent_pid,
            "uid": inspection.uid,
            "thread_names": [
                known({"name": entry.name[:_MAX_NAME_CHARACTERS] or None, "count": entry.threads})
                for entry in inspection.thread_names
            ],
            "limits": [limit_level_fields(level) for level in inspection.limits],
        }
    )


def process_details_fields(process: ProcessDetails) -> Fields:
    """One process of either."""
    command_line, created = process.command_line, process.created_per_second
    age_seconds = process.age_seconds
    return known(
        {
            "pid": process.pid,
            "name": process.name[:_MAX_NAME_CHARACTERS] or None,
            "command_line": command_line and command_line[:_MAX_COMMAND_LINE_CHARACTERS],
            "threads": process.threads,
            "created_per_second": None if created is None else round(created, 3),
            "age_seconds": None if age_seconds is None else round(age_seconds, 3),
        }
    )


def limit_level_fields(level: LimitLevel) -> Fields:
    """One limit, named as in ``threadtrace.fork.refused``."""
    return known(
        {
            "limit": level.limit.name.lower(),
            "limit_owner": shown_path(level.owner) or None,
            "limit_value": level.value,
            "usage_value": level.usage,
            "knob": level.knob or None,
        }
    )
