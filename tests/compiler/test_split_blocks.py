"""Blocks cut for the quick code generator: the same instructions, in order, in short blocks."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import pytest
from attnproto.compiler.codegen import native_code
from attnproto.compiler.passes import split_blocks
from attnproto.compiler.target import host_target


def sums(count: int, value: str) -> str:
    """``count`` instructions that add 1, 2, ... to a value; the last is called %end.``value``."""
    names = [value, *(f"%{value[1:]}.{k}" for k in range(1, count)), f"%end.{value[1:]}"]
    return "\n".join(f"  {names[k]} = add i32 {names[k - 1]}, {k}" for k in range(1, count + 1))


def program(count: int, entry: str = "") -> str:
    """A loop that is its own predecessor, and a join of two ways, each ``count`` long."""
    return f"""define i32 @f(i32 %n) {{
{entry}  %at = alloca i32, align 4
{sums(count, "%n")}
  store i32 %end.n, ptr %at, align 4
  br label %"the loop"

"the loop":
  %i = phi i32 [ 0, %{entry.rstrip(chr(10) + ":") or "0"} ], [ %next, %"the loop" ]
  %x = phi i32 [ %end.n, %{entry.rstrip(chr(10) + ":") or "0"} ], [ %end.x, %"the loop" ]
{sums(count, "%x")}
  %next = add i32 %i, 1
  %again = icmp slt i32 %next, 3
  br i1 %again, label %"the loop", label %after

after:
  %odd = trunc i32 %end.x to i1
  br i1 %odd, label %left, label %join

left:
{sums(count, "%end.x").replace("%end.x =", "%l =")}
  br label %join

join:
  %y = phi i32 [ %end.end.x, %left ], [ %i, %after ]
  %z = load i32, ptr %at, align 4
  %r = add i32 %y, %z
  ret i32 %r
}}
"""


def blocks(text: str) -> list[list[str]]:
    """The opcodes of each block of a module's one function, besides phis."""
    module = llvm.parse_assembly(text)
    module.verify()
    (function,) = module.functions
    opcodes = [[i.opcode for i in block.instructions] for block in function.blocks]
    return [[op for op in block if op != "phi"] for block in opcodes]


def result(text: str, n: int) -> int:
    """What the function makes of a number."""
    (address,) = native_code.load(native_code.compile_object(text, host_target(), False), ["f"])
    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(address)(n)


@pytest.mark.parametrize("entry", ["", "entry:\n"])
@pytest.mark.parametrize("count", [1, 99, 100, 101, 450])
def test_code_stays_what_it_was_in_short_blocks(count, entry):
    text = program(count, entry)
    split = split_blocks.split_blocks(text)
    before, after = blocks(text), blocks(split)
    # The terminator comes on top, in the first block its variables too.
    assert max(map(len, after[1:])) <= split_blocks.MAX_BLOCK + 1
    assert len(after[0]) <= split_blocks.MAX_BLOCK + 2
    added = len(after) - len(before)
    assert (added > 0) == (count >= split_blocks.MAX_BLOCK - 1)
    joined = [op for block in after for op in block]
    kept = [op for block in before for op in block]
    assert joined.count("br") == kept.count("br") + added
    assert [op for op in joined if op != "br"] == [op for op in kept if op != "br"]
    assert [result(split, n) for n in (0, 1, 7)] == [result(text, n) for n in (0, 1, 7)]


def test_variables_stay_in_the_first_block():
    variables = "".join(f"  %v{k} = alloca i32, align 4\n" for k in range(250))
    text = (
        f"define void @f() {{\nentry:\n{variables}  store i32 1, ptr %v9, align 4\n  ret void\n}}\n"
    )
    assert blocks(split_blocks.split_blocks(text)) == blocks(text)


SWITCH = """
define void @f(i32 %n) {
entry:
  switch i32 %n, label %end [
    i32 0, label %end
    i32 1, label %end
  ]
end:
  ret void
}
"""


def test_instructions_are_counted_as_llvm_does():
    count = sum(map(len, blocks(program(10)))) + 3  # its phis
    assert native_code.instructions(program(10)) == count
    for text in (program(10), SWITCH):
        module = llvm.parse_assembly(text)
        of_llvm = sum(len(list(b.instructions)) for f in module.functions for b in f.blocks)
        assert native_code.instructions(str(module)) == of_llvm
