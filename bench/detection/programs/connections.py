"""Opens COUNT connections to a PostgreSQL server at once, and holds them.

Usage: connections.py BIN-DIRECTORY DATA-DIRECTORY COUNT SECONDS, as the data directory's owner.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import time

START_SECONDS = 30.0


def connect(address: str) -> socket.socket:
    """A connection whose start-up message is sent (PostgreSQL manual, 55.7)."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(START_SECONDS)
    connection.connect(address)
    parameters = b"user\0postgres\0database\0postgres\0\0"
    connection.sendall(struct.pack("!ii", 8 + len(parameters), 196608) + parameters)
    return connection


def wait_until_ready(connection: socket.socket) -> None:
    """Messages are skipped up to ReadyForQuery."""
    with connection.makefile("rb", buffering=0) as answer:
        while header := answer.read(5):
            kind, length = header[:1], struct.unpack("!i", header[1:])[0]
            text = answer.read(length - 4) if length > 4 else b""
            if kind == b"E":
                raise SystemExit(f"refused: {text!r}")
            if kind == b"Z":
                return
    raise SystemExit("the server closed the connection")


def main() -> None:
    programs, data, count, seconds = sys.argv[1:]
    options = ["-c", "listen_addresses=", "-k", data, "-c", f"max_connections={int(count) + 20}"]
    server = subprocess.Popen([f"{programs}/postgres", "-D", data, *options])
    try:
        address, until = f"{data}/.s.PGSQL.5432", time.monotonic() + START_SECONDS
        while not os.path.exists(address) and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(2)  # recovery and its helpers
        connections = [connect(address) for _ in range(int(count))]
        for connection in connections:
            wait_until_ready(connection)
        print(f"connected {len(connections)}", flush=True)
        time.sleep(float(seconds))
    finally:
        server.send_signal(signal.SIGINT)  # does not wait for the connections to close
        server.wait(30)


main()
