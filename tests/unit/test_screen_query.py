"""The filter: every field and operator, and errors that say what would be right."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import CONTAINER_ID, NAMES, WEB, workload
from screen_builders import IDLE, with_state

from threadtrace.identity.workloads import HOST, identify
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import ProcessSnapshot, Totals
from threadtrace.screen.query import QueryError, compiled, namespace, state_word

LEAK = with_state(workload(), State.EXPLODING, 43.0)
"""A container of pod shop/checkout-7d9f, refused 13 times."""
SERVICE = workload(
    identify("/system.slice/kubelet.service"),
    counts=IDLE,
    growth=-2.0,
    limit=None,
    tasks=20,
    processes=(ProcessSnapshot(1, "kubelet", 19, 0), ProcessSnapshot(2, "conmon", 1, 0)),
)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "shop",
        "SHOP",
        "checkout web",
        "shop/web:1",
        "image:web:1",
        "java",
        CONTAINER_ID[:12],
        "burstable",
        "name:checkout",
        "ns:sho",
        "ns=shop",
        "NS=Shop",
        "pod:7d9f",
        "pod=checkout-7d9f",
        "container=web",
        f"id:{CONTAINER_ID}",
        "kind=container",
        "kind:contain",
        "runtime=containerd",
        "cgroup:kubepods",
        "process=java",
        "state=exploding",
        "state=refused",
        "state:expl",
        "tasks>500",
        "tasks>=501",
        "tasks=501",
        "tasks<=501",
        "tasks<1k",
        "tasks<1,000",
        "tasks<0.001m",
        "limit=1k",
        "used>50",
        "used>50%",
        "used<50.2%",
        "threads>=997",
        "processes=3",
        "exits=499",
        "net>1",
        "refused>0",
        "refused=13",
        "left<1m",
        "left<1min",
        "left<=43s",
        "left>.5",
        "left<1h left<1d",
        "-ns=bank",
        "-tasks<100",
        "--shop",
        "-bank -tasks>1000 shop",
        '"shop/checkout"',
        "name:'shop/checkout'",
        "unit=",
        "-",
    ],
)
def test_what_finds_the_leak(query: str) -> None:
    assert compiled(query)(LEAK)


@pytest.mark.parametrize(
    "query",
    [
        "bank",
        "-shop",
        "ns=sho",
        "ns:bank",
        "pod=checkout",
        "kind=pod",
        "state=quiet",
        "state=expl",
        "tasks>501",
        "tasks<501",
        "tasks>1k",
        "used>51%",
        "left>1m",
        "left>43",
        "refused<=0",
        "net<-5",
        "shop -web",
        "'shop checkout'",
        "unit:x",
        "#shop",
    ],
)
def test_what_does_not(query: str) -> None:
    if query == "#shop":
        assert not compiled(query)(LEAK), "no comment"
        return
    assert not compiled(query)(LEAK)


def test_what_is_not_known_is_neither_more_nor_less() -> None:
    for query in ("limit>0", "limit<=0", "used<100", "left>0", "left<1h", "limit=0"):
        assert not compiled(query)(SERVICE), query
        assert compiled(f"-{query}")(SERVICE), query


def test_of_a_service() -> None:
    for query in ("unit=kubelet.service", "unit:kubelet", "state=quiet", "net<-1", "net<=-2.0"):
        assert compiled(query)(SERVICE), query
    assert compiled("process=conmon")(SERVICE), "any of its processes"
    assert not compiled("process=conmo")(SERVICE)
    assert compiled("ns=")(SERVICE), "in no namespace"
    assert not compiled("ns=")(LEAK)
    assert compiled("host")(workload(HOST))


def test_states() -> None:
    refused, calm = workload(), workload(counts=IDLE)
    assert state_word(refused) == state_word(with_state(refused, State.QUIET)) == "refused"
    assert state_word(calm) == state_word(with_state(calm, State.QUIET)) == "quiet"
    assert state_word(with_state(refused, State.EXHAUSTED)) == "exhausted"
    assert not compiled("state:quiet")(with_state(refused, State.QUIET))
    for state in ("exhausted", "refused"):
        assert compiled(f"state={state}")(with_state(refused, State.EXHAUSTED))


def test_refused_is_a_rate_like_its_column() -> None:
    often = workload(counts=Totals(0, 0, 0, 13))._replace(interval_seconds=0.1)
    assert compiled("refused>100")(often)
    assert not compiled("refused>100")(often._replace(interval_seconds=1.0))


def test_a_limit_of_nothing_is_used_up() -> None:
    assert compiled("used=100%")(workload(limit=0))
    assert compiled("left<=0")(with_state(workload(), State.EXHAUSTED, None))


def test_names_are_found_as_they_are_shown() -> None:
    shot = workload(replace(WEB, names=replace(NAMES, k8s_pod_name="a\\x1b b'c")))
    assert compiled("a\\x1b")(shot), "a backslash is a character"
    assert compiled('"\\x1b b"')(shot)
    assert compiled("\\")(shot)
    assert compiled('''"b'c"''')(shot)


def test_names_that_hold_anything() -> None:
    for name in ("\udcff\x1b", "日本", "İ", "\ufffd", "ß"):
        shot = workload(replace(WEB, names=replace(NAMES, k8s_pod_name=name)))
        assert compiled(f"pod='{name}'")(shot), ascii(name)
    assert compiled("pod=STRASSE")(
        workload(replace(WEB, names=replace(NAMES, k8s_pod_name="straße")))
    )


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ("'shop", "a quote is not closed"),
        ('ns:"a b', "a quote is not closed"),
        ("tasks:5", "tasks is a number: write tasks>0 or tasks<=100"),
        ("ns>shop", "ns is text: write ns:shop"),
        ("ns<", "ns is text: write ns:text"),
        ("ns!=shop", "there is no !=: write -ns=shop"),
        ("tasks!=5", "there is no !=: write -tasks=5"),
        ("tasks==5", "there is no ==: write tasks=5"),
        ("tasks>many", "tasks: many is no number: write 100, 1,500 or 2k"),
        ("tasks>", "tasks: nothing is no number: write 100, 1,500 or 2k"),
        ("tasks>5min", "tasks: 5min is no number: write 100, 1,500 or 2k"),
        ("tasks>1e6", "write 100, 1,500 or 2k"),
        ("tasks>nan", "nan is no number"),
        ("tasks>inf", "inf is no number"),
        ("used>2k", "used: 2k is no number: write 80 or 80%"),
        ("left<50%", "left: 50% is no number: write 90, 90s, 5m, 2h or 1d"),
        ("-left<", "left: nothing is no number"),
        ("thr/s>5", "no field thr/s: there are name ns pod container"),
        ("namespace:shop", "no field namespace: there are name ns pod container"),
    ],
)
def test_an_error_says_what_is_right(query: str, remedy: str) -> None:
    with pytest.raises(QueryError) as caught:
        compiled(query)
    assert remedy in str(caught.value)


def test_every_remedy_can_be_written() -> None:
    for query in ("tasks>0", "tasks<=100", "ns:shop", "-ns=shop", "tasks>1,500", "tasks>2k"):
        compiled(query)
    for query in ("used>80", "used>80%", "left<90s", "left<5m", "left<2h", "left<1d"):
        compiled(query)


def test_namespaces() -> None:
    assert namespace(LEAK) == "shop"
    assert namespace(SERVICE) is None
