"""Tokens and certificates: where they are from, and what is said of those that cannot be used."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from remote_servers import AgentServer, following, make_certificates, run, until

from support.heard import Heard
from threadtrace.errors import ThreadtraceError, UnavailableError, UsageError
from threadtrace.feeds.remote import Remote
from threadtrace.feeds.token import Token, TokenUnusable
from threadtrace.feeds.transport import Access, transport_to

A_TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_from_a_file(tmp_path: Path, end: str) -> None:
    file = tmp_path / "token"
    file.write_text(A_TOKEN + end)
    token = Token(str(file))
    assert (token.read(), token.source) == (A_TOKEN, str(file))
    file.write_text("another")
    assert token.read() == "another"
    file.write_text("")
    assert token.read() == "another"
    file.unlink()
    assert token.read() == "another"


def test_from_what_can_be_read_but_once() -> None:
    """As ``--token-file <(kubectl get secret ...)`` gives it."""
    read_fd, write_fd = os.pipe()
    os.write(write_fd, A_TOKEN.encode() + b"\n")
    os.close(write_fd)
    token = Token(f"/dev/fd/{read_fd}")
    os.close(read_fd)
    assert token.read() == A_TOKEN


def test_given() -> None:
    token = Token(None, A_TOKEN)
    assert (token.read(), token.source) == (A_TOKEN, "THREADTRACE_TOKEN")
    with pytest.raises(TokenUnusable, match="THREADTRACE_TOKEN: a token is one line"):
        Token(None, "no\r\nHost: other.example")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"secret two\n", "without blanks"),
        (b"secret\n\n", "one line"),
        (b"secret\r\nHost: other.example", "one line"),
        (b"secret\xff", "ASCII"),
        (b"secret\x00", "ASCII"),
        (b"secret" * 1000, "4,096"),
        (None, "No such file"),
    ],
)
def test_unusable(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TokenUnusable, match=words) as raised:
        Token(str(file))
    assert raised.value.exit_code == os.EX_NOINPUT
    assert "secret" not in str(raised.value).replace(str(file), "")
    assert str(file) in str(raised.value)


def test_where_they_mean_nothing(tmp_path: Path) -> None:
    token = Token(None, A_TOKEN)
    for url in ("unix:/run/a.sock", "tcp://127.0.0.1:1"):
        with pytest.raises(UsageError, match="--token-file goes with http"):
            transport_to(url, Access(token))
    for url in ("unix:/run/a.sock", "tcp://127.0.0.1:1", "http://node:1", "http+unix:/a"):
        with pytest.raises(UsageError, match="--ca-file goes with https"):
            transport_to(url, Access(None, str(tmp_path)))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def served(certificates: Path, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = certificates / f"{host}.pem"
    context.load_cert_chain(path, f"{path}.key")
    return context


def test_an_own_ca(certificates: Path) -> None:
    access = Access(Token(None, A_TOKEN), str(certificates / "ca.pem"))

    async def test() -> None:
        remote = Remote(server.url, access)
        async with following(remote) as heard:
            await until(lambda: heard.snapshots, "a snapshot")
            await remote.inspect_process(1)

    with AgentServer(token=A_TOKEN, tls=served(certificates, "here")) as server:
        run(test())
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("host", "ca", "words"),
    [
        ("here", None, r"is not trusted \(.*unable to get local issuer.*\): name .* by --ca-file"),
        ("there", "ca.pem", r"is not trusted \(.*127\.0\.0\.1.*\): .*the host as the certificate"),
    ],
)
def test_whom_not_to_trust(certificates: Path, host: str, ca: str | None, words: str) -> None:
    """And nothing is told to them."""
    ca_file = None if ca is None else str(certificates / ca)
    with AgentServer(tls=served(certificates, host)) as server:
        access = Access(Token(None, A_TOKEN), ca_file)
        with pytest.raises(UnavailableError, match=words) as raised:
            run(Remote(server.url, access).run(Heard()))
        assert str(raised.value).isprintable()
        assert not server.requests


def test_one_side_without_tls(certificates: Path) -> None:
    with AgentServer() as server:
        url = server.url.replace("http", "https")
        with pytest.raises(UnavailableError, match=r"TLS failed .*: does http:// or another port"):
            run(Remote(url).run(Heard()))
    with AgentServer(tls=served(certificates, "here")) as server:
        url = server.url.replace("https", "http")
        with pytest.raises(UnavailableError, match=r"https:// (reaches a server|where it)"):
            run(Remote(url).run(Heard()))


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_no_certificates(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ThreadtraceError, match=r"--ca-file .*: name a PEM file") as raised:
        transport_to("https://node:9752", Access(None, str(file)))
    assert raised.value.exit_code == os.EX_NOINPUT
