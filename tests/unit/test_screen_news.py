"""The log, the verdict, what was lost: what is worth telling, for as long as it is."""

from __future__ import annotations

import pytest
from builders import WEB, snapshot
from screen_builders import FORBIDDEN, HOSTILE, NOW, SECOND, explosion, forecast, named, refusal

from threadtrace.model.explosion import End, State, Transition
from threadtrace.model.refusal import Refusal, Victim
from threadtrace.model.snapshot import (
    EndedWorkload,
    Happenings,
    Loss,
    Snapshot,
    StartedWorkload,
    Totals,
)
from threadtrace.screen.news import News

OTHER = named("other")


def at(seconds: float, **changes: object) -> Snapshot:
    return snapshot()._replace(time_ns=NOW + round(seconds * SECOND), **changes)


def refused_at(seconds: float, **changes: object) -> Refusal:
    return refusal(time_ns=NOW + round(seconds * SECOND), **changes)


def happened(*, refusals: object = (), explosions: object = (), started: object = ()) -> Happenings:
    return Happenings(list(started), list(refusals), list(explosions))  # type: ignore[call-overload]


def test_the_log_is_told_in_order() -> None:
    news = News()
    news.add_happenings(happened(started=[StartedWorkload(WEB, NOW)], refusals=[refusal()]))
    ended = EndedWorkload(WEB, NOW + SECOND, Totals(), 1_500)
    news.add_snapshot(at(1, losses=(Loss("records_ring", 5),), ended=(ended,)))
    assert [(entry.event, entry.style, entry.keys[:1]) for entry in news.log] == [
        ("workload.started", "plain", (WEB.key,)),
        ("fork.refused", "danger", (WEB.key,)),
        ("workload.ended", "plain", (WEB.key,)),
        ("loss", "warning", ()),
    ]
    assert news.log[2].text == "shop/checkout-7d9f/web is gone; it held 1,500 tasks at most"
    assert [entry.event for entry in news.entries_about(WEB.key)] == [
        "workload.ended",
        "fork.refused",
        "workload.started",
    ]
    assert news.entries_about("nobody") == []


def test_lines_that_are_dropped_are_counted() -> None:
    news = News()
    news.add_happenings(happened(refusals=[refused_at(0)]))
    started = [StartedWorkload(named(f"p{n}"), NOW + 1 + n) for n in range(250)]
    news.add_happenings(happened(started=started))
    assert (len(news.log), news.dropped_lines) == (251, 0)
    started = [StartedWorkload(named(f"q{n}"), NOW + SECOND + n) for n in range(234)]
    news.add_happenings(happened(started=started))
    assert (len(news.log), news.dropped_lines) == (251, 234)
    assert [entry.text for entry in news.log[1:2]] == ["shop/p234/web appeared"]
    assert news.log[-1].text == "shop/q233/web appeared"
    assert news.log[0].event == "fork.refused", "what comes and goes does not push it out"


def test_refusals_that_are_dropped_are_counted() -> None:
    news = News()
    news.add_happenings(happened(refusals=[refused_at(n) for n in range(1_007)]))
    assert (len(news.log), news.dropped_lines) == (1_000, 7)


def test_refusals_are_bounded() -> None:
    news = News()
    news.add_happenings(happened(refusals=[refused_at(n / 1_000) for n in range(5_000)]))
    assert len(news.recent_refusals()) <= 256
    assert news.recent_refusals()[-1].time_ns == NOW + round(4.999 * SECOND)


def test_losses_add_up() -> None:
    news = News()
    news.add_snapshot(at(0, losses=(Loss("records_ring", 5), Loss("recorder", 1))))
    news.add_snapshot(at(1, losses=(Loss("records_ring", 7),)))
    news.add_snapshot(at(2))
    assert news.losses == [Loss("records_ring", 12), Loss("recorder", 1)]


def test_nothing_happens_no_verdict() -> None:
    news = News()
    assert news.verdict() is None
    news.add_snapshot(at(0))
    assert news.verdict() is None


def test_the_verdict_is_red_while_forks_are_refused_and_ten_seconds_on() -> None:
    news = News()
    news.add_happenings(happened(refusals=[refused_at(0)]))
    for seconds in (0.0, 1.0, 9.9):
        news.add_snapshot(at(seconds))
        verdict = news.verdict()
        assert verdict is not None
        assert verdict[1] == "danger"
        assert verdict[0] == (
            "forks are refused: EAGAIN from pids_max 300 of /kubepods/pod1; held by shop/leaky/web "
            "with 299 (100%), java[77]; change podPidsLimit of the kubelet; refused "
            "shop/checkout-7d9f/web"
        )
    news.add_snapshot(at(10))
    assert news.verdict() is None


