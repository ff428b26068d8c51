"""Fixtures of the suites that run the real agent on the real kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import puppet
from support.cgroups import OwnCgroup, own_cgroup
from support.puppet import Puppet
from support.requirements import require
from threadtrace.errors import UnavailableError
from threadtrace.node.hierarchy import find_pids_hierarchy
from threadtrace.probe.kept import VARIABLE


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled once for all tests, unless one has another directory, or none, for itself.

    What the machine's own agents keep is neither used nor touched. A throw-away guest has a
    directory for all of its stages, since compiling takes ten seconds there.
    """
    if "THREADTRACE_GUEST" in os.environ and VARIABLE in os.environ:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture(scope="session")
def host() -> None:
    """A machine on which the agent can run: skips, or fails where kernel is required."""
    require(sys.platform == "linux", "kernel", "Linux", "run on Linux from 5.8")
    require(os.geteuid() == 0, "kernel", "root", "run the tests as root")
    try:
        hierarchy = find_pids_hierarchy()
    except UnavailableError as error:
        require(False, "kernel", "the pids controller", str(error))
        return
    require(
        hierarchy.is_whole, "kernel", "the whole pids hierarchy", "mount the host's /sys/fs/cgroup"
    )
    if "THREADTRACE_GUEST" in os.environ:
        return  # its image has bcc, the import of which takes seconds there
    bcc = subprocess.run([sys.executable, "-c", "from bcc import BPF"], capture_output=True)
    require(bcc.returncode == 0, "kernel", "bcc's Python module", "apt-get install python3-bpfcc")


@pytest.fixture(scope="session")
def puppet_program(host: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled puppet; where it lies, any user can execute it."""
    directory = tmp_path_factory.mktemp("puppet")
    for above in (directory, *directory.parents[:2]):
        if above.stat().st_uid == os.geteuid() and above != Path("/tmp"):
            above.chmod(0o755)
    return puppet.build(directory)


@pytest.fixture
def cgroup(host: None) -> Iterator[OwnCgroup]:
    """A cgroup of the test's own."""
    with own_cgroup() as made:
        yield made


@pytest.fixture
def actor(puppet_program: Path, cgroup: OwnCgroup) -> Iterator[Puppet]:
    """A puppet in that cgroup."""
    with Puppet(puppet_program) as running:
        cgroup.add(running.pid)
        yield running


@pytest.fixture
def no_bcc(tmp_path: Path) -> dict[str, str]:
    """Environment with a bcc that cannot be imported, before the one that can."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none/bcc.py").write_text("raise ImportError('bcc was imported')\n")
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{tmp_path / 'none'}:{others}" if others else str(tmp_path / "none")}
