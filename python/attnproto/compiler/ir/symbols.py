"""What an object file needs of its process, and what of that a kernel may have.

A loaded object may call the engine, the single-precision functions of libm and the three
functions that a code generator copies memory with. Anything else is refused by its name: a
function that nobody defines would be a jump to nowhere, one of the host's a way out of the
kernel.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Iterator

from attnproto.errors import KernelCompileError

from .intrinsics import LIBM

# Copies, and how a half is converted where the processor cannot.
_OTHERS = ("memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_", "__truncsfhf2", "__extendhfsf2")

_ELF, _MACH_O = b"\x7fELF", b"\xcf\xfa\xed\xfe"
_SYMBOL_TABLE, _LOAD_SYMTAB = 2, 2
_UNDEFINED_MASK, _EXTERNAL = 0x0E, 0x01


@functools.cache
def offered() -> frozenset[str]:
    """Names that a kernel's machine code may refer to."""
    from attnproto import _core

    engine = (name for name, _ in _core.runtime_symbols())
    return frozenset([*engine, *_OTHERS, *(f"{name}f" for name in LIBM)])


def undefined(object_file: bytes) -> list[str]:
    """Names of the symbols that a 64-bit ELF or Mach-O object does not define itself."""
    magic = object_file[:4]
    if magic not in (_ELF, _MACH_O):
        raise KernelCompileError(
            f"[msl] found machine code that begins with {magic!r}, needs an ELF or Mach-O object"
        )
    read = _elf if magic == _ELF else _mach_o
    return sorted({name for name in read(object_file) if name})


def _elf(data: bytes) -> Iterator[str]:
    start, size, count = (
        *struct.unpack_from("<Q", data, 0x28),
        *struct.unpack_from("<HH", data, 0x3A),
    )
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
    for _, kind, _, _, offset, nbytes, link, _, _, entry in sections:
        if kind != _SYMBOL_TABLE:
            continue
        texts = sections[link][4]
        for at in range(offset, offset + nbytes, entry):
            name, _, _, section = struct.unpack_from("<IBBH", data, at)
            if section == 0:
                yield _string(data, texts + name)


def _mach_o(data: bytes) -> Iterator[str]:
    commands = struct.unpack_from("<I", data, 16)[0]
    at = 32
    for _ in range(commands):
        command, nbytes = struct.unpack_from("<II", data, at)
        if command == _LOAD_SYMTAB:
            symbols, count, texts, _ = struct.unpack_from("<IIII", data, at + 8)
            for entry in range(symbols, symbols + 16 * count, 16):
                name, kind = struct.unpack_from("<IB", data, entry)
                if kind & _EXTERNAL and not kind & _UNDEFINED_MASK:
                    yield _string(data, texts + name).removeprefix("_")
        at += nbytes


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def check(object_file: bytes) -> None:
    """Refuse an object that needs what a kernel may not have.

    Raises:
        KernelCompileError: it names a symbol that nobody offers.
    """
    missing = [name for name in undefined(object_file) if name not in offered()]
    if missing:
        raise KernelCompileError(refusal(missing[0]))


def refusal(symbol: str) -> str:
    """Why a symbol cannot be had."""
    if symbol.startswith("__"):
        return (
            f"[msl] found code that needs {symbol} of a compiler's own library, needs types that "
            "MSL has; use float instead of double, and integers of at most 64 bits"
        )
    return (
        f"[msl] found '{spoken(symbol)}', which the kernel uses and the text only "
        "declares, needs its definition; define it in the text, or link it in private"
    )


def spoken(symbol: str) -> str:
    """What the text calls a symbol: the last of the names that stand together at its head."""
    plain = symbol.strip('@"')
    head = re.match(r"_Z(?:N(?:U\d+CL[a-z]+)?[rVK]*)?(?=\d)", plain)
    if not head:
        return plain
    name, at = plain, head.end()
    while length := re.compile(r"[1-9]\d*").match(plain, at):
        at = length.end() + int(length[0])
        name = plain[length.end() : at]
        if not plain.startswith("_ZN"):
            break
    return name


def identifiers(symbol: str) -> list[str]:
    """The identifiers of a mangled name (Itanium C++ ABI: each after its length)."""
    names: list[str] = []
    plain = symbol.strip('@"')
    i = 0
    while i < len(plain):
        digits = re.match(r"\d+", plain[i:])
        if digits and plain.startswith("_Z"):
            begin = i + len(digits[0])
            names.append(plain[begin : begin + int(digits[0])])
            i = begin + int(digits[0])
        else:
            i += 1
    return names or [plain]
