"""Cgroups of the bench's own, in the pids hierarchy: limited, and gone at the end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from threadtrace.node.hierarchy import find_pids_hierarchy

_EMPTY_WITHIN_SECONDS = 10.0


@contextlib.contextmanager
def own_cgroup(max_tasks: int) -> Iterator[str]:
    """A cgroup that holds at most ``max_tasks``, with whatever is made below it."""
    mount_point = find_pids_hierarchy().mount_point
    top = f"{mount_point}/threadtrace-bench-{os.getpid()}-{time.monotonic_ns()}"
    os.mkdir(top)
    try:
        _write(f"{top}/pids.max", str(max_tasks))
        yield top
    finally:
        _remove_tree(top)


def make_child(parent: str, name: str, max_tasks: int) -> str:
    """A cgroup below one of the bench's own, with a limit of its own."""
    delegated = f"{parent}/cgroup.subtree_control"
    if os.path.exists(delegated):  # version 2
        _write(delegated, "+pids")
    path = f"{parent}/{name}"
    os.mkdir(path)
    _write(f"{path}/pids.max", str(max_tasks))
    return path


def within(cgroup: str, command: Sequence[str]) -> list[str]:
    """The command that moves itself into a cgroup and becomes ``command``."""
    script = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'
    return ["sh", "-c", script, "sh", cgroup, *command]


def make_pods(top: str, count: int, containers_per_pod: int = 3) -> list[str]:
    """That many cgroups named as the kubelet names them: pods, and containers within."""
    parent = f"{top}/kubepods/burstable"
    os.makedirs(parent)
    made: list[str] = []
    for pod in range(count):
        if len(made) >= count:
            break
        path = f"{parent}/pod{pod_uid(pod)}"
        names = [f"{path}/{container_id(pod, number)}" for number in range(containers_per_pod)]
        for directory in [path, *names][: count - len(made)]:
            os.mkdir(directory)
            made.append(directory)
    return made


def pod_uid(pod: int) -> str:
    return f"{pod:08x}-0000-4000-8000-{pod:012x}"


def container_id(pod: int, number: int) -> str:
    return f"{pod:032x}{number:032x}"


def _remove_tree(top: str) -> None:
    for directory, _, _ in os.walk(top, topdown=False):
        remove(directory)


def remove(directory: str) -> None:
    """Processes that ended a moment ago still hold it."""
    until = time.monotonic() + _EMPTY_WITHIN_SECONDS
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.001)
        else:
            return


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
