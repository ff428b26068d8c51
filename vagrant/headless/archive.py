"""Packages of a Debian release: fetched by apt with a state of its own, checked, kept in a cache.

apt is configured as on this machine (proxies, mirror), but knows only the releases asked for and no
installed package, so that it works out all that a userland needs, and verifies the releases'
signatures.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from headless.architectures import Architecture
from headless.kernels import Headless, Kernel, KernelsError, Package

MIRROR_VARIABLE = "THREADTRACE_DEBIAN_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def cache_directory() -> Path:
    """Where what was fetched is kept: below XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    directory = Path(base) / "threadtrace" / "kernels"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def mirror() -> str:
    """The root of the Debian archive that this machine's apt uses, without a slash at the end.

    Raises:
        KernelsError: apt is configured for no archive of Debian.
    """
    if configured := os.environ.get(MIRROR_VARIABLE):
        return configured.rstrip("/")
    if shutil.which("apt-get"):
        form = "$(REPO_URI)|$(ORIGIN)"
        listing = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
        for line in listing.splitlines():
            uri, _, origin = line.partition("|")
            uri = uri.rstrip("/")
            if origin in ("Debian", "") and uri.endswith("/debian"):
                return uri
    raise KernelsError(
        f"apt is configured for no archive of Debian here: set {MIRROR_VARIABLE} to the root of one"
    )


def fetch(package: Package) -> Path:
    """The package's file in the cache, its checksum right.

    Raises:
        KernelsError: it cannot be had, or is another file than the list says.
    """
    path = cache_directory() / "packages" / package.file_name
    if path.exists() and checksum(path) == package.sha256:
        return path
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    uri = f"{mirror()}/{package.path}"
    try:
        command = ["/usr/lib/apt/apt-helper", "download-file", uri, str(part)]
        _run([*command, f"SHA256:{package.sha256}"], cwd=path.parent)
        part.replace(path)
    finally:
        for rest in path.parent.glob(f"{part.name}*"):
            rest.unlink()
    return path


def put(path: Path, content: bytes) -> None:
    """Write a file of the cache: whole, or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Releases:
    """What apt knows of some releases, for one architecture."""

    def __init__(self, names: tuple[str, ...], architecture: Architecture) -> None:
        """Read their lists of packages, which takes the network.

        Raises:
            KernelsError: they cannot be had.
        """
        if not KEYRING.exists():
            raise KernelsError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
        self._architecture = architecture.name
        self._directory = cache_directory() / "apt" / "-".join([*names, architecture.name])
        for part in ("lists/partial", "cache/archives/partial", "etc"):
            (self._directory / part).mkdir(parents=True, exist_ok=True)
        (self._directory / "status").write_text("")
        root = mirror()
        sources = "".join(f"deb [signed-by={KEYRING}] {root} {name} main\n" for name in names)
        (self._directory / "etc/sources.list").write_text(sources)
        self._apt("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")

    def download(self, packages: list[str]) -> list[Path]:
        """The files of these packages and of all that they depend on."""
        self._apt("apt-get", "-q", "-y", "--download-only", "install", *packages)
        return sorted((self._directory / "cache/archives").glob("*.deb"))

    def forget(self) -> None:
        """Remove what apt wrote, and what download() fetched."""
        shutil.rmtree(self._directory)

    def newest_kernel(self) -> tuple[Package, tuple[Package, ...]]:
        """The present cloud kernel of the release, and its headers."""
        flavour = f"cloud-{self._architecture}"
        fields = self._fields(f"linux-image-{flavour}")
        found = re.search(rf"linux-image-(\S+)-{flavour}", fields["Depends"])
        if found is None:
            raise KernelsError(f"linux-image-{flavour} depends on no kernel")
        version = found[1]
        names = f"linux-binary-{version}-{flavour}", f"linux-image-{version}-{flavour}"
        binary = next(filter(None, map(self._package, names)), None)
        headers = [self._package(f"linux-headers-{version}-{part}") for part in (flavour, "common")]
        if binary is None or None in headers:
            raise KernelsError(f"kernel {version} is incomplete in the archive")
        return binary, tuple(package for package in headers if package)

    def _package(self, name: str) -> Package | None:
        fields = self._fields(name)
        return Package(fields["Filename"], fields["SHA256"]) if fields else None

    def _fields(self, name: str) -> dict[str, str]:
        try:
            text = self._apt("apt-cache", "show", "--no-all-versions", name)
        except KernelsError:
            return {}
        return dict(re.findall(r"^(\w+): (.*)$", text, re.MULTILINE))

    def _apt(self, program: str, *arguments: str) -> str:
        directory = self._directory
        settings = {
            "Dir::Etc::sourcelist": directory / "etc/sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State": directory,
            "Dir::State::lists": directory / "lists",
            "Dir::State::status": directory / "status",
            "Dir::Cache": directory / "cache",
            "Dir::Cache::archives": directory / "cache/archives",
            "APT::Install-Recommends": "false",
            "APT::Architecture": self._architecture,
            "APT::Architectures": self._architecture,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return _run([program, *options, *arguments])


def newest(headless: Headless) -> Headless:
    """The entry with what its release has now: the kernel, and its headers.

    Raises:
        KernelsError: the release cannot be had.
    """
    releases = Releases((headless.release,), headless.architecture)
    try:
        binary, headers = releases.newest_kernel()
    finally:
        releases.forget()
    return replace(headless, binary=binary, headers=headers)


def obtainable(headless: Headless) -> Headless:
    """The entry, its packages in the cache; the release's newest where the archive dropped one.

    Raises:
        KernelsError: neither can be had.
    """
    try:
        _fetch_all(headless)
        return headless
    except KernelsError as error:
        reason = error
    wanted = headless.binary.file_name
    try:
        present = newest(headless)
        _fetch_all(present)
    except KernelsError as error:
        message = f"{wanted} or its headers could not be fetched ({reason})"
        raise KernelsError(f"{message}, nor what {headless.release} has now ({error})") from None
    print(f"   {wanted} is not to be had ({reason})", flush=True)
    print(f"   instead: {present.binary.file_name}; see vagrant/run-kernels --update", flush=True)
    return present


def _fetch_all(headless: Headless) -> None:
    for package in (headless.binary, *headless.headers):
        fetch(package)


def update(path: Path, kernels: list[Kernel]) -> list[str]:
    """Write the newest packages of each release into the list; what changed, one line each.

    Raises:
        KernelsError: a release cannot be had.
    """
    # One entry at a time: releases of several architectures share headers, and not their day.
    before, *entries = re.split(r"^(?=\[\[kernel\]\]$)", path.read_text(), flags=re.MULTILINE)
    changes = []
    for place, kernel in enumerate(kernels):
        if kernel.headless is None:
            continue
        present = newest(kernel.headless)
        pairs = zip(
            (kernel.headless.binary, *kernel.headless.headers), (present.binary, *present.headers)
        )
        for old, new in pairs:
            if old != new:
                entry = entries[place].replace(old.path, new.path)
                entries[place] = entry.replace(old.sha256, new.sha256)
                changes.append(f"{kernel.name}: {new.file_name}")
    path.write_text(before + "".join(entries))
    return changes


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "Err"))]
        reason = " ".join(lines or done.stderr.splitlines()[-1:])
        raise KernelsError(f"{os.path.basename(command[0])} failed: {reason}")
    return done.stdout
