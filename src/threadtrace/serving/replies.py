"""Answers as such, before they are sent to anybody. Every error is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

JSON = "application/json"
LINES = "application/x-ndjson"
TEXT = "text/plain; charset=utf-8"

_SAME_EVERYWHERE = {
    "Cache-Control": "no-store",
    "Server": "threadtrace",  # else aiohttp tells versions
    "X-Content-Type-Options": "nosniff",
}


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}

    def all_headers(self) -> dict[str, str]:
        """With those that every answer has."""
        return {
            **headers_of(self.content_type),
            "Content-Length": str(len(self.body)),
            **self.headers,
        }


class Refused(Exception):
    """A request that gets an error."""

    def __init__(
        self, status: int, text: str, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> None:
        """Tell why.

        Args:
            status: of HTTP, 400 or more.
            text: one sentence, without a word of what was sent.
            headers: more than all answers have.
            fields: beside ``error``.
        """
        super().__init__(text)
        self.reply = error_reply(status, text, headers, **fields)


def headers_of(content_type: str) -> dict[str, str]:
    """What every answer has, whether its length is known or not."""
    return {"Content-Type": content_type, **_SAME_EVERYWHERE}


def json_reply(value: object, status: int = 200) -> Reply:
    """An object as an answer, one line."""
    return Reply(status, orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))


def error_reply(
    status: int, text: str, headers: Mapping[str, str] | None = None, **fields: Any
) -> Reply:
    """``{"error": text}`` and what else is known."""
    text = text.encode("utf-8", "replace").decode()
    return json_reply({"error": text, **fields}, status)._replace(headers=headers or {})


def busy(text: str, status: int = HTTPStatus.SERVICE_UNAVAILABLE) -> Refused:
    """For who should come again."""
    return Refused(status, text, {"Retry-After": "1"})


def raw(reply: Reply) -> bytes:
    """On the wire, as the last answer of its connection."""
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in reply.all_headers().items()]
    return "\r\n".join([*lines, "", ""]).encode() + reply.body
