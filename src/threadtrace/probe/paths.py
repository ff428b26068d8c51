"""Where the kernel programs' sources are: beside the package when installed, else the checkout."""

from __future__ import annotations

from pathlib import Path

from threadtrace.errors import UnavailableError


def bpf_directory() -> Path:
    """The directory that holds ``lifecycle.bpf.c``.

    Raises:
        UnavailableError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "bpf", package.parent.parent / "bpf"):
        if (directory / "lifecycle.bpf.c").is_file():
            return directory
    raise UnavailableError("the kernel programs (bpf/) are not installed: reinstall threadtrace")
