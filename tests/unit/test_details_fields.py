"""A closer look through JSON and back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from threadtrace.model.details import (
    LimitLevel,
    ProcessDetails,
    ProcessInspection,
    WorkloadDetails,
)
from threadtrace.model.explosion import ThreadName
from threadtrace.output.details import process_inspection_fields, workload_details_fields
from threadtrace.probe.records import Limit
from threadtrace.restore.details import process_inspection, workload_details

LEVELS = (
    LimitLevel(Limit.PIDS_MAX, "/kubepods/pod1", 300, 299, "podPidsLimit of the kubelet"),
    LimitLevel(Limit.RLIMIT_NPROC, "uid 1000", 0, None, "ulimit -u"),
    LimitLevel(Limit.PID_MAX, "PID namespace level 0", 32_468, 0, "sysctl"),
)
JAVA = ProcessDetails(4242, 'ja"va\x1b\ufffd', "java -jar\n线.jar", 498, 12.345, 0.0)
BARE = ProcessDetails(7, "", None, 0, None, None)


def through_json(fields: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(fields))
    return found


@pytest.mark.parametrize(
    "details",
    [
        WorkloadDetails("container:4f4f", (JAVA, BARE), 511, LEVELS),
        WorkloadDetails("kernel", (), None, ()),
        WorkloadDetails("host", (), 0, LEVELS[:1]),
    ],
)
def test_a_workload(details: WorkloadDetails) -> None:
    assert workload_details(through_json(workload_details_fields(details))) == details


@pytest.mark.parametrize(
    "inspection",
    [
        ProcessInspection(
            JAVA, 1, 0, (ThreadName("pool-#-\ufffd", 400), ThreadName("", 1)), LEVELS
        ),
        ProcessInspection(BARE, None, None, (), ()),
    ],
)
def test_a_process(inspection: ProcessInspection) -> None:
    assert process_inspection(through_json(process_inspection_fields(inspection))) == inspection


def test_what_is_not_known_is_absent() -> None:
    fields = process_inspection_fields(ProcessInspection(BARE, None, None, (), ()))
    assert fields == {"process": {"pid": 7, "threads": 0}, "thread_names": [], "limits": []}


def test_long_names_are_cut() -> None:
    long = JAVA._replace(name="n" * 5_000, command_line="c" * 5_000)
    fields = workload_details_fields(WorkloadDetails("host", (long,), 1, ()))
    assert len(orjson.dumps(fields)) < 2_000


@pytest.mark.parametrize(
    "fields",
    [{}, {"key": ""}, {"key": 7}, {"processes": []}, {"error": "no"}],
)
def test_what_is_no_workload(fields: dict[str, Any]) -> None:
    assert workload_details(fields) is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"process": 7}, {"process": {"pid": "7", "threads": 1}}, {"process": {"pid": 7}}],
)
def test_what_is_no_process(fields: dict[str, Any]) -> None:
    assert process_inspection(fields) is None


def test_entries_that_cannot_be_used_are_left_out() -> None:
    details = workload_details(
        {
            "key": "host",
            "processes": [None, 7, {"pid": True, "threads": 1}, {"pid": 9, "threads": 2}],
            "processes_count": -1,
            "limits": [
                {"limit": "made_up", "limit_value": 1},
                {"limit": ["pids_max"], "limit_value": 1},
                {"limit": "pids_max", "limit_value": "1"},
                {"limit": "pids_max", "limit_value": 5, "usage_value": 1.5, "knob": 3},
            ],
        }
    )
    assert details == WorkloadDetails(
        "host",
        (ProcessDetails(9, "", None, 2, None, None),),
        None,
        (LimitLevel(Limit.PIDS_MAX, "", 5, None, ""),),
    )
