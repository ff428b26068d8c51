"""Compiled programs on disk: what they are kept under, what is taken, and what is not."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from threadtrace.probe import kept, recipe
from threadtrace.probe.compiled import (
    Compiled,
    Maker,
    MapShape,
    Text,
    decode,
    encode,
    map_references,
    with_descriptors,
    without_descriptors,
)
from threadtrace.probe.kept import VARIABLE, Shelf, cache_directory
from threadtrace.probe.recipe import Recipe, are_unchanged, as_it_is, key_of, makers_since

KEY, OTHER_KEY = "ab" * 32, "cd" * 32
EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)
CALL = struct.pack("<BBhi", 0x85, 0, 0, 1)
COUNTS, RING = MapShape("counts", 5, 8, 32, 16_384, 0), MapShape("ring", 27, 0, 0, 524_288, 0)
RECIPE = Recipe(b"int x;", ["-DA=1"], ["on_birth"], None)


def load_64_bits(source: int, low: int, high: int = 0, register: int = 1) -> bytes:
    return struct.pack("<BBhiBBhi", 0x18, source << 4 | register, 0, low, 0, 0, 0, high)


def a_program(counts: int, ring: int) -> bytes:
    """Loads that name maps, and one of a number that looks like it."""
    looks_like_one = load_64_bits(0, 7, 0x1118)
    return load_64_bits(1, counts) + looks_like_one + load_64_bits(1, ring) + CALL + EXIT


def compiled() -> Compiled:
    return without_descriptors(
        {"on_birth": a_program(7, 9), "on_death": EXIT}, {7: COUNTS, 9: RING}
    )


class TestReferences:
    def test_maps_of_one_process_become_those_of_another(self) -> None:
        kept_programs = compiled()
        assert kept_programs.maps == (COUNTS, RING)
        assert kept_programs.programs["on_birth"] == a_program(0, 1)
        placed = with_descriptors(kept_programs, [31, 4])
        assert placed == {"on_birth": a_program(31, 4), "on_death": EXIT}

    def test_second_half_of_a_load_is_no_instruction(self) -> None:
        second_half = struct.pack("<BBhi", 0x18, 0x11, 0, 5)
        code = load_64_bits(0, 1)[:8] + second_half + load_64_bits(1, 6)
        assert list(map_references(code)) == [(20, 6)]

    @pytest.mark.parametrize("source", [2, 3, 4, 5, 6])
    def test_what_else_only_one_process_knows_is_not_kept(self, source: int) -> None:
        with pytest.raises(ValueError, match="reference"):
            without_descriptors({"p": load_64_bits(source, 7) + EXIT}, {7: COUNTS})

    def test_unknown_maps(self) -> None:
        with pytest.raises(ValueError, match="unknown map 9"):
            without_descriptors({"p": a_program(7, 9)}, {7: COUNTS})
        with pytest.raises(ValueError, match="unknown map 1"):
            with_descriptors(compiled(), [31])

    def test_half_an_instruction(self) -> None:
        with pytest.raises(ValueError, match="half"):
            list(map_references(EXIT + b"\0"))

    def test_load_that_is_cut_off(self) -> None:
        assert list(map_references(load_64_bits(1, 7)[:8])) == [(4, 7)]  # the kernel refuses it


class TestText:
    text = Text(compiled(), (Maker("/usr/lib/libbcc.so.0", 5_000_000_000, 1 << 60),))

    def test_comes_back(self) -> None:
        assert decode(encode(self.text, KEY), KEY) == self.text

    def test_another_key(self) -> None:
        assert decode(encode(self.text, KEY), OTHER_KEY) is None
        swapped = encode(self.text, KEY).replace(KEY.encode(), OTHER_KEY.encode())
        assert decode(swapped, OTHER_KEY) is None

    def test_another_format(self) -> None:
        data = encode(self.text, KEY)
        assert data.startswith(b'{"format":1,')
        assert decode(data.replace(b'{"format":1,', b'{"format":2,'), KEY) is None

    @pytest.mark.parametrize("bit", range(8))
    def test_any_bit_that_flips(self, bit: int) -> None:
        data = encode(self.text, KEY)
        for place in range(len(data)):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            assert decode(bytes(damaged), KEY) is None, (place, damaged)

    def test_any_length(self) -> None:
        data = encode(self.text, KEY)
        assert not [length for length in range(len(data)) if decode(data[:length], KEY)]
        assert decode(data + b"}", KEY) is None

    @pytest.mark.parametrize(
        "data",
        [b"", b"\0" * 4096, b"[]", b"null", b"7", b"{}", b"[" * 100_000, b'{"format":1}', b"\xff"],
    )
    def test_something_else(self, data: bytes) -> None:
        assert decode(data, KEY) is None


class TestKey:
    def test_is_the_same_for_the_same(self) -> None:
        assert key_of(RECIPE) == key_of(RECIPE._replace(flags=["-DA=1"]))
        assert len(key_of(RECIPE)) == 64

    @pytest.mark.parametrize(
        "other",
        [
            RECIPE._replace(source=b"int y;"),
            RECIPE._replace(flags=["-DA=2"]),
            RECIPE._replace(flags=["-DA=1", "-DB"]),
            RECIPE._replace(programs=["on_birth", "on_death"]),
            RECIPE._replace(kernel_headers="/nowhere"),
            RECIPE._replace(flags=["-DA=\udcff"]),
        ],
    )
    def test_differs_with_what_is_compiled(self, other: Recipe) -> None:
        assert key_of(other) != key_of(RECIPE)

    @pytest.mark.parametrize("field", ["sysname", "release", "version", "machine"])
    def test_differs_with_the_kernel(self, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
        before, system = key_of(RECIPE), os.uname()
        names = ("sysname", "nodename", "release", "version", "machine")
        values = [getattr(system, name) + "x" * (name == field) for name in names]
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(values))
        assert key_of(RECIPE) != before

    def test_differs_with_what_bcc_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = key_of(RECIPE)
        monkeypatch.setenv("BCC_KERNEL_SOURCE", "/set/by/the/loader/itself")
        assert key_of(RECIPE) == before
        monkeypatch.setenv("BCC_LINUX_VERSION_CODE", "330240")
        assert key_of(RECIPE) != before

    def test_differs_with_the_header_tree(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "prelude/include").mkdir(parents=True)
        monkeypatch.setattr(recipe, "bpf_directory", lambda: tmp_path)
        keys = {key_of(RECIPE)}
        (tmp_path / "prelude/include/a.h").write_text("1")
        keys.add(key_of(RECIPE))
        (tmp_path / "prelude/include/a.h").write_text("2")
        keys.add(key_of(RECIPE))
        (tmp_path / "prelude/include/a.h").rename(tmp_path / "prelude/a.h")
        keys.add(key_of(RECIPE))
        assert len(keys) == 4

    def test_differs_with_the_kernels_headers(self, tmp_path: Path) -> None:
        with_headers = RECIPE._replace(kernel_headers=str(tmp_path))
        keys = {key_of(with_headers)}
        (tmp_path / "include/generated").mkdir(parents=True)
        (tmp_path / "include/generated/autoconf.h").write_text("#define CONFIG_SMP 1\n")
        keys.add(key_of(with_headers))
        assert len(keys) == 2


class TestMakers:
    def test_libraries_that_came_meanwhile(self) -> None:
        mapped = recipe.mapped_files()
        assert any("python" in path or "libc" in path for path in mapped)
        one = sorted(mapped)[0]
        assert makers_since(mapped - {one}) == (as_it_is(one),)

    def test_change(self, tmp_path: Path) -> None:
        file = tmp_path / "libbcc.so"
        file.write_bytes(b"one")
        makers = (as_it_is(str(file)),)
        assert are_unchanged(makers)
        file.write_bytes(b"four")
        assert not are_unchanged(makers)
        makers = (as_it_is(str(file)),)
        os.utime(file, ns=(1, 1))
        assert not are_unchanged(makers)
        file.unlink()
        assert not are_unchanged(makers)
        assert not are_unchanged((as_it_is(str(file)),))

    def test_unknown(self) -> None:
        assert not are_unchanged(())


@pytest.fixture
def makers(tmp_path: Path) -> tuple[Maker, ...]:
    (tmp_path / "libbcc.so").write_bytes(b"bcc")
    return (as_it_is(str(tmp_path / "libbcc.so")),)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir(0o700)
    return tmp_path / "cache"


@pytest.fixture
def file(directory: Path, makers: tuple[Maker, ...]) -> Path:
    """A file that would be taken."""
    Shelf(str(directory), KEY).put(compiled(), makers)
    (path,) = directory.iterdir()
    assert taken(directory) == compiled()
    return path


def taken(directory: Path) -> Compiled | None:
    return Shelf(str(directory), KEY).take()


class TestShelf:
    def test_default_directory_is_made(
        self, tmp_path: Path, makers: tuple[Maker, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory = tmp_path / "default"
        monkeypatch.setattr(kept, "_DEFAULT_DIRECTORY", str(directory))
        before = os.umask(0)
        try:
            shelf = Shelf(str(directory), KEY)
            assert (shelf.take(), shelf.path) == (None, None)
            shelf.put(compiled(), makers)
        finally:
            os.umask(before)
        assert shelf.path is not None
        assert shelf.path.startswith(f"{directory}/")
        assert directory.stat().st_mode & 0o7777 == 0o700
        assert os.stat(shelf.path).st_mode & 0o7777 == 0o600

    def test_another_key_with_the_same_name(self, directory: Path, file: Path) -> None:
        assert Shelf(str(directory), KEY[:-1] + "0").take() is None

    def test_another_compiler(self, directory: Path, file: Path, tmp_path: Path) -> None:
        (tmp_path / "libbcc.so").write_bytes(b"newer bcc")
        assert taken(directory) is None

    def test_unknown_compiler_is_not_put(self, directory: Path) -> None:
        Shelf(str(directory), KEY).put(compiled(), ())
        assert not list(directory.iterdir())

    def test_directory_that_is_named_has_to_exist(
        self, tmp_path: Path, makers: tuple[Maker, ...]
    ) -> None:
        Shelf(str(tmp_path / "named"), KEY).put(compiled(), makers)
        assert not (tmp_path / "named").exists()

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_file_that_others_may_write(self, directory: Path, file: Path, mode: int) -> None:
        file.chmod(mode)
        assert taken(directory) is None

    @pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
    def test_directory_that_others_may_write(
        self, directory: Path, file: Path, makers: tuple[Maker, ...], mode: int
    ) -> None:
        directory.chmod(mode)
        assert taken(directory) is None
        before = file.stat().st_mtime_ns, file.stat().st_ino
        shelf = Shelf(str(directory), KEY)
        shelf.put(compiled(), makers)
        assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
        assert shelf.path is None

    def test_directory_that_others_may_read(self, directory: Path, file: Path) -> None:
        directory.chmod(0o755)
        assert taken(directory) == compiled()

    @pytest.mark.parametrize("of_directory", [False, True])
    def test_another_owner(
        self, directory: Path, file: Path, monkeypatch: pytest.MonkeyPatch, of_directory: bool
    ) -> None:
        if os.geteuid() == 0:
            os.chown(directory if of_directory else file, 65534, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert taken(directory) is None

    def test_links_are_not_followed(self, directory: Path, file: Path, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(directory)
        assert taken(link) is None
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
        assert taken(directory) is None

    def test_link_is_replaced_and_not_followed(
        self, directory: Path, file: Path, makers: tuple[Maker, ...], tmp_path: Path
    ) -> None:
        file.unlink()
        (tmp_path / "precious").write_text("precious")
        file.symlink_to(tmp_path / "precious")
        Shelf(str(directory), KEY).put(compiled(), makers)
        assert taken(directory) == compiled()
        assert (tmp_path / "precious").read_text() == "precious"

    def test_what_is_no_file(self, directory: Path, file: Path, makers: tuple[Maker, ...]) -> None:
        file.unlink()
        os.mkfifo(file)
        assert taken(directory) is None
        file.unlink()
        file.mkdir()
        assert taken(directory) is None
        Shelf(str(directory), KEY).put(compiled(), makers)
        assert [path.name for path in directory.iterdir()] == [file.name]

    def test_too_large(self, directory: Path, file: Path) -> None:
        with file.open("ab") as grows:
            grows.truncate(kept._MAX_FILE_BYTES + 1)
        assert taken(directory) is None

    def test_damage_is_mended(self, directory: Path, file: Path, makers: tuple[Maker, ...]) -> None:
        file.write_bytes(file.read_bytes()[:-1])
        assert taken(directory) is None
        Shelf(str(directory), KEY).put(compiled(), makers)
        assert taken(directory) == compiled()

    def test_nowhere(self, tmp_path: Path, makers: tuple[Maker, ...]) -> None:
        (tmp_path / "file").touch()
        for place in (None, "/nonexistent/directory", str(tmp_path / "file"), "/proc", "a\udcff/b"):
            shelf = Shelf(place, KEY)
            assert shelf.take() is None
            shelf.put(compiled(), makers)
            assert shelf.path is None

    def test_full_disk_leaves_nothing(
        self, directory: Path, makers: tuple[Maker, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "rename", full)
        shelf = Shelf(str(directory), KEY)
        shelf.put(compiled(), makers)
        assert (shelf.path, list(directory.iterdir())) == (None, [])

    def test_the_oldest_go_and_others_files_stay(
        self, directory: Path, makers: tuple[Maker, ...]
    ) -> None:
        strangers = ["notes.json", "ab" * 8, f"{'AB' * 8}.json", f"{'ab' * 32}.json"]
        for name in strangers:
            (directory / name).touch()
            os.utime(directory / name, ns=(1, 1))
        draft = f"{'01' * 8}.{'23' * 8}"
        (directory / draft).touch()
        keys = [f"{number:064x}"[::-1] for number in range(12)]
        for number, key in enumerate(keys, 1):
            Shelf(str(directory), key).put(compiled(), makers)
            os.utime(directory / f"{key[:16]}.json", ns=(number, number))
        names = {path.name for path in directory.iterdir()}
        ours = {f"{key[:16]}.json" for key in keys[-7:]}
        assert names >= set(strangers) | ours
        assert len(names) == len(strangers) + 8


class TestDirectory:
    def test_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "/some/where//")
        assert cache_directory() == "/some/where"
        monkeypatch.setenv(VARIABLE, "")
        assert cache_directory() is None

    def test_default_is_roots(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(VARIABLE)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert cache_directory() == "/var/cache/threadtrace"
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert cache_directory() is None
