"""The tables below a workload."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from screen_builders import HOSTILE, assert_shown

from threadtrace.model.details import ProcessDetails
from threadtrace.model.explosion import ThreadName
from threadtrace.screen.columns import cells, fit, heading
from threadtrace.screen.order import in_order
from threadtrace.screen.process_columns import (
    PROCESS_COLUMNS,
    THREAD_COLUMNS,
    process_lines,
    thread_lines,
)

JAVA = ProcessDetails(4242, "java", "/usr/bin/java -jar web.jar", 498, 45.0, 86_400.0)


def row(details: ProcessDetails, width: int = 80) -> list[str]:
    (line,) = process_lines([details])
    return [cell.text.strip() for cell in cells(fit(PROCESS_COLUMNS, width), line)]


def test_a_process() -> None:
    assert row(JAVA) == ["/usr/bin/java -jar web.jar", "4242", "498", "45.0", "24h"]


def test_one_that_calls_itself_otherwise_has_both_names() -> None:
    assert row(JAVA._replace(name="kworker/0:1"))[0] == "(kworker/0:1) /usr/bin/java -jar web.jar"
    assert row(JAVA._replace(command_line=None))[0] == "java"
    assert row(JAVA._replace(command_line="", name=""))[0] == "?"


def test_unknown_is_not_0() -> None:
    assert row(JAVA._replace(created_per_second=None, age_seconds=None))[3:] == ["?", "?"]
    assert row(JAVA._replace(created_per_second=0.0, age_seconds=0.0))[3:] == ["-", "0.0s"]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_rows_and_titles_fit(name: str, width: int) -> None:
    process = ProcessDetails(4_194_304, name, f"{name} {name}", 10**7, 1e9, 1e12)
    (line,) = process_lines([process])
    (thread,) = thread_lines([ThreadName(name, 10**7)])
    for columns, found in ((PROCESS_COLUMNS, line), (THREAD_COLUMNS, thread)):
        placed = fit(columns, width)  # type: ignore[arg-type]
        for cell, one in zip(cells(placed, found), placed):
            assert cell_len(cell.text) == one.width
            assert_shown(cell.text, one.width)
        for column in columns:
            titles = heading(placed, column.name, True)  # type: ignore[attr-defined]
            assert [cell_len(cell.text) for cell in titles] == [one.width for one in placed]


def test_names_of_threads_with_their_share() -> None:
    lines = thread_lines([ThreadName("pool-#-thread-#", 300), ThreadName("", 100)])
    assert [line.share_ratio for line in lines] == [0.75, 0.25]
    texts = [cell.text.strip() for cell in cells(fit(THREAD_COLUMNS, 80), lines[1])]
    assert texts == ["(no name)", "100", "25%"]
    assert thread_lines([]) == []
    assert thread_lines([ThreadName("x", 0)])[0].share_ratio == 0.0


def test_unknown_values_stand_last() -> None:
    lines = process_lines([JAVA._replace(pid=1, age_seconds=None), JAVA._replace(pid=2)])
    age = PROCESS_COLUMNS[-1].sort_key
    for is_ascending in (True, False):
        assert [line.key for line in in_order(lines, age, is_ascending)] == ["2", "1"]  # type: ignore[type-var, arg-type]
