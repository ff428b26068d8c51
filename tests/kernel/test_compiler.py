"""What the compiler says of the kernel programs: nothing, with the bcc of each distribution."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from threadtrace.probe.plan import RefusalHook

# In a process of its own, as the agent does it: bcc brings LLVM along.
_LOAD = """
import os, sys
from dataclasses import asdict
from threadtrace.node.hierarchy import find_pids_hierarchy
from threadtrace.probe import loader_main
from threadtrace.probe.loader import LoaderOptions
from threadtrace.probe.plan import RefusalHook

hierarchy_id = find_pids_hierarchy().hierarchy_id
options = LoaderOptions(hierarchy_id, refusal_hook=RefusalHook(sys.argv[1]))
loader_main.load(asdict(options), os.memfd_create("compiler"))
os._exit(0)
"""


@pytest.mark.parametrize("hook", [RefusalHook.AUTO, RefusalHook.TRACEPOINT, RefusalHook.OFF])
def test_no_warning(host: None, hook: RefusalHook) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, hook.value],
        env={**os.environ, "THREADTRACE_CACHE_DIR": ""},
        capture_output=True,
        timeout=150,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
