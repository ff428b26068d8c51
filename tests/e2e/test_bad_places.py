"""Hosts that lack something: one line that says what, and the exit code of sysexits.h."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import threadtrace as package
from support.cgroups import OwnCgroup
from support.command import assert_one_line, in_private_mounts, threadtrace
from support.puppet import Births, Puppet
from support.requirements import require
from support.stream import Stream, counts, name_of
from threadtrace.probe.kept import VARIABLE

NOT_ALLOWED, UNAVAILABLE, USAGE, UNREADABLE = (
    os.EX_NOPERM,
    os.EX_UNAVAILABLE,
    os.EX_USAGE,
    os.EX_NOINPUT,
)
STREAM = ("stream", "--duration", "0.1")


def drop_to(capabilities: str) -> list[str]:
    require(shutil.which("setpriv"), "kernel", "setpriv", "apt-get install util-linux")
    return ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]


def as_nobody() -> list[str]:
    require(shutil.which("setpriv"), "kernel", "setpriv", "apt-get install util-linux")
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    check = subprocess.run([*prefix, sys.executable, "-c", "import threadtrace"], check=False)
    require(
        check.returncode == 0, "e2e", "a checkout that any user can read", "move it out of /root"
    )
    return prefix


@pytest.mark.parametrize("command", [STREAM, ("top", "--once")])
def test_another_user(host: None, command: tuple[str, ...]) -> None:
    done = threadtrace(*command, before=as_nobody())
    assert_one_line(done, NOT_ALLOWED, "CAP_BPF", "CAP_PERFMON", "root")


def test_root_without_capabilities(host: None) -> None:
    done = threadtrace(*STREAM, before=drop_to("-all"))
    assert_one_line(done, NOT_ALLOWED, "CAP_BPF", "CAP_PERFMON")


def test_one_capability_of_two(host: None) -> None:
    done = threadtrace(*STREAM, before=drop_to("-all,+perfmon"))
    line = assert_one_line(done, NOT_ALLOWED, "CAP_BPF missing")
    assert "CAP_PERFMON missing" not in line


def test_no_more_capabilities_than_needed(host: None, cgroup: OwnCgroup, actor: Puppet) -> None:
    """CAP_BPF and CAP_PERFMON are enough to count births; what is not counted is told."""
    tracefs_mounted = Path("/sys/kernel/tracing/events").is_dir()
    with Stream(before=drop_to("-all,+bpf,+perfmon")) as stream:
        assert actor.do("forks", 47) == Births(47, 0, 0)
        stream.wait_for_ticks()
        stream.finish()
    assert stream.counts(cgroup.path) == counts(processes=47, exited=47)
    told = stream.started["threadtrace"]
    assert not told["tracefs_mounted_privately"]
    if not tracefs_mounted:
        effects = [entry["effect"] for entry in told["missing"]]
        assert "refused clones are not counted" in effects
        assert stream.started["severity_text"] == "WARN"
        assert "refused clones are not counted" in stream.started["message"]


def test_refusals_turned_off(cgroup: OwnCgroup, actor: Puppet) -> None:
    with Stream("--refusal-hook", "off") as stream:
        cgroup.set_limit(1)
        assert actor.do("forks", 5).refused == 5
        stream.wait_for_ticks()
        stream.finish()
    assert stream.counts(cgroup.path) == counts()
    assert not stream.named("fork.refused")
    for name in ("node.limits", "workload.rates", "workload.ended"):
        for event in stream.named(name):
            assert not event["threadtrace"].keys() & {"refused_count", "refused"}
    (missing,) = (
        entry for entry in stream.started["threadtrace"]["missing"] if entry["what"] == "refusals"
    )
    assert missing["effect"] == "refused clones are not counted"


def test_doctor_tells_which_refusal_hook_and_why(host: None) -> None:
    with Stream() as stream:
        hooks = stream.started["threadtrace"]["hooks"]
    of_births = "typed_raw_tracepoint", "raw_tracepoint"
    chosen = {f"{h['kind']}: {h['reason']}" for h in hooks if h["kind"] not in of_births}
    checks = json.loads(threadtrace("doctor", "--json").stdout)["checks"]
    (check,) = (check for check in checks if check["name"] == "refused clones")
    assert {check["detail"]} == chosen


def test_doctor_compiles_and_tells_whether_a_copy_is_kept(host: None, tmp_path: Path) -> None:
    def told(variable: str) -> dict[str, str]:
        done = threadtrace("doctor", "--json", environment={VARIABLE: variable})
        (check,) = (c for c in json.loads(done.stdout)["checks"] if c["name"] == "compiled copy")
        return check

    (tmp_path / "cache").mkdir()
    check = told(str(tmp_path / "cache"))
    (kept,) = (tmp_path / "cache").iterdir()
    assert (check["state"], check["detail"]) == ("ok", f"kept for the next start: {kept}")
    assert told("")["detail"] == "none, as THREADTRACE_CACHE_DIR is empty: each start compiles"
    check = told("/proc")
    assert check["state"] == "limited"
    assert "THREADTRACE_CACHE_DIR" in check["remedy"]

    (tmp_path / "bcc.py").write_text("raise ImportError('none')\n")
    environment = {"PYTHONPATH": str(tmp_path), VARIABLE: str(tmp_path / "cache")}
    done = threadtrace("doctor", environment=environment)
    assert done.returncode == UNAVAILABLE
    assert b"apt-get install python3-bpfcc" in b" ".join(done.stdout.split())


@pytest.mark.parametrize("wanted", ["fexit", "kretprobe", "tracepoint"])
def test_a_refusal_hook_that_is_wanted(host: None, wanted: str) -> None:
    """It is that one, or one line says that this kernel has none."""
    done = threadtrace(*STREAM, "--refusal-hook", wanted)
    if done.returncode == UNAVAILABLE:
        assert_one_line(done, UNAVAILABLE, f"does not take --refusal-hook {wanted}")
        return
    assert done.returncode == 0, done.stderr
    hooks = json.loads(done.stdout.splitlines()[0])["threadtrace"]["hooks"]
    births = "typed_raw_tracepoint", "raw_tracepoint"
    assert {hook["kind"] for hook in hooks if hook["kind"] not in births} == {wanted}


def _tracefs_mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " - tracefs " in line]


def test_tracefs_is_mounted_where_nobody_sees_it(host: None) -> None:
    mounts = _tracefs_mounts()
    mounted = Path("/sys/kernel/tracing/events").is_dir()
    with Stream() as stream:
        assert stream.started["threadtrace"]["tracefs_mounted_privately"] == (not mounted)
        targets = {hook["target"] for hook in stream.started["threadtrace"]["hooks"]}
        assert {"syscalls:sys_exit_clone", "syscalls:sys_exit_clone3"} <= targets
    assert _tracefs_mounts() == mounts


def test_mounted_tracefs_is_used(host: None) -> None:
    prefix = in_private_mounts(
        "[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing"
    )
    with Stream(before=prefix) as stream:
        assert not stream.started["threadtrace"]["tracefs_mounted_privately"]
        assert not stream.started["threadtrace"]["missing"]


def test_hidden_types(host: None) -> None:
    require(
        not Path(f"/lib/modules/{os.uname().release}/build/include/linux/kconfig.h").exists(),
        "e2e",
        "a host without kernel headers, which would be used instead",
        "remove linux-headers",
    )
    done = threadtrace(*STREAM, before=in_private_mounts("mount -t tmpfs none /sys/kernel/btf"))
    assert_one_line(done, UNAVAILABLE, "/sys/kernel/btf/vmlinux", "linux-headers")


def test_pids_controller_hidden_by_another_mount(host: None) -> None:
    cover = "umount -R /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup"
    hidden = in_private_mounts(f"mount -t tmpfs none /sys/fs/cgroup || {{ {cover}; }}")
    done = threadtrace("doctor", before=hidden)
    if os.access("/proc/1/root/sys/fs/cgroup", os.X_OK):
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == UNAVAILABLE
        assert b"MISSING pids controller" in done.stdout


def test_private_pid_namespace(host: None) -> None:
    """From 6.14 on pid_max is the namespace's own: the node's is not known, and that is said."""
    done = threadtrace("top", "--once", "--json", before=["unshare", "-pf", "--mount-proc"])
    sample = json.loads(done.stdout)
    assert "PID namespace" in sample["missing"][0]["what"]
    node_pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    assert sample["node"].get("pid_max_limit") in (None, node_pid_max)


def test_user_namespace_of_its_own(host: None) -> None:
    done = threadtrace("top", "--once", before=["unshare", "-U", "-r"])
    assert_one_line(done, NOT_ALLOWED, "user namespace")


def test_refusals_that_cannot_be_counted_are_said(host: None) -> None:
    done = threadtrace("top", "--once", before=["setpriv", *_without("sys_admin")])
    is_said = b"refused clones are not counted" in done.stdout
    assert (b"refused not counted" in done.stdout) == is_said
    assert is_said or bool(_tracefs_mounts())


def _without(capability: str) -> list[str]:
    return [f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]


def test_no_pids_controller(host: None) -> None:
    done = threadtrace(*STREAM, before=in_private_mounts("umount -R /sys/fs/cgroup"))
    if os.access("/proc/1/root/sys/fs/cgroup", os.X_OK):
        assert done.returncode == 0, done.stderr  # it looks through the eyes of process 1
    else:
        assert_one_line(done, UNAVAILABLE, "pids controller", "mount -t cgroup2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise ImportError('no such library')", "apt-get install python3-bpfcc"),
        ("raise OSError('libbcc.so.0: cannot open')", "apt-get install python3-bpfcc"),
        ("'''Another library of that name.'''", "another library of that name"),
    ],
)
def test_bcc_missing_or_another(host: None, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").write_text(text + "\n")
    done = threadtrace(*STREAM, environment={"PYTHONPATH": str(tmp_path), VARIABLE: ""})
    assert_one_line(done, UNAVAILABLE, words)


def test_compiler_error_is_told(host: None, tmp_path: Path) -> None:
    source = Path(package.__file__).parent
    shutil.copytree(source, tmp_path / "src" / "threadtrace")
    programs = source / "bpf" if (source / "bpf").is_dir() else source.parent.parent / "bpf"
    shutil.copytree(programs, tmp_path / "bpf")
    shutil.rmtree(tmp_path / "src" / "threadtrace" / "bpf", ignore_errors=True)
    with (tmp_path / "bpf" / "layout.h").open("a") as header:
        header.write("\nthis is no declaration;\n")
    done = threadtrace(*STREAM, environment={"PYTHONPATH": str(tmp_path / "src"), VARIABLE: ""})
    assert_one_line(done, UNAVAILABLE, "layout.h", "error:")


@pytest.mark.parametrize(
    "arguments",
    [
        ("stream", "--intervall", "1"),
        ("stream", "--interval", "0"),
        ("stream", "--interval", "soon"),
        ("stream", "--interval", "nan"),
        ("top", "--interval", "inf"),
        ("stream", "--duration", "-1"),
        ("stream", "--duration", "nan"),
        ("stream", "--duration", "inf"),
        ("stream", "--output="),
        ("stream", "--output"),
        ("top", "--json=1"),
        ("stream", "--max-cgroups", "0"),
        ("stream", "--output", "tcp://localhost:1"),
        ("stream", "--output", "tcp:127.0.0.1:1"),
        ("stream", "--output", "a.jsonl", "--output", "./a.jsonl"),
        ("stream", "--rotate-bytes", "65536"),
        ("stream", "--output", "unix:/run/none", "--rotate-seconds", "60"),
        ("stream", "--output", "a.jsonl", "--keep-files", "3"),
        ("stream", "extra"),
        ("stream", "--host-root", "/nonexistent"),
        ("top", "--host-root", "/etc/passwd"),
        ("nonsense",),
        ("--nonsense",),
        (),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    known = [word for word in arguments[:1] if word in ("stream", "top", "doctor")]
    help_command = " ".join(["threadtrace", *known, "--help"])
    assert_one_line(threadtrace(*arguments), USAGE, f"(see {help_command})")


def test_a_pipe_as_certificate_is_not_waited_for(host: None, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for option in ("--tls-cert", "--token-file"):
        command = ("stream", "--listen", "127.0.0.1:0", option, str(tmp_path / "pipe"))
        done = threadtrace(*command)
        code = UNREADABLE if option == "--tls-cert" else USAGE
        assert_one_line(done, code, option, "is no regular file")
    missing = ("stream", "--listen", "127.0.0.1:0", "--token-file", str(tmp_path / "none"))
    assert_one_line(threadtrace(*missing), UNREADABLE, "cannot be read: No such file")


def test_outputs_and_sockets_that_are_in_each_others_way(host: None, tmp_path: Path) -> None:
    file, aside = str(tmp_path / "a"), str(tmp_path / "a.2")
    done = threadtrace("stream", "--output", file, "--output", aside, "--rotate-bytes", "65536")
    assert_one_line(done, USAGE, f"{aside} is where {file} is put aside")
    socket = str(tmp_path / "s")
    done = threadtrace("stream", "--socket", socket, "--listen", f"unix:{tmp_path}/./s")
    assert_one_line(done, USAGE, "is the agent's own --socket")
    same = ("--listen", f"unix:{socket}", "--listen", f"unix:{tmp_path}/./s")
    done = threadtrace("stream", "--duration", "0.1", *same)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_port_that_was_free_is_told(host: None) -> None:
    done = threadtrace("stream", "--duration", "0.1", "--listen", "127.0.0.1:0")
    assert done.returncode == 0
    assert re.fullmatch(rb"threadtrace: listening on 127\.0\.0\.1:[1-9]\d*\n", done.stderr)


def test_help_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "bcc.py").write_text("raise ImportError\n")
    for command in ((), ("stream",), ("top",), ("doctor",)):
        done = threadtrace(*command, "--help", environment={"PYTHONPATH": str(tmp_path)})
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"Usage: threadtrace" in done.stdout


def test_first_event_tells_how_it_counts(host: None) -> None:
    with Stream() as stream:
        assert name_of(stream.events[0]) == "threadtrace.started"
        told = stream.started["threadtrace"]
        assert told["kernel_release"] == os.uname().release
        births = [hook for hook in told["hooks"] if hook["program"] == "on_task_newtask"]
        assert len(births) == 1
        assert births[0]["reason"]
        stream.finish()


def test_cgroup_namespace_that_cannot_be_left(host: None) -> None:
    """Then no process is known to belong to a workload, which is said."""
    less = ("--bounding-set", "-sys_admin,-sys_ptrace", "--inh-caps", "-sys_admin,-sys_ptrace")
    with Stream(before=("unshare", "-C", "setpriv", *less)) as stream:
        (blind,) = [
            spot
            for spot in stream.started["threadtrace"]["missing"]
            if "cgroup namespace" in spot["what"]
        ]
    assert "no top processes" in blind["effect"]
    assert "CAP_SYS_PTRACE" in blind["remedy"]
