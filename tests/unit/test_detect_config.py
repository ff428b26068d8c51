"""The file of thresholds: what it sets for whom, and that every error names the line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from threadtrace.detect.config import DetectionConfig, load_config
from threadtrace.detect.reference import thresholds_table
from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.toml_document import MAX_BYTES, ConfigError

if sys.version_info >= (3, 11):
    pass
else:
    pass

DOCS = Path(__file__).parents[2] / "docs/detection.md"

EXAMPLE = """\
[defaults]
leak_tasks = 300

[namespace.shop]
leak_tasks = 500
leak_seconds = 30

[workload."shop/checkout-*/web"]
leak_tasks = 900

[workload."shop/*"]
leak_tasks = 700
burst_tasks = 1000

[workload."kubelet.service"]
detect = false

[workload."*-batch/*"]
detect = false
"""


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "detection.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def loaded(tmp_path: Path, text: str | bytes) -> DetectionConfig:
    return load_config(write(tmp_path, text))


def error_of(tmp_path: Path, text: str | bytes) -> str:
    """The message, without the name of the file; checked as every message must be."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.exit_code == 78
    message = str(caught.value)
    assert "\n" not in message
    assert "; " in message, "it names a remedy"
    assert len(message) < len(str(path)) + 500
    assert message.startswith(f"{path}:")
    return message.removeprefix(f"{path}:")


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").thresholds_for("shop", "shop/a/b") == Thresholds()


def test_the_narrower_wins(tmp_path: Path) -> None:
    config = loaded(tmp_path, EXAMPLE)
    web = config.thresholds_for("shop", "shop/checkout-7d9f/web")
    assert web == Thresholds(leak_tasks=900, leak_seconds=30.0), "one pattern only, key by key"
    other = config.thresholds_for("shop", "shop/checkout-7d9f/sidecar")
    assert other == Thresholds(leak_tasks=700, leak_seconds=30.0, burst_tasks=1000)
    assert config.thresholds_for("shop", "pod 4711") == Thresholds(
        leak_tasks=500, leak_seconds=30.0
    )
    assert config.thresholds_for(None, "sshd.service") == Thresholds(leak_tasks=300)
    assert config.thresholds_for("else", "else/a/b") == Thresholds(leak_tasks=300)
    assert config.thresholds_for(None, "kubelet.service") is None
    assert config.thresholds_for("night-batch", "night-batch/a/b") is None
    assert config.thresholds_for(None, "Kubelet.service") is not None, "case counts"
    assert config.thresholds_for(None, "kubelet.service\n") is not None


def test_whole_numbers_for_fractions(tmp_path: Path) -> None:
    found = loaded(tmp_path, "[defaults]\nleak_seconds = 7").thresholds_for(None, "a")
    assert found is not None
    assert isinstance(found.leak_seconds, float)


def test_detection_that_is_off_but_for_some(tmp_path: Path) -> None:
    text = '[defaults]\ndetect = false\n[workload."a*"]\ndetect = true\nleak_tasks = 5\n'
    config = loaded(tmp_path, text)
    assert config.thresholds_for(None, "b") is None
    assert config.thresholds_for(None, "ab") == Thresholds(leak_tasks=5)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("winner", "other", "name"),
    [
        ("shop/check*", "shop/*", "shop/checkout"),
        ("shop/checkout", "shop/checkou?", "shop/checkout"),
        ("shop/*-web", "shop/*", "shop/a-web"),
        ("a[bc]d", "*d", "abd"),
        ("shop/c*", "*/checkout/*/web", "shop/checkout/x/web"),
    ],
)
def test_the_longest_literal_beginning_wins(
    tmp_path: Path, winner: str, other: str, name: str, turned: bool
) -> None:
    tables = [f'[workload."{winner}"]\nleak_tasks = 11\n', f'[workload."{other}"]\ndetect=false\n']
    found = loaded(tmp_path, "".join(reversed(tables) if turned else tables))
    assert found.thresholds_for(None, name) == Thresholds(leak_tasks=11)


def test_of_two_alike_the_first_one(tmp_path: Path) -> None:
    text = '[workload."a*b"]\nleak_tasks = 11\n[workload."a?b"]\nleak_tasks = 12\n'
    assert loaded(tmp_path, text).thresholds_for(None, "axb") == Thresholds(leak_tasks=11)


def test_results_are_kept_but_not_forever(tmp_path: Path) -> None:
    config = loaded(tmp_path, EXAMPLE)
    kept = config.thresholds_for("shop", "shop/a/b")
    assert config.thresholds_for("shop", "shop/a/b") is kept
    for number in range(40_000):
        config.thresholds_for(None, f"workload {number}")
    assert config._cached.cache_info().currsize <= 16_384


