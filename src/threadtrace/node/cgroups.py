"""The cgroups of the pids hierarchy: id and path, and how many tasks each holds.

What grows: one ``Cgroup`` (about 1 KB with its path) for each cgroup that exists, and one open
descriptor for each up to a bound; both leave with the cgroup.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from threadtrace.node.hierarchy import PidsHierarchy

ROOT_PATH = "/"

_FILEID_KERNFS = 0xFE  # include/linux/exportfs.h
_NUMBER_BYTES = 32
_PROCESS_LIST_BYTES = 4096

# A counter that stays open costs the kernel 5 KB, and a reading then takes a tenth of the time. As
# many stay open as an ordinary node has cgroups, and beyond that those that are read at each tick.
_KEPT_DESCRIPTORS = 1024

# How much of the tree is read again each time though nothing was counted in it, and how many
# cgroups at most: a limit may have been changed, or a task moved where the kernel's move hook is
# not attached.
_REFRESH_SHARE = 10
_MAX_SHARE = 512

# Reading a counter is the dearest part of a tick. With more cgroups than this to read, those with
# as many exits as births wait for their turn with the idle ones: their number changes only by
# zombies. And a moved task makes no full reading: exec probes move one a second.
CROWDED_CGROUPS = 512

# On a usual node the limit of what is active is read as often as its counter: a runtime sets it a
# moment after it made the cgroup. Elsewhere limits are read in turn, in a crowd each fourth turn.
_LIMITS_PER_REFRESH = 128
_CROWDED_LIMIT_TURNS = 4


@dataclass(slots=True, eq=False)
class Cgroup:
    """One cgroup that exists, or has just gone."""

    id: int
    path: str
    parent: Cgroup | None
    tasks: int = 0
    """Of itself and everything below: the controller's own counter."""
    limit: int | None = None
    """Its own pids.max; None when there is none."""
    fd: int = -1
    """Of its pids.current while that is kept open, -1 otherwise."""
    last_read: int = 0
    """Number of the refresh that last read it."""
    children: int = field(default=0, repr=False)


class CgroupGone(LookupError):
    """No cgroup has that id any more."""


class _FileHandle(ctypes.Structure):
    _fields_ = [
        ("handle_bytes", ctypes.c_uint32),
        ("handle_type", ctypes.c_int32),
        ("id", ctypes.c_uint64),
    ]


