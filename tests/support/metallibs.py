"""Metallibs that tests write themselves: IR assembled to bitcode, in a container of their own."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm

AIR = Path(__file__).parents[1] / "air"
_BOOL, _INT = 53, 29


def bitcode(ir_text: str) -> bytes:
    """The bitcode of a module's text, without the wrapper that LLVM writes for Apple's systems."""
    content = llvm.parse_assembly(ir_text).as_bitcode()
    _, _, offset, size, _ = struct.unpack_from("<5I", content)
    return content[offset : offset + size]


def kernel(name: str) -> str:
    """The text of a kernel of tests/air."""
    return (AIR / f"{name}.ll").read_text()


def wrapped(content: bytes) -> bytes:
    """Bitcode in the wrapper that Apple's compiler writes."""
    return struct.pack("<5I", 0x0B17C0DE, 0, 20, len(content), 0xFFFFFFFF) + content


@dataclass(frozen=True)
class Entry:
    """A function of a metallib, with what its list says in the place of what is right.

    Attributes:
        content: its bitcode, wrapped or not.
        constants: index and type's number by name.
        kind: 2 is a kernel.
        fields: whole fields by tag that replace the right ones; None leaves one out.
    """

    content: bytes
    constants: Mapping[str, tuple[int, int]] | None = None
    kind: int = 2
    fields: Mapping[str, bytes | None] | None = None


def tag(name: str, content: bytes) -> bytes:
    """A field of a list."""
    return name.encode() + struct.pack("<H", len(content)) + content


def metallib(entries: Mapping[str, Entry], **head: int | bytes) -> bytes:
    """A container of functions by name.

    Args:
        entries: the functions.
        head: what replaces the right values: ``magic``, ``size``, ``count``, and the offsets and
            sizes of sections, such as ``bitcode_size``.
    """
    listed, metadata, code = b"", b"", b""
    for name, one in entries.items():
        about = b""
        if one.constants:
            about = struct.pack("<H", len(one.constants))
            for constant, (index, kind) in one.constants.items():
                about += constant.encode() + b"\0" + struct.pack("<BHB", kind, index, 1)
            about = tag("CNST", about)
        fields = {
            "NAME": name.encode() + b"\0",
            "TYPE": bytes([one.kind]),
            "HASH": hashlib.sha256(one.content).digest(),
            "OFFT": struct.pack("<3Q", len(metadata), 0, len(code)),
            "VERS": struct.pack("<4H", 2, 6, 3, 1),
            "MDSZ": struct.pack("<Q", len(one.content)),
        } | dict(one.fields or {})
        body = b"".join(tag(t, c) for t, c in fields.items() if c is not None) + b"ENDT"
        listed += struct.pack("<I", 4 + len(body)) + body
        about += b"ENDT"
        metadata += struct.pack("<I", 4 + len(about)) + about
        code += one.content
    begin = 0x58
    sections = {"functions": struct.pack("<I", head.get("count", len(entries))) + listed,
                "public": metadata, "private": b"", "bitcode": code}  # fmt: skip
    places, at = [], begin
    for name, content in sections.items():
        places += [head.get(f"{name}_offset", at), head.get(f"{name}_size", len(content))]
        at += len(content)
    first = head.get("magic", b"MTLB") + struct.pack("<HHHBBHH", 0x8001, 2, 7, 0, 0x81, 14, 0)
    content = first + struct.pack("<9Q", head.get("size", at), *places)
    return content + b"".join(sections.values())


SCALE_CONSTANTS = {"shifted": (3, _BOOL), "times": (7, _INT), "unread": (8, _INT)}


def two_kernels() -> bytes:
    """The kernels of tests/air, one wrapped and one not."""
    return metallib({
        "scale": Entry(wrapped(bitcode(kernel("scale"))), SCALE_CONSTANTS),
        "turn": Entry(bitcode(kernel("turn")), {"wide": (0, _INT), "other": (1, _BOOL)}),
    })  # fmt: skip
