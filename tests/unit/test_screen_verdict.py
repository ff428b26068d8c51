"""The line in red: which limit, who holds it, who suffers, what to change."""

from __future__ import annotations

import pytest
from screen_builders import WEB, named, refusal

from threadtrace.model.refusal import Culprit, Victim
from threadtrace.probe.records import Limit
from threadtrace.screen.verdict import describe_refusals

LEAKY = named("leaky")


def victim(name: str) -> Victim:
    return Victim(named(name), 99, 99, "sh")


def test_a_victim_is_told_before_whoever_holds_the_limit() -> None:
    """Both are refused by it, the holder last and most."""
    holder = refusal(victim=Victim(LEAKY, 77, 78, "java"))
    text = describe_refusals([refusal(), holder, holder])
    assert "held by shop/leaky/web with 299" in text
    assert text.endswith("; refused shop/checkout-7d9f/web, shop/leaky/web")


def test_victims_beyond_two_are_counted() -> None:
    text = describe_refusals([refusal(victim=victim(name)) for name in ("a", "b", "c", "d")])
    assert text.endswith("; refused shop/d/web, shop/a/web and 2 more")


def test_another_limits_victims_are_not_counted() -> None:
    other = refusal(owner="/kubepods/pod2", victim=victim("other"))
    text = describe_refusals([other, refusal()])
    assert text.endswith("; refused shop/checkout-7d9f/web")


@pytest.mark.parametrize(
    ("limit", "owner", "shown"),
    [
        (Limit.PID_MAX, "PID namespace level 0", "pid_max 300 of the node"),
        (Limit.THREADS_MAX, "node", "threads_max 300 of the node"),
        (Limit.RLIMIT_NPROC, "uid 1000", "rlimit_nproc 300 of uid 1000"),
        (Limit.PIDS_MAX, "/system.slice", "pids_max 300 of /system.slice"),
        (
            Limit.PIDS_MAX,
            "/kubepods/burstable/pod6a1f2b3c-1111-4222-8333-444455556666",
            "pids_max 300 of the pod",
        ),
        (Limit.MEMORY, None, "memory 300"),
    ],
)
def test_whose_limit_it_is(limit: Limit, owner: str | None, shown: str) -> None:
    text = describe_refusals([refusal(limit=limit, owner=owner)])
    assert text.startswith(f"forks are refused: EAGAIN from {shown};")


def test_what_is_not_known_is_left_out_and_names_stay_text() -> None:
    text = describe_refusals(
        [refusal(culprits=(), limit_value=None, victim=Victim(named("\x1b[2J"), 0, 0, ""))]
    )
    assert "held by" not in text
    assert "\x1b" not in text
    culprit = Culprit(WEB, 5, None, None)
    assert "held by shop/checkout-7d9f/web with 5;" in describe_refusals(
        [refusal(culprits=(culprit,))]
    )
