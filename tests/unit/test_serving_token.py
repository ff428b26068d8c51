"""The token in its file, which changes while the server runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from threadtrace.errors import UsageError
from threadtrace.serving.token import TokenFile

FIRST, SECOND = b"first-0123456789abcdef", b"second-0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"short\n", "holds 5 characters"),
        (b"fifteen-is-less", "holds 15 characters"),
        (b"two words 0123456789", "visible ASCII"),
        (b"0123456789abcdef\n\n", "visible ASCII"),
        ("geheim-äöü-0123456789".encode(), "visible ASCII"),
        (b"x" * 5000, "holds more than 4,096 bytes"),
    ],
)
def test_what_is_no_token(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=what) as told:
        TokenFile(str(path))
    assert "\n" not in str(told.value)
    assert "0123456789" not in str(told.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        TokenFile(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="is no regular file"):
        TokenFile(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no regular file"):
        TokenFile(str(tmp_path / "pipe"))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_end_of_its_line_is_not_part_of_it(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(FIRST + end)
    token = TokenFile(str(path))
    assert token.accepts(FIRST)
    for wrong in (b"", FIRST[:-1], FIRST + b"\n", FIRST.upper(), "tökén".encode()):
        assert not token.accepts(wrong)


def test_another_in_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token"
    path.write_bytes(FIRST)
    token = TokenFile(str(path))
    (tmp_path / "new").write_bytes(SECOND)
    (tmp_path / "new").replace(path)
    assert token.accepts(SECOND)
    assert not token.accepts(FIRST)
    assert capsys.readouterr().err == f"threadtrace: --token-file {path} was read again\n"


def test_a_link_that_leads_elsewhere(tmp_path: Path) -> None:
    """As Kubernetes does: the file is a link through ``..data``, which is replaced."""
    for name, content in (("one", FIRST), ("two", SECOND)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_bytes(content)
    data = tmp_path / "..data"
    data.symlink_to("one")
    (tmp_path / "token").symlink_to("..data/token")
    token = TokenFile(str(tmp_path / "token"))
    assert token.accepts(FIRST)
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").replace(data)
    assert token.accepts(SECOND)
    assert not token.accepts(FIRST)


def test_each_file_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token"
    path.write_bytes(FIRST)
    token = TokenFile(str(path))
    for content, why in ((b"", "is empty"), (b"short", "holds 5 characters"), (None, "No such")):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        for _ in range(2):
            assert token.accepts(FIRST)
        told = capsys.readouterr().err
        assert why in told
        assert told.count("\n") == 1


@pytest.mark.parametrize("content", [None, b"", b"short"])
def test_one_that_goes_bad_holds_on_and_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "token"
    path.write_bytes(FIRST)
    token = TokenFile(str(path))
    for _ in range(2):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        for _ in range(3):
            assert token.accepts(FIRST)
        told = capsys.readouterr().err
        assert told.count("the token of before still holds") == 1
        assert FIRST.decode() not in told
        path.unlink(missing_ok=True)
        path.write_bytes(SECOND)
        assert token.accepts(SECOND)
        path.unlink()
        path.write_bytes(FIRST)
        assert token.accepts(FIRST)
    assert capsys.readouterr().err == 2 * f"threadtrace: --token-file {path} was read again\n"
