"""URLs of agents."""

from __future__ import annotations

import pytest

from threadtrace.errors import UsageError
from threadtrace.feeds.address import (
    Address,
    HttpAddress,
    HttpUnixAddress,
    TcpAddress,
    UnixAddress,
    parse_address,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:/run/threadtrace.sock", UnixAddress("/run/threadtrace.sock")),
        ("unix:///run/threadtrace.sock", UnixAddress("/run/threadtrace.sock")),
        ("unix:agent.sock", UnixAddress("agent.sock")),
        ("tcp://127.0.0.1:9464", TcpAddress("127.0.0.1", 9464)),
        ("tcp://localhost:9464/", TcpAddress("127.0.0.1", 9464)),
        ("tcp://[::1]:9464", TcpAddress("::1", 9464)),
        ("http://10.0.0.7:9752", HttpAddress("http", "10.0.0.7", 9752)),
        ("https://[fd00:0::7]:9752/", HttpAddress("https", "fd00::7", 9752)),
        ("http://Node-7.example.org.:9752", HttpAddress("http", "node-7.example.org.", 9752)),
        ("https://localhost:9752", HttpAddress("https", "localhost", 9752)),
        ("http+unix:/run/http.sock", HttpUnixAddress("/run/http.sock")),
        ("http+unix:///run/http.sock", HttpUnixAddress("/run/http.sock")),
    ],
)
def test_forms(url: str, address: Address) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/run/threadtrace.sock",
        "unix:",
        "unix://run/threadtrace.sock",
        "http://127.0.0.1",
        "https://node",
        "https://node:0",
        "http://node:70000",
        "http://node:9752/v1/view",
        "http://node:9752\n",
        "http://nod e:9752",
        "http://n\u00f6de:9752",
        "http://::1:9752",
        "http://[fe80::1%25eth0]:9752",
        "http://[node]:9752",
        "http://127.1:9752",
        "http://2130706433:9752",
        "http://0x7f.0.0.0x1:9752",
        "http://300.1.1.1:9752",
        "http://010.0.0.7:9752",
        "http+unix:",
        "http+tcp://127.0.0.1:9752",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://node:9464",
        "tcp://::1:9464",
        "tcp://[fe80::1%eth0]:9464",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:70000",
        "tcp://127.0.0.1:9464/path",
    ],
)
def test_others_are_told_the_forms(url: str) -> None:
    with pytest.raises(UsageError, match=r"unix:/run/threadtrace\.sock, or tcp://"):
        parse_address(url)


def test_shown_as_it_is_written() -> None:
    assert str(TcpAddress("::1", 1)) == "[::1]:1"
    assert str(TcpAddress("127.0.0.1", 1)) == "127.0.0.1:1"
    assert str(HttpAddress("https", "::1", 1)) == "https://[::1]:1"


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@node:9752",
        "https://node:9752/?token=secret",
        "https://node:9752#secret",
        "http://secret@node",
    ],
)
def test_secrets_in_a_url_are_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match=r"give its token by --token-file FILE") as raised:
        parse_address(url)
    assert "secret" not in str(raised.value)


def test_who_else_can_read_it() -> None:
    here = ("127.0.0.1", "127.9.9.9", "::1", "localhost")
    elsewhere = ("10.0.0.7", "node", "::ffff:10.0.0.7", "0.0.0.0")
    assert not any(HttpAddress("http", host, 1).is_open for host in here)
    assert all(HttpAddress("http", host, 1).is_open for host in elsewhere)
    assert not any(HttpAddress("https", host, 1).is_open for host in here + elsewhere)
