"""Make a kernel ask before every access of memory that others see.

The optimised IR of a kernel is instrumented: a load or store of device, constant or
threadgroup memory first hands its pointer to the engine, which judges the access and
returns the address (cpp/cpu/validation.h says how). Barriers and collectives say which
line they are of. A table of sites, in the module, holds what the engine needs to know of
each place: its line, the line's text, size and alignment of the access (site_table.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from attnproto import _core
from attnproto.compiler.analysis.argument_pointers import STATE, arguments_of_pointers
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir.debug_lines import LineTable, Place, source_lines, without_lines
from attnproto.compiler.ir.function import Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.intrinsics import intrinsic
from attnproto.compiler.ir.runtime_calls import (
    CALLS,
    THREADGROUP_VARIABLE,
    declarations,
    runtime_call,
)
from attnproto.compiler.ir.types import (
    Unsupported,
    access_bytes,
    element_of,
    elements_of,
    space_of,
    take_type,
)
from attnproto.compiler.target import Target
from attnproto.dtypes import LLVM_FLOATS

from .site_table import LOCAL_SPACE, READ, WRITE, Site, SiteTable

_BARRIERS = {
    "threadgroup": _core.SITE_THREADGROUP_BARRIER,
    "simdgroup": _core.SITE_SIMDGROUP_BARRIER,
}
_ACCESSES = {  # which operand is the pointer, and what the access does
    "load": (0, READ),
    "store": (1, WRITE),
    "atomicrmw": (0, READ | WRITE | _core.SITE_ATOMIC),
    "cmpxchg": (0, READ | WRITE | _core.SITE_ATOMIC),
}
_ARITHMETIC = ("fadd", "fsub", "fmul", "fdiv", "frem")
_ALIGN = re.compile(r"align (\d+)")
_SYMBOL, _NAME = re.compile(r"@[-\w.$]+"), re.compile(r"[%@]")
_TABLE = re.compile(r"^(?P<name>@[-\w.$]+) = .*?addrspace\(2\) constant (?P<rest>.*)$", re.M)
_TYPE_DEFINITION = re.compile(r"^%.* = type .*$", re.M)
# What is called instead of the calls that the headers and define_arithmetic put in.
_PUT_IN = (
    "arrive", "about_to_multiply", "made_nan", "judge_division", "judge_depth", "trapped",
    "check_constant", "check_local", "threadgroup_array", "access", "access_range",
)  # fmt: skip


def target_with_lines(host: Target) -> Target:
    """Return the target whose IR knows the lines it comes from."""
    # Variables that nothing was assigned to hold NaNs; those that fit no stack are refused later.
    fill = ("-ftrivial-auto-var-init=pattern", "-ftrivial-auto-var-init-max-size=65536")
    extra = ("-gline-tables-only", "-DATTN_VALIDATE=1", *fill)
    return dataclasses.replace(host, options=(*host.options, *extra))


def without_promises(text: str) -> str:
    """IR before optimisation, without leave to read memory that the text does not read.

    A reference is dereferenceable, and what is may be loaded before the branch that asks.
    """
    return re.sub(r" dereferenceable(?:_or_null)?\(\d+\)", "", text)


@dataclass(frozen=True)
class Names:
    """What a kernel without text calls its memory: buffers by index, variables by number."""

    buffers: Mapping[int, str]
    variables: Sequence[str]


@dataclass
class _Instrumenter:
    lines: LineTable
    sites: SiteTable
    nan: bool
    types: str  # the module's type definitions
    names: Names | None  # where no lines tell places
    declared: dict[str, str] = field(default_factory=dict)  # sites of threadgroup variables
    serial: int = 0
    place: Place = field(default_factory=Place)  # of the latest instruction that has one
    bases: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what pointers come from
    locals: dict[str, int] = field(default_factory=dict)  # sizes of a function's variables
    numbers: set[str] = field(default_factory=set)  # that a pointer may be made of
    copied: set[str] = field(default_factory=set)  # loaded to be stored, and for nothing else
    kept: set[str] = field(default_factory=set)  # vectors loaded to set some of their elements
    reached: dict[str, frozenset[int]] = field(default_factory=dict)  # arguments of pointers

    def function(self, lines: list[str]) -> list[str]:
        """A function's lines, with what they ask the engine."""
        function = Function(lines)
        self.bases = dict(filter(None, map(_bases, function.instructions)))
        self.numbers = {one.name for one in function.instructions if one.type == "i64"}
        self.copied = _copied(function)
        self.kept = _kept(function)
        self.locals = {
            instruction.name: self.bytes(instruction.element)
            for instruction in function.instructions
            if instruction.op == "alloca"
        }
        self.place = Place()
        if self.names:
            self.reached = arguments_of_pointers(function)
        for instruction in function.instructions:
            place = self._named(instruction) or self.lines.place(instruction.text)
            if place.line or self.names:
                self.place = place
            if not place.entry:
                instruction.output = "\n".join(self._instruction(instruction))
        return function.lines()

    def _named(self, instruction: Instruction) -> Place | None:
        """Where an instruction is, in a kernel without lines: at the memory that it accesses."""
        if not self.names:
            return None
        known = [self.reached.get(v, frozenset()) for _, v in instruction.operands]
        numbers = frozenset().union(*known) if _accesses(instruction) else frozenset()
        if STATE in numbers:
            return Place(entry=True)
        named = [self.names.buffers.get(index, "") for index in sorted(numbers)]
        return Place(name=" or ".join(filter(None, named)))

    def _instruction(self, instruction: Instruction) -> Iterator[str]:
        if instruction.op == "call":
            known = runtime_call(instruction.callee) or intrinsic(instruction.callee)
            judge = _JUDGES.get(known.judged) if known else None
            if judge:
                yield from judge(self, instruction)
                return
        at, does = _ACCESSES.get(instruction.op, (None, 0))
        if at is not None:
            kind, pointer = instruction.operands[at]
            if does in (READ, WRITE) and self._root(pointer) in self.locals:
                if pointer in self.bases:  # not the variable as a whole
                    yield from self._local(instruction, at, does)
            elif self._is_judged(kind, pointer):
                yield from self._access(instruction, at, does)
                return
        yield instruction.text
        if self.nan:
            yield from self._nan(instruction)

    def _site(self, *how: int | str) -> str:
        return self.sites.reference(Site(self.place, *how))

    def _fresh(self) -> str:
        self.serial += 1
        return f"%attn.v.{self.serial}"

    def _access(self, access: Instruction, at: int, does: int) -> Iterator[str]:
        kind, pointer = access.operands[at]
        if "atomic" in access.flags:
            does |= _core.SITE_ATOMIC
        if access.name in self.copied:
            does |= _core.SITE_COPY
        if access.name in self.kept:
            does |= _core.SITE_KEPT
        nbytes = self.bytes(_accessed(access))
        # What a number leads to may be any memory.
        space = space_of(kind) or 4
        site = self._site(does, nbytes, access.align, str(space))
        check = self._own(kind, pointer, str(nbytes), site)
        if check:
            yield from check
            yield access.text
            return
        address = self._fresh()
        judged = f"@attn_access_{space_of(kind)}({kind} {pointer}, ptr {site})"
        yield f"  {address} = call {kind} {judged}"
        yield access.with_operands({at: address})

    def _is_judged(self, kind: str, pointer: str) -> bool:
        """Whether the engine is asked: of shared memory, and of an address made of a number."""
        if not space_of(kind):
            return self._root(pointer) in self.numbers
        return pointer[0] == "%" or pointer == "null"

    def _root(self, pointer: str) -> str:
        """The one variable or table that a pointer was computed from, else the pointer."""
        roots, seen, waiting = set(), {pointer}, [pointer]
        while waiting:
            one = waiting.pop()
            if one not in self.bases:
                symbol = _SYMBOL.search(one)  # of a constant expression too
                roots.add(symbol[0] if symbol else one)
            for base in self.bases.get(one, ()):
                if base not in seen:
                    seen.add(base)
                    waiting.append(base)
        return roots.pop() if len(roots) == 1 else pointer

    def _local(self, access: Instruction, at: int, does: int) -> Iterator[str]:
        """An access of a local array, which has no address that the engine could judge."""
        kind, pointer = access.operands[at]
        nbytes = self.bytes(_accessed(access))
        site = self._site(does, nbytes, 1, LOCAL_SPACE)
        yield from self._own(kind, pointer, str(nbytes), site)

    def _own(self, kind: str, pointer: str, nbytes: str, site: str) -> list[str]:
        """The check of an access of a local variable or a constant table; of others nothing."""
        root = self._root(pointer)
        if root in self.locals:
            what, variable, size = "local", f"ptr {root}", self.locals[root]
        elif root in self.sites.constants:
            what, size = "constant", self.sites.constants[root]
            variable = f"ptr addrspace(2) {root}"
        else:
            return []
        at, base, offset = self._fresh(), self._fresh(), self._fresh()
        return [
            f"  {at} = ptrtoint {kind} {pointer} to i64",
            f"  {base} = ptrtoint {variable} to i64",
            f"  {offset} = sub i64 {at}, {base}",
            f"  call void @attn_check_{what}(i64 {offset}, i64 {nbytes}, i64 {size}, ptr {site})",
        ]

    def _block(self, call: Instruction, pointers: int) -> Iterator[str]:
        """A copy or a fill: of one of our own sizes, or as long as a register says."""
        length = call.operands[2][1]
        addresses = {}
        for position, (kind, pointer) in enumerate(call.operands[:pointers]):
            if length == "0":
                continue
            aligned = _ALIGN.search(call.pieces[position])
            own = self._root(pointer) in self.locals
            site = self._site(
                WRITE if position == 0 else READ | _core.SITE_COPY,
                0 if length.startswith("%") else int(length),
                int(aligned[1]) if aligned and not own else 1,
                LOCAL_SPACE if own else str(space_of(kind)),
            )
            check = self._own(kind, pointer, length, site)
            yield from check
            if check or not space_of(kind) or pointer[0] != "%":
                continue
            addresses[position] = self._fresh()
            yield (
                f"  {addresses[position]} = call {kind} @attn_access_range_{space_of(kind)}({kind} "
                f"{pointer}, i64 {length}, ptr {site})"
            )
        yield call.with_operands(addresses)

    def _copy(self, call: Instruction) -> Iterator[str]:
        return self._block(call, 2)

    def _fill(self, call: Instruction) -> Iterator[str]:
        return self._block(call, 1)

    def _barrier(self, call: Instruction) -> Iterator[str]:
        site = self._site(_BARRIERS[runtime_call(call.callee).judged])
        yield f"  call void @attn_arrive(i32 {call.operands[0][1]}, ptr {site})"

    def _source(self, call: Instruction) -> Iterator[str]:
        """A lane reads what another one may not be there to give."""
        yield f"  call void @attn_arrive(i32 0, ptr {self._site()})"
        yield call.text

    def _division(self, call: Instruction) -> Iterator[str]:
        truth = call.operands[0][1]
        if truth != "false":
            number = self._fresh()
            yield f"  {number} = zext i1 {truth} to i32"
            yield f"  call void @attn_judge_division(i32 {number}, ptr {self._site()})"

    def _depth(self, call: Instruction) -> Iterator[str]:
        yield f"  call void @attn_judge_depth(ptr {self._site()})"

    def _trap(self, call: Instruction) -> Iterator[str]:
        yield f"  call void @attn_trapped(ptr {self._site()})"
        yield call.text

    def _multiply(self, call: Instruction) -> Iterator[str]:
        yield f"  call void @attn_about_to_multiply(ptr {self._site()})"
        yield call.text

    def _variable(self, call: Instruction) -> Iterator[str]:
        if self.names:
            number = int(re.match(THREADGROUP_VARIABLE, call.callee[1:])[1])
            self.place = Place(name=self.names.variables[number])
        self.declared.setdefault(call.callee[1:], self._site())
        yield call.text

    def _nan(self, instruction: Instruction) -> Iterator[str]:
        if not _may_make_nan(instruction):
            return
        kind = instruction.type
        lanes, element = elements_of(kind)
        bits = f"<{lanes} x i1>" if element != kind else "i1"
        operands = [value for operand, value in instruction.operands if operand == kind]
        if any(not value.startswith(("%", "0", "1", "-")) for value in operands):
            operands = [value for value in operands if value.startswith("%")]
        bad = self._fresh()
        yield f"  {bad} = fcmp uno {kind} {instruction.name}, {instruction.name}"
        for operand in operands:
            fine, both = self._fresh(), self._fresh()
            yield f"  {fine} = fcmp ord {kind} {operand}, {operand}"
            yield f"  {both} = and {bits} {bad}, {fine}"
            bad = both
        if element != kind:
            word, some = self._fresh(), self._fresh()
            yield f"  {word} = bitcast {bits} {bad} to i{lanes}"
            yield f"  {some} = icmp ne i{lanes} {word}, 0"
            bad = some
        number = self._fresh()
        yield f"  {number} = zext i1 {bad} to i32"
        yield f"  call void @attn_made_nan(i32 {number}, ptr {self._site()})"

    def bytes(self, kind: str) -> int:
        """What an access of a type touches: a vector of three is three elements."""
        with contextlib.suppress(Unsupported):
            return access_bytes(kind)
        return llvm.frame_bytes(f"{self.types}\n  %x = alloca {kind}, align 1")


