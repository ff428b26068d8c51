"""What is told of a process that creates too much, from files as /proc has them."""

from __future__ import annotations

from pathlib import Path

from threadtrace.node.threads import describe_process, thread_names


def process(
    root: Path, pid: int, *, command: bytes = b"", parent: int = 0, names: tuple[bytes, ...] = ()
) -> None:
    directory = root / "proc" / str(pid)
    directory.mkdir(parents=True)
    (directory / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nNSpid:\t{pid}\t7\n")
    (directory / "cmdline").write_bytes(command)
    for index, name in enumerate(names):
        task = directory / "task" / str(pid + index)
        task.mkdir(parents=True)
        (task / "comm").write_bytes(name + b"\n")


def test_command_lines_of_a_process_and_its_parent(tmp_path: Path) -> None:
    process(tmp_path, 10, command=b"/bin/sh\0-c\0run it\0")
    process(tmp_path, 20, command=b"java\0-jar\0a\xff.jar\0", parent=10)
    found = describe_process(20, tmp_path)
    assert found == (7, 10, "java -jar a\ufffd.jar", "/bin/sh -c run it")


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    assert describe_process(4711, tmp_path) == (None, None, None, None)
    assert thread_names(4711, tmp_path) == []


def test_a_process_without_arguments_has_no_command_line(tmp_path: Path) -> None:
    process(tmp_path, 2, command=b"")
    assert describe_process(2, tmp_path).command_line is None


def test_names_that_differ_in_digits_are_one(tmp_path: Path) -> None:
    names = tuple(f"pool-1-thread-{index}".encode() for index in range(12))
    process(
        tmp_path, 100, names=(*names, b".NET TP Worker", b"main", b"GC Thread#1", b"GC Thread#2")
    )
    assert thread_names(100, tmp_path)[:2] == [("pool-#-thread-#", 12), ("GC Thread##", 2)]


def test_of_many_threads_the_numbers_are_estimates(tmp_path: Path) -> None:
    names = tuple(b"worker" if index % 2 else b"io" for index in range(1_024 + 512))
    process(tmp_path, 100, names=names)
    found = dict(thread_names(100, tmp_path))
    assert sum(found.values()) == 1_536
    assert abs(found["worker"] - 768) <= 16