def test_the_verdict_does_not_outlive_a_clock_that_is_set_back() -> None:
    news = News()
    news.add_happenings(happened(refusals=[refused_at(0)]))
    news.add_snapshot(at(1))
    news.add_snapshot(at(-3_600))
    assert news.verdict() is None
    news.add_happenings(happened(refusals=[refused_at(-3_599.5)]))
    news.add_snapshot(at(-3_599))
    assert len(news.recent_refusals()) == 1
    assert news.verdict() is not None


def test_a_refusal_a_moment_after_its_snapshot_counts() -> None:
    news = News()
    news.add_snapshot(at(0, refusals=(refused_at(0.5),)))
    news.add_snapshot(at(0.2))
    assert news.verdict() is not None


def test_limits_that_others_suffer_from_come_first() -> None:
    news = News()
    own = refused_at(2, is_own_limit=True, victim=Victim(OTHER, 1, 1, "x"))
    news.add_happenings(happened(refusals=[refused_at(0), refused_at(1), own]))
    verdict = news.verdict()
    assert verdict is not None
    assert "shop/checkout-7d9f/web" in verdict[0]
    news = News()
    news.add_happenings(happened(refusals=[own]))
    verdict = news.verdict()
    assert verdict is not None
    assert "shop/other/web" in verdict[0]


def test_without_refusals_the_largest_explosion() -> None:
    news = News()
    small = explosion(number=1, tasks=10)
    calm = forecast(160.0)._replace(usage=200)
    large = explosion(OTHER, number=2, tasks=500, forecast=calm)
    news.add_happenings(happened(explosions=[small, large]))
    verdict = news.verdict()
    assert verdict is not None
    assert verdict[0].startswith("shop/other/web explodes")
    assert verdict[1] == "warning", "minutes are left"
    urgent = large._replace(transition=Transition.UPDATED, state=State.EXHAUSTED)
    news.add_snapshot(at(1, explosions=(urgent,)))
    verdict = news.verdict()
    assert verdict is not None
    assert verdict[1] == "danger"


def test_explosions_that_end_are_gone_and_told() -> None:
    news = News()
    news.add_happenings(happened(explosions=[explosion(number=1), explosion(OTHER, number=2)]))
    update = explosion(number=1, transition=Transition.UPDATED, tasks=999)
    news.add_snapshot(at(1, explosions=(update,)))
    assert [entry.tasks for entry in news.explosions] == [999, 180], "largest first"
    assert news.explosion_of(WEB.key) == update
    over = update._replace(transition=Transition.ENDED, state=State.QUIET, ended=End.GONE)
    news.add_snapshot(at(2, explosions=(over,)))
    assert news.explosion_of(WEB.key) is None
    assert [entry.number for entry in news.explosions] == [2]
    assert [entry.event for entry in news.log] == [
        "explosion.started",
        "explosion.started",
        "explosion.ended",
    ], "updates are no news"
    assert [entry.style for entry in news.log] == ["danger", "danger", "plain"]
    news.add_snapshot(at(3, explosions=(over,)))
    assert len(news.explosions) == 1


def test_refusals_of_who_was_refused_and_of_who_held() -> None:
    news = News()
    news.add_happenings(happened(refusals=[refused_at(0), refused_at(1)]))
    found = news.entries_about(WEB.key)
    assert [entry.time_ns for entry in found] == [NOW + SECOND, NOW], "newest first"
    assert news.entries_about(named("leaky").key) == found
    assert news.entries_about("nobody") == []


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    news = News()
    about = named(name)
    news.add_happenings(
        happened(
            started=[StartedWorkload(about, NOW)],
            refusals=[refusal(about, owner=name, victim=Victim(about, 1, 1, name))],
            explosions=[explosion(about, forecast=forecast(1.0)._replace(owner=name))],
        )
    )
    news.add_snapshot(
        at(0, ended=(EndedWorkload(about, NOW, Totals(), 1),), losses=(Loss(name, 1),))
    )
    verdict = news.verdict()
    assert verdict is not None
    for text in (verdict[0], *(entry.text for entry in news.log)):
        assert not set(text) & set(FORBIDDEN)
        text.encode()