_Judge = Callable[[_Instrumenter, Instruction], Iterator[str]]
# By what the tables say of a call.
_JUDGES: dict[str, _Judge] = {
    "copy": _Instrumenter._copy, "fill": _Instrumenter._fill,
    "threadgroup": _Instrumenter._barrier, "simdgroup": _Instrumenter._barrier,
    "source": _Instrumenter._source, "division": _Instrumenter._division,
    "depth": _Instrumenter._depth, "trap": _Instrumenter._trap,
    "multiply": _Instrumenter._multiply, "variable": _Instrumenter._variable,
}  # fmt: skip


_MAY_BE_OWN = {"addrspacecast": ("ptr",), "inttoptr": ("i64",)}


def _bases(instruction: Instruction) -> tuple[str, tuple[str, ...]] | None:
    """A pointer to a local variable or a constant table, by what it may be computed from."""
    if instruction.op in ("getelementptr", "addrspacecast", "ptrtoint", "inttoptr"):
        bases = instruction.operands[:1]
    elif instruction.op in ("phi", "select"):
        bases = instruction.operands[-2:] if instruction.op == "select" else instruction.operands
    else:
        return None
    allowed = _MAY_BE_OWN.get(instruction.op, ("ptr", "ptr addrspace(2)"))
    if any(kind not in allowed or not _NAME.search(value) for kind, value in bases):
        return None
    return instruction.name, tuple(value for _, value in bases)


