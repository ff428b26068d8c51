"""Names that strangers chose: any bytes, on a terminal and in JSON."""

from __future__ import annotations

import json

import pytest

from support.cgroups import OwnCgroup
from support.command import threadtrace
from support.puppet import Puppet
from support.stream import THREADTRACE, Stream
from support.terminal import Terminal

NAMES = {
    "escape": b"\x1b[31mEVIL\x07",
    "title": b"\x1b]0;owned\x07",
    "clear": b"\x1b[2J\x1b[Hx",
    "newline": b"one\ntwo\r\tx",
    "invalid": b"\xff\xfe\xc3(\x80bad",
    "markup": b"[bold]x[/bold]",
    "quote": b'"\\,}]{x',
    "c1": b"a\xc2\x9b31mb",
    "override": "a\u202egnp.b".encode(),
    "wide": "線線線線線".encode(),
    "blank": b"   ",
}


@pytest.fixture
def large(actor: Puppet) -> Puppet:
    """Holds so much that it is the first row; top processes are named by the group's leader."""
    actor.do("threads", 701)
    return actor


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_json(host: None, cgroup: OwnCgroup, actor: Puppet, name: bytes) -> None:
    actor.do("name", name.hex())
    actor.do("threads", 3)
    with Stream("--all") as stream:
        stream.finish()
    for line in stream.lines:
        assert json.loads(line.decode("utf-8"))
    (process,) = stream.rates(cgroup.path)[0]["threadtrace"]["top_processes"]
    assert process["pid"] == actor.pid
    assert process["name"] == name.decode("utf-8", "replace")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_table(host: None, cgroup: OwnCgroup, large: Puppet, name: bytes) -> None:
    large.do("name", name.hex())
    done = threadtrace("top", "--once", "--interval", "0.1", environment={"COLUMNS": "220"})
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("utf-8")
    (row,) = [line for line in text.splitlines() if f"[{large.pid}]" in line]
    assert cgroup.path in row
    assert all(character.isprintable() for character in row)
    assert "\x1b" not in text
    assert "\u202e" not in text
    if name == NAMES["markup"]:
        assert "[bold]x[/bold]" in row
    if name == NAMES["escape"]:
        assert r"\x1b[31mEVIL\x07" in row
    if name == NAMES["newline"]:
        assert r"one\ntwo\r\tx" in row


@pytest.mark.parametrize("name", ["escape", "title", "clear", "c1"])
def test_terminal(host: None, cgroup: OwnCgroup, large: Puppet, name: str) -> None:
    raw = NAMES[name]
    large.do("name", raw.hex())
    inner = cgroup.directory / "in\x1b]0;owned\x07ner"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(large.pid))
    try:
        with Terminal([*THREADTRACE, "top", "--interval", "0.1"]) as terminal:
            terminal.wait_for(lambda out: f"[{large.pid}]".encode() in out, "the row is shown")
            terminal.press(b"\x03")
            assert terminal.end() == 130
            assert raw not in terminal.output
            assert b"\x1b]0;" not in terminal.output
            assert b"\xc2\x9b" not in terminal.output
            assert b"\\x1b" in terminal.output
    finally:
        cgroup.add(large.pid)


def test_cgroup_of_any_name(host: None, cgroup: OwnCgroup, puppet_program: str) -> None:
    for raw in (b"in\x1b[31m", b"\xff\xfe", b"[red]x", "線".encode(), b"a b\tc"):
        inner = bytes(cgroup.directory) + b"/" + raw
        import os

        with Stream() as stream, Puppet(puppet_program) as puppet:  # type: ignore[arg-type]
            os.mkdir(inner)
            with open(inner + b"/cgroup.procs", "w") as procs:
                procs.write(str(puppet.pid))
            puppet.do("forks", 7)
            stream.wait_for_ticks()
            stream.finish()
            path = f"{cgroup.path}/{raw.decode('utf-8', 'replace')}"
            assert stream.counts(path)["processes"] == 7
