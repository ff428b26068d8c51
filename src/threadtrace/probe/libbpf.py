"""libbpf through ctypes: found once, errors in one shape."""

from __future__ import annotations

import ctypes

# libbpf1 from Debian 12 and Ubuntu 24.04 on, libbpf0 before. It is a dependency of libbpfcc.
_NAMES = ("libbpf.so.1", "libbpf.so.0")


def load_libbpf() -> ctypes.CDLL:
    """The library, with errno kept per call.

    Raises:
        OSError: no libbpf on this host.
    """
    for name in _NAMES:
        try:
            return ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
    raise OSError(f"none of {', '.join(_NAMES)} can be loaded")
