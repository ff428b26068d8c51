"""The tree: its sums are those of the flat table, and nothing is lost or told twice in it."""

from __future__ import annotations

from dataclasses import replace

from builders import NAMES, WEB, workload
from screen_builders import IDLE, forecast, pod, with_state

from threadtrace.identity.workloads import HOST, KERNEL, identify
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import Totals, WorkloadSnapshot
from threadtrace.screen import order
from threadtrace.screen.lines import Line, flat, tree


def by_name(lines: list[Line]) -> list[Line]:
    return order.in_order(lines, lambda line: line.label, True)


def grown(*shots: WorkloadSnapshot, closed: tuple[str, ...] = ()) -> list[Line]:
    return tree(shots, "node-1", set(closed), lambda lines: by_name(list(lines)))


def drawn(lines: list[Line]) -> list[str]:
    return ["  " * line.depth + line.label for line in lines]


SHOP = pod("shop", "web-1", "app", tasks=10), pod("shop", "web-1", "proxy", tasks=5)
BANK = (pod("bank", "web-1", "app", tasks=7),)
SERVICE = workload(identify("/system.slice/kubelet.service"), tasks=20, counts=IDLE)


def test_node_namespaces_pods_containers() -> None:
    assert drawn(grown(*SHOP, *BANK, SERVICE, workload(HOST), workload(KERNEL))) == [
        "node-1",
        "  bank",
        "    web-1",
        "      app",
        "  not in pods",
        "    host",
        "    kernel",
        "    kubelet.service",
        "  shop",
        "    web-1",
        "      app",
        "      proxy",
    ]


def test_pods_of_the_same_name_in_two_namespaces_are_two() -> None:
    lines = grown(*SHOP, *BANK)
    pods = [line for line in lines if line.label == "web-1"]
    assert [line.shot.tasks for line in pods] == [7, 15]
    assert len({line.key for line in lines}) == len(lines)


def test_sums_are_those_of_the_flat_table() -> None:
    shots = [
        pod(
            f"ns{n % 3}",
            f"pod-{n % 7}",
            f"c{n}",
            tasks=n,
            growth=n / 4,
            counts=Totals(n, 2 * n, 3, n % 2),
        )
        for n in range(50)
    ]
    shots += [workload(identify(f"/system.slice/s{n}.service"), tasks=n) for n in range(9)]
    lines = grown(*shots)
    root = lines[0].shot
    for depth in (0, 1):
        found = [line.shot for line in lines if line.depth == depth]
        assert sum(shot.tasks for shot in found) == sum(shot.tasks for shot in shots)
        assert sum(shot.tasks_peak for shot in found) == sum(shot.tasks_peak for shot in shots)
        for which in range(4):
            assert sum(shot.counts[which] for shot in found) == sum(s.counts[which] for s in shots)
    assert root.refused_by_errno == {11: root.counts.refused}
    assert root.growth_per_second == sum(shot.growth_per_second for shot in shots)
    leaves = [line.key for line in lines if line.is_open is None]
    assert sorted(leaves) == sorted(shot.workload.key for shot in shots)


def test_folded_groups_hide_what_is_in_them_and_keep_their_sum() -> None:
    lines = grown(*SHOP, *BANK, closed=("group:shop",))
    assert drawn(lines) == ["node-1", "  bank", "    web-1", "      app", "  shop"]
    assert lines[-1].is_open is False
    assert lines[-1].shot.tasks == 15
    assert drawn(grown(*SHOP, closed=("group:",))) == ["node-1"]
    inner = grown(*SHOP, *BANK, closed=("group:shop/web-1",))
    assert drawn(inner)[-2:] == ["  shop", "    web-1"]
    assert "      app" in drawn(inner), "the pod of that name in another namespace stays open"


def test_a_group_has_a_limit_where_all_have_the_same() -> None:
    shared = [shot._replace(limit_path="/pod", limit=300, limit_tasks=15) for shot in SHOP]
    lines = grown(*shared, *BANK)
    web = next(line for line in lines if line.key == "group:shop/web-1")
    assert (web.shot.limit, web.shot.limit_path, web.shot.limit_tasks) == (300, "/pod", 15)
    assert lines[0].shot.limit is None
    other = [shared[0], shared[1]._replace(limit_path="/other")]
    assert grown(*other)[0].shot.limit is None
    without = [shared[0], shared[1]._replace(limit_path=None, limit=None, limit_tasks=None)]
    assert grown(*without, *BANK)[0].shot.limit is None


def test_a_group_is_as_bad_as_the_worst_in_it() -> None:
    for worst, other in [
        (State.EXHAUSTED, State.EXPLODING),
        (State.EXPLODING, State.GROWING),
        (State.GROWING, State.RECOVERING),
        (State.RECOVERING, State.QUIET),
    ]:
        shots = with_state(SHOP[0], other), with_state(SHOP[1], worst)
        assert grown(*shots)[0].shot.state is worst
    assert grown(*SHOP)[0].shot.state is None
    assert grown(with_state(SHOP[0], State.EXHAUSTED))[0].shot.state is State.EXHAUSTED
    assert grown(SHOP[0])[0].shot.state is None


def test_the_soonest_end_is_the_groups_also_when_it_is_now() -> None:
    shots = with_state(SHOP[0], None, 30.0), with_state(SHOP[1], None, 0.0)
    assert grown(*shots, with_state(BANK[0]))[0].shot.forecast == forecast(0.0)
    assert grown(*shots[:1], *BANK)[0].shot.forecast == forecast(30.0)
    assert grown(*SHOP)[0].shot.forecast is None


def test_a_group_names_the_largest_process() -> None:
    assert grown(*SHOP)[0].shot.top_processes == SHOP[0].top_processes[:1]
    assert grown(pod("a", "b", processes=()))[0].shot.top_processes == ()


def test_a_pod_that_is_known_in_part() -> None:
    pause = replace(WEB, key="pause", names=replace(NAMES, is_sandbox=True, k8s_namespace=None))
    nameless = replace(WEB, key="nameless", names=replace(NAMES, k8s_pod_name=None))
    lines = grown(workload(pause), workload(nameless))
    assert drawn(lines)[1:] == [
        "  ?",
        "    checkout-7d9f",
        "      (pause)",
        "  not in pods",
        "    web",
    ]


def test_siblings_are_sorted_groups_among_them() -> None:
    def by_tasks(lines: object) -> list[Line]:
        return order.in_order(lines, lambda line: line.shot.tasks, False)  # type: ignore[arg-type]

    lines = tree([*SHOP, *BANK, SERVICE], "", set(), by_tasks)
    assert drawn(lines) == [
        "node",
        "  not in pods",
        "    kubelet.service",
        "  shop",
        "    web-1",
        "      app",
        "      proxy",
        "  bank",
        "    web-1",
        "      app",
    ]


def test_flat_has_a_line_for_each() -> None:
    assert drawn(flat([*SHOP, SERVICE])) == [
        "shop/web-1/app",
        "shop/web-1/proxy",
        "kubelet.service",
    ]
    assert flat([]) == []
