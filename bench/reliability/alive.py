"""No PID is free: for the pods, for the agent itself, and in a whole PID namespace.

First, the agent in its container (least capabilities, TLS, a token) is given a pids.max of what it
holds, one task; then a pod that leaks 200 threads a second takes what the limit of all pods leaves.
While that lasts, the agent is asked each second, and from elsewhere by `threadtrace why --connect`
and `threadtrace top --connect`; its token is replaced, its certificate is replaced, it is sent
SIGHUP, and its collector is killed and started again. bpftrace counts, from before the leak until
after all of this, each task that the agent makes and each clone, clone3, fork and vfork that it
calls.

Then the agent runs in a PID namespace whose own pid_max (Linux from 6.14 on) is reached by a leak
beside it: there nothing can be started at all.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import Row
from bench.reliability.asking import Agent, Answer
from bench.reliability.births import traced
from bench.reliability.certificates import make_certificate
from bench.reliability.collectors import Collector, Delivered, completeness, longest_gap
from bench.reliability.contained import Contained, contained
from bench.reliability.full_namespace import full_namespace
from bench.reliability.incident import seconds_of
from bench.reliability.pods import PROBED, Probe, leaking, pods_below, probed
from bench.reliability.work import Repeating, Work, exactly, free_address, longest
from support.waiting import wait_until

LIMIT, PER_SECOND = 300, 200
_ANSWER_SECONDS = 1.0
_FIRST, _SECOND = "a-first-token-of-some-length", "another-token-of-some-length"


def scene(work: Work) -> Iterator[Row]:
    yield from without_a_pid(work)
    yield from full_namespace(work)


def without_a_pid(work: Work) -> Iterator[Row]:
    seconds = work.seconds(60, 6)
    token = work.directory / "token"
    token.write_text(_FIRST)
    certificate = make_certificate(work.directory)
    agent = Agent(free_address(), _FIRST, certificate.file)
    with ExitStack() as stack:
        enter = stack.enter_context
        file = enter(Collector(work.packages.rsyslog, work.place("rsyslog")))
        pods = enter(pods_below(work.place("node"), LIMIT))
        words = ("--token-file", str(token), "--output", file.output)
        tls = ("--tls-cert", certificate.file, "--tls-key", certificate.key)
        running = enter(contained(work.place("agent"), pods.runtime_directory, agent, *words, *tls))
        probe = Probe(enter(probed(pods)))
        leak = enter(leaking(pods, PER_SECOND))
        held = running.allow_no_more_tasks()
        births = enter(traced(running.pid))
        enter(Repeating(probe, 1.0))
        leak.begin()
        wait_until(lambda: probe.failed, 60, lambda: f"a probe is refused: {pods.free} are free")
        watch = Watch(agent, token, running, file, certificate.renew, seconds)
        watch.run()
        tasks, refused = running.tasks, running.refused()
        code = running.finish()
        last = max(Delivered.of(file.file).numbers)
        file.wait_for(last)
        found = Delivered.of(file.file)
        yield from watch.rows(found)
        yield Row("probes that failed meanwhile", f"{len(probe.failed)} of {len(probe.outcomes)}")
    yield exactly("tasks of the agent, and its pids.max", (held, tasks), (1, 1))
    yield exactly("times that its pids.max stood in its way (pids.events)", refused, 0)
    yield exactly("tasks that the agent made", births.born, 0)
    yield exactly("clone, clone3, fork and vfork that it called", births.asked, 0)
    yield Row("tasks made on the machine meanwhile, by the same tracer", f"{births.node:,}")
    yield exactly("exit code after SIGTERM", code, 143)
    yield from completeness("rsyslog, which was killed once", found, last)


class Said(NamedTuple):
    """A command from elsewhere, and the first line of its answer."""

    command: str
    code: int
    said: str


@dataclass
class Watch:
    """Asks an agent that has no PID left, and gives it something to do."""

    agent: Agent
    token: Path
    running: Contained
    collector: Collector
    renew_certificate: Callable[[], None]
    seconds: float
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    why: list[dict[str, Any]] = field(default_factory=list)
    from_elsewhere: list[Said] = field(default_factory=list)
    old_token_status: int = 0
    is_renewed: bool = False
    began_s: float = 0.0
    ended_s: float = 0.0

    def run(self) -> None:
        self.began_s = time.time()
        until = time.monotonic() + self.seconds
        todo = [
            self._replace_token,
            self._renew_certificate,
            self.collector.kill,
            self.collector.start,
            self._hang_up,
        ]
        share = self.seconds / (len(todo) + 1)
        due = time.monotonic() + share
        while todo or time.monotonic() < until:
            start = time.monotonic()
            self._ask()
            if todo and time.monotonic() >= due:
                todo.pop(0)()
                self._ask_from_elsewhere()
                due += share
            time.sleep(max(0.0, start + self._pause - time.monotonic()))
        self.ended_s = time.time()
        wait_until(self._is_taken, 60, "the collector has all that waited for it")

    def _is_taken(self) -> bool:
        names = ("threadtrace_output_connected", "threadtrace_output_buffered_bytes")
        return [self.agent.metric(name, output=self.collector.output) for name in names] == [1, 0]

    @property
    def _pause(self) -> float:
        return min(1.0, self.seconds / 20)

    def rows(self, found: Delivered) -> Iterator[Row]:
        lasted = self.ended_s - self.began_s
        yield Row("so long, without a free PID", f"{lasted:.0f} s")
        for path, answers in self.answers.items():
            wrong = sum(answer.status != 200 for answer in answers)
            yield exactly(f"answers of {path} other than 200", wrong, 0)
            times = [answer.seconds for answer in answers]
            yield longest("  time for one, TLS included", times, _ANSWER_SECONDS)
        right = sum(_is_right(why) for why in self.why)
        yield exactly(
            "answers of /v1/why that name pids_max, and the probed pod as refused",
            right,
            len(self.why),
        )
        for command, code in (("why", 2), ("top", 0)):
            said = [one for one in self.from_elsewhere if one.command == command]
            well = sum(one.code == code and bool(one.said) for one in said)
            yield exactly(f"answers to `threadtrace {command} --connect` from elsewhere", well, 5)
            yield Row("  the last of them", said[-1].said[:160])
        old = self.old_token_status
        yield exactly("status with the token of before, once it was replaced", old, 401)
        yield exactly("the new certificate is shown after SIGHUP", self.is_renewed, True)
        ticks = [
            event
            for event in found.named("node.limits")
            if self.began_s <= seconds_of(event) <= self.ended_s
        ]
        gap = longest_gap(ticks)
        yield Row(
            "ticks in that time, longest interval of one",
            f"{len(ticks)}, {gap:.2f} s",
            "at most 2 s",
            gap <= 2,
        )

    def _ask(self) -> None:
        for path in ("/healthz", "/metrics", "/v1/why"):
            answer = self.agent.get(path)
            self.answers.setdefault(path, []).append(answer)
        self.why.append(answer.json())

    def _ask_from_elsewhere(self) -> None:
        options = ["--connect", f"https://{self.agent.address}", "--token-file", str(self.token)]
        options += ["--ca-file", str(self.agent.ca_file)]
        for words in (["why"], ["top", "--once", "--json"]):
            done = subprocess.run(
                [sys.executable, "-m", "threadtrace", *words, *options],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            said = (done.stdout or done.stderr).partition("\n")[0]
            if words[0] == "top" and done.returncode == 0:
                said = f"{len(json.loads(done.stdout)['workloads'])} workloads"
            self.from_elsewhere.append(Said(words[0], done.returncode, said))

    def _replace_token(self) -> None:
        self.token.write_text(_SECOND)
        self.old_token_status = self.agent.get("/v1/why").status
        self.agent.token = _SECOND

    def _renew_certificate(self) -> None:
        before = self._shown_certificate()
        self.renew_certificate()
        self._hang_up()
        wait_until(lambda: self._shown_certificate() != before, 10, "the new certificate is shown")
        self.is_renewed = True

    def _shown_certificate(self) -> str:
        host, _, port = self.agent.address.rpartition(":")
        return ssl.get_server_certificate((host, int(port)), timeout=10)

    def _hang_up(self) -> None:
        os.kill(self.running.pid, signal.SIGHUP)


def _is_right(why: dict[str, Any]) -> bool:
    return why["state"] == "refusing" and any(
        cause["limit"] == "pids_max" and PROBED in json.dumps(cause["victims"])
        for cause in why["causes"]
    )
