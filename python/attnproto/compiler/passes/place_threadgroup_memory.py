"""Give threadgroup variables their places."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attnproto.compiler.ir.runtime_calls import THREADGROUP_VARIABLE, declaration

_SHARED_VARIABLE = re.compile(rf"@({THREADGROUP_VARIABLE})\(")
_DYNAMIC = "@attn_dynamic"
_MEMORY = "@attn_threadgroup_memory"

_VARIABLE = re.compile(rf"call [^\n]*?@({THREADGROUP_VARIABLE})\(")


def place_threadgroup_variables(
    text: str, declared: Mapping[str, str] | None = None
) -> tuple[str, int]:
    """Give every threadgroup variable of an optimised module its offset.

    Args:
        text: the module.
        declared: of a module that validates, the site of each variable's declaration.

    Called after optimisation, so that a variable used only in branches the function
    constants removed takes no space.

    Returns:
        The text, and the bytes of static threadgroup memory.
    """
    used = {m.group(1): tuple(map(int, m.groups()[1:])) for m in _VARIABLE.finditer(text)}
    offset = 0
    definitions = []
    in_order = sorted(used.items(), key=lambda item: item[1][0])
    for number, (symbol, (_, size, alignment)) in enumerate(in_order):
        alignment = max(alignment, 16)
        offset = (offset + alignment - 1) // alignment * alignment
        definitions.append(
            f"define internal ptr addrspace(3) @{symbol}() alwaysinline {{\n"
            + (
                f"  %base = call ptr addrspace(3) {_MEMORY}()\n"
                f"  %at = getelementptr i8, ptr addrspace(3) %base, i64 {offset}\n"
                if declared is None
                else "  %at = call ptr addrspace(3) @attn_threadgroup_array("
                f"i32 {number}, i32 {offset}, i32 {size}, ptr {declared[symbol]})\n"
            )
            + "  ret ptr addrspace(3) %at\n}"
        )
        text = re.sub(rf"^declare [^\n]*@{symbol}\([^\n]*$", "", text, flags=re.M)
        offset += size
    if (
        definitions
        and declared is None
        and not re.search(rf"^declare [^\n]*{_MEMORY}\(", text, re.M)
    ):
        definitions.append(declaration(_MEMORY))
    return text + "\n" + "\n".join(definitions) + "\n", offset


def place_in_shared_memory(text: str) -> tuple[str, int]:
    """Threadgroup variables become shared arrays of their own.

    Returns:
        The text, and the bytes of those that optimisation left.
    """
    lines = []
    sizes = {}
    for symbol, _, size, alignment in dict.fromkeys(_SHARED_VARIABLE.findall(text)):
        array = f"@attn_shared_{len(lines)}"
        sizes[symbol] = int(size)
        lines.append(
            f"{array} = internal addrspace(3) global [{size} x i8] undef, "
            f"align {max(16, int(alignment))}"
        )
        text = re.sub(rf"^declare [^\n]*@{symbol}\([^\n]*$", "", text, flags=re.M)
        lines.append(
            f"define internal ptr addrspace(3) @{symbol}() alwaysinline {{\n"
            f"  ret ptr addrspace(3) {array}\n}}"
        )
    if f"{_MEMORY}(" in text:
        text = re.sub(rf"^declare [^\n]*{_MEMORY}\([^\n]*$", "", text, flags=re.M)
        lines.append(f"{_DYNAMIC} = external addrspace(3) global [0 x i8], align 16")
        lines.append(
            f"define internal ptr addrspace(3) {_MEMORY}() alwaysinline {{\n"
            f"  ret ptr addrspace(3) {_DYNAMIC}\n}}"
        )
    return text + "\n".join(lines) + "\n", sum(sizes.values())
