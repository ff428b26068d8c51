"""A certificate of the scene's own for 127.0.0.1, and its successor with the same key."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    file: str
    """Also what signs it: trusted by who asks."""
    key: str

    def renew(self) -> None:
        """Another one, by the same authority: who trusts the file of before would not trust it."""
        _sign(self)


def make_certificate(directory: Path) -> Certificate:
    made = Certificate(str(directory / "agent.pem"), str(directory / "agent.key"))
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    _openssl("genpkey", *curve, "-out", made.key)
    _sign(made)
    return made


def _sign(made: Certificate) -> None:
    names = ("-subj", "/CN=agent", "-addext", "subjectAltName=IP:127.0.0.1")
    _openssl("req", "-x509", "-new", "-key", made.key, "-out", made.file, "-days", "2", *names)


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)
