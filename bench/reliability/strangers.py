"""Slow, malformed and unauthorized requests.

24 connections ask for the endless streams and the metrics and take one byte a second, while others
ask on. 10,000 connections send what is no request of HTTP/1.1, of ten kinds. 1,000 requests each
come without a token, with a wrong one, and with wrong kinds of authorization.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator

from bench.figures import Row
from bench.processes import resident_bytes
from bench.reliability.asking import Agent, Answer
from bench.reliability.load import streaming
from bench.reliability.work import Repeating, Work, exactly, longest

_ANSWER_SECONDS = 1.0
_SLOW = 24
_CGROUPS_OF_POD = 4
_FLAT_BYTES = 4_000_000
_TOKEN = "the-token-that-is-asked-for"

_MALFORMED = (
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\n\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"\x00" * 50 + b"\r\n\r\n",
    b'{"get": "why"}\n\n',
    b"GET /v1/why HTTP/1.1\nHost: a\n\n",
)


def scene(work: Work) -> Iterator[Row]:
    yield from slow_readers(work)
    yield from malformed(work)
    yield from tokens(work)


def slow_readers(work: Work) -> Iterator[Row]:
    seconds = work.seconds(30, 3)
    answers: dict[str, list[Answer]] = {"/healthz": [], "/v1/why": [], "/metrics": []}
    with streaming(work, "--all") as (stream, agent), contextlib.ExitStack() as stack:
        readers = [stack.enter_context(_connected(agent)) for _ in range(_SLOW)]
        for number, reader in enumerate(readers):
            path = ("/v1/view", "/metrics", "/v1/events?after=0")[number % 3]
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        taken = Counter[int]()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            start = time.monotonic()
            for number, reader in enumerate(readers):
                with contextlib.suppress(OSError):
                    taken[number] += len(reader.recv(1))
            for path, told in answers.items():
                told.append(agent.get(path))
            time.sleep(max(0.0, start + 1.0 - time.monotonic()))
        stream.finish()
        gap = max(event["threadtrace"]["interval_seconds"] for event in stream.named("node.limits"))
    yield exactly(
        f"{_SLOW} readers of a byte a second: connections that got bytes", len(+taken), _SLOW
    )
    for path, told in answers.items():
        yield exactly(
            f"  answers of {path} to others, not 200", sum(one.status != 200 for one in told), 0
        )
        yield longest("    time for one", [one.seconds for one in told], _ANSWER_SECONDS)
    yield Row("  longest interval of a tick (of 0.2 s)", f"{gap:.2f} s", "at most 1 s", gap <= 1)


def malformed(work: Work) -> Iterator[Row]:
    count = int(work.seconds(10_000, 500))
    dice = random.Random(7)
    statuses: Counter[str] = Counter()
    answers: list[Answer] = []
    with streaming(work) as (stream, agent):
        for number in range(count // 10):
            statuses[_status_of(agent, _MALFORMED[number % len(_MALFORMED)])] += 1
        resident = resident_bytes(stream.pid)
        start = time.monotonic()
        statuses.clear()
        with Repeating(lambda: answers.append(agent.get("/healthz")), 0.1):
            for number in range(count):
                text = _MALFORMED[number % len(_MALFORMED)]
                if number % 20 >= 10:  # broken differently each time
                    text = bytes(dice.choices(text, k=len(text)))
                statuses[_status_of(agent, text)] += 1
        seconds = time.monotonic() - start
        growth = resident_bytes(stream.pid) - resident
        stream.finish()
        said, lost = stream.errors.decode(), stream.losses().total()
    served = sum(number for status, number in statuses.items() if status == "200")
    told = ", ".join(f"{status}: {number:,}" for status, number in statuses.most_common())
    yield Row(f"{count:,} malformed requests in {seconds:.0f} s, by what they got", told)
    yield exactly("  served as if they were none", served, 0)
    yield longest("  /healthz meanwhile", [one.seconds for one in answers], _ANSWER_SECONDS)
    yield Row(
        "  memory more afterwards", f"{growth / 1e6:+.2f} MB", "at most 4 MB", growth <= _FLAT_BYTES
    )
    yield exactly("  lines that the agent wrote about it", said.count("\n"), 0)
    yield exactly("  told as lost", lost, 0)


def tokens(work: Work) -> Iterator[Row]:
    count = int(work.seconds(1_000, 50))
    (file := work.directory / "token").write_text(_TOKEN)
    kinds = {
        "no token": {},
        "a wrong token": {"Authorization": "Bearer another-token-of-that-size"},
        "the beginning of the right one": {"Authorization": f"Bearer {_TOKEN[:-1]}"},
        "the right one as a password": {"Authorization": f"Basic {_TOKEN}"},
    }
    paths = ("/metrics", "/v1/why", "/v1/snapshot", "/v1/events", "/v1/view", "/nothing")
    with streaming(work, "--token-file", str(file)) as (stream, agent):
        for kind, headers in kinds.items():
            answers = [agent.get(paths[number % len(paths)], **headers) for number in range(count)]
            refused = sum(
                one.status == 401 and "Bearer" in one.headers.get("www-authenticate", "")
                for one in answers
            )
            yield exactly(f"{kind}: refused (401, WWW-Authenticate: Bearer)", refused, count)
        agent.token = _TOKEN
        yield exactly("the right token: status of /v1/why", agent.get("/v1/why").status, 200)
        agent.token = None
        health = [agent.get(path).status for path in ("/healthz", "/readyz")]
        yield exactly("without a token: status of /healthz and /readyz", health, [200, 200])
        stream.finish()
        yield exactly("lines that the agent wrote about it", stream.errors.count(b"\n"), 0)


def _connected(agent: Agent) -> socket.socket:
    host, _, port = agent.address.rpartition(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(10)
    made.connect((host, int(port)))
    return made


def _status_of(agent: Agent, text: bytes) -> str:
    """The status of the first answer; why there was none."""
    with _connected(agent) as connection:
        try:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        except OSError as error:
            return type(error).__name__
    return answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/") else "hung up"
