"""The container of compiled kernels, a .metallib: which functions it has, and each one's bitcode.

Little endian: a head, a list of functions whose fields have tags of four letters, metadata by
function, bitcode. Nothing that the file says of itself is believed before it was checked: offsets
and sizes lie inside it, and a module has the SHA-256 that the list gives for it.

Source: the files themselves; public descriptions agree (github.com/YuAo/MetalLibraryArchive).
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attnproto.errors import KernelCompileError

_MAGIC, _WRAPPER = b"MTLB", 0x0B17C0DE
_HEAD = struct.Struct("<4sHHHBBHHQ8Q")
_WRAPPED = struct.Struct("<5I")
_END = b"ENDT"
# What every function of the list has besides its name.
_FIXED = {tag: struct.Struct(layout) for tag, layout in (
    ("TYPE", "<B"), ("HASH", "32s"), ("OFFT", "<3Q"), ("VERS", "<4H"), ("MDSZ", "<Q"),
)}  # fmt: skip
_KERNEL = 2
# MTLDataType's numbers of the types that a function constant can have.
_DATA_TYPES = {
    3: "float", 16: "half", 29: "int", 33: "uint", 37: "short", 41: "ushort", 45: "char",
    49: "uchar", 53: "bool", 81: "long", 85: "ulong",
}  # fmt: skip
KINDS = {0: "vertex", 1: "fragment", 2: "kernel", 3: "function", 4: "visible", 5: "extern",
         6: "intersection"}  # fmt: skip


def is_metallib(file: Path) -> bool:
    """Whether a file begins as one does; not where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the list.

    Attributes:
        name: as pipelines ask for it.
        kind: one of ``KINDS``.
        air: version of the IR, major and minor.
        language: of MSL, likewise.
        digest: SHA-256 of its bitcode.
        start: where its bitcode begins in the file.
        nbytes: of bitcode.
        metadata: where its public metadata begins in the file.
    """

    name: str
    kind: str
    air: tuple[int, int]
    language: tuple[int, int]
    digest: bytes
    start: int
    nbytes: int
    metadata: int


@dataclass(frozen=True)
class ListedConstant:
    """A function constant as the container lists it."""

    name: str
    type: str
    index: int


class Metallib:
    """Compiled kernels in a file or in memory.

    Args:
        source: the file's path, which is mapped and not read, or its content.

    Raises:
        KernelCompileError: it cannot be read, or is no whole metallib.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes):
        self.name = "metallib" if isinstance(source, bytes) else os.fspath(source)
        self._data = source if isinstance(source, bytes) else self._mapped(Path(source))
        self._metadata_end = 0
        self.functions = {one.name: one for one in self._functions()}

    def bitcode(self, name: str) -> bytes:
        """The LLVM bitcode of a function, without its wrapper.

        Raises:
            KernelCompileError: there is no such function, or its bitcode is damaged.
        """
        one = self.function(name)
        wrapped = self._data[one.start : one.start + one.nbytes]
        if hashlib.sha256(wrapped).digest() != one.digest:
            raise self._wrong(
                f"bitcode of '{name}' with another SHA-256 than the list's",
                "the bytes that were compiled",
            )
        if len(wrapped) < _WRAPPED.size or int.from_bytes(wrapped[:4], "little") != _WRAPPER:
            return wrapped
        _, _, offset, size, _ = _WRAPPED.unpack_from(wrapped)
        if offset < _WRAPPED.size or offset + size > len(wrapped):
            raise self._wrong(
                f"a wrapper that puts bitcode of '{name}' at {offset} to {offset + size}",
                f"it inside the {len(wrapped)} bytes there are",
            )
        return wrapped[offset : offset + size]

    def function(self, name: str) -> Function:
        """A function by its name; raises KernelCompileError where there is none."""
        if name not in self.functions:
            near = [known for known in self.functions if name and name in known][:3]
            such = f", such as {', '.join(near)}" if near else ""
            raise KernelCompileError(
                f"[metallib] found no function '{name}' in {self.name}, needs one of the "
                f"{len(self.functions)} that it has{such}; attnproto metallib lists them"
            )
        return self.functions[name]

    def kernels(self) -> list[str]:
        """Names of the kernels, in the file's order."""
        return [name for name, one in self.functions.items() if one.kind == KINDS[_KERNEL]]

    def constants(self, name: str) -> list[ListedConstant]:
        """Function constants of a function, without opening its bitcode.

        Raises:
            KernelCompileError: there is no such function, or its metadata is damaged.
        """
        at = self.function(name).metadata
        constants = []
        for tag, field in self._entry(at, self._metadata_end, f"metadata of '{name}'")[0]:
            if tag == "CNST":
                constants += self._listed(field, name)
        return constants

    def _listed(self, field: bytes, name: str) -> Iterator[ListedConstant]:
        at = 2
        for _ in range(int.from_bytes(field[:2], "little")):
            end = field.find(b"\0", at)
            if end < 0 or end + 5 > len(field):
                raise self._wrong(
                    f"function constants of '{name}' that end early", "as many as they say"
                )
            kind, index = struct.unpack_from("<BH", field, end + 1)
            text = self._text(field[at:end], f"a function constant of '{name}'")
            yield ListedConstant(text, _DATA_TYPES.get(kind, f"MTLDataType {kind}"), index)
            at = end + 5

    def _functions(self) -> Iterator[Function]:
        data = self._data
        if len(data) < _HEAD.size or data[:4] != _MAGIC:
            raise self._wrong(
                f"a file of {len(data)} bytes that begins with {bytes(data[:4])!r}",
                f"a metallib, which begins with {_MAGIC!r}",
            )
        head = _HEAD.unpack_from(data)
        size, sections = head[8], head[9:]
        if size != len(data):
            raise self._wrong(f"{len(data)} bytes", f"the {size} that its head says")
        listed, metadata, _, bitcode = (
            self._section(what, *sections[2 * i : 2 * i + 2])
            for i, what in enumerate(
                ("the function list", "public metadata", "private metadata", "bitcode")
            )
        )
        self._metadata_end = metadata[1]
        at = self._bounded(listed[0], 4, len(data), "the function list")
        seen: set[str] = set()
        for number in range(struct.unpack_from("<I", data, at - 4)[0]):
            # What the section's size counts varies: the file's end bounds an entry.
            fields, at = self._entry(at, len(data), f"function {number}")
            one = self._function(number, dict(fields), metadata, bitcode)
            if one.name in seen:
                raise self._wrong(f"two functions named '{one.name}'", "each name once")
            seen.add(one.name)
            yield one

    def _function(
        self,
        number: int,
        fields: dict[str, bytes],
        metadata: tuple[int, int],
        bitcode: tuple[int, int],
    ) -> Function:
        for tag, layout in _FIXED.items():
            if len(fields.get(tag, b"")) != layout.size:
                raise self._wrong(
                    f"{len(fields.get(tag, b''))} bytes of {tag} for function {number}",
                    f"{layout.size}",
                )
        if not fields.get("NAME", b"").endswith(b"\0"):
            raise self._wrong(f"function {number} without a name", "NAME that ends in a zero")
        name = self._text(fields["NAME"][:-1], f"the name of function {number}")
        public, _, offset = _FIXED["OFFT"].unpack(fields["OFFT"])
        (nbytes,) = _FIXED["MDSZ"].unpack(fields["MDSZ"])
        versions = _FIXED["VERS"].unpack(fields["VERS"])
        kind, digest = fields["TYPE"][0], fields["HASH"]
        start, about = bitcode[0] + offset, metadata[0] + public
        if start + nbytes > bitcode[1] or about > metadata[1]:
            raise self._wrong(
                f"'{name}' at {start} to {start + nbytes}, its metadata at {about}",
                f"them before {bitcode[1]} and {metadata[1]}",
            )
        kind = KINDS.get(kind, f"type {kind}")
        return Function(name, kind, versions[:2], versions[2:], digest, start, nbytes, about)

    def _entry(self, at: int, end: int, what: str) -> tuple[list[tuple[str, bytes]], int]:
        """Fields of a list's entry by tag, and where the next one begins."""
        head = self._data[at : at + 4]
        stop = at + int.from_bytes(head, "little")
        if len(head) < 4 or not at + 4 <= stop <= end:
            raise self._wrong(f"{what} at {at} to {stop}", f"its end at {end} or before")
        entry, fields, at = self._data[at:stop], [], 4
        while (tag := entry[at : at + 4]) != _END:
            begin = at + 6
            at = begin + int.from_bytes(entry[at + 4 : begin], "little")
            if begin > len(entry) or at > len(entry):
                raise self._wrong(f"{what} with a field past its end", "each field inside it")
            fields.append((tag.decode("latin-1"), entry[begin:at]))
        return fields, stop

    def _section(self, what: str, offset: int, size: int) -> tuple[int, int]:
        return offset, self._bounded(offset, size, len(self._data), what)

    def _bounded(self, at: int, size: int, end: int, what: str) -> int:
        """The end of some bytes, which lie before another."""
        if at + size > end:
            raise self._wrong(f"{what} at {at} to {at + size}", f"its end at {end} or before")
        return at + size

    def _text(self, content: bytes, what: str) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise self._wrong(f"{what} in bytes {content!r}", "UTF-8") from None

    def _wrong(self, found: str, needed: str) -> KernelCompileError:
        return KernelCompileError(
            f"[metallib] found {found} in {self.name}, needs {needed}; take the file from its "
            "source again"
        )

    def _mapped(self, path: Path) -> mmap.mmap | bytes:
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    return b""
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise KernelCompileError(
                f"[metallib] found {path} unreadable ({error}), needs a metallib; check the path"
            ) from error
