"""A plugin of pytest that tells the runner of each test, through the descriptor it was given."""

from __future__ import annotations

import json
import os

import pytest
from _pytest.runner import runtestprotocol

from support.kernel import programs_are_preempted

CHANNEL = os.environ.get("THREADTRACE_GUEST_CHANNEL")
STAGE = os.environ["THREADTRACE_GUEST"]


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Where a birth may be missed, and told as lost, a test that wants all has a second try."""
    if not programs_are_preempted():
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item._initrequest()  # type: ignore[attr-defined]
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        item.user_properties.append(("second_try", True))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One object for each test: what became of it, and what it recorded."""
    if CHANNEL is None:  # in a machine of Vagrant nobody listens
        return
    if report.when != "call" and report.outcome == "passed":
        return
    message = {
        "test": report.nodeid,
        "stage": STAGE,
        "when": report.when,
        "outcome": report.outcome,
        "seconds": round(report.duration, 1),
        "recorded": dict(report.user_properties),
    }
    if report.skipped and isinstance(report.longrepr, tuple):
        message["reason"] = report.longrepr[2].removeprefix("Skipped: ")
    os.write(int(CHANNEL), json.dumps(message, default=str).encode() + b"\n")
