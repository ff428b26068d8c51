"""The agent's side of the loader process: start it, wait for it, take what it attached."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson

from threadtrace.errors import NoFreePidError, ThreadtraceError, UnavailableError
from threadtrace.probe.plan import RefusalHook

DEFAULT_MAX_CGROUPS = 16_384
DEFAULT_MAX_PROCESSES = 16_384
_MAX_MESSAGE_BYTES = 1 << 20
_MAX_DESCRIPTORS = 128
# Where the kernel's headers are compiled, seconds; on an emulated processor more than a minute.
_TIMEOUT_SECONDS = 150


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """What the programs are compiled with."""

    pids_hierarchy_id: int
    max_cgroups: int = DEFAULT_MAX_CGROUPS
    max_processes: int = DEFAULT_MAX_PROCESSES
    refusal_hook: RefusalHook = RefusalHook.AUTO
    compiles_anew: bool = False
    """Even where compiled programs are kept: to see whether the compiler is there and works."""


@dataclass(slots=True)
class LoadedPrograms:
    """What the loader left behind. The attachments live as long as these descriptors."""

    maps: dict[str, int]
    programs: dict[str, int]
    attachments: list[int]
    hooks: list[dict[str, Any]]
    missing: list[dict[str, str]]
    facts: dict[str, Any]
    tracefs_mounted_privately: bool = False
    has_pid_max_per_namespace: bool = False
    """Since 6.14; where it is not known, it is taken for older."""
    counting_since_ns: int | None = None
    """CLOCK_MONOTONIC, when the programs were attached."""
    kept_at: str | None = None
    """The file in which what was compiled is kept for the next start, where it was compiled."""
    _closed: bool = field(default=False, repr=False)

    def close(self) -> None:
        """Detach: the kernel lets go of a program with its last descriptor."""
        if self._closed:
            return
        self._closed = True
        for fd in (*self.attachments, *self.programs.values(), *self.maps.values()):
            os.close(fd)


class Loader:
    """A loader process under way, so that the agent can do other things while it compiles."""

    def __init__(self, options: LoaderOptions) -> None:
        """Start it.

        Raises:
            UnavailableError: no process can be started.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MAX_MESSAGE_BYTES)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_MESSAGE_BYTES)
        text = orjson.dumps(options).decode()
        command = [sys.executable, "-m", "threadtrace.probe.loader_main", text]
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                command,
                {**os.environ, "LC_ALL": "C"},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                setsigmask=[signal.SIGINT],  # Ctrl-C goes to all; it is the agent's to end this one
            )
        except OSError as error:
            ours.close()
            kind = NoFreePidError if error.errno == errno.EAGAIN else UnavailableError
            raise kind(
                f"the loader process could not be started ({error.strerror}): no PID may be free; "
                "threadtrace has to be running before that"
            ) from None
        finally:
            theirs.close()
        self._channel = ours
        self._reaped = False

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()
        if not self._reaped:
            # Its channel is gone, so it cannot hand over anything any more.
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)

    def ready(self, timeout_seconds: float) -> bool:
        """Whether ``result`` would not wait."""
        readable, _, _ = select.select([self._channel], [], [], timeout_seconds)
        return bool(readable)

    def result(self) -> LoadedPrograms:
        """Wait for the loader to end and take over what it attached.

        Raises:
            ThreadtraceError: what the loader reported, with its exit code.
            UnavailableError: the loader died or did not answer in time.
        """
        if not self.ready(_TIMEOUT_SECONDS):
            raise UnavailableError(f"the loader did not answer within {_TIMEOUT_SECONDS} s")
        data, descriptors, _, _ = socket.recv_fds(
            self._channel, _MAX_MESSAGE_BYTES, _MAX_DESCRIPTORS
        )
        _, status = os.waitpid(self._pid, 0)
        self._reaped = True
        if not data:
            code = os.waitstatus_to_exitcode(status)
            raise UnavailableError(
                f"the loader process died ({'signal' if code < 0 else 'exit code'} {abs(code)}): "
                "threadtrace doctor tells what is missing"
            )
        message = orjson.loads(data)
        if "error" in message:
            error = ThreadtraceError(message["error"])
            error.exit_code = message["exit_code"]
            raise error
        return _taken_over(message, descriptors)


def _taken_over(message: dict[str, Any], descriptors: list[int]) -> LoadedPrograms:
    for fd in descriptors:
        os.set_inheritable(fd, False)
    maps, programs = message["maps"], message["programs"]
    after_maps = len(maps)
    after_programs = after_maps + len(programs)
    return LoadedPrograms(
        maps=dict(zip(maps, descriptors)),
        programs=dict(zip(programs, descriptors[after_maps:after_programs])),
        attachments=descriptors[after_programs:],
        hooks=message["hooks"],
        missing=message["missing"],
        facts=message["facts"],
        tracefs_mounted_privately=message["tracefs_mounted_privately"],
        has_pid_max_per_namespace=message["has_pid_max_per_namespace"],
        counting_since_ns=message["counting_since_ns"],
        kept_at=message["kept_at"],
    )
