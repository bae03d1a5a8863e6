"""Innermost loops of matrix products, unrolled: products of a block share one rendezvous.

Of all loops in lockstep's code only these gain by it.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from attnproto.compiler.ir.function import Block, Function, map_functions
from attnproto.compiler.ir.llvm import run_passes
from attnproto.compiler.ir.runtime_calls import MATRIX_MULTIPLY

_METADATA = re.compile(r"^!(\d+) = ", re.M)


def unroll_products(text: str, machine: llvm.TargetMachine) -> str:
    """Unroll each loop of one block that multiplies, where it is known how often it runs.

    Args:
        text: an optimised module, before its products are in batches.
        machine: of the module's target.
    """
    if MATRIX_MULTIPLY not in text:
        return text
    loop = 1 + max(map(int, _METADATA.findall(text)), default=0)

    def marked(lines: list[str]) -> list[str]:
        if not any(MATRIX_MULTIPLY in line for line in lines):
            return lines
        function = Function(lines)
        for block in function.blocks.values():
            if _multiplies(block) and block.name in block.successors:
                block.end.output = f"{block.end.text}, !llvm.loop !{loop}"
        return function.lines()

    text = map_functions(text, marked)
    text += f"\n!{loop} = distinct !{{!{loop}, !{loop + 1}}}"
    text += f'\n!{loop + 1} = !{{!"llvm.loop.unroll.full"}}\n'
    return str(run_passes(text, machine, "loop_unroll"))


def _multiplies(block: Block) -> bool:
    return any(MATRIX_MULTIPLY in instruction.text for instruction in block.body)
