"""Where the server may listen, and what becomes of the sockets' files."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from threadtrace.errors import UnavailableError, UsageError
from threadtrace.serving.addresses import (
    IpAddress,
    Listening,
    UnixAddress,
    listen_on,
    parse_address,
    parse_addresses,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the agent is Linux only")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9752", IpAddress("127.0.0.1", 9752)),
        ("0.0.0.0:1", IpAddress("0.0.0.0", 1)),
        ("[::1]:65535", IpAddress("::1", 65535)),
        ("[2001:DB8::0:1]:80", IpAddress("2001:db8::1", 80)),
        ("[fe80::1%eth0]:80", IpAddress("fe80::1", 80, "eth0")),
        ("unix:/run/threadtrace/http.sock", UnixAddress("/run/threadtrace/http.sock")),
        ("unix:here.sock", UnixAddress("here.sock")),
    ],
)
def test_the_forms(text: str, address: IpAddress | UnixAddress) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9752",
        ":9752",
        "localhost:9752",
        "node-1.example:9752",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:٣",
        "127.1:9752",
        "::1:9752",
        "[127.0.0.1]:9752",
        "[::1]",
        "http://127.0.0.1:9752",
        "unix:",
        "unix:a\0b",
        "127.0.0.1:9752\n",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9752"):
        parse_address(text)


@pytest.mark.parametrize("text", ["0.0.0.0:9752", "10.0.0.7:9752", "[::]:9752", "[fe80::1]:9752"])
def test_others_than_this_machine_need_a_token(text: str) -> None:
    with pytest.raises(UsageError, match="--token-file"):
        parse_addresses([text], has_token=False)
    assert len(parse_addresses([text, text], has_token=True)) == 1


def test_this_machine_needs_none() -> None:
    texts = ["127.0.0.1:1", "127.255.0.9:1", "[::1]:1", "unix:/x"]
    assert len(parse_addresses(texts, has_token=False)) == 4


def test_a_port_that_is_taken() -> None:
    (taken,) = listen_on([parse_address("127.0.0.1:0")])
    try:
        with pytest.raises(UnavailableError, match="choose another --listen") as told:
            listen_on([parse_address("127.0.0.1:0"), taken.address])
        assert "\n" not in str(told.value)
    finally:
        taken.close()
    listen_on([taken.address])[0].close()


def test_an_address_that_this_node_does_not_have() -> None:
    with pytest.raises(UnavailableError, match="that this node has"):
        Listening(parse_address("192.0.2.1:0"))
    with pytest.raises(UsageError, match="no interface 'nothere0'"):
        Listening(parse_address("[fe80::1%nothere0]:0"))


def test_ipv6_leaves_ipv4_to_another() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6: enable it")
    first = Listening(parse_address("[::1]:0"))
    try:
        assert isinstance(first.address, IpAddress)
        second = Listening(IpAddress("127.0.0.1", first.address.port))
        second.close()
    finally:
        first.close()


def test_a_file_is_for_this_user_only_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    before = os.umask(0)
    try:
        listening = Listening(UnixAddress(str(path)))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listening.close()
    assert not path.exists()


def test_a_dead_socket_is_replaced_a_live_one_is_not(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "http.sock"))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)
        dead.listen(1)
        with pytest.raises(UnavailableError, match="end what listens there"):
            Listening(address)
    listening = Listening(address)
    with pytest.raises(UnavailableError, match="end what listens there"):
        Listening(address)
    listening.close()


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    path.write_text("mine")
    with pytest.raises(UnavailableError, match="something else has that name"):
        Listening(UnixAddress(str(path)))
    assert path.read_text() == "mine"


def test_the_file_of_another_stays(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    listening = Listening(UnixAddress(str(path)))
    path.rename(tmp_path / "away")
    path.write_text("another's")
    listening.close()
    assert path.read_text() == "another's"


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="make its directory"):
        Listening(UnixAddress(str(tmp_path / "no" / "http.sock")))
    with pytest.raises(UnavailableError, match="path too long"):
        Listening(UnixAddress(str(tmp_path / ("x" * 200))))
