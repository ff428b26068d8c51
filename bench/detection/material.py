"""What the workloads work on: a C project, Java sources, wheels, files to pack, a database."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import PackagePath, distribution
from pathlib import Path

from bench.detection.tools import Tools, find, postgres_programs

_WHEELS = ("pip", "rich", "markdown-it-py", "mdurl", "pygments", "click", "psutil", "orjson")
_TIMEOUT_SECONDS = 120
_MAKEFILE = """\
objects := $(patsubst %.c,%.o,$(wildcard *.c))
project: $(objects)
\t@gcc -o $@ $^
%.o: %.c
\t@gcc -O2 -c -o $@ $<
"""


def c_project(directory: str, files: int) -> str:
    """Sources of a program with that many files, and its makefile."""
    top = Path(directory) / "project"
    top.mkdir()
    (top / "Makefile").write_text(_MAKEFILE)
    for number in range(files):
        functions = [
            f"long f{number}_{part}(long x) {{ char text[64]; long sum = {part};\n"
            f"  for (long i = 0; i < x; i++) sum += (i ^ sum) % {part + 3};\n"
            f'  return sum + snprintf(text, sizeof(text), "%ld", sum); }}\n'
            for part in range(40)
        ]
        (top / f"part{number}.c").write_text("#include <stdio.h>\n" + "".join(functions))
    (top / "main.c").write_text("int main(void) { return 0; }\n")
    return str(top)


def java_sources(directory: str, classes: int) -> list[str]:
    top = Path(directory) / "sources"
    top.mkdir()
    for number in range(classes):
        methods = "".join(
            f"  static java.util.List<Integer> m{part}(java.util.List<String> in) {{\n"
            f"    return in.stream().map(String::length).filter(n -> n > {part})\n"
            f"        .collect(java.util.stream.Collectors.toList()); }}\n"
            for part in range(30)
        )
        (top / f"C{number}.java").write_text(f"final class C{number} {{\n{methods}}}\n")
    return sorted(str(path) for path in top.iterdir())


def wheels(directory: str) -> tuple[str, Sequence[str]]:
    """Packages that pip installed here, as wheels again, so that installing needs no network.

    Those that came with the distribution are left out; pip itself is always among the others.
    """
    top = Path(directory) / "wheels"
    top.mkdir()
    names = []
    for name in _WHEELS:
        found = distribution(name)
        described = found.read_text("WHEEL")
        if described is not None and found.files:
            tag = described.partition("\nTag: ")[2].partition("\n")[0]
            stem = f"{found.metadata['Name'].replace('-', '_')}-{found.version}"
            _pack(found.files, top / f"{stem}-{tag}.whl")
            names.append(name)
    return str(top), names


def _pack(files: Iterable[PackagePath], wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            if ".." not in file.parts and file.suffix != ".pyc":
                archive.write(str(file.locate()), str(file))


def files_to_pack(directory: str, count: int, lines: int) -> str:
    """Text files, and a large one to sort."""
    chosen = random.Random(7)
    top = Path(directory) / "logs"
    top.mkdir()
    text = "\n".join(f"{chosen.random():.17f} request served" for _ in range(20_000))
    for number in range(count):
        (top / f"day-{number}.log").write_text(text)
    with open(Path(directory) / "large", "w", encoding="ascii") as large:
        large.writelines(f"{chosen.random():.17f}\n" for _ in range(lines))
    return str(top)


def database(directory: str) -> tuple[str, str]:
    """The directory of the server's programs, and that of a new database of the user postgres."""
    programs, data = postgres_programs(), f"{directory}/data"
    os.chmod(directory, 0o755)
    os.mkdir(data, 0o700)
    shutil.chown(data, "postgres", "postgres")
    initdb = [f"{programs}/initdb", "--no-sync", "--auth=trust", "-U", "postgres", "-D", data]
    subprocess.run(
        as_postgres(initdb),
        check=True,
        timeout=_TIMEOUT_SECONDS,
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )
    return programs, data


def as_postgres(command: Sequence[str]) -> list[str]:
    user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
    return [find("setpriv"), *user, *command]


def bundles(directory: str, cgroup: str, count: int, program: Sequence[str], tools: Tools) -> str:
    """OCI bundles of containers below a cgroup, each of which runs a static program."""
    find("runc")
    top = Path(directory) / "bundles"
    for number in range(count):
        container = hashlib.sha256(f"{cgroup} {number}".encode()).hexdigest()
        bundle = top / container
        (bundle / "rootfs/proc").mkdir(parents=True)
        shutil.copy(tools.c("leak", "-static"), bundle / "rootfs/leak")
        (bundle / "config.json").write_text(_oci_config(f"{cgroup}/{container}", program))
    return str(top)


def _oci_config(cgroup: str, program: Sequence[str]) -> str:
    kinds = ("pid", "mount", "ipc")
    config = {
        "ociVersion": "1.0.2",
        "process": {"args": list(program), "cwd": "/", "user": {"uid": 65534, "gid": 65534}},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"pids": {"limit": 100}},
            "namespaces": [{"type": kind} for kind in kinds],
        },
    }
    return json.dumps(config)
