"""The HTTP server of the agent."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.serving.addresses import Listening
from threadtrace.serving.sources import Sources
from threadtrace.serving.tls import ServerTls
from threadtrace.serving.token import TokenFile


class Server:
    """Answers in the loop that runs, from ``start`` to ``close``."""

    def __init__(
        self,
        listening: Sequence[Listening],
        sources: Sources,
        token: TokenFile | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        """Nothing is answered yet.

        Args:
            listening: sockets that are bound; the server closes them.
            sources: what it tells.
            token: who asks has to show; None: nobody has to.
            tls: what the sockets speak; None: plain HTTP. Unix sockets never speak TLS.
        """
        self._listening = listening
        self._sources = sources
        self._token = token
        self._tls = tls

    async def start(self) -> None:
        """Answer from now on."""
        raise NotImplementedError

    async def close(self) -> None:
        """Tell readers what is left, hang up, listen no more: within a second."""
        raise NotImplementedError

    def tick(self) -> None:
        """There is something new: after each tick, and after each happening."""
        raise NotImplementedError

    def reload(self) -> None:
        """Read the token and the certificate anew. What cannot be used is warned of."""
        raise NotImplementedError
