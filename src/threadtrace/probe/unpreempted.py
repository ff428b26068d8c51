"""Programs at the return of functions keep the CPU where the kernel might preempt them.

While such a program is preempted, the kernel skips it for every task that comes to it on the same
CPU. Four functions that it lets programs call (kfuncs), all there from 6.14 on, leave a window of a
few instructions: see ``bpf/unpreempted.h``.
"""

from __future__ import annotations

import os

from threadtrace.probe import kernel
from threadtrace.probe.btf import KernelTypes
from threadtrace.probe.compiled import INSTRUCTION

# C name in bpf/unpreempted.h
_FUNCTIONS = {
    "KERNEL_PREEMPT_DISABLE": "bpf_preempt_disable",
    "KERNEL_PREEMPT_ENABLE": "bpf_preempt_enable",
    "KERNEL_LOCAL_IRQ_SAVE": "bpf_local_irq_save",
    "KERNEL_LOCAL_IRQ_RESTORE": "bpf_local_irq_restore",
}
_KERNEL_FUNCTION = 1 << 30  # bpf/unpreempted.h; helpers have numbers below 1,000

# include/uapi/linux/bpf.h
_CALL, _COPY, _ADD, _SET, _EXIT = 0x85, 0xBF, 0x07, 0xB7, 0x95
_SOURCE_KERNEL_FUNCTION = 2 << 4  # BPF_PSEUDO_KFUNC_CALL
_FIRST_ARGUMENT, _SOURCE_FRAME_POINTER = 1, 10 << 4


def function_flags(types: KernelTypes) -> list[str]:
    """Compiler flags with the ids of the functions; [] where programs may not call them."""
    ids = {name: types.function_id(function) for name, function in _FUNCTIONS.items()}
    known = {name: number for name, number in ids.items() if number is not None}
    if len(known) < len(ids) or not _may_be_called(known, types):
        return []
    return [f"-D{name}={number}" for name, number in known.items()]


def with_kernel_functions(code: bytes) -> bytes:
    """The instructions with calls of the kernel's functions in the place of what stands for them.

    Args:
        code: as the compiler made it, where such a call is one of a helper whose number is the
            function's BTF id with bit 30 set.
    """
    changed = bytearray(code)
    for place in range(0, len(code), INSTRUCTION.size):
        opcode, registers, _, immediate = INSTRUCTION.unpack_from(code, place)
        if opcode == _CALL and not registers and immediate & _KERNEL_FUNCTION:
            INSTRUCTION.pack_into(changed, place, *_call(immediate ^ _KERNEL_FUNCTION))
    return bytes(changed)


def _call(function_id: int) -> tuple[int, int, int, int]:
    return _CALL, _SOURCE_KERNEL_FUNCTION, 0, function_id


def _may_be_called(ids: dict[str, int], types: KernelTypes) -> bool:
    """Whether the verifier takes them: without its compiler (JIT) a kernel does not."""
    tracepoint = types.typedef_id("btf_trace_task_newtask")
    if tracepoint is None:
        return False
    on_stack = [
        (_COPY, _FIRST_ARGUMENT | _SOURCE_FRAME_POINTER, 0, 0),
        (_ADD, _FIRST_ARGUMENT, 0, -8),
    ]
    instructions = [
        _call(ids["KERNEL_PREEMPT_DISABLE"]),
        *on_stack,
        _call(ids["KERNEL_LOCAL_IRQ_SAVE"]),
        _call(ids["KERNEL_PREEMPT_ENABLE"]),
        *on_stack,
        _call(ids["KERNEL_LOCAL_IRQ_RESTORE"]),
        (_SET, 0, 0, 0),
        (_EXIT, 0, 0, 0),
    ]
    code = b"".join(INSTRUCTION.pack(*instruction) for instruction in instructions)
    try:
        os.close(kernel.load_typed_raw_tracepoint("probe", code, tracepoint))
    except OSError:
        return False
    return True
