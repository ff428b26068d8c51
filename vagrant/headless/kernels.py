"""vagrant/kernels.toml, read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from headless.architectures import ARCHITECTURES, USUAL, Architecture

VAGRANT = Path(__file__).resolve().parent.parent
CHECKOUT = VAGRANT.parent
LIST = VAGRANT / "kernels.toml"


class KernelsError(Exception):
    """Why the tests could not run; one line that names the remedy."""


@dataclass(frozen=True, slots=True)
class Package:
    """A file of the archive."""

    path: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name without directories."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Headless:
    """What a guest is made of."""

    architecture: Architecture
    release: str
    userland: tuple[str, ...]
    pins: tuple[str, ...]
    binary: Package
    headers: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One entry of the list."""

    name: str
    system: str
    bcc: str
    box: str | None
    headless: Headless | None

    @property
    def is_usual(self) -> bool:
        """Whether a guest can run, and is of the usual architecture."""
        return self.headless is not None and self.headless.architecture.name == USUAL


def read_toml(path: Path) -> dict[str, Any]:
    """A file of settings."""
    found: dict[str, Any] = tomllib.loads(path.read_text())
    return found


def read_list(path: Path = LIST) -> list[Kernel]:
    """All entries, in their order."""
    return [_kernel(entry) for entry in read_toml(path)["kernel"]]


def choose(kernels: list[Kernel], names: list[str]) -> list[Kernel]:
    """Those of these names that can run without Vagrant; all that can where none is named.

    Args:
        kernels: of the list.
        names: of kernels; "oldest" and "newest" are those of the usual architecture that can run.

    Raises:
        KernelsError: no such kernel, or one that only Vagrant can run.
    """
    able = {kernel.name: kernel for kernel in kernels if kernel.headless}
    usual = [name for name, kernel in able.items() if kernel.is_usual]
    by_age = sorted(usual, key=lambda name: [int(part) for part in name.split(".")])
    ends = {"oldest": by_age[0], "newest": by_age[-1]} if by_age else {}
    names = [ends.get(name, name) for name in names]
    listed = {kernel.name for kernel in kernels}
    for name in names:
        if name not in listed:
            raise KernelsError(f"{LIST.name} has no kernel {name}; it has {', '.join(able)}")
        if name not in able:
            raise KernelsError(f"kernel {name} runs with Vagrant only: vagrant up {name}")
    return [able[name] for name in names] or list(able.values())


def _kernel(entry: dict[str, Any]) -> Kernel:
    headless = entry.get("headless")
    return Kernel(
        name=entry["name"],
        system=entry["system"],
        bcc=entry["bcc"],
        box=entry.get("box"),
        headless=_headless(headless) if headless else None,
    )


def _headless(entry: dict[str, Any]) -> Headless:
    return Headless(
        architecture=ARCHITECTURES[entry.get("architecture", USUAL)],
        release=entry["release"],
        userland=tuple(entry["userland"]),
        pins=tuple(entry.get("pins", ())),
        binary=Package(**entry["binary"]),
        headers=tuple(Package(**package) for package in entry["headers"]),
    )
