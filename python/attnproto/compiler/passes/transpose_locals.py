"""Local arrays element by element: of all lanes of a simdgroup the first, then of all the second.

As a lane has them, its elements stand side by side, and those of the other lanes are a whole
variable apart: reading one of each lane is 32 reads. Transposed, it is one. Only code for a
simdgroup can have it so: in a lane's own every address is 32 times as far from the variable's
begin, and the lanes' variables lie as many bytes apart as an element has.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from attnproto.compiler.analysis.integer_ranges import low_zeros
from attnproto.compiler.analysis.lane_offsets import TRANSPOSED, index_steps, private_bytes
from attnproto.compiler.analysis.lane_values import LANES, literal
from attnproto.compiler.ir.effects import is_special
from attnproto.compiler.ir.function import Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.intrinsics import intrinsic
from attnproto.compiler.ir.runtime_calls import is_entry
from attnproto.compiler.ir.types import (
    Unsupported,
    element_of,
    elements_of,
    size_of,
    spelled_out,
)

_SYMBOL = re.compile(r"@([-\w.$]+)\(")
# Bytes that are filled by stores of their own.
_LONGEST_FILL = 256
_NUMBER = re.compile(r"i(?:8|16|32|64)|half|float|double|ptr.*")


def transpose_locals(text: str) -> str:
    """Transpose the local variables of a kernel whose every use is known.

    Args:
        text: a module whose values have names.

    Returns:
        The module, whose kernel is one for a simdgroup; its other functions are a lane's still.
    """
    return map_functions(spelled_out(text), _rewritten) if " alloca " in text else text


def _rewritten(lines: list[str]) -> list[str]:
    symbol = _SYMBOL.search(lines[0])
    if not symbol or not is_entry(symbol[1]):
        return lines
    function = Function(lines)
    users: dict[str, list[Instruction]] = defaultdict(list)
    for instruction in function.instructions:
        for name in dict.fromkeys(instruction.used):
            users[name].append(instruction)
    names = map(f"{TRANSPOSED}{{}}".format, itertools.count())
    for instruction in function.instructions:
        if instruction.op == "alloca":
            variable = _Variable(instruction, users, function.definitions)
            if variable.collect():
                _Transposed(variable, names).write()
    return function.lines()


@dataclass
class _Variable:
    """A local variable and what the kernel does with it."""

    alloca: Instruction
    users: dict[str, list[Instruction]]
    definitions: dict[str, Instruction]
    addresses: list[Instruction] = field(default_factory=list)
    accesses: list[Instruction] = field(default_factory=list)
    fills: list[Instruction] = field(default_factory=list)  # with one byte
    hints: list[Instruction] = field(default_factory=list)  # of its lifetime
    granule: int = 0  # bytes that stay together

    def collect(self) -> bool:
        """Find all uses; whether each is of a kind that can be transposed."""
        todo = [self.alloca.name]
        while todo:
            pointer = todo.pop()
            for user in self.users[pointer]:
                if _accesses(user, pointer):
                    self.accesses.append(user)
                elif _moves(user, pointer):
                    self.addresses.append(user)
                    todo.append(user.name)
                elif _fills(user, pointer):
                    self.fills.append(user)
                elif user.op == "call" and (known := intrinsic(user.callee)) and known.hint:
                    self.hints.append(user)
                else:
                    return False
        widths = {size_of(element_of(access.held)) for access in self.accesses}
        steps = {n for address in self.addresses for n in self._steps(address)}
        lengths = {int(fill.operands[2][1]) for fill in self.fills}
        self.granule = math.gcd(*widths, *steps, *lengths)
        return bool(widths) and self.granule == min(widths)

    def _steps(self, address: Instruction) -> Iterator[int]:
        """What the bytes that an address adds are multiples of."""
        if address.op == "getelementptr":
            constant, terms = _distance(address)
            yield constant
            for _, index, size in terms:
                yield size << low_zeros(index, self.definitions)


def _accesses(user: Instruction, pointer: str) -> bool:
    """Whether an instruction reads or writes numbers at a pointer, and keeps it nowhere."""
    if user.op not in ("load", "store") or is_special(user):
        return False
    named = [value for _, value in user.operands]
    return named.index(pointer) == len(named) - 1 and bool(_NUMBER.fullmatch(element_of(user.held)))


def _fills(user: Instruction, pointer: str) -> bool:
    """Whether an instruction sets a known number of bytes, not too many, to a known one."""
    if user.op != "call" or not (known := intrinsic(user.callee)) or known.judged != "fill":
        return False
    (_, filled), (_, byte), (_, length), (_, volatile) = user.operands
    number = literal(length)
    return (
        (filled, volatile) == (pointer, "false")
        and literal(byte) is not None
        and number is not None
        and number <= _LONGEST_FILL
    )


def _moves(user: Instruction, pointer: str) -> bool:
    """Whether an instruction makes another address of a pointer, by known bytes."""
    if user.op == "addrspacecast":
        return True
    if user.op != "getelementptr" or user.operands[0][1] != pointer:
        return False
    try:
        _distance(user)
    except Unsupported:
        return False
    return all(kind[0] == "i" for kind, _ in user.operands[1:])


def _distance(address: Instruction) -> tuple[int, list[tuple[str, str, int]]]:
    """Bytes that an address adds: a constant, and (type, value, bytes) of each index that is none.

    Raises:
        Unsupported: a type has only a name here.
    """
    constant, terms = 0, []
    steps = index_steps(address)
    for (kind, index), (size, before) in zip(address.operands[1:], steps, strict=True):
        number = literal(index)
        if number is None:
            terms.append((kind, index, size))
        else:
            constant += number * size + before
    return constant, terms


class _Transposed:
    """Writes a variable's uses anew."""

    def __init__(self, variable: _Variable, names: Iterator[str]):
        self._variable, self._names = variable, names
        self._granule = variable.granule
        self._name = f"{next(names)}.by{self._granule}"
        self._lines: list[str] = []

    def write(self) -> None:
        """Change what the function prints."""
        alloca = self._variable.alloca
        alloca.output = f"  {self._name} = alloca [{private_bytes(alloca)} x i8], align 16"
        for hint in self._variable.hints:
            hint.output = self._moved(hint)
        for address in self._variable.addresses:
            if address.op == "addrspacecast":
                address.output = self._moved(address)
            else:
                address.output = self._written(self._address, address)
        for fill in self._variable.fills:
            fill.output = self._written(self._fill, fill)
        for access in self._variable.accesses:
            write = self._load if access.op == "load" else self._store
            access.output = self._written(write, access)

    def _written(self, write: Callable[[Instruction], None], instruction: Instruction) -> str:
        self._lines = []
        write(instruction)
        return "\n".join(self._lines)

    def _let(self, text: str, name: str = "") -> str:
        name = name or next(self._names)
        self._lines.append(f"  {name} = {text}")
        return name

    def _moved(self, instruction: Instruction) -> str:
        own = self._variable.alloca.name
        values = {k: self._name for k, (_, v) in enumerate(instruction.operands) if v == own}
        return instruction.with_operands(values)

    def _pointer(self, instruction: Instruction, number: int) -> tuple[str, str]:
        kind, value = instruction.operands[number]
        return kind, self._name if value == self._variable.alloca.name else value

    def _address(self, address: Instruction) -> None:
        constant, terms = _distance(address)
        kind, at = self._pointer(address, 0)
        for index_kind, index, size in terms:
            at = self._let(
                f"getelementptr [{size * LANES} x i8], {kind} {at}, {index_kind} {index}"
            )
        self._let(f"getelementptr i8, {kind} {at}, i64 {constant * LANES}", address.name)

    def _fill(self, fill: Instruction) -> None:
        byte, length = (literal(fill.operands[k][1]) for k in (1, 2))
        bits = int.from_bytes(bytes([byte & 255]) * self._granule, "little")
        kind = f"i{8 * self._granule}"
        for n in range(length // self._granule):
            self._lines.append(f"  store {kind} {bits}, {self._row(fill, n, 0)}")

    def _row(self, access: Instruction, number: int, operand: int = -1) -> str:
        """The address of a granule of an access."""
        kind, at = self._pointer(access, operand)
        if number:
            at = self._let(f"getelementptr i8, {kind} {at}, i64 {number * self._granule * LANES}")
        return f"{kind} {at}, align {self._granule}"

    def _load(self, load: Instruction) -> None:
        kind = load.type
        if kind[0] != "<":
            self._element(load, kind, 0, load.name)
            return
        element, vector = element_of(kind), "poison"
        count = elements_of(kind)[0]
        for n in range(count):
            one = self._element(load, element, n)
            name = load.name if n == count - 1 else ""
            vector = self._let(f"insertelement {kind} {vector}, {element} {one}, i64 {n}", name)

    def _element(self, load: Instruction, kind: str, number: int, name: str = "") -> str:
        pieces = size_of(kind) // self._granule
        if pieces == 1:
            return self._let(f"load {kind}, {self._row(load, number)}", name)
        whole, small = f"i{8 * size_of(kind)}", f"i{8 * self._granule}"
        total = "0"
        for n in range(pieces):
            part = self._let(f"load {small}, {self._row(load, number * pieces + n)}")
            part = self._let(f"zext {small} {part} to {whole}")
            part = self._let(f"shl {whole} {part}, {8 * self._granule * n}")
            total = self._let(f"or {whole} {part}, {total}")
        cast = "inttoptr" if kind.startswith("ptr") else "bitcast"
        return self._let(f"{cast} {whole} {total} to {kind}", name)

    def _store(self, store: Instruction) -> None:
        kind, value = store.operands[0]
        if kind[0] != "<":
            self._keep(store, kind, value, 0)
            return
        count, element = elements_of(kind)
        for n in range(count):
            one = self._let(f"extractelement {kind} {value}, i64 {n}")
            self._keep(store, element, one, n)

    def _keep(self, store: Instruction, kind: str, value: str, number: int) -> None:
        pieces = size_of(kind) // self._granule
        if pieces == 1:
            self._lines.append(f"  store {kind} {value}, {self._row(store, number)}")
            return
        whole, small = f"i{8 * size_of(kind)}", f"i{8 * self._granule}"
        cast = "ptrtoint" if kind.startswith("ptr") else "bitcast"
        bits = self._let(f"{cast} {kind} {value} to {whole}")
        for n in range(pieces):
            part = self._let(f"lshr {whole} {bits}, {8 * self._granule * n}")
            part = self._let(f"trunc {whole} {part} to {small}")
            self._lines.append(f"  store {small} {part}, {self._row(store, number * pieces + n)}")
