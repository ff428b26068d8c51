"""What differs between guests of different processors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """One that Debian's kernels are built for."""

    name: str
    """As Debian calls it."""
    machine: str
    """As ``uname -m`` and Python's wheels do."""
    headers: str
    """The kernel's own name for it, in its headers: ``arch/NAME/include``."""
    compiler: str
    compiler_package: str
    emulator: str
    emulator_package: str
    board: tuple[str, ...]
    """Arguments of QEMU: the machine, and which of its serial ports the kernel's log, the tests'
    output and what is told to the runner come from (vagrant/guest/init)."""
    emulated_processor: str
    console: str
    passed_status: int
    """With which QEMU ends where the guest says that its tests passed."""
    failed_status: int


_AMD64 = Architecture(
    name="amd64",
    machine="x86_64",
    headers="x86",
    compiler="gcc",
    compiler_package="gcc",
    emulator="qemu-system-x86_64",
    emulator_package="qemu-system-x86",
    board=(
        *("-M", "pc", "-serial", "chardev:log"),
        *("-serial", "chardev:output", "-serial", "chardev:told"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
    ),
    emulated_processor="max",
    console="ttyS0",
    # isa-debug-exit: twice what is written to the port, and one.
    passed_status=2 * 0x10 + 1,
    failed_status=2 * 0x11 + 1,
)

_ARM64 = Architecture(
    name="arm64",
    machine="aarch64",
    headers="arm64",
    compiler="aarch64-linux-gnu-gcc",
    compiler_package="gcc-aarch64-linux-gnu",
    emulator="qemu-system-aarch64",
    emulator_package="qemu-system-arm",
    # This machine has one port of its own, and no device with which a guest could choose a status.
    board=(
        *("-M", "virt,gic-version=max", "-serial", "chardev:log"),
        *("-device", "pci-serial,addr=1,chardev=output"),
        *("-device", "pci-serial,addr=2,chardev=told"),
    ),
    # Emulated, pointers signed by the architecture's own algorithm make everything take three times
    # as long.
    emulated_processor="max,pauth-impdef=on",
    console="ttyAMA0",
    passed_status=0,
    failed_status=0,
)

ARCHITECTURES = {entry.name: entry for entry in (_AMD64, _ARM64)}
USUAL = _AMD64.name
"""That of an entry which names none."""
