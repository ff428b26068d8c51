"""The agent's pace, and what it tells the service manager."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from threadtrace.selfcare.own_cost import Ticking
from threadtrace.selfcare.pacing import Pacer
from threadtrace.selfcare.service_manager import ServiceManager


def pace(pacer: Pacer, ticks: int, tick_seconds: float, lag_seconds: float = 0.0) -> list[float]:
    found = []
    for _ in range(ticks):
        pacer.on_tick(tick_seconds, lag_seconds)
        found.append(pacer.interval_seconds)
    return found


def test_a_tick_that_fits_changes_nothing() -> None:
    pacer = Pacer(1.0)
    assert pace(pacer, 1_000, 0.4, 0.9) == [1.0] * 1_000
    assert not pacer.is_slowed


def test_one_heavy_tick_is_an_accident() -> None:
    pacer = Pacer(1.0)
    for _ in range(10):
        assert not pacer.on_tick(3.0, 0.0)
        assert not pacer.on_tick(3.0, 0.0)
        assert not pacer.on_tick(0.01, 0.0)
    assert pacer.interval_seconds == 1.0


def test_heavy_ticks_lengthen_the_interval_until_they_fit() -> None:
    pacer = Pacer(1.0)
    assert pace(pacer, 9, 1.5)[-1] == 4.0
    assert pacer.is_slowed
    assert pace(pacer, 50, 1.5)[-1] == 4.0, "1.5 s of 4 s fit"


def test_late_ticks_do_so_too() -> None:
    assert pace(Pacer(0.1), 3, 0.01, 0.2) == [0.1, 0.1, 0.2]


def test_there_is_a_longest_interval() -> None:
    assert pace(Pacer(1.0), 100, 500.0)[-1] == 60.0
    assert pace(Pacer(300.0), 100, 500.0)[-1] == 300.0


def test_it_comes_back_step_by_step() -> None:
    pacer = Pacer(1.0)
    pace(pacer, 6, 1.5)
    assert pacer.interval_seconds == 4.0
    found = pace(pacer, 40, 0.05)
    assert found[8:10] == [4.0, 2.0]
    assert found[-1] == 1.0
    assert not pacer.is_slowed


def test_silence() -> None:
    ticking = Ticking(1.0)
    assert ticking.silence(100.0) == "the first sample has not been taken yet"
    ticking.last_s = 100.0
    assert ticking.silence(109.9) is None
    assert ticking.silence(111.0) == "no sample for 11 s"
    ticking.interval_seconds = 30.0
    assert ticking.silence(189.0) is None
    assert ticking.silence(190.5) is not None


def test_own_cost() -> None:
    cost = Ticking(1.0).cost()
    assert cost.resident_bytes > 1_000_000
    assert cost.open_descriptors > 2
    assert cost.cpu_seconds > 0


@pytest.fixture
def notified(tmp_path: Path) -> tuple[socket.socket, str]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = str(tmp_path / "notify")
    listening.bind(path)
    listening.settimeout(5)
    return listening, path


def test_the_service_manager_is_told(notified: tuple[socket.socket, str]) -> None:
    listening, path = notified
    manager = ServiceManager({"NOTIFY_SOCKET": path})
    with listening:
        manager.ready()
        manager.alive()
        manager.reloading()
        manager.stopping()
        told = [listening.recv(1_000).decode() for _ in range(4)]
    assert told[:2] == ["READY=1\nSTATUS=counting", "WATCHDOG=1"]
    assert told[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert told[3] == "STOPPING=1"
    assert manager.watchdog_seconds is None


def test_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"threadtrace-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).alive()
        assert listening.recv(100) == b"WATCHDOG=1"


def test_nobody_wants_to_be_told(tmp_path: Path) -> None:
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog(environment: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager(environment, pid=77).watchdog_seconds == seconds
