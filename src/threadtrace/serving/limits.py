"""What strangers may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Of all connections together, and of each."""

    connections: int = 64
    """At once. Where another comes, the oldest that asks nothing gives way."""
    reserve: int = 8
    """More of them where none gives way, which are told about health only."""
    streams: int = 16
    """Of the connections, those that get events."""
    head_bytes: int = 8192
    """Of a request: its line and headers, together."""
    head_seconds: float = 10.0
    """From connecting to the end of the headers; the handshake of TLS, likewise."""
    idle_seconds: float = 60.0
    """Between two requests."""
    stall_seconds: float = 30.0
    """Without the reader taking a byte of what waits for it."""
    linger_seconds: float = 2.0
    """After the last answer, for the other side to see it and hang up."""
    linger_bytes: int = 256 << 10
    """Taken from the other side, and thrown away, in that time."""
    reap_seconds: float = 1.0
    """Between two looks for who had its time."""
    chunk_bytes: int = 32 << 10
    """Made, or sent, at a time."""
