"""What goes wrong over HTTP, in words of one line. Pure."""

from __future__ import annotations

import aiohttp
import orjson
from aiohttp.http import HttpProcessingError

from threadtrace.feeds.token import VARIABLE
from threadtrace.feeds.transport import Broken, Refused, reason
from threadtrace.text import printable, shortened

NO_HTTP = "it sent what is no HTTP in the middle of it"

_MAX_SAID = 200

_NO_TRAILER = "Not enough data"


def refusal(answer: aiohttp.ClientResponse, said: bytes, token_source: str | None) -> str:
    """What to do about an answer whose status is not 200.

    Args:
        answer: only its head is looked at.
        said: how its body begins.
        token_source: where the token is from that was sent, if one was.
    """
    status = answer.status
    if status == 401:
        return _unauthorized(token_source)
    if status == 404:
        return (
            "what answers there is no agent of threadtrace, or another version: it does not know "
            f"{printable(answer.url.path)}"
        )
    if 300 <= status < 400:
        where = shortened(printable(answer.headers.get("Location", "elsewhere")), _MAX_SAID)
        return f"it redirects to {where}, which is not followed: name the agent itself"
    words = _error_in(said) or printable(answer.reason or "no reason told")
    words = shortened(words, _MAX_SAID)
    if status in (429, 503):
        return f"it cannot serve this now ({status}): {words}: try again later"
    return f"it answered {status}: {words}: is an agent of threadtrace there?"


def translated(error: aiohttp.ClientError | HttpProcessingError) -> Exception:
    """An OSError or Broken that says the same."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or "no reason told"
        return Refused(
            f"its certificate is not trusted ({printable(why)}): name the file of its CA by "
            "--ca-file, and the host as the certificate does"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Refused(
            f"{error.host} cannot be looked up ({reason(error.os_error)}): give its IP address"
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return Refused(f"{reason(error.os_error)}: does http:// or another port reach the agent?")
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    if isinstance(error, OSError):
        return error
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Broken("it hung up")
    if isinstance(error, aiohttp.ClientPayloadError):
        is_cut = _NO_TRAILER in str(error)
        return Broken("it hung up" if is_cut else NO_HTTP)
    if isinstance(error, HttpProcessingError):
        return Broken(NO_HTTP)
    if isinstance(error, aiohttp.ClientResponseError):
        return Refused(
            "what answers there speaks no HTTP: use https:// where it wants TLS, tcp:// for an "
            "agent's socket forwarded by ssh"
        )
    return Broken(shortened(printable(str(error)), _MAX_SAID) or type(error).__name__)


def _unauthorized(token_source: str | None) -> str:
    if token_source is None:
        return f"it wants a token: give it by --token-file FILE or the environment's {VARIABLE}"
    return (
        f"it does not take the token of {token_source}: give the agent's by --token-file FILE or "
        f"the environment's {VARIABLE}"
    )


def _error_in(said: bytes) -> str:
    """The agent's own words, empty where there are none."""
    try:
        answer = orjson.loads(said)
    except orjson.JSONDecodeError:
        return ""
    error = answer.get("error") if isinstance(answer, dict) else None
    return printable(error) if isinstance(error, str) else ""
