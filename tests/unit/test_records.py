"""The wire shapes: what the kernel side writes and the agent decodes is one layout."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess

import pytest

from threadtrace.probe import records
from threadtrace.probe.paths import bpf_directory

# struct: (decoder, members in order with their offsets as the decoder has them)
_SHAPES = {
    "cgroup_counts": records.CGROUP_COUNTS,
    "refusal_key": records.REFUSAL_KEY,
    "refusal_counts": records.REFUSAL_COUNTS,
    "refusal_record": records.REFUSAL_RECORD,
    "burst_record": records.BURST_RECORD,
    "hidden_limit": struct.Struct("=Qqq"),
    "process_key": records.PROCESS_KEY,
    "process_counts": records.PROCESS_COUNTS,
}
_MEMBERS = {
    "cgroup_counts": records.Counts._fields,
    "refusal_key": records.RefusalKey._fields,
    "refusal_counts": records.RefusalCounts._fields,
    "refusal_record": (
        "kind",
        "tgid",
        "timestamp_ns",
        "key",
        "count",
        "usage",
        "limit_value",
        "tid",
        "refused",
        "reached",
        "pid_namespace_level",
        "thread_name",
    ),
    "burst_record": ("kind", "tgid", "timestamp_ns", "cgroup_id", "window_ns"),
    "hidden_limit": records.HiddenLimit._fields,
    "process_key": ("cgroup_id", "tgid"),
    "process_counts": records.ProcessCounts._fields,
    "burst": ("window_ns", "births", "told_ns", "user", "pid_namespace", "pid_namespace_level"),
    "cgroup_record": ("kind", "path_size", "timestamp_ns", "cgroup_id", "path"),
}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Sizes and offsets as the compiler has them, by ``struct`` or ``struct.member``."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler: apt-get install gcc libc6-dev"
    directory = tmp_path_factory.mktemp("layout")
    prints = [
        f'printf("{name} %zu\\n", sizeof(struct {name}));'
        + "".join(
            f'printf("{name}.{member} %zu\\n", offsetof(struct {name}, {member}));'
            for member in members
        )
        for name, members in _MEMBERS.items()
    ]
    prints += [
        f'printf("{name} %d\\n", {name});'
        for name in ("NODE_COUNTERS", "KERNEL_CGROUP_ID", *_enumerators())
    ]
    source = directory / "layout.c"
    source.write_text(
        "#include <linux/types.h>\n#include <stddef.h>\n#include <stdio.h>\n"
        f'#include "{bpf_directory() / "records.h"}"\n'
        f"int main(void) {{ {''.join(prints)} return 0; }}\n"
    )
    program = directory / "layout"
    subprocess.run([compiler, "-Wall", "-Werror", "-o", program, source], check=True)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in map(str.split, output.splitlines())}


def _enumerators() -> list[str]:
    return re.findall(
        r"^\t((?:NODE|LIMIT|REFUSED|EVIDENCE|CGROUP)_[A-Z_]+)\b", _header(), re.MULTILINE
    )


def _header() -> str:
    return (bpf_directory() / "records.h").read_text()


@pytest.mark.parametrize("name", _SHAPES)
def test_size_is_the_same_on_both_sides(name: str, layout: dict[str, int]) -> None:
    assert _SHAPES[name].size == layout[name]


@pytest.mark.parametrize("name", _SHAPES)
def test_members_stand_in_the_order_of_the_decoder(name: str, layout: dict[str, int]) -> None:
    sizes = [struct.calcsize(f"={code}") for code in _codes(_SHAPES[name].format)]
    expected = [sum(sizes[:index]) for index in range(len(sizes))]
    assert [layout[f"{name}.{member}"] for member in _MEMBERS[name]] == expected


def test_every_struct_of_the_header_is_checked() -> None:
    assert set(re.findall(r"^struct (\w+) \{", _header(), re.MULTILINE)) == set(_MEMBERS)


def test_node_counters_have_the_same_indices(layout: dict[str, int]) -> None:
    assert len(records.NodeCounter) == layout["NODE_COUNTERS"]
    for counter in records.NodeCounter:
        assert layout[f"NODE_{counter.name}"] == counter


def test_limits_and_kinds_have_the_same_numbers(layout: dict[str, int]) -> None:
    assert {limit.name: limit.value for limit in records.Limit} == {
        name.removeprefix("LIMIT_"): value
        for name, value in layout.items()
        if name.startswith("LIMIT_")
    }
    for kind in records.Refused:
        assert layout[f"REFUSED_{kind.name}"] == kind
    for evidence in records.Evidence:
        assert layout[f"EVIDENCE_{evidence.name}"] == evidence
    for limit in records.NodeLimit:
        assert layout[f"NODE_{limit.name}"] == limit


def test_cgroup_changes_have_the_same_numbers(layout: dict[str, int]) -> None:
    for change in records.CgroupChange:
        assert layout[f"CGROUP_{change.name}"] == change
    assert layout["KERNEL_CGROUP_ID"] == records.KERNEL_CGROUP_ID


def test_burst_record_is_decoded() -> None:
    data = records.BURST_RECORD.pack(5, 42, 99, 77, 11)
    assert records.decode_record(data) == records.BurstRecord(99, 77, 11, 42)
    with pytest.raises(ValueError, match="too short"):
        records.decode_record(data[:-1])


def test_limits_are_found_in_a_burst(layout: dict[str, int]) -> None:
    assert layout["burst"] == records.BURST.size
    names = ("user", "pid_namespace", "pid_namespace_level")
    assert [layout[f"burst.{name}"] for name in names] == [24, 48, 72]
    data = records.BURST.pack(1, 2, 3, 1000, 30, 40, 0, 0, 0, 1)
    found = records.decode_hidden_limits(data)
    assert found == (records.HiddenLimit(1000, 30, 40), None, 1, 1), "no limit is 0"


def test_cgroup_record_is_decoded(layout: dict[str, int]) -> None:
    path = "/kubepods/é".encode() + b"\xff\0"
    head = struct.pack("=IIQQ", 2, len(path), 1_234, 77)
    assert layout["cgroup_record.path"] == len(head)
    record = records.decode_record(head + path + b"left over from another record")
    assert record == records.CgroupRecord(
        records.CgroupChange.REMOVED, 1_234, 77, "/kubepods/é\udcff"
    )


def test_refusal_record_is_decoded() -> None:
    key = records.REFUSAL_KEY.pack(77, 1 << 32 | 1000, 11, records.Limit.RLIMIT_NPROC, 0)
    reached = 1 << records.Limit.RLIMIT_NPROC | 1 << records.Limit.PIDS_MAX
    data = records.REFUSAL_RECORD.pack(4, 42, 99, key, 3, 30, -1, 43, 1, reached, 2, b"java\0old")
    record = records.decode_record(data)
    assert isinstance(record, records.RefusalRecord)
    assert record.key == (77, 1 << 32 | 1000, 11, records.Limit.RLIMIT_NPROC, 0)
    assert (record.usage, record.limit_value) == (30, None), "-1 is not known"
    assert (record.tgid, record.tid, record.thread_name) == (42, 43, "java")
    assert record.refused is records.Refused.THREAD
    assert record.reached == {records.Limit.RLIMIT_NPROC, records.Limit.PIDS_MAX}


@pytest.mark.parametrize("data", [struct.pack("=I", 4), struct.pack("=I", 4) + bytes(60)])
def test_a_broken_refusal_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="too short"):
        records.decode_record(data)


@pytest.mark.parametrize("data", [b"", b"\1\0\0\0", struct.pack("=IIQQ", 99, 1, 0, 0) + b"\0"])
def test_a_broken_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        records.decode_record(data)


def test_names_end_at_the_first_nul_and_are_text_whatever_they_hold() -> None:
    assert records.decode_name(b"java\0old name\0\0\0") == "java"
    assert records.decode_name(b"\xff\x1b[31m\0") == "\ufffd\x1b[31m"
    assert records.decode_name(b"sixteen bytes 16") == "sixteen bytes 16"


def _codes(text: str) -> list[str]:
    """The format's fields, one a member: ``4Q`` is four, ``16s`` one."""
    fields = re.findall(r"(\d*)([A-Za-z])", text)
    codes: list[str] = []
    for count, code in fields:
        if code != "x":
            codes += [f"{count}s"] if code == "s" else [code] * int(count or 1)
    return codes