def _copied(function: Function) -> set[str]:
    """Values that are loaded and stored as they are: of a struct, what nobody set may be among."""
    loaded, stored, used = set(), set(), set()
    for instruction in function.instructions:
        if instruction.op == "load":
            loaded.add(instruction.name)
        if instruction.op == "store":
            stored.add(instruction.operands[0][1])
            used.add(instruction.operands[1][1])
        else:
            used.update(instruction.used)
    return (loaded & stored) - used


def _kept(function: Function) -> set[str]:
    """Vectors that are loaded, given new elements and stored where they were: ``v.xy = ...``."""
    users: dict[str, list[Instruction]] = {}
    for instruction in function.instructions:
        for name in instruction.used:
            users.setdefault(name, []).append(instruction)

    def goes_back(load: Instruction) -> bool:
        reached, waiting = {load.name}, [load.name]
        while waiting:
            for user in users.get(waiting.pop(), ()):
                if user.op in ("insertelement", "shufflevector"):
                    if user.name not in reached:
                        reached.add(user.name)
                        waiting.append(user.name)
                elif user.op != "store" or user.operands[1] != load.operands[0]:
                    return False
        return True

    vectors = (one for one in function.instructions if one.op == "load" and one.type[0] == "<")
    return {one.name for one in vectors if goes_back(one)}


