"""URLs of agents."""

from __future__ import annotations

import pytest

from threadtrace.errors import UsageError
from threadtrace.feeds.address import Address, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:/run/threadtrace.sock", UnixAddress("/run/threadtrace.sock")),
        ("unix:///run/threadtrace.sock", UnixAddress("/run/threadtrace.sock")),
        ("unix:agent.sock", UnixAddress("agent.sock")),
        ("tcp://127.0.0.1:9464", TcpAddress("127.0.0.1", 9464)),
        ("tcp://localhost:9464/", TcpAddress("127.0.0.1", 9464)),
        ("tcp://[::1]:9464", TcpAddress("::1", 9464)),
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
        "http://127.0.0.1:9464",
        "https://node",
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
