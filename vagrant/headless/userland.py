"""Python, bcc and what the tests import: one archive that a kernel unpacks into its memory."""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from headless.architectures import ARCHITECTURES, Architecture
from headless.archive import Releases, cache_directory, put
from headless.kernels import CHECKOUT, Headless, KernelsError, read_toml

_PACKAGES = ("python3", "python3-bpfcc", "coreutils", "dash", "mount", "util-linux")
_TEST_PACKAGES = ("pytest", "jsonschema")
_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
SITE_PACKAGES = "opt/site-packages"
# Half of the packages' size, and nothing that a test would read.
_LEFT_OUT = (
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/info",
    "usr/share/bash-completion",
    "usr/share/python3/runtime.d",
    "usr/lib/*-linux-gnu/gconv",
    "usr/lib/systemd",
    "var",
)
_VERSION = "2"  # of what is done here


def archive_of(headless: Headless, python: str = sys.executable) -> Path:
    """The archive, compressed, in the cache; made where it is not there yet.

    Args:
        headless: whose userland.
        python: the interpreter whose pip gets what pyproject.toml names.

    Raises:
        KernelsError: a package cannot be had.
    """
    wanted = _wanted_modules()
    text = "\n".join([_VERSION, *headless.userland, *headless.pins, *_PACKAGES, *wanted])
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    stem = f"userland-{headless.release}-{headless.architecture.name}"
    path = cache_directory() / f"{stem}-{key}.cpio.gz"
    if path.exists():
        return path
    for old in cache_directory().glob(f"{stem}-*"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="threadtrace-userland-") as directory:
        root = Path(directory) / "root"
        packages = [*_PACKAGES, *headless.pins]
        _unpack_packages(packages, headless.userland, headless.architecture, root)
        _install_modules(wanted, root, python, headless.architecture)
        _compile(root, headless)
        put(path, gzip.compress(pack(root), 1))
    return path


def pack(root: Path) -> bytes:
    """A directory as an archive in the format of an initramfs, all of it owned by root."""
    names = [str(path.relative_to(root)).encode() for path in sorted(root.rglob("*"))]
    done = subprocess.run(
        ["cpio", "--create", "--format=newc", "--owner=0:0", "--null", "--quiet", "--reproducible"],
        cwd=root,
        input=b"\0".join(names) + b"\0",
        check=False,
        capture_output=True,
    )
    if done.returncode:
        raise KernelsError(f"cpio failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def unpack(package: Path, root: Path) -> None:
    """What a package holds, below a directory; its scripts are not run.

    Raises:
        KernelsError: it is no package, or the disk is full.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reader:
        tar = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"]
        written = subprocess.run(
            [*tar, root], stdin=reader.stdout, check=False, capture_output=True
        )
    if written.returncode or reader.returncode:
        reason = written.stderr.decode(errors="replace").strip().splitlines()[:1]
        raise KernelsError(f"{package.name} could not be unpacked: {' '.join(reason)}")


def merged_root(root: Path) -> None:
    """The directories that are links in every release since Debian 12."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")


def _wanted_modules() -> list[str]:
    project = read_toml(CHECKOUT / "pyproject.toml")
    needed: list[str] = project["project"]["dependencies"]
    for_tests = project["dependency-groups"]["test"]
    return needed + [
        entry for entry in for_tests if re.split(r"[<>=!~;\[ ]", entry)[0] in _TEST_PACKAGES
    ]


def _unpack_packages(
    packages: list[str], names: tuple[str, ...], architecture: Architecture, root: Path
) -> None:
    releases = Releases(names, architecture)
    merged_root(root)
    for package in releases.download(packages):
        unpack(package, root)
    releases.forget()
    for name in _LEFT_OUT:
        for directory in root.glob(name):
            shutil.rmtree(directory, ignore_errors=True)


def _install_modules(
    wanted: list[str], root: Path, python: str, architecture: Architecture
) -> None:
    interpreters = sorted((root / "usr/bin").glob("python3.[0-9]*"))
    if not interpreters:
        raise KernelsError("the userland has no Python")
    version = interpreters[0].name.removeprefix("python")
    command = [python, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    command += ["--target", str(root / SITE_PACKAGES), "--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={version}"]
    command += [f"--platform={platform}_{architecture.machine}" for platform in _PLATFORMS]
    done = subprocess.run([*command, *wanted], check=False, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
        raise KernelsError(f"pip could not get what Python {version} needs: {reason}")


def _compile(root: Path, headless: Headless) -> None:
    """Byte code for the userland's own Python: under emulation compiling takes its time.

    Where that Python does not run here, the same release's for this machine does it: byte code is
    the same on all of them.
    """
    own = next((a for a in ARCHITECTURES.values() if a.machine == platform.machine()), None)
    if own is None or own == headless.architecture:
        _compile_below(root, "")
        return
    with tempfile.TemporaryDirectory(prefix="threadtrace-python-") as name:
        able = Path(name)
        _unpack_packages(["python3"], headless.userland, own, able)
        root.rename(able / "userland")
        _compile_below(able, "/userland")
        (able / "userland").rename(root)


def _compile_below(able: Path, prefix: str) -> None:
    """Let the Python of one root directory compile what is below ``prefix`` in it."""
    root = Path(f"{able}{prefix}")
    directories = ["usr/lib/python3", SITE_PACKAGES]
    directories += [f"usr/lib/{path.name}" for path in (root / "usr/lib").glob("python3.*")]
    enter = ["chroot"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "chroot"]
    command = [*enter, str(able), "/usr/bin/python3", "-m", "compileall", "-q"]
    command += ["-s", prefix, "-p", "/"] if prefix else []
    command += [f"{prefix}/{directory}" for directory in directories]
    # A file that does not compile, of a test of Python itself, is no matter.
    subprocess.run(command, check=False, capture_output=True)
