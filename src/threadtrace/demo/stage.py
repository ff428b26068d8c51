"""The demo's side of the stage: start it, follow what it tells, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from threadtrace.demo.stage_main import END_CULPRITS, StageSpec
from threadtrace.errors import UnavailableError
from threadtrace.text import clean, printable, shortened

_END_SECONDS = 5.0
_SHOWN_CHARACTERS = 200


class Stage:
    """A context manager: what it started is gone afterwards."""

    def __init__(self, spec: StageSpec) -> None:
        """Start it. Workloads follow; ``limit`` is None until all of them run.

        Raises:
            UnavailableError: no process can be started.
        """
        self.limit: str | None = None
        """``pid_max`` or ``pids_max``, once all workloads run."""
        self.note = ""
        self.tasks: int | None = None
        self.refused_probes = 0
        self.refusal_text = ""
        self.is_last_probe_refused = False
        self._rest = b""
        command = [sys.executable, "-m", "threadtrace.demo.stage_main", orjson.dumps(spec).decode()]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[spec.cgroup_fd],
                start_new_session=True,  # Ctrl-C is the demo's to handle
                bufsize=0,
            )
        except OSError as error:
            raise UnavailableError(
                f"cannot start the demo's stage: {error.strerror}; is there room for processes?"
            ) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._output.fileno(), False)

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The waiting process takes its child, the namespace's init, with it."""
        self._input.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._output.close()

    def end_culprits(self) -> None:
        """``kill -9`` of all that leak."""
        os.write(self._input.fileno(), END_CULPRITS)

    def take_in(self) -> None:
        """Take in what it told since the last call.

        Raises:
            UnavailableError: it could not be set up, or has ended.
        """
        while (chunk := self._read()) is not None:
            if not chunk:
                raise UnavailableError(f"the demo's stage has ended; {_REMEDY}")
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._follow(orjson.loads(line))

    def _read(self) -> bytes | None:
        try:
            return os.read(self._output.fileno(), 1 << 16)
        except BlockingIOError:
            return None

    def _follow(self, message: dict[str, Any]) -> None:
        if "failed" in message:
            raise UnavailableError(f"the demo's stage failed: {_shown(message['failed'])}")
        if "ready" in message:
            self.limit, self.note = message["ready"], _shown(message["note"])
        self.tasks = message.get("tasks", self.tasks)
        if "probe" in message:
            self.is_last_probe_refused = message["probe"] == "refused"
            if self.is_last_probe_refused:
                self.refused_probes += 1
                self.refusal_text = _shown(message["text"])


_REMEDY = "run threadtrace doctor, or try with a longer --seconds"


def _shown(text: str) -> str:
    return shortened(printable(clean(text)), _SHOWN_CHARACTERS)


def open_directory(directory: Path) -> int:
    """A descriptor for a stage, which sees other paths."""
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
