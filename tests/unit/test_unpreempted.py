"""Calls of the kernel's functions are put where the compiler left room for them."""

from __future__ import annotations

import struct

from threadtrace.probe.unpreempted import with_kernel_functions

FUNCTION = 65_282
CALL, LOAD_WIDE, ADD, EXIT = 0x85, 0x18, 0x07, 0x95


def instruction(opcode: int, registers: int, immediate: int) -> bytes:
    return struct.pack("<BBhi", opcode, registers, 0, immediate)


def test_only_what_stands_for_a_function_is_changed() -> None:
    before = [
        instruction(CALL, 0, 14),  # a helper
        instruction(CALL, 0, 1 << 30 | FUNCTION),
        instruction(ADD, 1, 1 << 30 | FUNCTION),
        instruction(LOAD_WIDE, 0x11, 7),  # a map
        instruction(0, 0, 1 << 30),
        instruction(CALL, 0x10, -3),  # a function of the program
        instruction(EXIT, 0, 0),
    ]
    after = list(before)
    after[1] = instruction(CALL, 0x20, FUNCTION)
    assert with_kernel_functions(b"".join(before)) == b"".join(after)
