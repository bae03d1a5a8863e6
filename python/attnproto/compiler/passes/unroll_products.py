"""Innermost loops of matrix products are marked to be unrolled, and then share a rendezvous.

Of all loops in lockstep's code only these gain by it.
"""

from __future__ import annotations

import re

from attnproto.compiler.ir.function import Block, Function, map_functions
from attnproto.compiler.ir.runtime_calls import MATRIX_MULTIPLY

_METADATA = re.compile(r"^!(\d+) = ", re.M)


def mark_products(text: str) -> str:
    """Mark each loop of one block that multiplies; LLVM unrolls those whose rounds it can count.

    Args:
        text: an optimised module with products, before they are in batches.
    """
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
    return text + f'\n!{loop + 1} = !{{!"llvm.loop.unroll.full"}}\n'


def _multiplies(block: Block) -> bool:
    return any(MATRIX_MULTIPLY in instruction.text for instruction in block.body)