def _accesses(instruction: Instruction) -> bool:
    """Whether it goes to memory itself."""
    if instruction.op != "call":
        return instruction.op in _ACCESSES
    known = intrinsic(instruction.callee)
    return bool(known) and known.judged in ("copy", "fill")


def _accessed(access: Instruction) -> str:
    """The type of what an access moves."""
    if access.op in ("load", "store"):
        return access.held
    return access.operands[1][0]


def _may_make_nan(instruction: Instruction) -> bool:
    """Whether a result may be a NaN though no operand is."""
    if instruction.op == "call":
        known = intrinsic(instruction.callee)
        return bool(known and known.makes_nan) and element_of(instruction.type) in LLVM_FLOATS
    return instruction.op in _ARITHMETIC


def instrument(
    text: str, sources: Sequence[str], *, nan: bool, names: Names | None = None
) -> tuple[str, dict[str, str]]:
    """Instrument an optimised module that was compiled for :func:`target_with_lines`.

    Args:
        text: the IR.
        sources: MSL texts in the order the module was linked from them.
        nan: whether arithmetic that makes a NaN of numbers is reported.
        names: of a kernel that has no text, in the place of its lines.

    Returns:
        The IR, without its line tables, and the site of each threadgroup variable.
    """
    sites = SiteTable([source_lines(source) for source in sources])
    types = "\n".join(_TYPE_DEFINITION.findall(text))
    work = _Instrumenter(LineTable(text), sites, nan, types, names)
    for match in _TABLE.finditer(text):
        kind = match["rest"][: take_type(match["rest"], 0)]
        sites.constants[match["name"]] = work.bytes(kind)
    text = map_functions(text, work.function)
    if not sites.sites:
        sites.reference(Site(work.place))
    arrivals = tuple(f"{call.pattern}(" for call in CALLS.values() if call.judged in _BARRIERS)
    lines = [
        line
        for line in without_lines(text).split("\n")
        if not (line.startswith("declare ") and any(symbol in line for symbol in arrivals))
    ]
    return "\n".join([*lines, sites.text(), *declarations(*_PUT_IN)]) + "\n", work.declared
