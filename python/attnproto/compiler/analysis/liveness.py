"""An estimate of how many registers a kernel's code keeps alive."""

from __future__ import annotations

from dataclasses import dataclass

from attnproto.compiler.ir.effects import may_change_memory
from attnproto.compiler.ir.function import Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.types import Unsupported, register_bits

_MOVED = {"load", "getelementptr", "fpext", "fptrunc", "extractelement", "bitcast"}
_WORD, _ADDRESS = 32, 64


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
    most = [0]

    def measure(lines: list[str]) -> list[str]:
        most.append(_of_function(Function(lines)))
        return lines

    map_functions(text, measure)
    return max(most)


def _bits(instruction: Instruction) -> int:
    """Size of a result."""
    try:
        return register_bits(instruction.type)
    except Unsupported:  # a struct: a pair of floats, of which one is taken
        return _WORD if instruction.op == "extractvalue" else _ADDRESS


def _near(instruction: Instruction) -> str | None:
    """The pointer that an address is a constant away from."""
    if instruction.op != "getelementptr":
        return None
    (kind, pointer), *steps = instruction.operands
    constant = all(value.lstrip("-").isdigit() for _, value in steps)
    return pointer if constant and pointer[0] == "%" and kind != "ptr" else None


def _of_function(function: Function) -> int:
    bits: dict[str, int] = {}
    places: dict[str, str] = {}  # of addresses a constant away from another
    for instruction in function.instructions:
        if near := _near(instruction):
            places[instruction.name] = places.get(near, near)
        elif instruction.name:
            bits[instruction.name] = _bits(instruction)
    blocks: dict[str, list[_Instruction]] = {}
    phis: dict[str, dict[str, list[str]]] = {}  # by block, what each predecessor hands over
    for block in function.blocks.values():
        for phi in block.phis:
            for (_, value), source in zip(phi.operands, phi.sources, strict=True):
                phis.setdefault(block.name, {}).setdefault(source, []).append(
                    places.get(value, value)
                )
        blocks[block.name] = [_Instruction(phi.name, []) for phi in block.phis] + [
            _Instruction(
                instruction.name or None, [places.get(name, name) for name in instruction.used],
                instruction.op in _MOVED, instruction.op == "load", may_change_memory(instruction),
            )
            for instruction in (*block.body, block.end) if instruction.name not in places
        ]  # fmt: skip
    ends = {block.name: block.successors for block in function.blocks.values()}
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
    most, changed = 0, True
    while changed:
        changed = False
        for label in reversed(blocks):
            now: set[str] = set()
            for target in ends[label]:
                now |= alive.get(target, set())
                now |= set(phis.get(target, {}).get(label, [])) & bits.keys()
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
