"""Runs of 2-byte reads from device memory as one 16-byte read, where the address allows it.

MSL code that copies element by element says nothing of alignment, and NVIDIA's instructions need
16 bytes of it. The address is therefore tested when the kernel runs.
"""

from __future__ import annotations

from attnproto.compiler.ir.effects import Changes, is_special
from attnproto.compiler.ir.function import Function, address, map_functions, named
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.types import THREADGROUP
from attnproto.dtypes import NARROW_LLVM

_KINDS = ("i16", *NARROW_LLVM)
_DEVICE = "ptr addrspace(1)"
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
    widened = map_functions(text, _widened)
    return widened + _READER if "@attn_read_16_bytes(" in widened else text


def _widened(lines: list[str]) -> list[str]:
    function = Function(named(lines))
    runs: dict[tuple[tuple, str, str], dict[int, Instruction]] = {}
    for instruction in function.instructions:
        if (
            " = load " not in instruction.text
            or instruction.type not in _KINDS
            or is_special(instruction)
        ):
            continue
        kind, pointer = instruction.operands[0]
        if kind == _DEVICE and pointer[0] == "%":
            origin, offset = address(function, pointer)
            runs.setdefault((origin, instruction.type, instruction.block), {}).setdefault(
                offset, instruction
            )
    changes = None
    joined = 0
    for by_offset in runs.values():
        for offset in sorted(by_offset):
            loads = [by_offset.get(offset + 2 * k) for k in range(_RUN)]
            if None in loads:
                continue
            # Writes to threadgroup memory change nothing here.
            changes = changes or Changes(function, besides=THREADGROUP)
            if changes.between([load.place for load in loads]):
                continue
            for k in range(_RUN):
                del by_offset[offset + 2 * k]
            _join(loads, joined)
            joined += 1
    return function.lines() if joined else lines


def _join(loads: list[Instruction], serial: int) -> None:
    vector, kind = f"%attn.wide{serial}", loads[0].type
    earliest = min(loads, key=lambda load: load.place)
    pointer, back = earliest.operands[0][1], -2 * loads.index(earliest)
    for k, load in enumerate(loads):
        load.output = f"  {load.name} = extractelement <{_RUN} x {kind}> {vector}, i64 {k}"
    earliest.output = f"""\
  {vector}.at = getelementptr i8, ptr addrspace(1) {pointer}, i64 {back}
  {vector}.words = call <4 x i32> @attn_read_16_bytes(ptr addrspace(1) {vector}.at)
  {vector} = bitcast <4 x i32> {vector}.words to <{_RUN} x {kind}>
{earliest.output}"""
