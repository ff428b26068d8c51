"""Events follow the contract, whatever names they carry."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from builders import CONTAINER_ID, POD_UID, WEB, node, workload
from jsonschema import Draft202012Validator

from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import HOST, KERNEL, identify, unknown
from threadtrace.model.snapshot import (
    EndedWorkload,
    Loss,
    ProcessSnapshot,
    StartedWorkload,
    Totals,
)
from threadtrace.output.events import MAX_LINE_BYTES, EventWriter
from threadtrace.output.fields import timestamp

NOW = 1_700_000_000_123_456_789
SCHEMA = json.loads(files("threadtrace").joinpath("schema/events.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def parsed(line: bytes) -> dict[str, Any]:
    """One line, checked as every line must be."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE_BYTES
    event = json.loads(line.decode("utf-8"))
    errors = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(event)]
    assert errors == []
    return event


@pytest.fixture
def writer() -> EventWriter:
    return EventWriter({})


def test_lines_that_are_kept_hold_no_more_than_themselves(writer: EventWriter) -> None:
    """orjson gives back the whole buffer in which it wrote: 8 KiB for a line of 700 bytes."""
    tracemalloc.start()
    try:
        lines = [writer.workload_rates(NOW, workload(), 1.0) for _ in range(500)]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * sum(map(len, lines))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_rates(writer: EventWriter) -> None:
    event = parsed(writer.workload_rates(NOW, workload(), 1.0))
    assert event["timestamp"] == "2023-11-14T22:13:20.123456789Z"
    assert event["event"] == {"name": "threadtrace.workload.rates", "sequence": 1}
    assert event["k8s"] == {
        "namespace": {"name": "shop"},
        "pod": {"name": "checkout-7d9f", "uid": POD_UID},
        "container": {"name": "web"},
    }
    assert event["container"] == {
        "id": CONTAINER_ID,
        "name": "web",
        "runtime": {"name": "containerd"},
        "image": {"name": "shop/web:1"},
    }
    assert event["process"]["linux"]["cgroup"] == WEB.cgroup_path
    details = event["threadtrace"]
    assert details["threads_created_count"] == 997
    assert details["processes_created_count"] == 3
    assert details["exited_count"] == 499
    assert details["refused"] == {"EAGAIN": 13}
    assert details["tasks_limit"] == 1000
    assert details["top_processes"] == [
        {"pid": 4242, "name": "java", "threads": 498, "created_count": 997}
    ]
    assert event["severity_text"] == "WARN", "clones were refused"
    assert "shop/checkout-7d9f/web created 997 threads" in event["message"]


def test_what_is_not_known_is_absent(writer: EventWriter) -> None:
    event = parsed(writer.workload_rates(NOW, workload(unknown(77), limit=None), 1.0))
    assert not {"k8s", "container", "systemd", "process"} & event.keys()
    assert "tasks_limit" not in event["threadtrace"]
    nameless = workload(processes=(ProcessSnapshot(7, "", 1, 0),))
    assert parsed(writer.workload_rates(NOW, nameless, 1.0))["threadtrace"]["top_processes"] == [
        {"pid": 7, "threads": 1, "created_count": 0}
    ]


def test_nothing_anywhere_is_null_or_empty(writer: EventWriter) -> None:
    def check(value: Any, path: str) -> None:
        assert value is not None, path
        assert value != "", path
        if isinstance(value, dict):
            for name, inner in value.items():
                check(inner, f"{path}.{name}")

    for about in (WEB, HOST, KERNEL, unknown(1), identify("/system.slice/x.service")):
        check(parsed(writer.workload_rates(NOW, workload(about, limit=None), 1.0)), about.key)


def test_systemd_units(writer: EventWriter) -> None:
    about = identify("/system.slice/kubelet.service")
    event = parsed(writer.workload_rates(NOW, workload(about), 1.0))
    assert event["systemd"] == {"unit": "kubelet.service"}
    assert event["threadtrace"]["workload"] == {"kind": "unit", "name": "kubelet.service"}


