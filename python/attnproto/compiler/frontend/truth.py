"""Comparisons of vectors: 1 where one is true, as in MSL, where clang's OpenCL has all bits.

clang makes a vector of bits, and of that a vector of integers by extending the sign: there, and
nowhere else, bits become integers that way. What it chooses by is the sign of a vector, which is
then any number but 0.
"""

from __future__ import annotations

import re

# A vector's choice: its condition's sign as a mask, whose complement and self choose.
_CHOICE = re.compile(
    r"^(?P<test>  (?P<bits>%\S+) = icmp )slt(?P<of> <(?P<count>\d+) x i\d+> %\S+, zeroinitializer"
    r"(?:, !dbg !\d+)?\n)"
    r"(?P<widen>  (?P<mask>%\S+) = )sext(?= <\d+ x i1> (?P=bits) to [^\n]*\n"
    r"  %\S+ = xor <[^>\n]*> (?P=mask), splat \(i\d+ -1\)[^\n]*\n"
    r"(?:[^\n]*\n){0,8}?  %\S+ = and <[^>\n]*> [^\n]*, (?P=mask)(?:,|\n))",
    re.M,
)
_SIGNED = re.compile(r"^(  %\S+ = )sext(?= <\d+ x i1> )", re.M)
_KEPT = "sext_of_mask"


def as_one(ir_text: str) -> str:
    """Unoptimised IR whose vectors of truth are of 1 and 0."""
    if " x i1> " not in ir_text:
        return ir_text
    chosen = _CHOICE.sub(rf"\g<test>ne\g<of>\g<widen>{_KEPT}", ir_text)
    return _SIGNED.sub(r"\1zext", chosen).replace(_KEPT, "sext")
