"""The programs without the agent: attached and detached as often as a comparison needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator

from threadtrace.node.hierarchy import find_pids_hierarchy
from threadtrace.probe import kernel
from threadtrace.probe.loader import LoadedPrograms, Loader, LoaderOptions


class Attachments:
    """All hooks of the agent's plan on this kernel."""

    def __init__(self, loaded: LoadedPrograms) -> None:
        self._loaded = loaded

    def attach(self, programs: Collection[str] | None = None) -> None:
        """Attach all hooks, or those of some programs."""
        for hook in self._loaded.hooks:
            if programs is None or hook["program"] in programs:
                fd = self._loaded.programs[hook["program"]]
                self._loaded.attachments.append(self._attach(hook, fd))

    def detach(self) -> None:
        while self._loaded.attachments:
            os.close(self._loaded.attachments.pop())

    def _attach(self, hook: dict[str, object], fd: int) -> int:
        number = hook["tracepoint_id"]
        if isinstance(number, int):
            return kernel.attach_tracepoint(fd, number, self._loaded.facts["online_cpu"])
        if hook["kind"] == "kretprobe":
            facts = self._loaded.facts
            return kernel.attach_return_probe(
                fd, facts["return_probe_type"], str(hook["target"]), facts["online_cpu"]
            )
        is_typed = hook["kind"] in ("typed_raw_tracepoint", "fexit")
        return kernel.open_raw_tracepoint(fd, None if is_typed else str(hook["target"]))


@contextlib.contextmanager
def loaded_programs() -> Iterator[Attachments]:
    """Loaded, and detached to begin with."""
    hierarchy = find_pids_hierarchy()
    with Loader(LoaderOptions(hierarchy.hierarchy_id)) as loader:
        loaded = loader.result()
    attachments = Attachments(loaded)
    try:
        attachments.detach()
        yield attachments
    finally:
        loaded.close()
