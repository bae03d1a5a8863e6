"""Runs of 2-byte reads from device memory as one 16-byte read, where the address allows it.

MSL code that copies element by element says nothing of alignment, and NVIDIA's instructions need
16 bytes of it. The address is therefore tested when the kernel runs.
"""

from __future__ import annotations

import re

from attnproto.compiler.ir.function_lines import (
    NAME,
    Function,
    address,
    may_write,
    named,
    split_functions,
)
from attnproto.dtypes import NARROW_LLVM

_LOAD = re.compile(rf"load ({NARROW_LLVM}|i16), ptr addrspace\(1\) ({NAME}), ")
_RUN = 8
_READER = """
define internal <4 x i32> @attn_read_16_bytes(ptr addrspace(1) %at) alwaysinline {
  %address = ptrtoint ptr addrspace(1) %at to i64
  %rest = and i64 %address, 15
  %aligned = icmp eq i64 %rest, 0
  br i1 %aligned, label %whole, label %parts
whole:  ; not LLVM's load: that would be made one with the other way's
  %words = call { i32, i32, i32, i32 } asm "ld.global.v4.b32 {$0,$1,$2,$3}, [$4];",
    "=r,=r,=r,=r,l"(ptr addrspace(1) %at) #7771
  %w0 = extractvalue { i32, i32, i32, i32 } %words, 0
  %w1 = extractvalue { i32, i32, i32, i32 } %words, 1
  %w2 = extractvalue { i32, i32, i32, i32 } %words, 2
  %w3 = extractvalue { i32, i32, i32, i32 } %words, 3
  %v0 = insertelement <4 x i32> poison, i32 %w0, i64 0
  %v1 = insertelement <4 x i32> %v0, i32 %w1, i64 1
  %v2 = insertelement <4 x i32> %v1, i32 %w2, i64 2
  %wide = insertelement <4 x i32> %v2, i32 %w3, i64 3
  br label %end
parts:
  %halves = load <8 x i16>, ptr addrspace(1) %at, align 2
  %joined = bitcast <8 x i16> %halves to <4 x i32>
  br label %end
end:
  %bytes = phi <4 x i32> [ %wide, %whole ], [ %joined, %parts ]
  ret <4 x i32> %bytes
}
attributes #7771 = { nounwind memory(read) }
"""


def widen_reads(text: str) -> str:
    """Join runs of eight reads in an optimised module; the text itself where there is none."""
    lines = text.split("\n")
    out: list[str] = []
    done = 0
    for first, last in split_functions(text):
        out += lines[done:first]
        out += _widened(lines[first : last + 1])
        done = last + 1
    out += lines[done:]
    whole = "\n".join(out)
    return whole + _READER if "@attn_read_16_bytes(" in whole else text


def _widened(lines: list[str]) -> list[str]:
    function = Function(named(lines))
    runs: dict[tuple[tuple, str, str], dict[int, int]] = {}
    for name, text in function.definitions.items():
        load = _LOAD.match(text)
        if load:
            origin, offset = address(function, load[2])
            number = function.places[name]
            key = (origin, load[1], function.block_of(number).label)
            runs.setdefault(key, {}).setdefault(offset, number)
    new = function.lines[:]
    found = 0
    for (_, kind, _), by_offset in runs.items():
        for offset in sorted(by_offset):
            numbers = [by_offset.get(offset + 2 * k) for k in range(_RUN)]
            if None in numbers or _written_between(function, min(numbers), max(numbers)):
                continue
            for k in range(_RUN):
                del by_offset[offset + 2 * k]
            _join(function, new, kind, numbers, found)
            found += 1
    return new if found else lines


def _written_between(function: Function, first: int, last: int) -> bool:
    # Writes to threadgroup memory change nothing here.
    return any(
        may_write(line) and not re.match(r"^  store .*, ptr addrspace\(3\)", line)
        for line in function.lines[first:last]
    )


def _join(function, new, kind, numbers, serial):
    whole = f"%attn.wide{serial}"
    earliest = min(numbers)
    pointer = _LOAD.match(function.lines[earliest].split(" = ", 1)[1])[2]
    back = -2 * numbers.index(earliest)
    head = [
        f"  {whole}.at = getelementptr i8, ptr addrspace(1) {pointer}, i64 {back}",
        f"  {whole}.words = call <4 x i32> @attn_read_16_bytes(ptr addrspace(1) {whole}.at)",
        f"  {whole} = bitcast <4 x i32> {whole}.words to <{_RUN} x {kind}>",
    ]
    for k, number in enumerate(numbers):
        name = function.lines[number].split(" = ", 1)[0]
        new[number] = f"{name} = extractelement <{_RUN} x {kind}> {whole}, i64 {k}"
    new[earliest] = "\n".join([*head, new[earliest]])
