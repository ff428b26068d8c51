"""Facts about a host, read below a root directory of the test's own."""

from __future__ import annotations

from pathlib import Path

from threadtrace.probe.host import effective_capabilities, gather


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
