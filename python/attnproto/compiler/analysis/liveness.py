"""An estimate of how many registers a kernel's code keeps alive."""

from __future__ import annotations

import re
from dataclasses import dataclass

from attnproto.compiler.ir.runtime_calls import ANY_MEMORY, calls
from attnproto.dtypes import LLVM_SCALARS

# Calls that touch memory; mathematics and what lanes exchange do not.
_CHANGES = re.compile(
    rf"@(?:{calls(lambda c: ANY_MEMORY in c.touches)})\(|atomicrmw|cmpxchg|@llvm\.mem"
)
_NEAR = re.compile(
    r'getelementptr .*?ptr addrspace\(\d\) (%(?:"[^"]+"|[-\w.$]+))(?:, i\d+ -?\d+)+$'
)
_MOVED = {"load", "getelementptr", "fpext", "fptrunc", "extractelement", "bitcast"}
# A truth value has a register of another kind.
_BITS = {**{kind: 8 * nbytes for kind, nbytes in LLVM_SCALARS.items()}, "i1": 0}
_TYPE = r"(?:<(\d+) x (\w+)>|(\w+))"
_LABEL = re.compile(r'^(?P<name>"[^"]+"|[-\w.$]+):')
_DEFINED = re.compile(r'^\s+(%(?:"[^"]+"|[-\w.$]+)) = (.*)$')
_USED = re.compile(r'%(?:"[^"]+"|[-\w.$]+)')
_TARGET = re.compile(r'label %("[^"]+"|[-\w.$]+)')
_INCOMING = re.compile(r'\[ ([^,\]]+), %("[^"]+"|[-\w.$]+) \]')


@dataclass(frozen=True)
class _Instruction:
    name: str | None  # of its result
    used: list[str]
    moves: bool = False  # stands where it is first used
    loads: bool = False
    changes: bool = False  # memory, as far as is known


def live_registers(text: str) -> int:
    """Return the most 32-bit values of a lane that are alive at once.

    Of optimised IR in the order it is written in, save that loads, addresses and conversions
    stand where they are first used, unless memory may change before. A predicate counts as
    none, a 64-bit address as two, and one a constant away from another as that other.
    A compiler may order the code better still, and share what all lanes hold.
    """
    most = 0
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if line.startswith("define "):
            most = max(most, _of_function(lines[i + 1 : lines.index("}", i)]))
    return most


def _bits(what: str) -> int:
    """Size of a result, from the right-hand side that makes it."""
    operation, _, rest = what.partition(" ")
    if operation in ("icmp", "fcmp"):
        return 0
    if operation in ("getelementptr", "inttoptr", "alloca", "addrspacecast"):
        return 64
    if " to " in what and operation in (
        "zext", "sext", "trunc", "fpext", "fptrunc", "bitcast", "sitofp", "uitofp", "fptosi",
        "fptoui", "ptrtoint",
    ):  # fmt: skip
        rest = what.rsplit(" to ", 1)[1]
    if operation == "extractelement":
        rest = re.sub(r"<\d+ x (\w+)>", r"\1", rest, count=1)
    if operation == "extractvalue":
        rest = "float"
    if operation == "select":
        rest = rest.split(", ", 1)[1]
    if operation == "shufflevector":
        count = re.findall(r"<(\d+) x i32>", rest)[-1]
        element = re.search(r"<\d+ x (\w+)>", rest)[1]
        return int(count) * _BITS.get(element, 64)
    for count, element, plain in re.findall(_TYPE, rest.split("(")[0]):
        if plain in _BITS:
            return _BITS[plain]
        if element:
            return int(count) * _BITS.get(element, 64)
    return 64


def _of_function(body: list[str]) -> int:
    blocks: dict[str, list[_Instruction]] = {}
    ends: dict[str, list[str]] = {}
    phis: dict[str, dict[str, list[str]]] = {}  # by block, what each predecessor hands over
    bits: dict[str, int] = {}
    places: dict[str, str] = {}  # of addresses a constant away from another
    label = ""
    blocks[label], ends[label] = [], []
    for line in body:
        found = _LABEL.match(line)
        if found:
            label = found["name"]
            blocks[label], ends[label] = [], []
            continue
        code = re.sub(r"(?:, )?![\w.]+(?: !\d+)?", "", line).split(" ; ")[0]
        made = _DEFINED.match(code)
        name, what = (made[1], made[2]) if made else (None, code)
        near = _NEAR.match(what)
        if near:
            places[name] = places.get(near[1], near[1])
            continue
        if name:
            bits[name] = _bits(what)
        ends[label] += _TARGET.findall(what)
        if what.startswith("phi "):
            for value, source in _INCOMING.findall(what):
                handed = phis.setdefault(label, {}).setdefault(source, [])
                handed += _USED.findall(value)
            blocks[label].append(_Instruction(name, []))
        else:
            used = _USED.findall(re.sub(r"label %\S+", "", what))
            changes = what.startswith("store") or _CHANGES.search(what) is not None
            kind = what.split(" ", 1)[0]
            moves, loads = kind in _MOVED, kind == "load"
            blocks[label].append(_Instruction(name, used, moves, loads, changes))
    for block in blocks.values():
        for instruction in block:
            instruction.used[:] = [places.get(name, name) for name in instruction.used]
    for handed in phis.values():
        for names in handed.values():
            names[:] = [places.get(name, name) for name in names]
    return _most({label: _late(block) for label, block in blocks.items()}, ends, phis, bits)


def _late(block: list[_Instruction]) -> list[_Instruction]:
    """The block with every load, address and conversion moved down to where it is first used."""
    out: list[_Instruction] = []  # from the end
    for instruction in reversed(block):
        at = len(out)
        if instruction.moves:
            while at and instruction.name not in out[at - 1].used:
                if instruction.loads and out[at - 1].changes:
                    break
                at -= 1
            if not at or instruction.name not in out[at - 1].used:  # used elsewhere, or kept back
                at = len(out)
        out.insert(at, instruction)
    return out[::-1]


def _most(
    blocks: dict[str, list[_Instruction]],
    ends: dict[str, list[str]],
    phis: dict[str, dict[str, list[str]]],
    bits: dict[str, int],
) -> int:
    """The largest sum of bits alive, by liveness from the ends backwards."""
    alive: dict[str, set[str]] = {label: set() for label in blocks}  # at each block's begin
    numbers = {label: label if label else _first_name(blocks, phis) for label in blocks}
    most, changed = 0, True
    while changed:
        changed = False
        for label in reversed(blocks):
            now: set[str] = set()
            for target in ends[label]:
                now |= alive.get(target, set())
                now |= set(phis.get(target, {}).get(numbers[label], [])) & bits.keys()
            size = sum(bits[name] for name in now)
            most = max(most, size)
            for instruction in reversed(blocks[label]):
                if instruction.name in now:
                    now.discard(instruction.name)
                    size -= bits[instruction.name]
                for value in instruction.used:
                    if value in bits and value not in now:
                        now.add(value)
                        size += bits[value]
                most = max(most, size)
            if now != alive[label]:
                alive[label] = now
                changed = True
    return -(-most // 32)


def _first_name(
    blocks: dict[str, list[_Instruction]], phis: dict[str, dict[str, list[str]]]
) -> str:
    """What phis call the block without a label: the name that no block has."""
    sources = {source for handed in phis.values() for source in handed}
    return next(iter(sources - blocks.keys()), "")
