"""One boot: QEMU, what the guest says, its verdict."""

from __future__ import annotations

import json
import os
import platform
import secrets
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headless.architectures import Architecture
from headless.image import Image
from headless.kernels import KernelsError

MEMORY_MIB = 2048
PROCESSORS = 2
HELLO_SECONDS = 20  # with KVM; emulated, a guest may take longer to its first line
END_SECONDS = 30  # from its last output
_LOG_LINES = 30

Message = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """What one guest said."""

    architecture: Architecture
    messages: list[Message] = field(default_factory=list)
    exit_code: int | None = None
    seconds: float = 0.0
    timed_out: bool = False
    kernel_log: str = ""
    accelerator: str = ""

    @property
    def verdict(self) -> str | None:
        """Passed or failed, as the guest's own line and QEMU's status agree; None: neither."""
        told = next((m["verdict"] for m in self.messages if "verdict" in m), None)
        own = self.architecture
        agreed = {"passed": own.passed_status, "failed": own.failed_status}
        return told if told and agreed[told] == self.exit_code else None

    @property
    def tests(self) -> list[Message]:
        """What became of each test."""
        return [message for message in self.messages if "test" in message]

    @property
    def hello(self) -> Message | None:
        """The guest's first message."""
        found: Message | None = next((m["hello"] for m in self.messages if "hello" in m), None)
        return found


def accelerators(architecture: Architecture) -> list[str]:
    """How to run a guest, the fastest first; whether KVM works shows only when a guest starts."""
    own = platform.machine() == architecture.machine
    usable = own and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return ["kvm", "tcg,thread=multi"] if usable else ["tcg,thread=multi"]


def boot(
    image: Image, directory: Path, limit_seconds: float, show: Callable[[bytes], None]
) -> Outcome:
    """Run the guest to its end.

    Args:
        image: what it boots.
        directory: for what it says; emptied by whoever made it.
        limit_seconds: after which it is ended.
        show: gets the tests' output as it comes.

    Raises:
        KernelsError: QEMU is missing or could not start.
    """
    own = image.architecture
    program = shutil.which(own.emulator)
    if program is None:
        raise KernelsError(f"{own.emulator} is missing: apt-get install {own.emulator_package}")
    outcome = Outcome(own)
    for accelerator in accelerators(own):
        first = HELLO_SECONDS if accelerator == "kvm" else limit_seconds
        outcome = _run(program, accelerator, image, directory, (first, limit_seconds), show)
        outcome.accelerator = accelerator.partition(",")[0]
        if outcome.hello or accelerator != "kvm":
            break
    return outcome


def _run(
    program: str,
    accelerator: str,
    image: Image,
    directory: Path,
    limits: tuple[float, float],
    show: Callable[[bytes], None],
) -> Outcome:
    base = directory / f"serial-{secrets.token_hex(4)}"
    log, channel = base.with_suffix(".log"), base.with_suffix(".told")
    own = image.architecture
    processor = "host" if accelerator == "kvm" else own.emulated_processor
    command = [program, "-accel", accelerator, "-cpu", processor]
    command += ["-smp", str(PROCESSORS), "-m", str(MEMORY_MIB)]
    command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initramfs)]
    command += [
        "-append",
        f"console={own.console} loglevel=5 panic=-1 mitigations=off lsm=lockdown,capability",
    ]
    command += ["-chardev", f"file,id=log,path={log}", "-chardev", "stdio,id=output,signal=off"]
    command += ["-chardev", f"file,id=told,path={channel}", *own.board]
    started = time.monotonic()
    outcome = Outcome(own)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        _follow(process, channel, started, limits, outcome, show)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    outcome.exit_code = process.returncode
    outcome.seconds = time.monotonic() - started
    outcome.messages = _messages(channel)
    outcome.kernel_log = log.read_text(errors="replace") if log.exists() else ""
    if not outcome.kernel_log and errors and accelerator != "kvm":
        raise KernelsError(f"QEMU could not start: {errors.decode(errors='replace').strip()}")
    return outcome


def _follow(
    process: subprocess.Popen[bytes],
    channel: Path,
    started: float,
    limits: tuple[float, float],
    outcome: Outcome,
    show: Callable[[bytes], None],
) -> None:
    """Pass its output on until it ends, or a limit is over."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    while True:
        elapsed = time.monotonic() - started
        has_spoken = channel.exists() and channel.stat().st_size > 0
        if elapsed > limits[1] or (elapsed > limits[0] and not has_spoken):
            outcome.timed_out = True
            return
        readable, _, _ = select.select([descriptor], [], [], 1.0)
        if readable:
            data = os.read(descriptor, 1 << 16)
            if not data:
                process.wait(END_SECONDS)
                return
            show(data)


def _messages(channel: Path) -> list[Message]:
    if not channel.exists():
        return []
    found = []
    for line in channel.read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # cut off with the guest
            continue
    return found


def last_words(outcome: Outcome) -> str:
    """The end of the kernel's log, for a guest that gave no verdict."""
    return "\n".join(outcome.kernel_log.splitlines()[-_LOG_LINES:])
