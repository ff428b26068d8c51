"""What decides how the compiled programs come out: the key under which they are kept."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from threadtrace.probe.compiled import FORMAT, Maker
from threadtrace.probe.paths import bpf_directory

_POSSIBLE_CPUS = "/sys/devices/system/cpu/possible"
_HEADERS_CONFIGURATION = "include/generated/autoconf.h"


class Recipe(NamedTuple):
    """One way to compile."""

    source: bytes
    flags: list[str]
    programs: Sequence[str]
    kernel_headers: str | None
    """Their directory; None where ``bpf/prelude`` stands for them."""


def key_of(recipe: Recipe) -> str:
    """64 hexadecimal digits, the same for what compiles to the same on this kernel.

    The kernel's own version counts even where no header of it is read: bcc looks at it. Of the
    compiler nothing is in it, since looking at it would mean importing it: see ``makers_since``.
    """
    system = os.uname()
    told = {
        "format": FORMAT,
        "source": hashlib.sha256(recipe.source).hexdigest(),
        "flags": recipe.flags,
        "programs": recipe.programs,
        "headers": _headers(recipe.kernel_headers),
        "kernel": [system.sysname, system.release, system.version, system.machine],
        "cpus": _text(_POSSIBLE_CPUS),
        # bcc takes orders from there. BCC_KERNEL_SOURCE is the loader's own.
        "environment": sorted(
            [name, os.environ[name]]
            for name in os.environ
            if name.startswith("BCC_") and name != "BCC_KERNEL_SOURCE"
        ),
    }
    return hashlib.sha256(ascii(told).encode()).hexdigest()


def mapped_files() -> set[str]:
    """The files, mostly libraries, that are mapped into this process."""
    found = set()
    with open("/proc/self/maps", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith("/"):
                found.add(fields[5])
    return found


def makers_since(mapped_before: set[str]) -> tuple[Maker, ...]:
    """The compiler's files: what was mapped meanwhile, and bcc's modules; () if not known."""
    modules = (
        getattr(module, "__file__", None)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "bcc"
    )
    paths = {path for path in modules if path} | (mapped_files() - mapped_before)
    if not all(path.isprintable() for path in paths):
        return ()  # a name that is no text could not be kept
    return tuple(as_it_is(path) for path in sorted(paths))


def as_it_is(path: str) -> Maker:
    """That file now."""
    try:
        status = os.stat(path)
    except OSError:
        return Maker(path, None, None)
    return Maker(path, status.st_size, status.st_mtime_ns)


def are_unchanged(makers: Sequence[Maker]) -> bool:
    """Whether the compiler is the one that it was: all of its files are there as they were."""
    return bool(makers) and all(
        maker.size_bytes is not None and as_it_is(maker.path) == maker for maker in makers
    )


def _headers(directory: str | None) -> list[str]:
    if directory is not None:
        return [os.path.realpath(directory), *map(str, _configuration(directory))]
    tree = bpf_directory() / "prelude"
    digest = hashlib.sha256()
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(tree)} {len(content)}\n".encode() + content)
    return [digest.hexdigest()]


def _configuration(headers: str) -> Maker:
    return as_it_is(os.path.join(headers, _HEADERS_CONFIGURATION))


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
