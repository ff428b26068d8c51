"""Read a workload's identity out of a cgroup path.

Two questions are put to the segments of a path, from the root inwards:

* *Who started it?* ``_owner`` follows systemd: slices first, then one unit, then, below a
  user's manager or session, once more slices and one unit.
* *What runs in it?* ``_workload`` follows the container runtimes: a segment is a pod, a
  container, a room (a directory that tells what the bare names below it are), or nothing.
  The innermost container wins, and a pod level forgets the containers around it.

Both compare whole segments, never parts of them: a UUID in the name of a terminal's scope or a
container id in the name of a mount unit is no container. Pure: no I/O, no state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["KUBELET_UNKNOWN", "CgroupIdentity", "parse"]

# Runtime of what the kubelet started where the path does not tell through whom.
KUBELET_UNKNOWN: Final = "kubelet-unknown"


@dataclass(frozen=True, slots=True)
class CgroupIdentity:
    """What a cgroup path tells; ``None`` where it does not tell.

    ``container_id``: 64 hexadecimal digits for most runtimes; the name for lxc and nspawn;
    ``<alloc>.<task>`` for nomad. ``pod_uid``: with dashes, or 32 digits for a static pod.
    ``runtime``: ``systemd`` for a unit without a container. ``unit``: the service started by the
    host's systemd (or a user's), also where a container is found; never one inside a container.
    ``session``: the scope of a login session. ``user_id``: of the user's slice or manager.
    """

    container_id: str | None
    pod_uid: str | None
    runtime: str | None
    unit: str | None
    session: str | None = None
    user_id: int | None = None


def parse(path: str) -> CgroupIdentity:
    """Tell what ``path`` belongs to: a cgroup path, or one line of ``/proc/PID/cgroup``.

    Takes any string, undecodable bytes escaped as surrogates included, and never raises; what
    names nothing known gives ``None`` in every field. Linear in the length of ``path``.
    """
    segments = _segments(path)
    if not segments:
        return CgroupIdentity(None, None, None, None)
    unit, session, user_id = _owner(segments)
    container_id, pod_uid, runtime = _workload(segments)
    if runtime is None and unit:
        runtime = "systemd"
    return CgroupIdentity(container_id, pod_uid, runtime, unit, session, user_id)


def _compile(*patterns: str) -> re.Pattern[str]:
    # ASCII: `\d` and `\w` must not take the digits and letters of every script.
    return re.compile("|".join(patterns), re.ASCII)


# A line of /proc/PID/cgroup, cgroups(7): only the first two colons divide, paths hold others.
_LINE: Final = _compile(r"\d+:[^:/]*:(?=/)")


def _segments(path: str) -> list[str]:
    """Segments from the root; ``..`` (seen from another cgroup namespace) says nothing."""
    # proc_cgroup_show() in the kernel marks a removed cgroup so.
    text = path.strip().removesuffix(" (deleted)")
    if line := _LINE.match(text):
        text = text[line.end() :]
    segments = [
        segment for part in text.split("/") if (segment := part.strip()) not in ("", ".", "..")
    ]
    # A line that lost its start: what follows is no path that can be trusted.
    if segments and not text.startswith("/") and segments[0].endswith(":"):
        return []
    return segments


_LAST_USER_ID: Final = 0xFFFFFFFE  # the next one is (uid_t) -1: no user

_USER_SLICE: Final = _compile(r"user-(\d{1,10})\.slice")
_USER_MANAGER: Final = _compile(r"user@(\d{1,10})\.service")
_SESSION: Final = _compile(r"session-[A-Za-z0-9]+\.scope")
# systemd, unit_name_is_valid(): an `@` wants an instance, a template is no unit that runs.
_SERVICE: Final = _compile(r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\@-]+)?\.service")


def _owner(segments: Sequence[str]) -> tuple[str | None, str | None, int | None]:
    """Service, session scope and user id, as cg_path_get_unit() and its sisters find them.

    Source: systemd, src/basic/cgroup-util.c: the first segment that is not a slice is the unit,
    or nothing is; below user@UID.service or a session the same again gives the user's unit.
    """
    unit: str | None = None
    session: str | None = None
    user_id: int | None = None
    below_user = False
    for segment in segments:
        if segment.endswith(".slice"):
            if user_id is None and segment.startswith("user-"):
                user_id = _user_id(_USER_SLICE.fullmatch(segment))
            continue
        # cg_escape() puts `_` before names that the kernel could take for its own files.
        name = segment.removeprefix("_")
        if name.endswith(".service") and _SERVICE.fullmatch(name):
            unit = name
            manager_of = None if below_user else _user_id(_USER_MANAGER.fullmatch(name))
            if manager_of is not None:
                user_id, below_user = manager_of, True
                continue
        elif not below_user and _SESSION.fullmatch(name):
            session, below_user = name, True
            continue
        break
    return unit, session, user_id


def _user_id(match: re.Match[str] | None) -> int | None:
    """The user id that ``match`` caught, where it is one."""
    number = int(match[1]) if match else None
    return number if number is None or number <= _LAST_USER_ID else None


_HEX64: Final = "[0-9a-f]{64}"
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME: Final = r"[A-Za-z0-9_.:\\-]+"
_DASH: Final = r"(?:-|\\x2d)"
# Units that carry the id of a container without being it: the mount of its root, say.
_NOT_PROCESSES: Final = r"mount|automount|slice|service|socket|swap|device|target|timer|path"
_TAIL: Final = rf"(?:\.(?!(?:{_NOT_PROCESSES})\Z)[a-z]+)?"

# kubelet, pkg/kubelet/cm: `pod<uid>` (cgroupfs driver) or `<parents>-pod<uid>.slice` (systemd's,
# where dashes divide levels and the uid's own become underscores). A static pod's uid is a hash.
_POD: Final = _compile(
    r"(?:[\w.\\-]*-)?pod"
    r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?"
)
# A pod whose uid is of another form: a level all the same, it divides inner from outer.
_POD_SLICE: Final = _compile(r"(?:[\w.\\-]*-)?kubepods(?:-[a-z]+)?-pod.+")
_POD_DIRECTORY: Final = _compile(r"pod[0-9A-Za-z][\w.-]*")

# What one whole segment names: the group that caught is the id, the group's name the runtime or
# a key of the tables below. The first to fit wins: `nomad` stands before `task`.
_CONTAINER: Final = _compile(
    # libcontainer's systemd driver: `<prefix>-<id>.scope`; cri-o keeps its prefix with cgroupfs.
    # Monitors (`crio-conmon-<id>`, `libpod-conmon-<id>`) fail for want of a bare id.
    rf"docker-(?P<docker>{_HEX64}){_TAIL}",
    rf"(?:cri-containerd|containerd|nerdctl)-(?P<containerd>{_HEX64}){_TAIL}",
    rf"crio-(?P<crio>{_HEX64}){_TAIL}",
    # podman: `libpod-<id>`, and `libpod-payload-<id>` below a unit with --cgroups=split.
    rf"(?:libpod|libpod-payload|podman)-(?P<podman>{_HEX64}){_TAIL}",
    # cgroupfs drivers: a bare id; the room it stands in tells whose.
    rf"(?P<bare>{_HEX64}){_TAIL}",
    rf"(?P<uuid>{_UUID})",
    # Cloud Foundry's garden cuts its handles to 28 characters.
    r"(?P<garden>[0-9a-f]{8}(?:-[0-9a-f]{4}){4})",
    # Fargate platform 1.4: the id of the task and a number.
    r"(?P<ecs>[0-9a-f]{32}-\d{5,})",
    # nomad, client/lib/cgroupslib: `<alloc>.<task>.scope` on v2, without `.scope` on v1.
    rf"(?P<nomad>{_UUID}\.{_NAME})\.scope",
    rf"(?P<task>{_UUID}\.{_NAME})",
    # LXC 4: `lxc.payload.<name>`; its monitor is beside it in `lxc.monitor.<name>`.
    r"lxc\.payload\.(?P<lxc>.+)",
    # libvirt's containers: machined's scope of `lxc-<number>-<name>`, once `<name>.libvirt-lxc`.
    rf"machine-lxc{_DASH}(?:\d+{_DASH})?(?P<libvirt>{_NAME})\.scope",
    rf"(?P<libvirt_old>{_NAME})\.libvirt-lxc",
    # systemd-machined: `machine-<escaped name>.scope`. libvirt registers virtual machines there
    # too, named `<driver>-<number>-<name>`.
    rf"machine-(?!(?:lxc|qemu|kvm|xen|libxl|ch{_DASH}\d+){_DASH})(?P<nspawn>{_NAME})\.scope",
    # systemd's template for `machinectl start`; in machine.slice NixOS's and hand-written units.
    rf"systemd-nspawn@(?P<nspawn_unit>{_NAME})\.service",
    rf"(?:container@|machine-)(?P<machine_unit>{_NAME})\.service",
    # Cloud Foundry's process manager on BOSH hosts.
    rf"(?:runc-)?bpm-(?!.*\.(?:{_NOT_PROCESSES})\Z)(?P<bpm>[\w.-]+?)(?:\.scope)?",
)
_RUNTIME_OF: Final = {"libvirt": "lxc", "libvirt_old": "lxc", "nspawn_unit": "nspawn"}
_ESCAPED: Final = frozenset({"libvirt", "nspawn", "nspawn_unit", "machine_unit"})

# Rooms: directory -> runtime of the bare ids below it. Below any other it is docker's, whose
# --cgroup-parent takes any name.
_ROOMS: Final = {
    "containerd": "containerd",
    "k8s.io": "containerd",
    "docker": "docker",
    "ecs": "ecs",
    "garden": "garden",
    "libpod": "podman",
    "libpod_parent": "podman",
    "machine.slice": "nspawn",
    "nomad": "nomad",
    "nomad.slice": "nomad",
    "podman": "podman",
}
# Patterns that say something only in these rooms.
_ROOMS_OF: Final = {
    "uuid": frozenset({KUBELET_UNKNOWN, "garden"}),
    "task": frozenset({"nomad"}),
    "machine_unit": frozenset({"nspawn"}),
}

# The very next segment is a container, whatever it is called.
_LXC_ROOMS: Final = frozenset({"lxc", "lxc.payload"})
# containerd's namespaces, at the root: a container without a cgroup parent, of any name.
_NAMESPACES: Final = frozenset({"default", "k8s.io"})
# containerd, pkg/identifiers: words joined by single `.`, `_` or `-`.
_CONTAINERD_ID: Final = _compile(
    rf"(?!.*\.(?:scope|{_NOT_PROCESSES})\Z)[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*"
)


def _workload(segments: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """Innermost container, the pod it is in, and the runtime."""
    container: str | None = None
    pod: str | None = None
    runtime: str | None = None
    room = ""
    in_kubepods = False  # below the kubelet's root, above its pods
    for index, segment in enumerate(_spelled_out(segments)):
        if room in _LXC_ROOMS:
            container, runtime, room = segment, "lxc", ""
        elif segment in _LXC_ROOMS:
            room = segment
        elif index == 0 and segment in _NAMESPACES:
            room = "containerd"
        elif segment in _ROOMS:
            room = _ROOMS[segment]
        elif "pod" in segment and (level := _pod_level(segment, in_kubepods)):
            container, runtime, room = None, KUBELET_UNKNOWN, KUBELET_UNKNOWN
            pod, in_kubepods = level[0], False
        elif "kubepods" in segment:
            room, in_kubepods = KUBELET_UNKNOWN, True
        elif not segment.endswith(".slice") and (found := _container(segment, room)):
            container, runtime = found
            in_kubepods = False
        elif index == 1 and segments[0] in _NAMESPACES and _CONTAINERD_ID.fullmatch(segment):
            container, runtime = segment, "containerd"
    return container, pod, runtime


def _spelled_out(segments: Sequence[str]) -> Sequence[str]:
    """Segments, with ``<slice>:<prefix>:<id>`` as the two levels that it stands for.

    Source: libcontainer's cgroupsPath for systemd; a runtime that is not told of the kubelet's
    systemd driver (SystemdCgroup = false) takes it for the name of one directory.
    """
    if ":" not in "".join(segments):
        return segments
    levels: list[str] = []
    for segment in segments:
        if segment.count(":") < 2:
            levels.append(segment)
        else:
            parent, prefix, name = segment.rsplit(":", 2)
            levels += parent, f"{prefix}-{name}"
    return levels


def _pod_level(segment: str, in_kubepods: bool) -> tuple[str | None] | None:
    """Whether ``segment`` is a pod's own cgroup, and then its uid where it has one."""
    if pod := _POD.fullmatch(segment):
        return (pod[1].replace("_", "-"),)
    if _POD_SLICE.fullmatch(segment) or (in_kubepods and _POD_DIRECTORY.fullmatch(segment)):
        return (None,)
    return None


def _container(segment: str, room: str) -> tuple[str, str] | None:
    """Id and runtime of the container that ``segment`` names in ``room``."""
    match = _CONTAINER.fullmatch(segment)
    if match is None or match.lastgroup is None:
        return None
    rule, name = match.lastgroup, match[match.lastgroup]
    if rule in _ESCAPED:
        name = _unescape(name)
    if rule == "bare":
        return name, room or "docker"
    if rooms := _ROOMS_OF.get(rule):
        return (name, room) if room in rooms else None
    return name, _RUNTIME_OF.get(rule, rule)


_ESCAPES: Final = _compile(r"(?:\\x[0-9a-f]{2})+")


def _unescape(name: str) -> str:
    r"""Undo unit_name_escape() of systemd, which writes odd bytes as ``\xNN``."""
    return _ESCAPES.sub(
        lambda run: bytes.fromhex(run[0].replace("\\x", "")).decode("utf-8", "surrogateescape"),
        name,
    )
