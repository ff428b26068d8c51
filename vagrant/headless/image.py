"""What a guest boots: a kernel, and for its memory userland, checkout and the programs of tests."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headless.architectures import Architecture
from headless.archive import fetch, put
from headless.kernels import CHECKOUT, VAGRANT, Headless, KernelsError
from headless.userland import archive_of, merged_root, pack, unpack

# C programs of the tests, linked statically: no guest has a compiler.
_PROGRAMS = {
    "puppet": CHECKOUT / "tests/support/puppet.c",
    "uring": CHECKOUT / "tests/kernels/uring.c",
}
_CHECKOUT_PARTS = ("bpf", "src", "tests", "vagrant", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU is given."""

    architecture: Architecture
    kernel: Path
    initramfs: Path


def make_image(
    headless: Headless, directory: Path, orders: dict[str, Any], checkout: Path = CHECKOUT
) -> Image:
    """Put it together below an empty directory.

    Args:
        headless: the entry of the list.
        directory: for the result, 500 MB.
        orders: what vagrant/guest/init reads as /orders.json.
        checkout: whose sources and tests go in.

    Raises:
        KernelsError: something cannot be had, or a program of the tests does not compile.
    """
    root = directory / "root"
    root.mkdir()
    _copy_checkout(checkout, root / "threadtrace")
    (root / "threadtrace/programs").mkdir()
    for name, source in _PROGRAMS.items():
        _build(source, root / "threadtrace/programs" / name, headless.architecture)
    shutil.copyfile(VAGRANT / "guest/init", root / "init")
    (root / "init").chmod(0o755)
    (root / "orders.json").write_text(json.dumps(orders))
    initramfs = directory / "initramfs"
    with initramfs.open("wb") as file:
        for part in (archive_of(headless), _headers_of(headless)):
            with gzip.open(part) as archive:
                shutil.copyfileobj(archive, file, 1 << 20)
        file.write(pack(root))
    shutil.rmtree(root)
    return Image(headless.architecture, _kernel_of(headless), initramfs)


def _kernel_of(headless: Headless) -> Path:
    """The kernel itself, unpacked into the cache."""
    package = fetch(headless.binary)
    kernel = package.with_suffix(".vmlinuz")
    if not kernel.exists():
        with _unpacked([package]) as root:
            found = [*root.glob("boot/vmlinuz-*"), *root.glob("usr/lib/modules/*/vmlinuz")]
            if not found:
                raise KernelsError(f"{package.name} holds no kernel")
            put(kernel, found[0].read_bytes())
    return kernel


def _headers_of(headless: Headless) -> Path:
    """What a C compiler reads of the headers, a tenth of the files: an archive in the cache."""
    packages = [fetch(package) for package in headless.headers]
    archive = packages[0].with_suffix(".cpio.gz")
    if not archive.exists():
        with _unpacked(packages) as root, tempfile.TemporaryDirectory() as name:
            chosen = Path(name)
            _choose_headers(root, chosen, headless.architecture)
            put(archive, gzip.compress(pack(chosen), 1))
    return archive


@contextmanager
def _unpacked(packages: list[Path]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="threadtrace-package-") as name:
        root = Path(name)
        merged_root(root)
        for package in packages:
            unpack(package, root)
        yield root


def _choose_headers(root: Path, chosen: Path, architecture: Architecture) -> None:
    for tree in (root / "usr/src").iterdir():
        for part in ("include", f"arch/{architecture.headers}/include"):
            if (tree / part).is_dir():
                shutil.copytree(tree / part, chosen / "usr/src" / tree.name / part, symlinks=True)
    for link in (root / "usr/lib/modules").glob("*/*"):
        if link.is_symlink():
            target = chosen / "usr/lib/modules" / link.parent.name
            target.mkdir(parents=True, exist_ok=True)
            (target / link.name).symlink_to(link.readlink())


def _copy_checkout(checkout: Path, target: Path) -> None:
    for part in _CHECKOUT_PARTS:
        source = checkout / part
        if source.is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / part)
        else:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / part, symlinks=True, ignore=ignored)


def _build(source: Path, program: Path, architecture: Architecture) -> None:
    if shutil.which(architecture.compiler) is None:
        remedy = f"apt-get install {architecture.compiler_package}"
        raise KernelsError(f"{architecture.compiler} is missing: {remedy}")
    command = [
        architecture.compiler,
        "-static",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pthread",
        "-o",
        str(program),
    ]
    done = subprocess.run([*command, source], check=False, capture_output=True, text=True)
    if done.returncode:
        raise KernelsError(f"{source.name} does not compile: {done.stderr.splitlines()[0]}")
