"""The ring of records that the kernel sends at once, through libbpf."""

from __future__ import annotations

import ctypes

from threadtrace.probe.libbpf import load_libbpf

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Ring:
    """A BPF ring buffer.

    Raises:
        OSError: the map cannot be mapped into memory.
    """

    def __init__(self, map_fd: int) -> None:
        self._lib = lib = load_libbpf()
        lib.ring_buffer__new.argtypes = [ctypes.c_int, _CALLBACK, ctypes.c_void_p, ctypes.c_void_p]
        lib.ring_buffer__new.restype = ctypes.c_void_p
        for name in ("ring_buffer__consume", "ring_buffer__epoll_fd", "ring_buffer__free"):
            getattr(lib, name).argtypes = [ctypes.c_void_p]
        lib.ring_buffer__free.restype = None
        self._received: list[bytes] = []
        self._callback = _CALLBACK(self._receive)  # libbpf keeps the pointer, we the object
        handle = lib.ring_buffer__new(map_fd, self._callback, None, None)
        if not handle or handle > (1 << 64) - 4096:
            raise OSError(ctypes.get_errno(), "the ring buffer cannot be mapped")
        self._handle: int | None = handle

    def fileno(self) -> int:
        """A descriptor that is readable while records wait."""
        return int(self._lib.ring_buffer__epoll_fd(self._handle))

    def take(self) -> list[bytes]:
        """The records that wait, oldest first; never blocks."""
        self._lib.ring_buffer__consume(self._handle)
        received, self._received[:] = list(self._received), []
        return received

    def close(self) -> None:
        """Unmap."""
        if self._handle is not None:
            self._lib.ring_buffer__free(self._handle)
            self._handle = None

    def _receive(self, _context: int, address: int, size: int) -> int:
        self._received.append(ctypes.string_at(address, size))
        return 0
