"""The running kernel's type information: member offsets and enum values, read through libbpf.

libbpf parses ``/sys/kernel/btf/vmlinux`` once (about 15 ms); the layout of its records
(``struct btf_type``, ``struct btf_member``, ``struct btf_enum``) is the kernel's stable
``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from threadtrace.probe.btf_downgrade import downgraded
from threadtrace.probe.libbpf import load_libbpf

KERNEL_BTF = "/sys/kernel/btf/vmlinux"

_KIND_STRUCT, _KIND_ENUM, _KIND_TYPEDEF, _KIND_FUNC, _KIND_FUNC_PROTO = 4, 6, 8, 12, 13
_MODIFIERS = {8, 9, 10, 11, 18}  # typedef, volatile, const, restrict, type tag


class _Type(ctypes.Structure):
    _fields_ = [
        ("name_off", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("size_or_type", ctypes.c_uint32),
    ]

    @property
    def kind(self) -> int:
        return int(self.info >> 24) & 0x1F

    @property
    def vlen(self) -> int:
        return int(self.info) & 0xFFFF

    @property
    def has_bitfields(self) -> bool:
        return bool(self.info >> 31)


class _Member(ctypes.Structure):
    _fields_ = [
        ("name_off", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    ]


class _Enum(ctypes.Structure):
    _fields_ = [("name_off", ctypes.c_uint32), ("value", ctypes.c_int32)]


class _Parameter(ctypes.Structure):
    _fields_ = [("name_off", ctypes.c_uint32), ("type", ctypes.c_uint32)]


class KernelTypes:
    """Type information of the running kernel.

    Raises:
        FileNotFoundError: the kernel has no BTF, or this host hides it.
        OSError: libbpf is missing.
    """

    def __init__(self) -> None:
        self._lib = lib = load_libbpf()
        load = getattr(lib, "btf__load_vmlinux_btf", None) or lib.libbpf_find_kernel_btf
        load.restype = ctypes.c_void_p
        lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
        lib.btf__find_by_name_kind.restype = ctypes.c_int32
        lib.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__type_by_id.restype = ctypes.c_void_p
        lib.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__name_by_offset.restype = ctypes.c_char_p
        lib.btf__free.argtypes = [ctypes.c_void_p]
        self._handle: int | None = _valid(load()) or _valid(self._load_downgraded())
        if self._handle is None:
            raise FileNotFoundError("no kernel type information (BTF) that this libbpf can read")

    def close(self) -> None:
        """Give the parsed type information back (some 20 MB)."""
        if self._handle is not None:
            self._lib.btf__free(self._handle)
            self._handle = None

    def type_id(self, name: str, kind: int) -> int | None:
        """The id of the named type of that kind, None where the kernel has no such type."""
        found = self._lib.btf__find_by_name_kind(self._handle, name.encode(), kind)
        return found if found > 0 else None

    def typedef_id(self, name: str) -> int | None:
        """The id of a typedef; ``btf_trace_NAME`` exists for each raw tracepoint NAME."""
        return self.type_id(name, _KIND_TYPEDEF)

    def member_offset(self, struct: str, member: str) -> int | None:
        """Byte offset of ``member`` in ``struct``, also through anonymous structs and unions.

        None where struct or member do not exist, or the member is a bit field.
        """
        struct_id = self.type_id(struct, _KIND_STRUCT)
        if struct_id is None:
            return None
        bits = self._find_member(struct_id, member)
        return None if bits is None or bits % 8 else bits // 8

    def enum_value(self, enum: str, name: str) -> int | None:
        """Value of the enumerator ``name`` of ``enum``; None where there is none."""
        enum_id = self.type_id(enum, _KIND_ENUM)
        if enum_id is None:
            return None
        record, address = self._record(enum_id)
        for entry in _entries(_Enum, address, record.vlen):
            if self._name(entry.name_off) == name:
                return int(entry.value)
        return None

    def function_id(self, name: str) -> int | None:
        """The id of a function of the kernel, None where it is unknown or was inlined away."""
        return self.type_id(name, _KIND_FUNC)

    def parameter_count(self, name: str) -> int | None:
        """How many parameters a function of the kernel has."""
        function_id = self.function_id(name)
        if function_id is None:
            return None
        function, _ = self._record(function_id)
        prototype, _ = self._record(function.size_or_type)
        return prototype.vlen

    def function_parameters(self, typedef: str) -> tuple[int, ...]:
        """Type ids of the parameters of a typedef of a pointer to a function, () if unknown."""
        typedef_id = self.typedef_id(typedef)
        if typedef_id is None:
            return ()
        pointer, _ = self._record(self._resolve(typedef_id))
        prototype, address = self._record(pointer.size_or_type)
        if prototype.kind != _KIND_FUNC_PROTO:
            return ()
        return tuple(entry.type for entry in _entries(_Parameter, address, prototype.vlen))

    def _load_downgraded(self) -> int | None:
        """For a libbpf older than the kernel: once more, without the kinds it cannot know."""
        try:
            with open(KERNEL_BTF, "rb") as file:
                data = downgraded(file.read())
        except (OSError, ValueError):
            return None
        self._lib.btf__new.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
        self._lib.btf__new.restype = ctypes.c_void_p
        handle: int | None = self._lib.btf__new(data, len(data))
        return handle

    def _find_member(self, struct_id: int, member: str) -> int | None:
        record, address = self._record(struct_id)
        for entry in _entries(_Member, address, record.vlen):
            bits = entry.offset & 0xFFFFFF if record.has_bitfields else entry.offset
            name = self._name(entry.name_off)
            if name == member:
                return int(bits)
            if (
                not name
                and (inner := self._find_member(self._resolve(entry.type), member)) is not None
            ):
                return int(bits) + inner
        return None

    def _resolve(self, type_id: int) -> int:
        record, _ = self._record(type_id)
        while record.kind in _MODIFIERS:
            type_id = record.size_or_type
            record, _ = self._record(type_id)
        return type_id

    def _record(self, type_id: int) -> tuple[_Type, int]:
        address = self._lib.btf__type_by_id(self._handle, type_id)
        return _Type.from_address(address), address + ctypes.sizeof(_Type)

    def _name(self, offset: int) -> str:
        text: bytes | None = self._lib.btf__name_by_offset(self._handle, offset)
        return text.decode() if text else ""


def _valid(handle: int | None) -> int | None:
    """None for what stands for an error: ERR_PTR(-errno) before libbpf 1.0, NULL since."""
    return handle if handle and handle < (1 << 64) - 4096 else None


def _entries(shape: type[ctypes.Structure], address: int, count: int) -> Iterator[ctypes.Structure]:
    yield from (shape * count).from_address(address)
