"""The list of kernels and those who read it: no guest is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from headless import archive, kernels
from headless.architectures import ARCHITECTURES, USUAL
from headless.guest import Outcome
from headless.matrix import DOCUMENT

from support.requirements import require

LISTED = kernels.read_list()
HEADLESS = [kernel for kernel in LISTED if kernel.headless]


def test_names_are_unique_and_each_can_run_somewhere() -> None:
    names = [kernel.name for kernel in LISTED]
    assert len(set(names)) == len(names)
    for kernel in LISTED:
        assert kernel.headless or kernel.box, kernel.name


def test_packages_are_paths_below_a_mirror_with_checksums() -> None:
    for kernel in HEADLESS:
        assert kernel.headless is not None
        for package in (kernel.headless.binary, *kernel.headless.headers):
            own = kernel.headless.architecture.name
            assert re.fullmatch(rf"pool/[\w./+-]+_({own}|all)\.deb", package.path)
            assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
    assert "://" not in kernels.LIST.read_text()


def test_all_that_can_are_chosen_where_none_is_named() -> None:
    assert kernels.choose(LISTED, []) == HEADLESS


def test_the_ends_are_chosen_by_age_and_not_by_place() -> None:
    usual = [kernel.name for kernel in HEADLESS if kernel.name.replace(".", "").isdigit()]
    shuffled = [*HEADLESS[1:], HEADLESS[0]]
    assert [kernel.name for kernel in kernels.choose(shuffled, ["oldest", "newest"])] == [
        usual[0],
        usual[-1],
    ]


def test_the_ends_are_of_the_usual_architecture() -> None:
    """They are what CI boots: others take another emulator, and another compiler."""
    (oldest, newest) = kernels.choose(LISTED, ["oldest", "newest"])
    usual, other = ARCHITECTURES[USUAL], ARCHITECTURES["arm64"]
    assert oldest.headless is not None
    assert newest.headless is not None
    assert oldest.headless.architecture == newest.headless.architecture == usual
    newer = replace(
        newest, name="99.1-arm64", headless=replace(newest.headless, architecture=other)
    )
    assert kernels.choose([*LISTED, newer], ["newest"]) == [newest]
    assert kernels.choose([*LISTED, newer], ["99.1-arm64"]) == [newer]


def test_an_entry_of_another_architecture_is_called_after_it() -> None:
    for kernel in HEADLESS:
        assert kernel.headless is not None
        architecture = kernel.headless.architecture
        assert kernel.name.endswith(f"-{architecture.name}") == (architecture.name != USUAL)
        assert architecture.name in kernel.headless.binary.file_name


@pytest.mark.parametrize(("name", "remedy"), [("4.19", "it has 5.10"), ("6.8", "vagrant up 6.8")])
def test_a_kernel_that_cannot_be_chosen(name: str, remedy: str) -> None:
    with pytest.raises(kernels.KernelsError, match=remedy):
        kernels.choose(LISTED, [name])


def test_a_verdict_needs_both_the_line_and_the_status() -> None:
    usual = ARCHITECTURES[USUAL]
    passed = Outcome(usual, messages=[{"verdict": "passed"}], exit_code=33)
    assert passed.verdict == "passed"
    assert replace(passed, exit_code=0).verdict is None
    assert replace(passed, exit_code=35).verdict is None
    assert replace(passed, messages=[]).verdict is None
    assert Outcome(usual, messages=[{"verdict": "failed"}], exit_code=35).verdict == "failed"


def test_a_machine_that_is_only_switched_off_gives_its_verdict_by_the_line() -> None:
    passed = Outcome(ARCHITECTURES["arm64"], messages=[{"verdict": "passed"}], exit_code=0)
    assert passed.verdict == "passed"
    assert replace(passed, messages=[{"verdict": "failed"}]).verdict == "failed"
    assert replace(passed, exit_code=-9).verdict is None
    assert replace(passed, messages=[]).verdict is None


def test_an_update_changes_an_entry_whose_release_has_newer_packages_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases of two architectures share headers, of which one may be late."""
    path = tmp_path / "kernels.toml"
    path.write_text(kernels.LIST.read_text())
    late, early = (next(k for k in LISTED if k.name == name) for name in ("6.12", "6.12-arm64"))
    assert late.headless is not None
    assert early.headless is not None
    assert late.headless.headers[1] == early.headless.headers[1]
    newer = replace(
        early.headless,
        headers=(early.headless.headers[0], kernels.Package("pool/newer_all.deb", "0" * 64)),
    )

    def newest(headless: kernels.Headless) -> kernels.Headless:
        return newer if headless == early.headless else headless

    monkeypatch.setattr(archive, "newest", newest)
    assert archive.update(path, LISTED) == ["6.12-arm64: newer_all.deb"]
    assert kernels.read_list(path) == [
        replace(kernel, headless=newer) if kernel == early else kernel for kernel in LISTED
    ]


def test_a_package_that_is_not_what_the_list_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(Path("/usr/lib/apt/apt-helper").exists(), "apt", "apt", "a system with apt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(archive.MIRROR_VARIABLE, (tmp_path / "mirror").as_uri())
    package = kernels.Package("pool/any_amd64.deb", "0" * 64)
    for content in (None, b"another"):
        if content is not None:
            (tmp_path / "mirror/pool").mkdir(parents=True)
            (tmp_path / "mirror" / package.path).write_bytes(content)
        with pytest.raises(kernels.KernelsError, match="apt-helper failed"):
            archive.fetch(package)
    assert not list((tmp_path / "cache/threadtrace/kernels/packages").iterdir())
    right = replace(package, sha256=archive.checksum(tmp_path / "mirror" / package.path))
    assert archive.fetch(right).read_bytes() == b"another"


def test_the_matrix_has_every_kernel() -> None:
    text = DOCUMENT.read_text()
    for kernel in LISTED:
        assert kernel.name in text
        assert kernel.system in text


def test_the_vagrantfile_is_valid(tmp_path: Path) -> None:
    require(shutil.which("vagrant"), "vagrant", "vagrant", "apt-get install vagrant")
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=kernels.VAGRANT,
        env={
            **os.environ,
            "VAGRANT_HOME": str(tmp_path),
            "VAGRANT_DOTFILE_PATH": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for kernel in LISTED:
        assert (f"{kernel.name}:" in done.stdout) == bool(kernel.box)