def test_marks_and_line_ends_of_editors(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode()
    config = loaded(tmp_path, data)
    assert config.thresholds_for(None, "a") == Thresholds(leak_tasks=300)
    wrong = data.replace(b"burst_tasks = 1000", b"burst_tasks = true")
    assert error_of(tmp_path, wrong).startswith("13: burst_tasks has to be a whole number")


# Text, and a word of the message on the line that is marked with "# HERE".
WRONG = {
    "unknown table": (
        "a = 1\n[default] # HERE\n".removeprefix("a = 1\n"),
        "did you mean defaults?",
    ),
    "unknown table, nothing alike": ("\n\n[zzz] # HERE\n", "there are defaults, namespace"),
    "outside": ("# x\nleak_tasks = 5 # HERE\n", "put it below [defaults]"),
    "outside, misspelt": ("# x\nleak_task = 5 # HERE\n", "did you mean leak_tasks?"),
    "a value for a table": ("namespace = 5 # HERE", "has to be a table"),
    "an array of tables": ("\n[[defaults]] # HERE\nleak_tasks = 5", "write [defaults]"),
    "settings of no namespace": (
        "[namespace]\n\nleak_tasks = 5 # HERE",
        'write [namespace."NAMESPACE"]',
    ),
    "an array of tables within": ('[[workload."a"]] # HERE', "has to be a table"),
    "unknown key": ("[defaults]\nleak_tasks = 5\nleek_tasks = 5 # HERE", "mean leak_tasks?"),
    "unknown key, nothing alike": ("[defaults]\n\nx = 5 # HERE", "there are detect, burst_tasks"),
    "quoted key": ('[defaults]\n"leak\\u005ftask" = 5 # HERE', "unknown setting leak_task;"),
    "key of a namespace": ("[namespace.a]\nx = 1 # HERE\n[defaults]", "unknown setting x;"),
    "dotted": ("[workload]\n\na.detekt = true # HERE", "did you mean detect?"),
    "inline": ('workload = {"a=]" = {detect = 1}} # HERE', "detect has to be true or false"),
    "inline, after another": (
        '[workload]\n"a" = {detect = true}\n"b#" = {detect = true, leak_tasks = 0} # HERE',
        "leak_tasks is out of range",
    ),
    "dots without quotes": (
        "[defaults]\n[workload.kubelet.service] # HERE\ndetect = false",
        "quote names with dots",
    ),
    "a pattern for a namespace": ('[namespace."shop*"] # HERE', 'or [workload."PATTERN"]'),
    "no namespace": ('[namespace.""] # HERE', "no namespace is called"),
    "no workload": ('[workload.""] # HERE', "empty name"),
    "text for a number": ('[defaults]\nleak_tasks = "5" # HERE', "whole number, without quotes"),
    "bool for a number": ("[defaults]\nleak_tasks = true # HERE", "whole number"),
    "bool for a fraction": ("[defaults]\nleak_seconds = true # HERE", "has to be a number"),
    "fraction for a whole number": ("[defaults]\nleak_tasks = 5.0 # HERE", "whole number"),
    "date": ("[defaults]\nleak_seconds = 1979-05-27 # HERE", "has to be a number"),
    "array": ("[defaults]\nleak_seconds = [ # HERE\n1,\n2]", "has to be a number"),
    "nan": ("[defaults]\nleak_seconds = nan # HERE", "has to be a number"),
    "inf": ("[defaults]\nleak_seconds = -inf # HERE", "is out of range"),
    "too small": ("[defaults]\nleak_tasks = 3 # HERE", "choose 4 to 1,000,000 (without it: 128)"),
    "too large": ("[defaults]\nburst_seconds = 1e9 # HERE", "choose 0.05 to 3,600 ("),
    "number for a bool": ("[defaults]\ndetect = 0 # HERE", "true or false"),
    "text for a bool": ('[defaults]\ndetect = "false" # HERE', "without quotes"),
    "the first of several": (
        '[workload."b"]\nx = 1 # HERE\n[defaults]\ny = 1\n[namespace.c]\nz = 1',
        "unknown setting x;",
    ),
    "after long texts": (
        '[workload]\n"a".x1 = """ # HERE\n[defaults]\ny = 1\n\\""" "\n# """"',
        "unknown setting x1;",
    ),
    "between brackets in comments": (
        "[defaults] # ]\n# [[ { ' \"\"\"\nleak_tasks = 5 # ''' [\ny = 1 # HERE",
        "unknown setting y;",
    ),
    "syntax": ("[defaults]\nleak_tasks = 5\nleak_seconds 5 # HERE", "no valid TOML: Expected"),
    "name without quotes": ("[defaults]\n[workload.shop/web] # HERE", "no valid TOML"),
    "the same table twice": (
        '[namespace."shop"]\nleak_tasks = 5\n[namespace.shop] # HERE\n',
        "no valid TOML: Cannot declare",
    ),
    "the same key twice": ("[defaults]\nleak_tasks = 5\n\nleak_tasks = 5 # HERE\n", "overwrite"),
    "the same key twice, the end later": (
        "[defaults]\nleak_tasks = 5\n\nleak_tasks = [ # HERE\n1,\n2,\n]\n",
        "overwrite",
    ),
    "text without an end": ('[defaults]\n\nleak_tasks = "5 # HERE\n\n', "no valid TOML"),
    "long text without an end": (
        '[defaults]\n\nx = """5 # HERE\n[namespace]\ny = 5\n',
        "and the file ends",
    ),
    "array without an end": ("[defaults]\nx = [ # HERE\n1,\n2,\n\n", "and the file ends"),
    "value that is missing at the end": ("[defaults]\n\nleak_tasks = ", "no valid TOML"),
    "too many digits": (f"[defaults]\n\nleak_tasks = {'9' * 5000} # HERE\n[a]", "too long"),
    "too deep": (f"[defaults]\n\nx = {'[' * 5000}{']' * 5000} # HERE\n[a]", "too long or too deep"),
    "odd line ends": ("[defaults]\nx = '\x0b\x0c\u2028' # HERE\n", "x"),
    "an escape sequence": ('[defaults]\n"\\u001b[31m" = 1 # HERE', "\\x1b[31m"),
    "a mark within": ("[defaults]\n\ufeffdetect = true # HERE", "no valid TOML"),
    "a long name": (f"[defaults]\n{'x' * 70_000} = 1 # HERE", "unknown setting xxx"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_errors_name_their_line(tmp_path: Path, case: str, ends: str) -> None:
    text, word = WRONG[case]
    marked = [number for number, line in enumerate(text.split("\n"), 1) if "# HERE" in line]
    line = marked[0] if marked else 3
    message = error_of(tmp_path, text.replace("\n", ends))
    assert message.startswith(f"{line}: "), message
    assert word in message


def test_what_is_not_utf_8(tmp_path: Path) -> None:
    message = error_of(tmp_path, b"[defaults]\n# fine: \xc3\xa4\n# \xe4\nleak_tasks = 5\n")
    assert message == "3: is not UTF-8; save the file as UTF-8"
    marked = b"\xef\xbb\xbf[defaults]\n# \xe4\n"
    assert error_of(tmp_path, marked).startswith("2: is not UTF-8")
    wide = "[defaults]\n".encode("utf-16")
    assert error_of(tmp_path, wide).startswith("1: is not UTF-8")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for path, word in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path / "pipe", "is no regular file"),
        (tmp_path / "directory", "is a directory"),
        (tmp_path / "new\nline", "new\\nline: No such file"),
        (tmp_path / "nul\0", "no file has such a name"),
        (Path("/dev/zero"), "is no regular file"),
    ):
        with pytest.raises(ConfigError, match="; name a TOML file") as caught:
            load_config(path)
        assert word in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_link_is_followed(tmp_path: Path) -> None:
    """Kubernetes mounts a ConfigMap as links."""
    write(tmp_path, "[defaults]\nleak_tasks = 5\n")
    (tmp_path / "link").symlink_to("detection.toml")
    found = load_config(tmp_path / "link").thresholds_for(None, "a")
    assert found == Thresholds(leak_tasks=5)


def test_sizes(tmp_path: Path) -> None:
    text = "[defaults]\nleak_tasks = 5\n#"
    full = text + "x" * (MAX_BYTES - len(text))
    assert loaded(tmp_path, full).thresholds_for(None, "a") == Thresholds(leak_tasks=5)
    assert "is larger than 1 MiB" in error_of(tmp_path, full + "x")


def test_the_table_of_the_documentation() -> None:
    rows = thresholds_table().splitlines()
    assert len(rows) == 2 + len(Thresholds.__dataclass_fields__)
    assert rows[0].count("|") == 6
    assert "| `leak_tasks` | 128 | 4 | 1,000,000 | Tasks gained" in thresholds_table()
    assert all(not row.endswith("|  |") for row in rows[2:]), "each has a meaning"
    documented = DOCS.read_text().split("<!-- thresholds -->\n")[1]
    assert documented.split("<!-- /thresholds -->")[0].strip() == thresholds_table().strip()


def test_services_of_runtimes_have_defaults_of_their_own() -> None:
    config = DetectionConfig({}, {}, {})
    found = config.thresholds_for(None, "containerd.service")
    assert found is not None
    assert (found.leak_tasks, found.leak_seconds) == (2_000, Thresholds().leak_seconds)
    assert config.thresholds_for(None, "shop.service") == Thresholds()
    config = DetectionConfig({}, {}, {"containerd.service": {"leak_tasks": 7}})
    found = config.thresholds_for(None, "containerd.service")
    assert found is not None
    assert (found.leak_tasks, found.jump_tasks) == (7, 5_000)
