"""Prerequisites: a missing one is a skip on a developer's machine and a failure in CI."""

from __future__ import annotations

from support import requirements
from support.requirements import REQUIRE_VARIABLE

__all__ = ["REQUIRE_VARIABLE", "SUITE", "require"]

SUITE = "containers"


def require(condition: object, what: str, remedy: str) -> None:
    """Skip the test unless `condition` holds; fail it where the suite is required.

    `what` names the missing part, `remedy` how to provide it.
    """
    requirements.require(condition, SUITE, what, remedy)
