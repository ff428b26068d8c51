"""How ``threadtrace why`` asks the agent that runs on this node.

See ``answering.py`` for the other side, and ``feeds/inquiry.py`` for agents elsewhere.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import orjson

_PATIENCE_SECONDS = 2.0
_MAX_ANSWER_BYTES = 16 << 20

NEEDED = {"answer", "state", "causes", "causes_count", "missing"}
"""Without these it is no answer."""


def ask(path: Path) -> dict[str, Any] | None:
    """What the agent that runs on this node answers to ``why``; None where none does.

    Whoever listens there has two seconds for a whole answer of the shape that this version shows.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_PATIENCE_SECONDS)
        received = bytearray()
        try:
            asking.connect(str(path))
            asking.sendall(b'{"get": "why"}\n')
            while part := asking.recv(1 << 16):
                received += part
                left = until - time.monotonic()
                if left <= 0 or len(received) > _MAX_ANSWER_BYTES:
                    return None
                asking.settimeout(left)
            answer = orjson.loads(bytes(received))
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) and answer.keys() >= NEEDED else None