@pytest.mark.parametrize(
    ("line_of", "name"),
    [
        (lambda w: w.node_limits(NOW, node()), "threadtrace.node.limits"),
        (lambda w: w.node_limits(NOW, node(None, None)), "threadtrace.node.limits"),
        (lambda w: w.workload_started(StartedWorkload(WEB, NOW)), "threadtrace.workload.started"),
        (
            lambda w: w.workload_ended(EndedWorkload(WEB, NOW, Totals(1, 2, 3, 4), 5)),
            "threadtrace.workload.ended",
        ),
        (lambda w: w.loss(NOW, Loss("cgroups_map", 7)), "threadtrace.loss"),
    ],
)
def test_the_others(writer: EventWriter, line_of: Any, name: str) -> None:
    assert parsed(line_of(writer))["event"]["name"] == name


def test_a_node_near_its_limit_is_a_warning(writer: EventWriter) -> None:
    event = parsed(writer.node_limits(NOW, node()))
    assert event["severity_text"] == "WARN"
    assert event["message"] == "31,635 tasks use 97.4% of pid_max (32,468)"
    assert parsed(writer.node_limits(NOW, node(100)))["severity_text"] == "INFO"


def test_sequence_and_agent(writer: EventWriter) -> None:
    events = [parsed(writer.loss(NOW, Loss("output", 1))) for _ in range(3)]
    assert [event["event"]["sequence"] for event in events] == [1, 2, 3]
    assert len({event["agent"]["id"] for event in events}) == 1
    other = parsed(EventWriter({}).loss(NOW, Loss("output", 1)))
    assert other["agent"]["id"] != events[0]["agent"]["id"]


def test_the_node_is_named_as_kubernetes_names_it() -> None:
    writer = EventWriter({"NODE_NAME": "worker-7"})
    event = parsed(writer.workload_rates(NOW, workload(), 1.0))
    assert event["k8s"]["node"] == {"name": "worker-7"}
    assert event["k8s"]["pod"]["name"] == "checkout-7d9f"
    assert "host" not in event


HOSTILE = ["\x1b[31m", "a\nb\r\t\0", "\ufffd\ufffd", "[bold]x[/bold]", '"}\\', "\u2028", "x" * 5000]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_one_valid_line(writer: EventWriter, name: str) -> None:
    names = ContainerNames("docker", name, name, name, name, name, name)
    processes = tuple(ProcessSnapshot(pid, name, 1, 1) for pid in range(1, 6))
    about = replace(WEB, names=names)
    event = parsed(writer.workload_rates(NOW, workload(about, processes=processes), 1.0))
    assert event["threadtrace"]["threads_created_count"] == 997


def test_a_line_stays_below_16_kib_and_says_what_it_left_out(writer: EventWriter) -> None:
    long = "é" * 4000
    names = ContainerNames("docker", long, long, long, long, POD_UID, long)
    event = parsed(writer.workload_rates(NOW, workload(replace(WEB, names=names)), 1.0))
    assert event["threadtrace"]["is_truncated"] is True
    assert event["threadtrace"]["threads_created_count"] == 997


def test_timestamps_have_nine_digits() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000000Z"
    assert timestamp(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"


def test_a_limits_owner_that_is_not_utf_8(writer: EventWriter) -> None:
    entry = workload()._replace(limit_path="/caf\udce9")
    event = parsed(writer.workload_rates(NOW, entry, 1.0))
    assert event["threadtrace"]["tasks_limit_owner"] == "/caf\ufffd"


def test_names_that_come_later_replace_what_was_remembered(writer: EventWriter) -> None:
    unnamed = parsed(writer.workload_rates(NOW, workload(replace(WEB, names=None)), 1.0))
    named = parsed(writer.workload_rates(NOW, workload(), 1.0))
    assert "name" not in unnamed["k8s"]["pod"]
    assert named["k8s"]["pod"]["name"] == "checkout-7d9f"
