"""The system calls that attach a program, which neither bcc nor every libbpf offers.

bcc 0.18 to 0.26 cannot load BTF raw tracepoints, and looks for tracefs in one place only; libbpf
before 1.0 has another signature for each. The system calls themselves are stable
(``include/uapi/linux/bpf.h``, ``include/uapi/linux/perf_event.h``).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
from pathlib import PurePath

_BPF_PROG_LOAD, _BPF_RAW_TRACEPOINT_OPEN = 5, 17
KPROBE, TRACEPOINT, RAW_TRACEPOINT = 2, 5, 17  # enum bpf_prog_type
_BPF_PROG_TYPE_TRACING, _BPF_TRACE_RAW_TP, _BPF_TRACE_FEXIT = 26, 23, 25
_PERF_TYPE_TRACEPOINT, _PERF_FLAG_FD_CLOEXEC = 2, 8
_PERF_EVENT_IOC_ENABLE, _PERF_EVENT_IOC_SET_BPF = 0x2400, 0x40042408
_RETURN_PROBE = 1  # /sys/bus/event_source/devices/kprobe/format/retprobe: config:0
_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18

# (bpf, perf_event_open): arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
_SYSTEM_CALLS = {"x86_64": (321, 298), "aarch64": (280, 241), "riscv64": (280, 241)}

_VERIFIER_LOG_BYTES = 1 << 20

# r0 = 0; exit
_RETURN_ZERO = bytes((0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0))

_libc = ctypes.CDLL(None, use_errno=True)


class _ProgramLoad(ctypes.Structure):
    _fields_ = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("prog_btf_fd", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("func_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
    ]


class _RawTracepointOpen(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_uint64),
        ("prog_fd", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    ]


class _PerfEventAttributes(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("kprobe_func", ctypes.c_uint64),  # config1
        ("probe_offset", ctypes.c_uint64),  # config2, up to PERF_ATTR_SIZE_VER1
    ]


def load_fexit(name: str, instructions: bytes, btf_id: int) -> int:
    """Load a program that runs when a function of the kernel returns; the descriptor.

    Args:
        name: the program's name.
        instructions: as for load_typed_raw_tracepoint.
        btf_id: type id of the function.

    Raises:
        OSError: refused; ``strerror`` holds the verifier's last line.
    """
    return _load_tracing(name, instructions, btf_id, _BPF_TRACE_FEXIT)


def can_trace_return(btf_id: int) -> bool:
    """Whether a program that does nothing can be attached to the return of that function."""
    try:
        program = load_fexit("probe", _RETURN_ZERO, btf_id)
    except OSError:
        return False
    try:
        os.close(open_raw_tracepoint(program, None))
    except OSError:
        return False
    finally:
        os.close(program)
    return True


def load_typed_raw_tracepoint(name: str, instructions: bytes, btf_id: int) -> int:
    """Load a BTF raw tracepoint program; the descriptor.

    Args:
        name: the program's name, of which the kernel keeps 15 bytes.
        instructions: its code, ``struct bpf_insn`` of 8 bytes each, maps already resolved.
        btf_id: type id of the typedef ``btf_trace_TRACEPOINT``.

    Raises:
        OSError: refused; ``strerror`` holds the verifier's last line.
    """
    return _load_tracing(name, instructions, btf_id, _BPF_TRACE_RAW_TP)


def load_untyped(name: str, instructions: bytes, program_type: int) -> int:
    """Load a program that gets no argument whose type the verifier knows; the descriptor.

    Args:
        name: the program's name.
        instructions: as for load_typed_raw_tracepoint.
        program_type: one of KPROBE, TRACEPOINT, RAW_TRACEPOINT.

    Raises:
        OSError: refused; ``strerror`` holds the verifier's last line.
    """
    return _load(name, instructions, program_type)


def _load_tracing(name: str, instructions: bytes, btf_id: int, attach_type: int) -> int:
    return _load(name, instructions, _BPF_PROG_TYPE_TRACING, btf_id, attach_type)


def _load(
    name: str, instructions: bytes, program_type: int, btf_id: int = 0, attach_type: int = 0
) -> int:
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(b"GPL")
    attributes = _ProgramLoad(
        prog_type=program_type,
        insn_cnt=len(instructions) // 8,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(license_text),
        prog_name=name.encode()[:15],
        expected_attach_type=attach_type,
        attach_btf_id=btf_id,
    )
    try:
        return bpf_call(_BPF_PROG_LOAD, attributes)
    except OSError as error:
        reason = error
    # Once more for the verifier's reason: asking for its log makes every load slower.
    log = ctypes.create_string_buffer(_VERIFIER_LOG_BYTES)
    attributes.log_level, attributes.log_size = 1, len(log)
    attributes.log_buf = ctypes.addressof(log)
    try:
        return bpf_call(_BPF_PROG_LOAD, attributes)
    except OSError:
        lines = [line for line in log.value.decode(errors="replace").splitlines() if line.strip()]
        detail = next((line for line in reversed(lines) if not line.startswith("processed")), "")
        raise OSError(reason.errno, f"{reason.strerror} {detail}".strip()) from None


def open_raw_tracepoint(program_fd: int, name: str | None) -> int:
    """Attach a program to the raw tracepoint ``name`` (None: the one it was loaded for).

    The returned descriptor is the attachment: the kernel detaches when its last copy closes.
    """
    text = ctypes.create_string_buffer(name.encode()) if name else None
    attributes = _RawTracepointOpen(name=ctypes.addressof(text) if text else 0, prog_fd=program_fd)
    return bpf_call(_BPF_RAW_TRACEPOINT_OPEN, attributes)


def attach_tracepoint(program_fd: int, tracepoint_id: int, online_cpu: int) -> int:
    """Attach a program to a tracepoint by its tracefs id; the descriptor is the attachment.

    One event on one CPU is enough: a program set on a tracepoint runs for every hit on any CPU
    (kernel/events/core.c, perf_event_set_bpf_prog).
    """
    attributes = _PerfEventAttributes(
        type=_PERF_TYPE_TRACEPOINT,
        size=ctypes.sizeof(_PerfEventAttributes),
        config=tracepoint_id,
        sample_period=1,
    )
    fd = _open_event(attributes, online_cpu)
    _set_program(fd, program_fd)
    return fd


def open_return_probe(event_type: int, function: str, online_cpu: int) -> int:
    """Place a return probe (kretprobe) that belongs to this process alone; its descriptor.

    Args:
        event_type: as /sys/bus/event_source/devices/kprobe/type has it.
        function: a function of the kernel, as /proc/kallsyms names it.
        online_cpu: any; the probe is placed for all.

    Raises:
        OSError: no such function, or one that must not be probed.
    """
    name = ctypes.create_string_buffer(function.encode())
    attributes = _PerfEventAttributes(
        type=event_type,
        size=ctypes.sizeof(_PerfEventAttributes),
        config=_RETURN_PROBE,
        sample_period=1,
        kprobe_func=ctypes.addressof(name),
    )
    return _open_event(attributes, online_cpu)


def attach_return_probe(program_fd: int, event_type: int, function: str, online_cpu: int) -> int:
    """Attach a program to the return of a function; the descriptor is the attachment.

    Raises:
        OSError: see open_return_probe, or the program is refused.
    """
    fd = open_return_probe(event_type, function, online_cpu)
    _set_program(fd, program_fd)
    return fd


def _open_event(attributes: _PerfEventAttributes, online_cpu: int) -> int:
    return _system_call(
        _numbers()[1], ctypes.byref(attributes), -1, online_cpu, -1, _PERF_FLAG_FD_CLOEXEC
    )


def _set_program(fd: int, program_fd: int) -> None:
    try:
        fcntl.ioctl(fd, _PERF_EVENT_IOC_SET_BPF, program_fd)
        fcntl.ioctl(fd, _PERF_EVENT_IOC_ENABLE, 0)
    except OSError:
        os.close(fd)
        raise


def mount_privately(file_system: str, target: str) -> None:
    """Mount a kernel file system where only this process sees it.

    The process moves to a mount namespace of its own, which ends with it: the host's mounts stay
    as they are.
    """
    _check(_libc.unshare(_CLONE_NEWNS))
    _make_private(target)
    name = file_system.encode()
    _check(_libc.mount(name, target.encode(), name, ctypes.c_ulong(0), None))


def _make_private(target: str) -> None:
    """Keep what is mounted at or above ``target`` from spreading to other mount namespaces.

    In a chroot the root directory is often no mount point; then the nearest one below it serves.
    """
    above = [str(path) for path in reversed(PurePath(target).parents)]
    for number, directory in enumerate(above, 1):
        flags = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
        if _libc.mount(b"none", directory.encode(), None, flags, None) == 0:
            return
        if number == len(above):
            _check(-1)


def bpf_call(command: int, attributes: ctypes.Structure) -> int:
    """The system call ``bpf``.

    Raises:
        OSError: the kernel refuses.
    """
    size = ctypes.sizeof(attributes)
    return _system_call(_numbers()[0], command, ctypes.byref(attributes), size)


def _numbers() -> tuple[int, int]:
    machine = platform.machine()
    if machine not in _SYSTEM_CALLS:
        raise OSError(f"{machine} is not supported ({', '.join(_SYSTEM_CALLS)} are)")
    return _SYSTEM_CALLS[machine]


def _system_call(number: int, *arguments: object) -> int:
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *words))


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
