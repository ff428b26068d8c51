"""A missing part of the machine is a skip for a developer and a failure in CI."""

from __future__ import annotations

import os

import pytest

REQUIRE_VARIABLE = "THREADTRACE_REQUIRE"


def is_required(kind: str) -> bool:
    """Whether THREADTRACE_REQUIRE, a comma-separated list such as kernel,containers, names it."""
    named = os.environ.get(REQUIRE_VARIABLE, "").split(",")
    return kind in (name.strip() for name in named)


def require(condition: object, kind: str, what: str, remedy: str) -> None:
    """Skip the test unless `condition` holds; fail it where `kind` is required.

    `what` names the missing part, `remedy` how to provide it.
    """
    if condition:
        return
    message = f"{what} is missing: {remedy}"
    if is_required(kind):
        pytest.fail(f"{message} ({REQUIRE_VARIABLE} contains '{kind}')", pytrace=False)
    pytest.skip(message)