class CgroupTree:
    """All cgroups known, by id and by path."""

    def __init__(self, hierarchy: PidsHierarchy, max_descriptors: int = 0) -> None:
        """Empty but for the root.

        Args:
            hierarchy: which, and where it is mounted.
            max_descriptors: how many cgroups may keep their counter open between two readings.

        Raises:
            OSError: the mount point cannot be opened.
        """
        self._mount_point = hierarchy.mount_point
        self._mount_fd = os.open(self._mount_point or "/", os.O_RDONLY | os.O_DIRECTORY)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._max_descriptors = max_descriptors
        self._open_descriptors = 0
        self._refreshes = 0
        self._round: Iterator[Cgroup] = iter(())
        self._vanished: list[Cgroup] = []
        self.limit_changes = 0
        """How often any limit was found to be another than before."""
        self.root = Cgroup(os.fstat(self._mount_fd).st_ino, ROOT_PATH, None)
        self._by_id = {self.root.id: self.root}
        self._by_path = {ROOT_PATH: self.root}

    def close(self) -> None:
        """Give all descriptors back."""
        for cgroup in self._by_id.values():
            self._close(cgroup)
        os.close(self._mount_fd)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Cgroup]:
        return iter(self._by_id.values())

    def scan(self) -> list[Cgroup]:
        """Walk the whole hierarchy; the cgroups that were not known."""
        known = len(self._by_id)
        added = []
        pending = [self.root]
        while pending:
            parent = pending.pop()
            for name, inode in self._directories(parent.path):
                path = f"{parent.path.rstrip('/')}/{name}"
                child = self._by_id.get(inode)
                if child is None:
                    child = self._insert(inode, path, parent)
                    added.append(child)
                pending.append(child)
        assert len(self._by_id) == known + len(added)
        return added

    def find(self, cgroup_id: int) -> Cgroup | None:
        """The cgroup with that id, if it is known."""
        return self._by_id.get(cgroup_id)

    def find_all(self, cgroup_ids: Iterable[int]) -> set[Cgroup]:
        """Those of these cgroups that are known."""
        found = set(map(self._by_id.get, cgroup_ids))
        found.discard(None)
        return found  # type: ignore[return-value]

    def id_of_path(self, path: str) -> int | None:
        """The id of the cgroup with that path, looked up where it is not known yet."""
        cgroup = self._by_path.get(path) or self._add_by_path(path)
        return None if cgroup is None else cgroup.id

    def add(self, cgroup_id: int, path: str) -> Cgroup:
        """Note a cgroup whose path is told; it may be gone already."""
        known = self._by_id.get(cgroup_id)
        if known is not None:
            return known
        parent_path = path.rpartition("/")[0] or ROOT_PATH
        parent = self._by_path.get(parent_path)
        if parent is None:
            parent = self._add_by_path(parent_path)
        return self._insert(cgroup_id, path, parent or self.root)

    def locate(self, cgroup_id: int) -> Cgroup | None:
        """Find the path of an id that nobody told, and note it.

        open_by_handle_at needs CAP_DAC_READ_SEARCH; without it the hierarchy is walked. None: it
        exists, or may exist, where this process cannot see it.

        Raises:
            CgroupGone: it has been removed.
        """
        handle = _FileHandle(8, _FILEID_KERNFS, cgroup_id)
        fd = self._libc.open_by_handle_at(
            self._mount_fd, ctypes.byref(handle), os.O_RDONLY | os.O_CLOEXEC
        )
        if fd < 0:
            if ctypes.get_errno() == errno.ESTALE:
                raise CgroupGone(cgroup_id)
            self.scan()
            return self._by_id.get(cgroup_id)
        try:
            full = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        if full.endswith(" (deleted)"):
            raise CgroupGone(cgroup_id)
        if not full.startswith(self._mount_point):
            return None
        return self.add(cgroup_id, full[len(self._mount_point) :] or ROOT_PATH)

    def rename(self, cgroup_id: int, path: str) -> list[Cgroup]:
        """Note a new path (version 1 only), for the cgroup and all below it; those concerned."""
        renamed = self._by_id.get(cgroup_id)
        if renamed is None:
            return []
        old, moved = renamed.path, []
        for cgroup in list(self._by_id.values()):
            if cgroup is renamed or cgroup.path.startswith(old + "/"):
                del self._by_path[cgroup.path]
                cgroup.path = path + cgroup.path[len(old) :]
                self._by_path[cgroup.path] = cgroup
                self._close(cgroup)
                moved.append(cgroup)
        return moved

    def remove(self, cgroup: Cgroup) -> None:
        """Forget a cgroup that is gone. Its tasks must have been taken off first (refresh)."""
        self._close(cgroup)
        self._by_id.pop(cgroup.id, None)
        if self._by_path.get(cgroup.path) is cgroup:
            del self._by_path[cgroup.path]
        if cgroup.parent is not None:
            cgroup.parent.children -= 1

    def refresh(self, active: set[Cgroup], everything: bool = False) -> dict[Cgroup, int]:
        """Read the counters of what changed; by how much each cgroup's own tasks changed.

        Own tasks are those in the cgroup itself: the controller's counter less its children's.

        Args:
            active: cgroups in which something was counted; their ancestors are read too.
            everything: read all; otherwise a tenth of the tree is read besides, in turn, of a
                very large one less.
        """
        self._refreshes += 1
        due = _with_ancestors(active)
        due.update(self._by_id.values() if everything else self._next_share())
        due.discard(self.root)
        if len(due) <= _LIMITS_PER_REFRESH and not self._is_crowded():
            for cgroup in due:
                self._read_limit(cgroup)
        return self._read_all(due)

    def read(self, cgroups: Iterable[Cgroup]) -> dict[Cgroup, int]:
        """The same of these cgroups and their ancestors alone, between two refreshes."""
        due = _with_ancestors(cgroups)
        due.discard(self.root)
        for cgroup in due:
            self._read_limit(cgroup)
        return self._read_all(due)

    def _read_all(self, due: Iterable[Cgroup]) -> dict[Cgroup, int]:
        changes: dict[Cgroup, int] = {}
        pread, number = os.pread, self._refreshes
        for cgroup in due:
            # Most of a tick at thousands of cgroups: no call for the one that is open and same.
            try:
                tasks = int(pread(cgroup.fd, _NUMBER_BYTES, 0))
            except OSError:
                tasks = self._read_tasks(cgroup)
            cgroup.last_read = number
            if tasks != cgroup.tasks:
                self.set_tasks(cgroup, tasks, changes)
        return changes

    def set_tasks(self, cgroup: Cgroup, tasks: int, changes: dict[Cgroup, int]) -> None:
        """Note a reading: it adds to the cgroup's own tasks and takes from its parent's."""
        change = tasks - cgroup.tasks
        if not change:
            return
        cgroup.tasks = tasks
        changes[cgroup] = changes.get(cgroup, 0) + change
        if cgroup.parent is not None:
            changes[cgroup.parent] = changes.get(cgroup.parent, 0) - change

    def processes_in(self, cgroup: Cgroup) -> list[int]:
        """PIDs of the processes in the cgroup itself, as many as a page holds; a system call each.

        In this process's PID namespace; those that are outside of it read as 0 and are left out.
        """
        try:
            with open(f"{self._mount_point}{cgroup.path}/cgroup.procs", "rb", buffering=0) as file:
                whole, _, _ = file.read(_PROCESS_LIST_BYTES).rpartition(b"\n")
        except OSError:
            return []
        return [pid for pid in map(int, whole.split()) if pid]

    def take_vanished(self) -> list[Cgroup]:
        """Cgroups that readings since the last call found gone; each may be named twice."""
        vanished, self._vanished = self._vanished, []
        return vanished

    def _next_share(self) -> Iterator[Cgroup]:
        """A part of the tree, limits included, and the descriptors of those idle are closed."""
        is_crowded = self._is_crowded()
        for _ in range(min(len(self._by_id) // _REFRESH_SHARE + 1, _MAX_SHARE)):
            cgroup = next(self._round, None)
            if cgroup is None:
                self._round = iter(list(self._by_id.values()))
                return
            if cgroup.id in self._by_id:
                if not is_crowded or (cgroup.id + self._refreshes) % _CROWDED_LIMIT_TURNS == 0:
                    self._read_limit(cgroup)
                if self._open_descriptors > _KEPT_DESCRIPTORS and not self._is_read_often(cgroup):
                    self._close(cgroup)
                yield cgroup

    def _add_by_path(self, path: str) -> Cgroup | None:
        try:
            inode = os.stat(self._mount_point + path).st_ino
        except OSError:
            return None
        return self.add(inode, path)

    def _insert(self, cgroup_id: int, path: str, parent: Cgroup) -> Cgroup:
        cgroup = Cgroup(cgroup_id, path, parent)
        parent.children += 1
        self._by_id[cgroup_id] = cgroup
        self._by_path[path] = cgroup
        self._read_limit(cgroup)
        return cgroup

    def _directories(self, path: str) -> list[tuple[str, int]]:
        try:
            with os.scandir(self._mount_point + path) as entries:
                return [
                    (entry.name, entry.inode())
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return []

    def _read_tasks(self, cgroup: Cgroup) -> int:
        """0 once it is gone, since nothing can be in it then; else the last reading at worst."""
        try:
            if cgroup.fd >= 0:
                return int(os.pread(cgroup.fd, _NUMBER_BYTES, 0))
            fd = os.open(f"{self._mount_point}{cgroup.path}/pids.current", os.O_RDONLY)
        except OSError as error:
            return self._not_read(cgroup, error)
        try:
            tasks = int(os.read(fd, _NUMBER_BYTES))
        except OSError as error:
            tasks = self._not_read(cgroup, error)
        if self._may_stay_open(cgroup):
            cgroup.fd = fd
            self._open_descriptors += 1
        else:
            os.close(fd)
        return tasks

    def _may_stay_open(self, cgroup: Cgroup) -> bool:
        if self._open_descriptors >= self._max_descriptors:
            return False
        return self._open_descriptors < _KEPT_DESCRIPTORS or self._is_read_often(cgroup)

    def _is_crowded(self) -> bool:
        return len(self._by_id) > CROWDED_CGROUPS

    def _is_read_often(self, cgroup: Cgroup) -> bool:
        """Whether it was read lately, and not only in its turn."""
        return cgroup.last_read > 0 and self._refreshes - cgroup.last_read < _REFRESH_SHARE // 2

    def _not_read(self, cgroup: Cgroup, error: OSError) -> int:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            return cgroup.tasks
        self._close(cgroup)
        self._vanished.append(cgroup)
        return 0

    def _read_limit(self, cgroup: Cgroup) -> None:
        try:
            fd = os.open(f"{self._mount_point}{cgroup.path}/pids.max", os.O_RDONLY)
        except OSError:
            return
        try:
            text = os.read(fd, _NUMBER_BYTES).strip()
        except OSError:
            return
        finally:
            os.close(fd)
        limit = int(text) if text.isdigit() else None
        if limit != cgroup.limit:
            cgroup.limit = limit
            self.limit_changes += 1

    def _close(self, cgroup: Cgroup) -> None:
        if cgroup.fd >= 0:
            os.close(cgroup.fd)
            cgroup.fd = -1
            self._open_descriptors -= 1


def _with_ancestors(cgroups: Iterable[Cgroup]) -> set[Cgroup]:
    found = set(cgroups)
    for cgroup in tuple(found):
        parent = cgroup.parent
        while parent is not None and parent not in found:
            found.add(parent)
            parent = parent.parent
    return found
