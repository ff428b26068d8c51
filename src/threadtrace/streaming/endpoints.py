"""Where the agent can be asked: bound before it starts, to tell at once what cannot be had."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from threadtrace.errors import UsageError
from threadtrace.log import warn
from threadtrace.serving.addresses import Address, UnixAddress, listen_on, parse_addresses
from threadtrace.serving.addresses import Listening as ListeningSocket
from threadtrace.serving.tls import ServerTls
from threadtrace.serving.token import TokenFile
from threadtrace.streaming.options import Listening


class Endpoints:
    """Sockets that are bound, and what one has to show there."""

    def __init__(self, listening: Listening, agent_socket: Path | None = None) -> None:
        """Bind them.

        Args:
            listening: where, and what one has to show.
            agent_socket: where the agent answers in its own way.

        Raises:
            UsageError: an address, token or certificate that cannot be used.
            UnavailableError: an address that somebody else has.
        """
        if listening.key is not None and listening.certificate is None:
            raise UsageError("--tls-key needs --tls-cert")
        self.token = None if listening.token_file is None else TokenFile(listening.token_file)
        self.tls = (
            None
            if listening.certificate is None
            else ServerTls(listening.certificate, listening.key)
        )
        addresses = parse_addresses(listening.addresses, self.token is not None)
        for address in addresses:
            if _is_at(address, agent_socket):
                raise UsageError(
                    f"--listen {address} is the agent's own --socket: use another path"
                )
        self.sockets: Sequence[ListeningSocket] = listen_on(addresses)
        for wanted, bound in zip(addresses, self.sockets, strict=True):
            if bound.address != wanted:  # port 0: any that is free
                warn(f"listening on {bound.address}")

    def close(self) -> None:
        """Where it was not handed to a server."""
        for bound in self.sockets:
            bound.close()


def _is_at(address: Address, path: Path | None) -> bool:
    if path is None or not isinstance(address, UnixAddress):
        return False
    return os.path.realpath(address.path) == os.path.realpath(path)
