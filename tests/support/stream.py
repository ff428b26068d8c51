"""A running ``threadtrace stream``: a process of its own, its events read as they come."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib import resources
from types import TracebackType
from typing import Any

from support.waiting import wait_until

Event = dict[str, Any]

THREADTRACE = (sys.executable, "-m", "threadtrace")
INTERVAL_SECONDS = 0.1
_SLOWNESS = 3 if "THREADTRACE_GUEST" in os.environ else 1
START_SECONDS = 40 * _SLOWNESS
DEADLINE_SECONDS = 20 * _SLOWNESS
MAX_LINE_BYTES = 16 * 1024

_TICK = "threadtrace.node.limits"
# Of each name, from the start and from the end: a busy machine makes tens of thousands of events,
# and the validation of one takes a millisecond. In an emulated guest it takes twenty.
_VALIDATED = 5 if "THREADTRACE_GUEST" in os.environ else 150

EXIT_TERMINATED = 128 + signal.SIGTERM

_COUNTS = {
    "threads": "threads_created_count",
    "processes": "processes_created_count",
    "exited": "exited_count",
    "refused": "refused_count",
}


@cache
def _validator() -> Any:
    """Of the published schema; None where the package has none."""
    schema = resources.files("threadtrace") / "schema" / "events.schema.json"
    if not schema.is_file():
        return None
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(schema.read_text()))


def validate(event: Event) -> None:
    """Fail unless the event follows the schema and keeps to the rules that no schema can tell."""
    validator = _validator()
    if validator is not None:
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(event)]
        assert not errors, f"{event['event']['name']} breaks the schema: {errors}\n{event}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", event["timestamp"])
    _no_empty_values(event, "event")


def _no_empty_values(value: Any, where: str) -> None:
    """A value that is not known is absent: never null, never an empty text."""
    assert value is not None, f"{where} is null"
    assert value != "", f"{where} is empty"
    if isinstance(value, dict):
        for name, part in value.items():
            _no_empty_values(part, f"{where}.{name}")


class Counts(Counter[str]):
    """Sums of ``threads``, ``processes``, ``exited`` and ``refused``; missing is 0."""


def counts(**expected: int) -> Counts:
    """What a test demands: zero unless it is named."""
    return Counts({name: expected.get(name, 0) for name in _COUNTS})


class Stream:
    """One agent. Its events are complete once ``finish`` has returned."""

    def __init__(
        self,
        *arguments: str,
        interval_seconds: float = INTERVAL_SECONDS,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        """Start it and, unless told otherwise, wait until it counts.

        Args:
            arguments: further ones of ``threadtrace stream``.
            interval_seconds: between two ticks.
            before: a command that executes it, such as setpriv with its options.
            environment: variables beside those of this process.
            wait: for ``threadtrace.started`` and the first ``threadtrace.node.limits``.
        """
        command = [*before, *THREADTRACE, "stream", "--interval", str(interval_seconds)]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self.pid = self.process.pid
        self.errors = b""
        self._lines: list[bytes] = []
        self._rest = b""
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._events: list[Event] = []
        self._by_name: dict[str, list[Event]] = {}
        self._rates: dict[str | None, list[Event]] = {}
        if wait:
            try:
                self.wait_until_it_counts()
            except BaseException:
                self.kill()
                raise

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    # Events

    @property
    def events(self) -> list[Event]:
        """All events so far."""
        while len(self._events) < len(self._lines):
            event = json.loads(self._lines[len(self._events)])
            self._events.append(event)
            self._by_name.setdefault(name_of(event), []).append(event)
            if name_of(event) == "threadtrace.workload.rates":
                self._rates.setdefault(path_of(event), []).append(event)
        return self._events

    @property
    def lines(self) -> list[bytes]:
        """All lines so far, as they came, without the newline."""
        return list(self._lines)

    @property
    def rest(self) -> bytes:
        """What came after the last newline."""
        return self._rest

    def named(self, name: str) -> list[Event]:
        """All events of that name, ``threadtrace.`` left out."""
        assert self.events
        return list(self._by_name.get(f"threadtrace.{name}", ()))

    def rates(self, path: str) -> list[Event]:
        """The workload.rates events of the cgroup with that path."""
        assert self.events
        return list(self._rates.get(path, ()))

    def counts(self, path: str) -> Counts:
        """The sums over all intervals of what was counted in the cgroup with that path."""
        return _sum(self.rates(path))

    def node_counts(self) -> Counts:
        """The sums over all intervals of what was counted on the node."""
        return _sum(self.named("node.limits"))

    def refused(self, path: str) -> Counter[str]:
        """Refusals by errno, summed over all intervals."""
        total: Counter[str] = Counter()
        for event in self.rates(path):
            total.update(event["threadtrace"]["refused"])
        return total

    def losses(self) -> Counter[str]:
        """Lost counts by place, summed over all threadtrace.loss events."""
        total: Counter[str] = Counter()
        for event in self.named("loss"):
            total[event["threadtrace"]["where"]] += event["threadtrace"]["lost_count"]
        return total

    # Waiting

    def wait_until_it_counts(self, deadline_seconds: float = START_SECONDS) -> None:
        """Wait for ``threadtrace.started``, which is kept, and the first tick."""
        self.started = self.wait_for(
            lambda event: name_of(event) == "threadtrace.started", deadline_seconds
        )
        self.wait_for(lambda event: name_of(event) == _TICK)

    def wait_for(
        self, condition: Callable[[Event], bool], deadline_seconds: float = DEADLINE_SECONDS
    ) -> Event:
        """The first event, past ones included, of which the condition is true."""
        position = 0

        def found() -> Event | None:
            nonlocal position
            events = self.events
            while position < len(events):
                position += 1
                if condition(events[position - 1]):
                    return events[position - 1]
            assert self.is_running() or position < len(self._lines), self._end_message()
            return None

        return wait_until(found, deadline_seconds, lambda: f"the event came; {self._state()}")

    def wait_until(
        self, condition: Callable[[], bool], what: str, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        """Wait until the events so far, which the condition looks at itself, are as it wants."""

        def holds() -> bool:
            assert self.is_running(), self._end_message()
            return condition()

        wait_until(holds, deadline_seconds, lambda: f"{what}; {self._state()}")

    def wait_for_ticks(self, count: int = 1) -> list[Event]:
        """Wait for that many ticks that began after this call; the events since the call.

        The tick under way at the call does not count: it may have read its counters already.
        """
        start = len(self.events)
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        before = now.replace("+00:00", "Z")

        def done() -> bool:
            ticks = [event for event in self.events[start:] if name_of(event) == _TICK]
            # The lines of one tick are written together, but read in pieces: the next one's first
            # line says that this one's are complete.
            return sum(event["timestamp"] > before for event in ticks) > count + 1

        self.wait_until(done, f"{count} ticks")
        return self.events[start:]

    def wait_for_counts(self, path: str, expected: Counts) -> None:
        """Wait until the sums have reached what is expected; they must not go beyond."""

        def reached() -> bool:
            found = self.counts(path)
            return all(found[name] >= expected[name] for name in expected)

        self.wait_until(reached, f"{expected} in {path}")
        assert self.counts(path) == expected

    # The end

    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, deadline_seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for its end and for its last output; the exit code."""
        code = self.process.wait(deadline_seconds)
        for reader in self._readers:
            reader.join(deadline_seconds)
        return code

    def finish(self) -> Stream:
        """End it by SIGTERM, after which all it counted is told; check every event."""
        self.send(signal.SIGTERM)
        code = self.end()
        assert code == EXIT_TERMINATED, self._end_message()
        self.check()
        return self

    def check(self) -> None:
        """Every line a whole event of the contract, numbered without a gap."""
        assert not self._rest, f"the last line is not whole: {self._rest!r}"
        for line in self._lines:
            assert len(line) < MAX_LINE_BYTES
        assert self.events
        for events in self._by_name.values():
            for event in [*events[:_VALIDATED], *events[_VALIDATED:][-_VALIDATED:]]:
                validate(event)
        numbers = [event["event"]["sequence"] for event in self.events]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len({event["agent"]["id"] for event in self.events}) == 1

    def kill(self) -> None:
        """End it in any case."""
        if self.is_running():
            self.process.kill()
        self.end()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    # Reading

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while data := os.read(fd, 1 << 16):
            *whole, self._rest = (self._rest + data).split(b"\n")
            self._lines += whole

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        fd = self.process.stderr.fileno()
        while data := os.read(fd, 1 << 16):
            self.errors += data

    def _state(self) -> str:
        names = Counter(name_of(event) for event in self.events)
        return f"events so far: {dict(names)}; stderr: {self.errors!r}"

    def _end_message(self) -> str:
        return f"threadtrace ended with {self.process.poll()}: {self.errors.decode()}"


def name_of(event: Event) -> str:
    """``event.name``."""
    name: str = event["event"]["name"]
    return name


def path_of(event: Event) -> str | None:
    """``process.linux.cgroup``, None where the event is about no cgroup."""
    path: str | None = event.get("process", {}).get("linux", {}).get("cgroup")
    return path


def _sum(events: Sequence[Event]) -> Counts:
    total = counts()
    for event in events:
        for name, field in _COUNTS.items():
            total[name] += event["threadtrace"].get(field, 0)
    return total
