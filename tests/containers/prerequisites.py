"""Prerequisites: a missing one is a skip on a developer's machine and a failure in CI."""

from __future__ import annotations

import os

import pytest

REQUIRE_VARIABLE = "THREADTRACE_REQUIRE"
SUITE = "containers"


def is_required(suite: str = SUITE) -> bool:
    """Whether THREADTRACE_REQUIRE, a comma-separated list of suites, names this one."""
    named = os.environ.get(REQUIRE_VARIABLE, "").split(",")
    return suite in (name.strip() for name in named)


def require(condition: object, what: str, remedy: str) -> None:
    """Skip the test unless `condition` holds; fail it where the suite is required.

    `what` names the missing part, `remedy` how to provide it.
    """
    if condition:
        return
    message = f"{what} is missing: {remedy}"
    if is_required():
        pytest.fail(f"{message} ({REQUIRE_VARIABLE} contains '{SUITE}')", pytrace=False)
    pytest.skip(message)
