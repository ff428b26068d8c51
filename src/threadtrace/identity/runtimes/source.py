"""The seam between the runtimes and the look-up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from threadtrace.identity.runtimes.names import ContainerNames


class NameSource(Protocol):
    """Files of one runtime."""

    @property
    def runtime(self) -> str:
        """The runtime that leaves these files; asked first when the caller knows it."""
        ...

    def lookup(self, container_id: str) -> ContainerNames | None:
        """Return what the files say of a container; None: nothing (yet). Never raises OSError.

        The caller has checked that the id is safe to join to a path.
        """
        ...

    def directories(self) -> Iterator[str]:
        """Yield the state directories that would be looked into, present or not."""
        ...
