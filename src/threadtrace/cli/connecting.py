"""Options of the commands that show an agent elsewhere, and what they do not go with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import click

from threadtrace.errors import UsageError

if TYPE_CHECKING:
    from threadtrace.feeds.transport import Access

C = TypeVar("C", bound=Callable[..., int])

_URLS = (
    "unix:PATH; tcp://IP:PORT, to where ssh -L forwards its socket; http://HOST:PORT or "
    "https://HOST:PORT (or http+unix:PATH) of `stream --listen`. Needs neither root nor Linux."
)


def connect_options(what: str) -> Callable[[C], C]:
    """``--connect`` (``url``), ``--token-file`` and ``--ca-file``.

    Args:
        what: is done with the agent there, in words.
    """
    options = (
        click.option("--connect", "url", metavar="URL", help=f"{what}: {_URLS}"),
        click.option(
            "--token-file",
            metavar="FILE",
            help="What that agent demands of who connects by http:// or https://; else the "
            "environment's THREADTRACE_TOKEN is sent.",
        ),
        click.option(
            "--ca-file",
            metavar="FILE",
            help="PEM certificates to trust for https:// instead of the system's.",
        ),
    )

    def with_options(command: C) -> C:
        for option in reversed(options):
            command = option(command)
        return command

    return with_options


def access_to(url: str | None, token_file: str | None, ca_file: str | None) -> Access | None:
    """What the options say of how to be let in there; None where nobody is connected to.

    Raises:
        UsageError: they go with another URL, or with one at all.
        ThreadtraceError: no token can be read.
    """
    if url is None:
        for option, value in (("--token-file", token_file), ("--ca-file", ca_file)):
            if value is not None:
                raise UsageError(f"{option} goes with --connect")
        return None
    from threadtrace.feeds.address import HttpAddress, HttpUnixAddress, parse_address
    from threadtrace.feeds.token import VARIABLE, Token
    from threadtrace.feeds.transport import Access
    from threadtrace.log import warn

    address = parse_address(url)
    token = None if token_file is None else Token(token_file)
    given = os.environ.get(VARIABLE, "")
    if token is None and given and isinstance(address, HttpAddress | HttpUnixAddress):
        token = Token(None, given)
    if token is not None and isinstance(address, HttpAddress) and address.is_open:
        warn(
            f"the token goes to {address} unencrypted: whoever is on the way can read it; use "
            "https://, or forward the port with ssh -L"
        )
    return Access(token, ca_file)


def refuse_beside(instead: str, names: Iterable[str]) -> None:
    """What says how to count means nothing where somebody else has counted.

    Args:
        instead: the option that says who has.
        names: parameters of the command under way that say how.

    Raises:
        UsageError: one of them is on the command line.
    """
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    for name in names:
        if context.get_parameter_source(name) is given:
            option = name.replace("interval_seconds", "interval").replace("_", "-")
            raise UsageError(f"--{option} says how to count: it means nothing with {instead}")
