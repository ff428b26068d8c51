"""The hook plan: facts in, decision out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from threadtrace.errors import PrivilegeError, UnavailableError
from threadtrace.probe.host import CAPABILITIES, HostFacts
from threadtrace.probe.plan import HookKind, HookPlan, RefusalHook, make_plan
from threadtrace.probe.skipped import RECHECKED

USUAL = HostFacts(
    kernel_release="6.1.0-18-amd64",
    machine="x86_64",
    capabilities=frozenset(CAPABILITIES),
    has_btf=True,
    headers_directory=None,
    lockdown="none",
    tracefs_directory="/sys/kernel/tracing",
    clone_exit_tracepoints=(("clone", 120), ("clone3", 118), ("fork", 124), ("vfork", 122)),
    online_cpu=0,
    in_initial_pid_namespace=True,
)


def test_with_btf_everything_is_attached_the_cheap_way() -> None:
    plan = make_plan(USUAL)
    kinds = {hook.target: hook.kind for hook in plan.hooks}
    assert kinds["task_newtask"] is HookKind.TYPED_RAW_TRACEPOINT
    assert kinds["sched_process_exit"] is HookKind.TYPED_RAW_TRACEPOINT
    assert kinds["syscalls:sys_exit_clone3"] is HookKind.TRACEPOINT
    assert plan.missing == ()
    assert plan.typed_arguments
    assert plan.kernel_headers is None


def test_every_hook_says_why() -> None:
    assert all(hook.reason for hook in make_plan(USUAL).hooks)


def test_all_refusal_hooks_reach_one_program() -> None:
    programs = {hook.program for hook in make_plan(USUAL).hooks if hook.kind is HookKind.TRACEPOINT}
    assert programs == {"on_clone_exit"}


def test_without_btf_headers_serve() -> None:
    facts = replace(USUAL, has_btf=False, headers_directory="/lib/modules/6.1.0-18-amd64/build")
    plan = make_plan(facts)
    assert plan.kernel_headers == "/lib/modules/6.1.0-18-amd64/build"
    assert not plan.typed_arguments
    assert {hook.kind for hook in plan.hooks} == {HookKind.RAW_TRACEPOINT, HookKind.TRACEPOINT}


def test_with_neither_the_remedy_names_the_package() -> None:
    with pytest.raises(UnavailableError, match=r"apt-get install linux-headers-6\.1\.0-18-amd64"):
        make_plan(replace(USUAL, has_btf=False))


def test_lockdown_confidentiality_is_said() -> None:
    with pytest.raises(UnavailableError, match="lockdown=integrity"):
        make_plan(replace(USUAL, lockdown="confidentiality"))


@pytest.mark.parametrize("mode", ["none", "integrity", None])
def test_other_lockdown_modes_do_not_matter(mode: str | None) -> None:
    assert make_plan(replace(USUAL, lockdown=mode)).missing == ()


def test_returns_of_functions_are_best() -> None:
    functions = frozenset({"copy_process", "alloc_pid", "cgroup_can_fork"})
    plan = make_plan(replace(USUAL, fexit_functions=functions))
    refusals = {hook.target: hook.kind for hook in plan.hooks if hook.target in functions}
    assert refusals == dict.fromkeys(functions, HookKind.FEXIT)
    assert plan.sees_stages
    assert not any(hook.kind is HookKind.TRACEPOINT for hook in plan.hooks)


def test_a_stage_that_cannot_be_seen_makes_all_inferred() -> None:
    plan = make_plan(replace(USUAL, fexit_functions=frozenset({"copy_process", "alloc_pid"})))
    assert not plan.sees_stages
    assert any(hook.kind is HookKind.TRACEPOINT for hook in plan.hooks)


RETURN_PROBES = (
    ("copy_process", "copy_process.isra.0"),
    ("alloc_pid", "alloc_pid"),
    ("cgroup_can_fork", "cgroup_can_fork"),
)
FUNCTIONS = frozenset(function for function, _ in RETURN_PROBES)
EVERYTHING = replace(
    USUAL, fexit_functions=FUNCTIONS, return_probe_symbols=RETURN_PROBES, is_preemptible=True
)


def refusal_kinds(plan: HookPlan) -> set[HookKind]:
    of_births = {HookKind.TYPED_RAW_TRACEPOINT, HookKind.RAW_TRACEPOINT}
    return {hook.kind for hook in plan.hooks} - of_births


def test_return_probes_come_before_tracepoints() -> None:
    plan = make_plan(replace(EVERYTHING, fexit_functions=frozenset()))
    assert refusal_kinds(plan) == {HookKind.KRETPROBE}
    assert plan.sees_stages
    assert plan.uses_return_probes
    targets = {hook.program: hook.target for hook in plan.hooks}
    assert targets["on_copy_process_return"] == "copy_process.isra.0"


def test_return_probes_without_room_are_only_used_when_wanted() -> None:
    facts = replace(EVERYTHING, fexit_functions=frozenset(), is_preemptible=False)
    assert refusal_kinds(make_plan(facts)) == {HookKind.TRACEPOINT}
    assert refusal_kinds(make_plan(facts, RefusalHook.KRETPROBE)) == {HookKind.KRETPROBE}


def test_return_probes_serve_without_btf() -> None:
    facts = replace(EVERYTHING, fexit_functions=frozenset(), has_btf=False, headers_directory="/x")
    assert HookKind.KRETPROBE in refusal_kinds(make_plan(facts))


def test_a_stage_without_return_probe_makes_all_inferred() -> None:
    facts = replace(USUAL, return_probe_symbols=RETURN_PROBES[:2], is_preemptible=True)
    plan = make_plan(facts)
    assert refusal_kinds(plan) == {HookKind.TRACEPOINT}


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (RefusalHook.AUTO, {HookKind.FEXIT}),
        (RefusalHook.FEXIT, {HookKind.FEXIT}),
        (RefusalHook.KRETPROBE, {HookKind.KRETPROBE}),
        (RefusalHook.TRACEPOINT, {HookKind.TRACEPOINT}),
        (RefusalHook.OFF, set()),
    ],
)
def test_the_hook_that_is_wanted(wanted: RefusalHook, kinds: set[HookKind]) -> None:
    plan = make_plan(EVERYTHING, wanted)
    assert refusal_kinds(plan) == kinds
    assert bool(plan.missing) is (wanted is RefusalHook.OFF)


@pytest.mark.parametrize("wanted", [RefusalHook.FEXIT, RefusalHook.KRETPROBE])
def test_a_hook_that_this_kernel_lacks(wanted: RefusalHook) -> None:
    with pytest.raises(UnavailableError, match=f"{wanted.value}: use --refusal-hook auto"):
        make_plan(USUAL, wanted)


def test_wanted_tracepoints_that_are_not_there() -> None:
    facts = replace(EVERYTHING, clone_exit_tracepoints=())
    with pytest.raises(UnavailableError, match="CONFIG_FTRACE_SYSCALLS"):
        make_plan(facts, RefusalHook.TRACEPOINT)


def test_without_tracefs_refusals_are_missing_and_the_rest_works() -> None:
    plan = make_plan(replace(USUAL, tracefs_directory=None, clone_exit_tracepoints=()))
    (missing,) = plan.missing
    assert "not counted" in missing.effect
    assert missing.remedy == "mount -t tracefs tracefs /sys/kernel/tracing, or add CAP_SYS_ADMIN"
    assert {hook.program for hook in plan.hooks} >= {"on_task_newtask", "on_sched_process_exit"}


def test_a_kernel_without_system_call_tracepoints_needs_another_remedy() -> None:
    (missing,) = make_plan(replace(USUAL, clone_exit_tracepoints=())).missing
    assert "CONFIG_FTRACE_SYSCALLS" in missing.remedy


def test_a_machine_without_fork_and_vfork_is_no_lesser_one() -> None:
    plan = make_plan(replace(USUAL, clone_exit_tracepoints=(("clone", 1), ("clone3", 2))))
    assert plan.missing == ()


@pytest.mark.parametrize(
    ("capabilities", "named"),
    [
        (set(), "CAP_BPF and CAP_PERFMON"),
        ({"CAP_BPF"}, "CAP_PERFMON"),
        ({"CAP_PERFMON", "CAP_SYS_PTRACE"}, "CAP_BPF"),
    ],
)
def test_the_missing_capability_is_named(capabilities: set[str], named: str) -> None:
    with pytest.raises(PrivilegeError, match=f"^{named} missing: run as root"):
        make_plan(replace(USUAL, capabilities=frozenset(capabilities)))


@pytest.mark.parametrize("capabilities", [{"CAP_SYS_ADMIN"}, {"CAP_BPF", "CAP_PERFMON"}])
def test_enough_capabilities(capabilities: set[str]) -> None:
    assert make_plan(replace(USUAL, capabilities=frozenset(capabilities))).hooks


@pytest.mark.parametrize(
    ("release", "is_preemptible", "rechecked"),
    [
        ("7.2.13+deb14-cloud-amd64", True, True),
        ("10.0", True, True),
        ("7.2.13", False, False),
        ("6.18.44", True, False),
        ("of-nobody", True, False),
    ],
)
def test_programs_that_may_be_preempted_have_others_behind_them(
    release: str, is_preemptible: bool, rechecked: bool
) -> None:
    facts = replace(USUAL, kernel_release=release, is_preemptible=is_preemptible)
    plan = make_plan(facts)
    assert plan.has_preemptible_tracepoints is rechecked
    for first, behind in RECHECKED.items():
        (target,) = {hook.target for hook in plan.hooks if hook.program in (first, *behind)}
        of_target = [hook.program for hook in plan.hooks if hook.target == target]
        assert of_target == [first, *(behind if rechecked else ())]
