"""The certificate that the server shows, loaded anew when told to."""

from __future__ import annotations

import os
import ssl
import stat
from asyncio import sslproto

from threadtrace.errors import UnreadableError, UsageError
from threadtrace.log import warn

# Of what asyncio makes for each connection with TLS, in advance: 256 KiB, if nobody says otherwise.
_RECEIVE_BYTES = 16 << 10


class ServerTls:
    """A context for each certificate: what was loaded only in part is never shown."""

    def __init__(self, certificate: str, key: str | None = None) -> None:
        """Load both.

        Args:
            certificate: PEM file, with those that signed it after it.
            key: PEM file; None: in the same one.

        Raises:
            UnreadableError: one cannot be read.
            UsageError: they hold no certificate and key, or do not belong together.
        """
        sslproto.SSLProtocol.max_size = _RECEIVE_BYTES  # type: ignore[attr-defined]
        self._certificate = certificate
        self._key = key
        self.context = self._load()
        """For connections that come from now on."""

    def reload(self) -> None:
        """Load them again. Where that fails, those of before are shown on, and a warning says so.

        Connections that are there already keep what they were shown.
        """
        try:
            self.context = self._load()
            warn(f"--tls-cert {self._certificate} was read again")
        except UsageError as error:
            warn(f"{error}; the certificate of before is still shown")

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        files = f"--tls-cert {self._certificate}"
        if self._key is not None:
            files += f" with --tls-key {self._key}"
        try:
            for file in filter(None, (self._certificate, self._key)):
                if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would be waited for
                    raise UnreadableError(f"{files} cannot be read: {file} is no regular file")
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            why = error.reason or "no certificate and key in PEM"
            text = why.replace("_", " ").lower()
            raise UsageError(f"{files} cannot be used: {text}; give a pair in PEM") from None
        except OSError as error:
            raise UnreadableError(
                f"{files} cannot be read: {error.strerror}; check both paths"
            ) from None
        except _Encrypted:
            raise UsageError(
                f"{files}: the key is encrypted; give one without a password"
            ) from None
        return context


class _Encrypted(Exception):
    """OpenSSL asks for a password; without an answer of ours it would ask at the terminal."""


def _no_password() -> str:
    raise _Encrypted
