"""The image: its Dockerfile, and with THREADTRACE_IMAGE what build-rootfs made of it.

deploy/container/build-rootfs /var/tmp/image
THREADTRACE_IMAGE=/var/tmp/image .venv/bin/python -m pytest tests/deploy
"""

from __future__ import annotations

import json
import os
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from support.requirements import require
from threadtrace import __version__

from .agent_container import CAPABILITIES, IMAGE_VARIABLE, Sandbox, run, started

CONTAINER = Path(__file__).parents[2] / "deploy/container"
BUDGET_BYTES = 360_000_000


@pytest.fixture
def build_rootfs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = SourceFileLoader("build_rootfs", str(CONTAINER / "build-rootfs"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)  # dataclasses look there
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def image_directory() -> Path:
    named = os.environ.get(IMAGE_VARIABLE)
    require(named, "image", "an image", f"deploy/container/build-rootfs DIR; {IMAGE_VARIABLE}=DIR")
    return Path(named or "")


class TestDockerfile:
    def test_every_step_is_one_that_build_rootfs_follows_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build_rootfs: ModuleType
    ) -> None:
        module = build_rootfs
        called: list[str] = []
        build = module.Build(tmp_path, None, {"VERSION": "1.2.3"})
        monkeypatch.setattr(build, "_copy_one", lambda source, target: called.append(target))
        monkeypatch.setattr(module.Build, "_run", lambda self, rest: called.append(rest))
        monkeypatch.setattr(module, "_call", lambda command, *rest: called.append(command[0]))
        stage = build.follow(CONTAINER / "Dockerfile")
        assert called[0] == "debootstrap"
        assert "/steps/pick-files /image" in called
        assert stage.config["Entrypoint"] == ["threadtrace"]
        assert stage.config["Cmd"] == ["stream"]
        assert stage.labels["org.opencontainers.image.version"] == "1.2.3"
        assert stage.environment["PATH"].startswith("/opt/threadtrace/bin:")

    def test_an_instruction_that_is_not_known_is_an_error(
        self, tmp_path: Path, build_rootfs: ModuleType
    ) -> None:
        dockerfile = tmp_path / "Dockerfile"
        dockerfile.write_text("HEALTHCHECK CMD true\n")
        with pytest.raises(SystemExit, match="HEALTHCHECK"):
            build_rootfs.Build(tmp_path, None, {}).follow(dockerfile)

    def test_names_the_version_that_it_builds(self) -> None:
        assert f"ARG VERSION={__version__}\n" in (CONTAINER / "Dockerfile").read_text()

    def test_its_steps_are_there_and_nothing_else(self) -> None:
        text = (CONTAINER / "Dockerfile").read_text()
        for step in (CONTAINER / "steps").iterdir():
            assert f"RUN /steps/{step.name}" in text
            assert os.access(step, os.X_OK)


class TestImage:
    def test_has_no_shell_no_package_manager_and_no_compiler_driver(
        self, image_directory: Path
    ) -> None:
        root = image_directory / "rootfs"
        programs = {path.name for path in (root / "usr/bin").iterdir()}
        assert {name for name in programs if not name.startswith("python3")} == set()
        assert not list((root / "usr/sbin").iterdir())
        commands = {path.name for path in (root / "opt/threadtrace/bin").iterdir()}
        assert {name for name in commands if not name.startswith("python")} == {"threadtrace"}

    def test_is_small(self, image_directory: Path) -> None:
        files = [path.lstat() for path in (image_directory / "rootfs").rglob("*")]
        assert sum(found.st_blocks * 512 for found in files) <= BUDGET_BYTES

    def test_tells_what_it_is_made_of(self, image_directory: Path) -> None:
        root = image_directory / "rootfs"
        listed = (root / "var/lib/dpkg/status").read_text()
        assert "Package: python3-bpfcc\n" in listed
        assert "Package: bash\n" not in listed
        assert (root / "usr/share/doc/python3-bpfcc/copyright").exists()
        labels = json.loads((image_directory / "config.json").read_text())["Labels"]
        assert labels["org.opencontainers.image.version"] == __version__

    def test_streams_with_a_read_only_root(
        self, image_directory: Path, host: None, tmp_path: Path
    ) -> None:
        ended = run(Sandbox(CAPABILITIES), tmp_path, "stream", "--duration", "1", "--all")
        assert (ended.code, ended.errors) == (0, "")
        assert ended.named("workload.rates")

    def test_every_command_starts(self, image_directory: Path, host: None, tmp_path: Path) -> None:
        for words in (["--version"], ["top", "--once"], ["doctor"], ["why"], ["report", "--help"]):
            with started(Sandbox(CAPABILITIES), tmp_path, *words) as process:
                output, errors = process.communicate(timeout=60)
            assert process.returncode in (0, 1), (words, errors)
            assert output, words
