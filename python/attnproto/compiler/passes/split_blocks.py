"""Long blocks as chains of short ones, for a code generator that is to be quick.

LLVM selects instructions a block at a time, in a time that grows faster than the block: for each
load it looks through all that hang on the same chain of memory operations. A simdgroup's code is a
few blocks of thousands of instructions. Cut, they take a third to a fifth of the time, and the
quick allocator of registers, which is as short-sighted, keeps more of them; bits stay the same.
LLVM joins such blocks again where it optimises, so this is for code that it does not.
"""

from __future__ import annotations

from attnproto.compiler.ir.function import Block, Function, map_functions, named
from attnproto.compiler.ir.instruction import Instruction

# 60 to 200 are alike; 400 takes a quarter longer.
MAX_BLOCK = 100


def split_blocks(text: str) -> str:
    """A module whose blocks have no more than ``MAX_BLOCK`` instructions besides phis.

    Variables stay in the first block, however many.
    """
    return map_functions(text, _split)


def _split(lines: list[str]) -> list[str]:
    function = Function(named(lines))
    last_parts = {block.name: _cut(block) for block in function.blocks.values()}
    for block in function.blocks.values():
        for phi in block.phis:
            phi.output = _from_last_parts(phi, last_parts)
    return function.lines()


def _cut(block: Block) -> str:
    """Cut a block where it is too long; the name of its last part."""
    variables = [i for i, definition in enumerate(block.body) if definition.op == "alloca"]
    begin = variables[-1] + 1 if variables else 0
    last = block.name
    for part, instruction in enumerate(block.body[begin + MAX_BLOCK :: MAX_BLOCK], 1):
        last = f'"{block.name.strip(chr(34))}.part{part}"'
        instruction.output = f"  br label %{last}\n\n{last}:\n{instruction.output}"
    return last


def _from_last_parts(phi: Instruction, last_parts: dict[str, str]) -> str:
    incoming = (
        f"[ {value}, %{last_parts[source]} ]"
        for source, (_, value) in zip(phi.sources, phi.operands, strict=True)
    )
    return f"  {phi.name} = phi {phi.type} {', '.join(incoming)}"
