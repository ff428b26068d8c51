"""A command in a real terminal emulator, tmux, with a server of the test's own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from support.requirements import require
from support.waiting import wait_until

DEADLINE_SECONDS = 30
_ENDED = re.compile(r"^ended with (\d+)$", re.MULTILINE)


class Tmux:
    """Types keys and looks at the screen. The shell around the command tells how it ended."""

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 120,
        rows: int = 40,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        require(shutil.which("tmux"), "kernel", "tmux", "apt-get install tmux")
        self._name = f"threadtrace-{uuid.uuid4().hex[:12]}"
        self._directory = tempfile.TemporaryDirectory(prefix="threadtrace-tmux-")
        self._pid_file = Path(self._directory.name) / "pid"
        self._settings = Path(self._directory.name) / "stty"
        words = shlex.join([str(word) for word in command])
        # The shell stays, with the settings of its terminal before and after.
        script = (
            f"stty -g >{self._settings}.before; "
            f'sh -c \'echo $$ >{self._pid_file}; exec "$0" "$@"\' {words}; '
            f'code=$?; stty -g >{self._settings}.after; echo "ended with $code"; read -r _'
        )
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        self._tmux(
            *("-f", os.devnull, "new-session", "-d", "-x", str(columns), "-y", str(rows)),
            *("env", "TMUX=", *variables, "sh", "-c", script),
        )

    def __enter__(self) -> Tmux:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._tmux("kill-server")
        finally:
            self._directory.cleanup()

    @property
    def pid(self) -> int:
        """Of the command."""

        def told() -> int:
            return int(self._pid_file.read_text() or 0) if self._pid_file.exists() else 0

        return wait_until(told, DEADLINE_SECONDS, "the command's PID")

    def type(self, *keys: str) -> None:
        """Keys by tmux's names; words are typed letter by letter."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        """As a window is resized."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self, with_colours: bool = False) -> str:
        """What stands there now."""
        colours = ["-e"] if with_colours else []
        return self._tmux("capture-pane", "-p", *colours)

    def buffer(self) -> str:
        """What was copied last, by OSC 52."""
        return self._tmux("show-buffer")

    def accept_clipboard(self) -> None:
        """Let programs copy."""
        self._tmux("set-option", "-s", "set-clipboard", "on")

    def wait_for(self, condition: str | Callable[[str], object], what: str = "") -> str:
        """Wait for a text on the screen, or until the screen is as the condition wants; that."""

        def holds() -> str:
            screen = self.screen()
            found = condition in screen if isinstance(condition, str) else condition(screen)
            return screen if found else ""

        return wait_until(
            holds, DEADLINE_SECONDS, lambda: f"{what or condition!r} in:\n{self.screen()}"
        )

    def end(self) -> int:
        """Wait for the command's end; its exit code."""
        found = _ENDED.search(self.wait_for(_ENDED.search, "its end"))
        assert found is not None
        return int(found[1])

    def is_as_before(self) -> bool:
        """Whether the terminal's settings are those from before; once it has ended."""
        before, after = (Path(f"{self._settings}.{when}") for when in ("before", "after"))
        return before.read_text() == after.read_text()

    def modes(self) -> dict[str, str]:
        """What programs may have left on: alternate screen, mouse, hidden cursor."""
        names = ("alternate_on", "mouse_any_flag", "cursor_flag")
        values = self._tmux("display-message", "-p", " ".join(f"#{{{name}}}" for name in names))
        return dict(zip(names, values.split()))

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._name, *arguments], capture_output=True, text=True, timeout=30
        )
        if done.returncode != 0:
            raise RuntimeError(f"tmux {arguments}: {done.stderr}")
        return done.stdout
