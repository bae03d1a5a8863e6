"""A function of values, as AIR calls its own, over one of memory, as it is defined here."""

from __future__ import annotations

import re

from .intrinsics import MATRIX_LANES

_FRAGMENT = re.compile(r"<64 x (\w+)>")


def wrapper(symbol: str, result: str, kinds: list[str], definition: str, group: int) -> str:
    """A function of values as AIR calls it, over one of memory as it is defined."""
    letters = "abcdefgh"[: len(kinds)]
    lines, places = [], []
    if result != "void":
        lines.append(f"  %r = alloca {stored(result)}")
        places.append("ptr %r")
    for x, kind in zip(letters, kinds, strict=True):
        own, value = stored(kind), f"%{x}"
        lines.append(f"  %at.{x} = alloca {own}")
        if own != kind:
            lines.append(f"  %to.{x} = {_narrowed(kind, own, value)}")
            value = f"%to.{x}"
        lines.append(f"  store {own} {value}, ptr %at.{x}")
        places.append(f"ptr %at.{x}")
    lines.append(f"  call void {definition}({', '.join(places)})")
    if result == "void":
        lines.append("  ret void")
    else:
        own = stored(result)
        lines.append(f"  %got = load {own}, ptr %r")
        if own != result:
            lines.append(f"  %given = {_widened(result, own)}")
        lines.append(f"  ret {result} {'%given' if own != result else '%got'}")
    parameters = ", ".join(f"{kind} %{x}" for x, kind in zip(letters, kinds, strict=True))
    return "\n".join([f"define internal {result} {symbol}({parameters}) #{group} {{", *lines, "}"])


def stored(kind: str) -> str:
    """How a value lies in memory: a truth as a byte, a matrix as a lane's two elements."""
    fragment = _FRAGMENT.fullmatch(kind)
    return f"<2 x {fragment[1]}>" if fragment else "i8" if kind == "i1" else kind


def _narrowed(kind: str, own: str, value: str) -> str:
    if kind == "i1":
        return f"zext i1 {value} to i8"
    return f"shufflevector {kind} {value}, {kind} poison, <2 x i32> <i32 0, i32 1>"


def _widened(kind: str, own: str) -> str:
    if kind == "i1":
        return "trunc i8 %got to i1"
    mask = ", ".join(["i32 0", "i32 1", *["i32 poison"] * (MATRIX_LANES - 2)])
    return f"shufflevector {own} %got, {own} poison, <{MATRIX_LANES} x i32> <{mask}>"
