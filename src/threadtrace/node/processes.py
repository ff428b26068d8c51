"""The processes that hold tasks, by cgroup: who they are and how many threads each has.

The kernel's own counts name the processes that create. Those that merely hold, the leak of last
night among them, are found by going through /proc, a part each tick.

What grows: one small record a process, and psutil's details for those that are shown.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from threadtrace.node.cgroups import ROOT_PATH
from threadtrace.node.hierarchy import cgroup_path_of
from threadtrace.text import clean

_KTHREADD_PID = 2
# Entries of /proc/PID/task that are no thread: "." and "..".
_NOT_THREADS = 2
_PIDS_BETWEEN_CLOCKS = 16


@dataclass(slots=True, eq=False)
class ProcessRecord:
    """One process, as last seen."""

    pid: int
    cgroup_id: int
    threads: int
    name: str = ""
    start_time: float = 0.0
    """Seconds since the epoch, as psutil tells; with ``pid`` the identity."""
    sweep: int = 0
    """Number of the last pass that found it."""


class ProcessTable:
    """All processes of the node, by PID and by cgroup."""

    def __init__(
        self,
        version: int,
        cgroup_id_of_path: Callable[[str], int | None],
        kernel_cgroup_id: int,
        root: Path = Path("/"),
    ) -> None:
        """Empty.

        Args:
            version: of the hierarchy that carries the pids controller.
            cgroup_id_of_path: looks a path up, None where it is not known.
            kernel_cgroup_id: under which the kernel's own threads are filed.
            root: directory that holds ``proc``.
        """
        self._version = version
        self._cgroup_id_of_path = cgroup_id_of_path
        self._kernel_cgroup_id = kernel_cgroup_id
        self._proc = str(root / "proc")
        self._by_pid: dict[int, ProcessRecord] = {}
        self._by_cgroup: dict[int, dict[int, ProcessRecord]] = {}
        self._pending: Iterator[int] = iter(())
        self._sweep = 0
        self.completed_sweeps = 0
        self._changed: set[int] = set()

    def __len__(self) -> int:
        return len(self._by_pid)

    def sweep(self, budget_seconds: float) -> bool:
        """Go on through all processes for at most that long; True when a pass was completed."""
        until = time.perf_counter() + budget_seconds
        if not self._sweep or self._sweep == self.completed_sweeps:
            self._sweep += 1
            self._pending = iter(psutil.pids())
        for count, pid in enumerate(self._pending, 1):
            self._visit(pid)
            if count % _PIDS_BETWEEN_CLOCKS == 0 and time.perf_counter() >= until:
                return False
        for record in [r for r in self._by_pid.values() if r.sweep != self._sweep]:
            self.forget(record.pid)
        self.completed_sweeps = self._sweep
        return True

    def take_changed(self) -> set[int]:
        """Cgroups of which a pass found other processes or numbers than before."""
        changed, self._changed = self._changed, set()
        return changed

    def note(self, pid: int, cgroup_id: int, name: str) -> ProcessRecord:
        """A process that the kernel told of; its record, made if there is none."""
        record = self._by_pid.get(pid)
        if record is None:
            record = self._file(ProcessRecord(pid, cgroup_id, 0, name, 0.0, self._sweep))
        return record

    def note_found(self, pid: int, cgroup_id: int) -> None:
        """A process that is in that cgroup now, with the threads that it has now."""
        record = self.note(pid, cgroup_id, "")
        if record.cgroup_id not in (cgroup_id, self._kernel_cgroup_id):
            self._move(record, cgroup_id)
        self.refresh(record)

    def refresh(self, record: ProcessRecord) -> bool:
        """Read its number of threads again; whether it is another. Forgotten when it is gone."""
        threads = self._threads(record.pid)
        if threads is None:
            self.forget(record.pid)
            return True
        changed = threads != record.threads
        record.threads = threads
        return changed

    def look_at(self, pid: int) -> ProcessRecord | None:
        """One process as it is now, found before or not; None when it is gone, or hidden."""
        if not self.is_alive(pid):
            self.forget(pid)
            return None
        self._visit(pid)
        return self._by_pid.get(pid)

    def check_name(self, record: ProcessRecord) -> bool:
        """Forget the name of a process that executed another program; whether it did.

        psutil's name may be longer than the kernel's, which it begins with.
        """
        name = self._read(f"{record.pid}/comm") if record.name else None
        if name is not None and not record.name.startswith(clean(name.removesuffix("\n"))):
            record.name, record.start_time = "", 0.0  # read again when it is shown
            return True
        return False

    def forget(self, pid: int) -> None:
        """A process that is gone."""
        record = self._by_pid.pop(pid, None)
        if record is not None:
            self._unfile(record)

    def largest(self, cgroup_ids: Iterable[int], count: int) -> list[ProcessRecord]:
        """Those with the most threads in these cgroups, named."""
        records = self.largest_unnamed(cgroup_ids, count)
        for record in records:
            if not record.name:
                self._identify(record)
        return records

    def largest_unnamed(self, cgroup_ids: Iterable[int], count: int) -> list[ProcessRecord]:
        """The same, without looking for names that are not known yet."""
        records: list[ProcessRecord] = []
        by_cgroup = self._by_cgroup
        for cgroup_id in cgroup_ids:
            table = by_cgroup.get(cgroup_id)
            if table is not None:
                records += table.values()
        if len(records) > 1:
            records = heapq.nlargest(count, records, key=lambda record: record.threads)
        return records

    def largest_pids(self, count: int) -> list[int]:
        """Of all processes that are known, those with the most threads."""
        records = heapq.nlargest(count, self._by_pid.values(), key=lambda record: record.threads)
        return [record.pid for record in records]

    def tasks(self, cgroup_id: int) -> int:
        """Threads of all processes known in a cgroup."""
        return sum(record.threads for record in self._by_cgroup.get(cgroup_id, {}).values())

    def name(self, pid: int) -> str:
        """Of a process that is known; "" of any other."""
        record = self._by_pid.get(pid)
        if record is None:
            return ""
        if not record.name:
            self._identify(record)
        return record.name

    def is_alive(self, pid: int) -> bool:
        """Whether any process has that PID now."""
        return self._threads(pid) is not None

    def _visit(self, pid: int) -> None:
        threads = self._threads(pid)
        if threads is None:
            return
        record = self._by_pid.get(pid)
        if record is not None and record.cgroup_id == self._kernel_cgroup_id:
            record.sweep = self._sweep
            self.check_name(record)  # the kernel's threads stay where they are
            return
        cgroup_id = self._cgroup_id(pid)
        if cgroup_id is None:
            return
        if record is None:
            if cgroup_id != self._kernel_cgroup_id and self._is_kernel_thread(pid):
                cgroup_id = self._kernel_cgroup_id
            self._file(ProcessRecord(pid, cgroup_id, threads, sweep=self._sweep))
            return
        if record.threads != threads:
            record.threads = threads
            self._changed.add(record.cgroup_id)
        record.sweep = self._sweep
        self.check_name(record)
        if record.cgroup_id not in (cgroup_id, self._kernel_cgroup_id):
            self._move(record, cgroup_id)

    def _move(self, record: ProcessRecord, cgroup_id: int) -> None:
        self._unfile(record)
        record.cgroup_id = cgroup_id
        self._file(record)

    def _file(self, record: ProcessRecord) -> ProcessRecord:
        self._by_pid[record.pid] = record
        self._by_cgroup.setdefault(record.cgroup_id, {})[record.pid] = record
        self._changed.add(record.cgroup_id)
        return record

    def _unfile(self, record: ProcessRecord) -> None:
        self._changed.add(record.cgroup_id)
        table = self._by_cgroup[record.cgroup_id]
        del table[record.pid]
        if not table:
            del self._by_cgroup[record.cgroup_id]

    def _threads(self, pid: int) -> int | None:
        """The link count of its task directory: one system call, a tenth of reading its status."""
        try:
            return os.stat(f"{self._proc}/{pid}/task").st_nlink - _NOT_THREADS
        except OSError:
            return None

    def _cgroup_id(self, pid: int) -> int | None:
        path = self._cgroup_path(f"{pid}/cgroup")
        if path == ROOT_PATH:
            # So does that of a zombie read on version 1. A leader that has ended is one, while
            # its other threads go on where they were.
            path = self._cgroup_path_of_thread(pid) or path
        return None if path is None else self._cgroup_id_of_path(path)

    def _cgroup_path(self, name: str) -> str | None:
        text = self._read(name)
        return None if text is None else cgroup_path_of(text, self._version)

    def _cgroup_path_of_thread(self, pid: int) -> str | None:
        """That of a thread which is not the leader; None where there is no other."""
        try:
            threads = os.listdir(f"{self._proc}/{pid}/task")
        except OSError:
            return None
        other = next((thread for thread in reversed(threads) if thread != str(pid)), None)
        return None if other is None else self._cgroup_path(f"{pid}/task/{other}/cgroup")

    def _is_kernel_thread(self, pid: int) -> bool:
        if pid == _KTHREADD_PID:
            return True
        text = self._read(f"{pid}/stat")
        # "PID (NAME) STATE PPID ...": the name may hold anything, a parenthesis too.
        return text is not None and text.rpartition(")")[2].split()[1] == str(_KTHREADD_PID)

    def _identify(self, record: ProcessRecord) -> None:
        try:
            process = psutil.Process(record.pid)
            with process.oneshot():
                record.name = clean(process.name())
                record.start_time = process.create_time()
        except psutil.Error:
            return  # gone; the next pass forgets it

    def _read(self, name: str) -> str | None:
        try:
            with open(f"{self._proc}/{name}", "rb", buffering=0) as file:
                return file.read(8192).decode("utf-8", "surrogateescape")
        except OSError:
            return None
