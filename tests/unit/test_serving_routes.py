"""What each path answers, over real connections."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import pytest
from serving_builders import (
    TOKEN,
    Served,
    Told,
    make_certificate,
    run,
    serving,
    soon,
    until,
)

from threadtrace.errors import UsageError
from threadtrace.serving.tls import ServerTls
from threadtrace.serving.token import TokenFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the agent is Linux only")

BEARER = f"Authorization: Bearer {TOKEN}"
ASKED = (
    "/metrics",
    "/v1/snapshot",
    "/v1/why",
    "/v1/workload?key=container:ab",
    "/v1/process?pid=4711",
)
STREAMS = ("/v1/events", "/v1/view")


@pytest.fixture
def token_path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def test_answers() -> None:
    async def test() -> None:
        async with serving() as served:
            assert (await served.get("/healthz")).body == b"ok\n"
            assert (await served.get("/readyz")).status == 200
            assert (await served.get("/v1/snapshot")).json == {"node": {}, "workloads": []}
            assert (await served.get("/v1/why")).json["answer"] == "nothing is refused"
            assert (await served.get("/v1/workload?key=container%3Aab")).json == {
                "key": "container:ab"
            }
            assert (await served.get("/v1/workload?key=gone")).json == {}
            assert (await served.get("/v1/process?pid=4711")).json == {"pid": 4711}
            assert (await served.get("/v1/process?pid=4712")).json == {}
            metrics = await served.get("/metrics", "Accept: application/openmetrics-text")
            assert metrics.headers["content-type"].startswith("application/openmetrics-text")
            assert (await served.get("/metrics")).headers["content-type"].startswith("text/plain")

    run(test())


def test_headers_of_every_answer() -> None:
    async def test() -> None:
        async with serving() as served:
            for path in (*ASKED, "/healthz", "/nothing", "/v1/process?pid=x"):
                answer = await served.get(path)
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["server"] == "threadtrace"
                assert "python" not in str(answer.headers).lower()

    run(test())


def test_health_and_readiness() -> None:
    async def test() -> None:
        told = Told(snapshot=None, trouble="the last tick was 31 s ago", is_ready=False)
        async with serving(told) as served:
            for path in ("/healthz", "/readyz", "/v1/snapshot"):
                answer = await served.get(path)
                assert answer.status == 503
                assert answer.json["error"]
            assert "31 s" in (await served.get("/healthz")).json["error"]
            told.trouble, told.is_ready, told.snapshot = None, True, {"node": {}}
            for path in ("/healthz", "/readyz", "/v1/snapshot"):
                assert (await served.get(path)).status == 200

    run(test())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/healthz/", 404),
        ("//healthz", 404),
        ("/v1/%2e%2e/healthz", 404),
        ("/nothing?a=%00%ff%zz", 404),
        ("/v1/workload", 400),
        ("/v1/process", 400),
        ("/v1/process?pid=", 400),
        ("/v1/process?pid=-1", 400),
        ("/v1/process?pid=%D9%A3", 400),
        ("/v1/process?pid=" + "9" * 400, 400),
        ("/v1/workload?key=%ff%fe", 200),
        ("/v1/workload?key=%ED%B2%80", 200),
        ("/v1/events?after=x", 400),
        ("/v1/events?after=-1", 400),
        ("/v1/events?after=1", 410),
        ("/v1/events?agent=other", 410),
        ("/v1/events?after=0&agent=other", 410),
    ],
)
def test_errors_are_json(path: str, status: int) -> None:
    async def test() -> None:
        async with serving() as served:
            answer = await served.get(path)
            assert answer.status == status
            assert answer.headers["content-type"] == "application/json"
            assert status == 200 or set(answer.json) >= {"error"}

    run(test())


def test_methods() -> None:
    async def test() -> None:
        async with serving() as served:
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT"):
                for path in ("/healthz", "/v1/why", "/v1/events"):
                    answer = await served.get(path, method=method)
                    assert answer.status in (405, 400, 404), method
                    if answer.status == 405:
                        assert answer.headers["allow"] == "GET, HEAD"
                    assert answer.json["error"]
            for path in (*ASKED, "/healthz", "/readyz"):
                full, bare = await served.get(path), await served.get(path, method="HEAD")
                assert (bare.status, bare.body) == (200, b"")
                assert bare.headers["content-length"] == full.headers["content-length"]
                assert bare.headers["content-type"] == full.headers["content-type"]
            for path in STREAMS:
                bare = await served.get(path, method="HEAD")
                assert bare.status == 200
                assert bare.headers["content-type"] == "application/x-ndjson"
            assert served.told.views == []

    run(test())


def test_a_body_is_refused() -> None:
    async def test() -> None:
        async with serving() as served:
            for more in (
                "Content-Length: 5\r\n\r\nhello",
                "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ):
                peer = await served.connect()
                peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + more.encode())
                answer = await peer.answer()
                assert answer.status == 413
                assert await peer.ended() == b""
            peer = await served.connect()
            peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
            peer.send(b"x" * 200_000)
            assert (await peer.answer()).status == 413
            peer = await served.connect()
            peer.ask("/healthz", "Content-Length: 0")
            assert (await peer.answer()).status == 200

    run(test())


def test_a_fault_of_a_source_is_told_once_and_not_to_who_asks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def test() -> None:
        told = Told(fault=KeyError("a secret"))
        async with serving(told) as served:
            for _ in range(3):
                answer = await served.get("/v1/why")
                assert answer.status == 500
                assert "secret" not in str(answer.json)
            told.fault = PermissionError(13, "Permission denied")
            assert (await served.get("/v1/why")).status == 503
            assert (await served.get("/healthz")).status == 200

    run(test())
    assert capsys.readouterr().err.count("KeyError") == 1


def test_answers_are_made_a_few_times_a_second() -> None:
    async def test() -> None:
        async with serving() as served:
            peer = await served.connect()
            for number in range(300):
                peer.ask(
                    ("/v1/why", "/v1/snapshot", "/metrics")[number % 3], f"Accept: kind-{number}"
                )
                assert (await peer.answer()).status == 200
            # Some expositions, since who asks may choose; the rest got the plain one.
            assert len(served.told.made) < 40

    run(test())


def test_requests_that_follow_each_other_are_answered_in_order() -> None:
    async def test() -> None:
        async with serving() as served:
            peer = await served.connect()
            for number in range(500):
                peer.ask(f"/v1/process?pid={4711 if number % 2 else number + 5000}")
            for number in range(500):
                answer = await peer.answer()
                assert answer.json in (
                    ({"pid": 4711} if number % 2 else {}),
                    {"error": answer.json.get("error")},
                )
                assert answer.status in (200, 429)
            peer.ask("/healthz", "Connection: close")
            peer.ask("/healthz")
            assert (await peer.answer()).status == 200
            assert await peer.ended() == b""

    run(test())


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_request_in_pieces(size: int) -> None:
    async def test() -> None:
        async with serving() as served:
            peer = await served.connect()
            request = b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2
            for start in range(0, len(request), size):
                peer.send(request[start : start + size])
                await asyncio.sleep(0)
            for _ in range(2):
                assert (await peer.answer()).body == b"ok\n"

    run(test())


def test_who_sends_no_more_still_gets_its_answers() -> None:
    async def test() -> None:
        told = Told(snapshot={"text": "x" * 3_000_000})
        async with serving(told) as served:
            peer = await served.connect(limit=1 << 22)
            peer.ask("/healthz")
            peer.ask("/v1/snapshot")
            peer.ask("/healthz")
            peer.writer.write_eof()
            assert (await peer.answer()).body == b"ok\n"
            assert len((await peer.answer()).body) > 3_000_000
            assert (await peer.answer()).body == b"ok\n"
            assert await peer.ended() == b""

    run(test())


def test_http_1_0() -> None:
    async def test() -> None:
        async with serving() as served:
            peer = await served.connect()
            peer.send(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert (await peer.answer()).body == b"ok\n"
            assert await peer.ended() == b""
            peer = await served.connect()
            peer.send(b"GET /v1/view HTTP/1.0\r\n\r\n")
            status, headers = await peer.head()
            assert status == 200
            assert "transfer-encoding" not in headers
            assert await soon(peer.reader.readline()) == b'{"view":1}\n'

    run(test())


def test_a_token_is_demanded(token_path: Path) -> None:
    async def test() -> None:
        token = TokenFile(str(token_path))
        async with serving(token=token) as served:
            for path in ("/healthz", "/readyz"):
                assert (await served.get(path)).status == 200
            for path in (*ASKED, *STREAMS, "/nothing", "/healthz/"):
                for headers in (
                    (),
                    ("Authorization: Bearer",),
                    ("Authorization: Bearer x" + TOKEN,),
                    ("Authorization: Bearer " + TOKEN[:-1],),
                    ("Authorization: Basic " + TOKEN,),
                    ("Authorization: " + TOKEN,),
                    (BEARER, BEARER),
                    ("Authorization: Bearer \xff\xfe",),
                ):
                    answer = await served.get(path, *headers)
                    assert answer.status == 401
                    assert answer.headers["www-authenticate"].startswith("Bearer ")
                    assert TOKEN not in str(answer)
            for path in ASKED:
                assert (await served.get(path, BEARER)).status == 200
            assert (await served.get("/v1/why", f"authorization: bearer   {TOKEN}")).status == 200
            assert (await served.get("/nothing", BEARER)).status == 404
            assert served.told.views == []

    run(test())


def test_a_token_is_replaced(token_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        async with serving(token=TokenFile(str(token_path))) as served:
            assert (await served.get("/v1/why", BEARER)).status == 200
            token_path.write_text("another-0123456789abcdef\n")
            assert (await served.get("/v1/why", BEARER)).status == 401
            another = "Authorization: Bearer another-0123456789abcdef"
            assert (await served.get("/v1/why", another)).status == 200
            token_path.unlink()
            served.server.reload()
            assert (await served.get("/v1/why", another)).status == 200
            assert (await served.get("/v1/why", BEARER)).status == 401

    run(test())
    replaced, gone = capsys.readouterr().err.splitlines()
    assert replaced == f"threadtrace: --token-file {token_path} was read again"
    assert gone.endswith("the token of before still holds")


def test_a_unix_socket(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "http.sock"
        async with serving(listen=(f"unix:{path}", "127.0.0.1:0")) as served:
            assert (await served.get("/healthz", index=0)).body == b"ok\n"
            assert (await served.get("/healthz", index=1)).body == b"ok\n"
            peer = await served.connect(0)
            peer.ask("/v1/view")
            await peer.head()
            assert await peer.line() == b'{"view":1}\n'
        assert not path.exists()

    run(test())


def test_ipv6() -> None:
    async def test() -> None:
        async with serving(listen=("[::1]:0",)) as served:
            assert (await served.get("/healthz")).body == b"ok\n"

    run(test())


def test_tls_and_another_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = make_certificate(tmp_path, "first")
    second = make_certificate(tmp_path, "second")
    shown, key = tmp_path / "shown.crt", tmp_path / "shown.key"

    def show(certificate: Path, its_key: Path) -> None:
        shown.write_bytes(certificate.read_bytes())
        key.write_bytes(its_key.read_bytes())

    async def fails(served: Served) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await served.get("/healthz")

    async def test() -> None:
        show(*first)
        told = Told(snapshot={"text": "x" * 3_000_000})
        tls = ServerTls(str(shown), str(key))
        async with serving(told, tls=tls, trusted=first[0]) as served:
            assert (await served.get("/healthz")).body == b"ok\n"
            assert len((await served.get("/v1/snapshot")).body) > 3_000_000
            kept = await served.connect()
            show(second[0], first[1])
            served.server.reload()
            assert (await served.get("/healthz")).body == b"ok\n"
            show(*second)
            served.server.reload()
            await fails(served)
            served.tls = ssl.create_default_context(cafile=str(second[0]))
            assert (await served.get("/healthz")).body == b"ok\n"
            kept.ask("/healthz")
            assert (await kept.answer()).body == b"ok\n"
            peer = await served.connect()
            peer.ask("/v1/view")
            await peer.head()
            assert await peer.line() == b'{"view":1}\n'
            peer.close()
            await until(lambda: served.told.views[0].is_closed, "the reader is seen to be gone")

    run(test())
    told = capsys.readouterr().err
    assert told.count("the certificate of before is still shown") == 1
    assert told.count(f"--tls-cert {shown} was read again") == 1


def test_what_is_no_certificate(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "other")
    (tmp_path / "text").write_text("nothing of the kind\n")
    locked = tmp_path / "locked.key"
    locked.write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        "MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBAAAAAAAAAAAAAAAAAA\n"
        "-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    for pair in (
        (tmp_path / "none", key),
        (certificate, tmp_path / "none"),
        (tmp_path / "text", key),
        (certificate, tmp_path / "text"),
        (certificate, other),
        (certificate, locked),
        (tmp_path, key),
    ):
        with pytest.raises(UsageError, match="--tls-cert") as told:
            ServerTls(*map(str, pair))
        assert "\n" not in str(told.value)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    ServerTls(str(both))
