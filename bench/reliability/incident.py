"""A leak fills the limit of all pods of a node, until the exec probes of another pod are refused.

containerd (its CRI) runs two pods below a cgroup with a pids.max for all of them, as the kubelet
sets it on /kubepods where PIDs are reserved for the system. One leaks threads, the other is probed
each second by ExecSync, the call of the kubelet's exec probe, with a script that forks once. The
agent runs in a container of runc with the capabilities and mounts of deploy/kubernetes (least
capabilities), sends its stream to rsyslog and to syslog-ng with the configurations of
deploy/log-shippers, and is scraped each second by Prometheus with the rules of deploy/prometheus as
they are (evaluated each second).

The pace is that of a leak by requests that never end, 10 threads a second; at that pace a node
with a pid_max of 32,768 lasts for an hour. The limit here is small, so that it lasts for a minute:
what has to come first has less time for it than in earnest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.figures import Row
from bench.reliability.alerts import Alerts
from bench.reliability.asking import Agent
from bench.reliability.births import traced
from bench.reliability.collectors import Collector, Delivered, completeness
from bench.reliability.contained import contained
from bench.reliability.pods import LEAKING, NAMESPACE, PROBED, Pods, Probe, leaking, pods_below
from bench.reliability.pods import probed as probed_pod
from bench.reliability.work import Repeating, Work, exactly, free_address
from e2e.test_prometheus import RULES, TOKEN, prometheus
from support.waiting import wait_until

LIMIT, PER_SECOND = 800, 10
_AFTERWARDS_SECONDS = 10.0
_NEARLY = 20
_WITHIN_SECONDS = 240.0


def scene(work: Work) -> Iterator[Row]:
    limit = int(work.seconds(LIMIT, 400))
    with ExitStack() as stack:
        enter = stack.enter_context
        files = [
            enter(Collector(work.packages.rsyslog, work.place("rsyslog"))),
            enter(Collector(work.packages.syslog_ng, work.place("syslog-ng"))),
        ]
        pods = enter(pods_below(work.place("node"), limit))
        (token := work.directory / "token").write_text(TOKEN)
        agent = Agent(free_address(), TOKEN)
        outputs = [word for file in files for word in ("--output", file.output)]
        token_file = ("--token-file", str(token))
        running = enter(
            contained(work.place("agent"), pods.runtime_directory, agent, *token_file, *outputs)
        )
        scraping = enter(
            prometheus(
                work.packages.prometheus, work.place("prometheus"), agent.address, str(RULES)
            )
        )
        probe = Probe(enter(probed_pod(pods)))
        births = stack.enter_context(traced(running.pid))
        leak = enter(leaking(pods, PER_SECOND))
        alerts = Alerts(scraping, (LEAKING, PROBED))
        enter(Repeating(alerts, 0.2))
        probing = enter(Repeating(probe, 1.0))
        wait_until(lambda: len(probe.outcomes) >= 3, 30, "the probes go through")
        began = time.time()
        leak.begin()
        why = _why_while_refused(pods, probe, agent)
        told = _told_from_elsewhere(agent, token)
        wait_until(lambda: probe.failed, _WITHIN_SECONDS, "a probe fails")
        time.sleep(_AFTERWARDS_SECONDS)
        probing.stop()
        capabilities = running.capabilities
        code = running.finish()
        yield from _in_time(began, probe, alerts, Delivered.of(files[0].file))
        yield from _verdict(why, told, pods)
        yield from _delivered(files, code)
        yield Row("capabilities of the agent", capabilities)
        said = b" / ".join(map(bytes.strip, running.said)).decode()
        yield Row("what the agent had to say", said or "nothing")
    yield exactly("tasks that the agent made or asked for meanwhile", births.born + births.asked, 0)
    yield Row("tasks made on the machine meanwhile, seen by the same tracer", f"{births.node:,}")


def _why_while_refused(pods: Pods, probe: Probe, agent: Agent) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        if pods.free > _NEARLY and not probe.failed:
            return None
        why: dict[str, Any] = agent.get("/v1/why").json()
        victims = [one for cause in why["causes"] for one in cause["victims"]]
        return why if any(PROBED in str(victim) for victim in victims) else None

    why = wait_until(found, _WITHIN_SECONDS, lambda: f"a probe is refused: {probe.outcomes[-1:]}")
    assert why is not None
    return why


def _told_from_elsewhere(agent: Agent, token: Path) -> subprocess.CompletedProcess[str]:
    words = ("why", "--connect", f"http://{agent.address}", "--token-file", str(token))
    command = [sys.executable, "-m", "threadtrace", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _in_time(began: float, probe: Probe, alerts: Alerts, seen: Delivered) -> Iterator[Row]:
    """When each of them came, after the leak began."""
    told = _of(LEAKING, seen.named("explosion.started"))
    # The kernel's first refusal of a clone of the probe, which may come before one that fails.
    asked = [seconds_of(event) for event in _of(PROBED, seen.named("fork.refused"))]
    refused = min([probe.failed[0].time_s, *asked]) - began
    yield Row("pace of the leak", f"{PER_SECOND} threads a second")
    if not told:
        yield Row("the explosion is told", "never", "before the first refused probe", False)
        return
    explosion = seconds_of(told[0]) - began
    yield Row(
        "the explosion is told, after the leak began",
        f"{explosion:.1f} s",
        "before the first refused probe",
        explosion < refused,
    )
    if not alerts.fired:
        yield Row("an alert", "never", "before the first refused probe", False)
        return
    first = min((time_s - began, name) for name, time_s in alerts.fired.items())
    for name, time_s in sorted(alerts.fired.items(), key=lambda item: item[1]):
        after = time_s - began
        is_first = (after, name) == first
        target = "before the first refused probe" if is_first else ""
        yield Row(
            f"alert {name}, about {alerts.whom[name]}",
            f"{after:.1f} s",
            target,
            after < refused if is_first else None,
        )
    yield Row("a clone of the probed pod is refused for the first time", f"{refused:.1f} s")
    failed = probe.failed[0]
    yield Row("the first exec probe fails", f"{failed.time_s - began:.1f} s: {failed.said[-120:]}")
    yield Row("probes that failed, of all", f"{len(probe.failed)} of {len(probe.outcomes)}")


def _verdict(
    why: dict[str, Any], told: subprocess.CompletedProcess[str], pods: Pods
) -> Iterator[Row]:
    (cause, *_) = (one for one in why["causes"] if PROBED in json.dumps(one["victims"]))
    culprit = cause["culprits"][0]["workload"]
    name = culprit["name"] if isinstance(culprit, dict) else culprit
    victims = json.dumps(cause["victims"])
    yield exactly("/v1/why while probes are refused: the limit", cause["limit"], "pids_max")
    yield exactly("  whose it is: the cgroup of all pods", cause["limit_owner"] == pods.owner, True)
    yield exactly("  who holds most of it", _plain(name), f"{NAMESPACE}/{LEAKING}/web")
    yield exactly("  the probed pod is among the victims", PROBED in victims, True)
    yield exactly("  state", why["state"], "refusing")
    yield exactly(
        "exit code of `threadtrace why --connect` (2: forks are refused)", told.returncode, 2
    )
    lines = [line.strip() for line in told.stdout.splitlines()]
    yield Row("  what it says of it", next(line for line in lines if LEAKING in line))


def _of(pod: str, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event.get("k8s", {}).get("pod", {}).get("name") == pod]


def _plain(name: object) -> str:
    return name if isinstance(name, str) else json.dumps(name)


def _delivered(files: Sequence[Collector], code: int) -> Iterator[Row]:
    yield exactly("exit code of the agent after SIGTERM", code, 143)
    last = max(Delivered.of(files[0].file).numbers)
    for name, file in zip(("rsyslog", "syslog-ng"), files):
        file.wait_for(last)
        yield from completeness(name, Delivered.of(file.file), last)
    yield exactly(
        "both files have the same events",
        {str(event) for event in Delivered.of(files[0].file).events}
        == {str(event) for event in Delivered.of(files[1].file).events},
        True,
    )


def seconds_of(event: dict[str, Any]) -> float:
    text = event["timestamp"].removesuffix("Z")[:26]
    return datetime.fromisoformat(f"{text}+00:00").timestamp()
