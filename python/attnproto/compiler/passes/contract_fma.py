"""Decide which products are fused with sums, so that every engine rounds alike.

MSL lets a compiler contract ``a * b + c`` to one operation (clang: -ffp-contract=fast). A
code generator does so where it happens to see both in one place, which differs with the
code around them. Here it is done once, on optimised IR, before the engines part.
"""

from __future__ import annotations

import re

_NAME = r'%(?:"[^"]+"|[-\w.$]+)'
VALUE = r"(?:<[^>]*>|splat \([^)]*\)|[^ ,]+)"
_TYPE = r"float|double|<\d+ x (?:float|double)>"
FLAGS = r"(?:(?:contract|reassoc|nnan|ninf|nsz|arcp|afn|fast) )*"
_OPERATION = re.compile(rf"^  ({_NAME}) = (fmul|fadd|fsub) ({FLAGS})({_TYPE}) ({VALUE}), ({VALUE})")
_LABEL = re.compile(r'^(?:"[^"]+"|[-\w.$]+):')
_USED = re.compile(_NAME)


def _suffix(kind: str) -> str:
    match = re.fullmatch(r"<(\d+) x (\w+)>", kind)
    bits = {"float": "f32", "double": "f64"}
    return f"v{match[1]}{bits[match[2]]}" if match else bits[kind]


def contract(text: str, fused: bool) -> str:
    """Fuse each product that only one sum of its block reads, and let no other be fused.

    Args:
        text: an optimised module.
        fused: whether the processor has the operation; without it, nothing is fused.
    """
    out: list[str] = []
    kinds: set[str] = set()
    uses: dict[str, int] = {}
    products: dict[str, tuple[str, str, str]] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("define "):
            uses = {}
            for other in lines[number:]:
                if other == "}":
                    break
                for name in _USED.findall(other):
                    uses[name] = uses.get(name, 0) + 1
        if line.startswith("define ") or _LABEL.match(line):
            products = {}
        match = _OPERATION.match(line) if "contract" in line and fused else None
        if match:
            line = _fused(line, match, products, uses, kinds)
        out.append(line if line.startswith("attributes") else line.replace(" contract ", " "))
    declared = [f"declare {k} @llvm.fma.{_suffix(k)}({k}, {k}, {k})" for k in sorted(kinds)]
    return "\n".join([*out, *(d for d in declared if d.split("(")[0] not in text)]) + "\n"


def _fused(
    line: str,
    match: re.Match,
    products: dict[str, tuple[str, str, str]],
    uses: dict[str, int],
    kinds: set[str],
) -> str:
    name, op, flags, kind, a, b = match.groups()
    if "contract" not in flags:
        return line
    if op == "fmul":
        if uses[name] == 2:  # where it is defined, and once more
            products[name] = (kind, a, b)
        return line
    for product, other, first in ((a, b, True), (b, a, False)):
        if product not in products or product == other:
            continue
        _, x, y = products.pop(product)
        kinds.add(kind)
        call = f"call {kind} @llvm.fma.{_suffix(kind)}"
        if op == "fadd":
            return f"  {name} = {call}({kind} {x}, {kind} {y}, {kind} {other})"
        minus = f'%"minus {name[1:].strip(chr(34))}"'
        if first:
            head = f"  {minus} = fneg {kind} {other}"
            return f"{head}\n  {name} = {call}({kind} {x}, {kind} {y}, {kind} {minus})"
        head = f"  {minus} = fneg {kind} {x}"
        return f"{head}\n  {name} = {call}({kind} {minus}, {kind} {y}, {kind} {other})"
    return line
