"""Facts about a host, read below a root directory of the test's own."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from threadtrace.probe.host import effective_capabilities, gather, symbols_of


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_bare_host_has_nothing_and_nothing_fails(tmp_path: Path) -> None:
    facts = gather(tmp_path)
    assert facts.capabilities == frozenset()
    assert not facts.has_btf
    assert facts.headers_directory is None
    assert facts.lockdown is None
    assert facts.tracefs_directory is None
    assert facts.clone_exit_tracepoints == ()
    assert facts.in_initial_pid_namespace is None


def test_lockdown_is_the_bracketed_mode(tmp_path: Path) -> None:
    write(tmp_path, "sys/kernel/security/lockdown", "none integrity [confidentiality]\n")
    assert gather(tmp_path).lockdown == "confidentiality"


@pytest.mark.parametrize("place", ["build", "source"])
def test_headers_in_one_place_or_in_two(tmp_path: Path, place: str) -> None:
    modules = tmp_path / "lib/modules" / platform.release()
    write(modules, f"{place}/include/linux/kconfig.h", "")
    assert gather(tmp_path).headers_directory == str(modules / "build")


def test_tracepoints_that_exist(tmp_path: Path) -> None:
    for name, number in (("clone", 195), ("clone3", 193)):
        events = "sys/kernel/debug/tracing/events/syscalls"
        write(tmp_path, f"{events}/sys_exit_{name}/id", f"{number}\n")
    facts = gather(tmp_path)
    assert facts.tracefs_directory == str(tmp_path / "sys/kernel/debug/tracing")
    assert facts.clone_exit_tracepoints == (("clone", 195), ("clone3", 193))


def test_an_empty_mount_point_is_no_tracefs(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel/tracing").mkdir(parents=True)
    assert gather(tmp_path).tracefs_directory is None


def test_capabilities(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/status", "Name:\tx\nCapEff:\t000000c000000000\n")
    assert effective_capabilities(tmp_path) == {"CAP_BPF", "CAP_PERFMON"}
    write(tmp_path, "proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\n")
    assert effective_capabilities(tmp_path) == set()


def test_the_first_cpu_may_be_offline(tmp_path: Path) -> None:
    write(tmp_path, "sys/devices/system/cpu/online", "2-5,7\n")
    assert gather(tmp_path).online_cpu == 2


SYMBOLS = """\
ffffffff810a0000 t copy_process
ffffffff810a1000 T copy_process_kernel
ffffffff810a2000 t copy_process.cold
ffffffff810b0000 T alloc_pid.isra.0
ffffffff810c0000 t cgroup_can_fork.constprop.0
ffffffff810d0000 t cgroup_can_fork.constprop.0\t[module]
ffffffff810e0000 D twice
ffffffff810e1000 t twice
ffffffff810e2000 t twice
"""


def test_symbols_of_a_function(tmp_path: Path) -> None:
    write(tmp_path, "proc/kallsyms", SYMBOLS)
    assert symbols_of("copy_process", tmp_path) == ["copy_process"]
    assert symbols_of("alloc_pid", tmp_path) == ["alloc_pid.isra.0"]
    assert symbols_of("cgroup_can_fork", tmp_path) == ["cgroup_can_fork.constprop.0"]
    assert symbols_of("twice", tmp_path) == ["twice", "twice"]
    assert symbols_of("nothing", tmp_path) == []


def test_return_probes_of_the_kernel(tmp_path: Path) -> None:
    assert gather(tmp_path).return_probe_type is None
    write(tmp_path, "sys/bus/event_source/devices/kprobe/type", "8\n")
    assert gather(tmp_path).return_probe_type == 8
