"""What state a node is in, and how it is said."""

from __future__ import annotations

import json

from builders import WEB, node

from threadtrace.identity.workloads import Workload, identify
from threadtrace.model.diagnosis import Cause, Diagnosis, NearLimit, State, VictimCount, state_of
from threadtrace.model.refusal import Culprit, LargestProcess, Refusal, Victim
from threadtrace.output.why import Seen, as_text, why_fields
from threadtrace.probe.records import Evidence, Limit, Refused

NOW = 1_700_000_000_123_456_789
CALICO = identify("/system.slice/calico.service")
KUBELET = identify("/system.slice/kubelet.service")
SEEN = Seen("agent", [])


def cause(
    limit: Limit = Limit.PID_MAX,
    *,
    victims: tuple[Workload, ...] = (CALICO, KUBELET),
    is_own_limit: bool = False,
    is_now: bool = True,
    name: str = "dotnet",
) -> Cause:
    """Incident B, unless told otherwise."""
    last = Refusal(
        time_ns=NOW,
        victim=Victim(victims[0], 99, 99, "runc"),
        error=11,
        refused=Refused.PROCESS,
        limit=limit,
        limit_value=32_768,
        usage=32_500,
        owner="PID namespace level 0",
        is_own_limit=is_own_limit,
        knob="sysctl -w kernel.pid_max=4194304",
        evidence=Evidence.INFERRED,
        also_reached=(),
        culprits=(Culprit(WEB, 21_317, 0.66, LargestProcess(30_855, name, 21_317)),),
        refused_count=14,
        suppressed=0,
    )
    counts = tuple(
        VictimCount(victim, 14 - number, NOW, NOW) for number, victim in enumerate(victims)
    )
    return Cause(last, counts, is_now)


def near(usage: int) -> NearLimit:
    return NearLimit(Limit.PIDS_MAX, "/a.service", 100, usage, "TasksMax", (), None, 0.0)


def diagnosis(*causes: Cause, nearest: NearLimit | None = None) -> Diagnosis:
    return Diagnosis(NOW, state_of(causes, nearest), node(), causes, nearest)


def test_states() -> None:
    own = cause(Limit.PIDS_MAX, victims=(CALICO,), is_own_limit=True)
    assert state_of([], None) is State.UNKNOWN
    assert state_of([], near(79)) is State.HEALTHY
    assert state_of([], near(80)) is State.PRESSURE
    assert state_of([own], near(1)) is State.PRESSURE
    assert state_of([cause()], near(1)) is State.REFUSING
    assert state_of([cause(is_now=False)], near(1)) is State.HEALTHY
    assert state_of([cause(Limit.OTHER)], near(1)) is State.HEALTHY
    assert state_of([own, cause()], None) is State.REFUSING


def test_a_limit_of_zero_is_used_up() -> None:
    nothing = NearLimit(Limit.PIDS_MAX, "/a", 0, 1, "", (), None, 0.0)
    assert nothing.used_ratio == 1.0


def test_the_line_names_limit_culprit_victims_and_knob() -> None:
    fields = why_fields(diagnosis(cause()), SEEN)
    assert fields["answer"] == (
        "forks are refused: EAGAIN from pid_max 32,768 of PID namespace level 0; "
        "held by shop/checkout-7d9f/web with 21,317 tasks (66%); "
        "refused calico.service 14, kubelet.service 13; change sysctl -w kernel.pid_max=4194304"
    )
    assert fields["causes"][0]["refused_count"] == 27
    text = as_text(json.loads(json.dumps(fields)))
    assert "dotnet[30855] 21,317 threads" in text
    assert "refused   kubelet.service  13 times" in text


def test_nothing_refused_names_the_nearest_limit() -> None:
    growing = near(60)._replace(fastest=WEB, fastest_per_second=5.0)
    answer = why_fields(diagnosis(nearest=growing), SEEN)["answer"]
    assert answer == (
        "this node can fork: the nearest limit is pids_max of /a.service, 60% used, 40 left; "
        "shop/checkout-7d9f/web grows by 5/s"
    )


def test_many_victims_are_bounded_and_counted() -> None:
    victims = tuple(identify(f"/system.slice/{number}.service") for number in range(500))
    fields = why_fields(diagnosis(*[cause(victims=victims)] * 50), SEEN)
    assert len(json.dumps(fields)) < 200_000
    assert (fields["causes_count"], fields["causes"][0]["victims_count"]) == (50, 500)
    assert "495 more workloads" in as_text(fields)


def test_hostile_names_do_nothing_to_a_terminal() -> None:
    text = as_text(why_fields(diagnosis(cause(name="\x1b[2J\nx\u202e")), SEEN))
    assert not any(code in text for code in ("\x1b", "\u202e"))


def test_what_was_out_of_sight_is_said() -> None:
    missing = [{"what": "kernel programs", "effect": "refusals are out of sight", "remedy": "sudo"}]
    text = as_text(why_fields(diagnosis(), Seen("files", missing)))
    assert "not seen: kernel programs: refusals are out of sight" in text
    assert text.splitlines()[0] == "could not tell"
