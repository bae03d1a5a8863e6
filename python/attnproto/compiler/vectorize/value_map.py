"""Values as the vectorised function has them: one for all lanes, or a vector of lanes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from attnproto.compiler.analysis.lane_offsets import Offsets
from attnproto.compiler.analysis.lane_values import LANES, LaneValue, bits_of, literal
from attnproto.compiler.ir.instruction import Instruction, take_value
from attnproto.compiler.ir.types import elements_of, is_struct, is_vector, members_of, take_type

ALL = "splat (i1 true)"
# Of shared lines, which then are compiled once. A call moves what is in registers to memory, so
# loops over lanes stay in their places unless there are very many.
_MANY_CALLS, _MANY_LOOPS = 8, 100


def vector(kind: str) -> str:
    """The type of one value a lane."""
    return f"<{LANES} x {kind}>"


def direct_parts(kind: str) -> list[str]:
    """The types of a value's members or elements; of a scalar, itself."""
    if is_struct(kind):
        return members_of(kind)
    count, element = elements_of(kind)
    return [element] * count


def parts_of(kind: str) -> list[str]:
    """The scalar types that a value is made of."""
    parts = direct_parts(kind)
    return parts if parts == [kind] else [scalar for part in parts for scalar in parts_of(part)]


def constants(kind: str, steps: tuple[int, ...] | list[int]) -> str:
    """A constant of a number a lane."""
    if len(set(steps)) == 1:
        return f"splat ({kind} {_number(kind, steps[0])})"
    return "<" + ", ".join(f"{kind} {_number(kind, n)}" for n in steps) + ">"


def _number(kind: str, n: int) -> str:
    return ("true" if n & 1 else "false") if kind == "i1" else str(n)


@dataclass
class _Keep:
    """A value that other blocks may want; written only if one does."""

    slot: str
    line: str


@dataclass
class _Function:
    """Lines that several places have in common, as a function."""

    name: str
    result: str
    arguments: str
    lines: list[str | _Keep]
    calls: int = 0

    def text(self) -> list[str]:
        """Where there are few calls, LLVM puts the lines back in their places."""
        loops = self.result == "void"
        many = self.calls >= (_MANY_LOOPS if loops else _MANY_CALLS)
        inlined = "noinline" if many else "alwaysinline"
        effects = "" if loops else " memory(read)"
        head = f"define internal {self.result} {self.name}({self.arguments}) nounwind{effects}"
        return [f"{head} {inlined} {{", *self.lines, "}"]


@dataclass
class Writer:
    """Lines of the new function, and the values that the block being written knows."""

    offsets: Offsets
    varying: set[str]
    defined: set[str]  # functions of the module
    barriers: int = 0
    lines: list[str | _Keep] = field(default_factory=list)
    slots: dict[str, str] = field(default_factory=dict)  # kept between blocks: type by name
    buffers: dict[str, str] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    known: dict[str, object] = field(default_factory=dict)
    _functions: dict[tuple, _Function] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)
    _wanted: set[str] = field(default_factory=set)
    _serial: int = 0

    def fresh(self) -> str:
        """A name that nothing has."""
        self._serial += 1
        return f"%t{self._serial}"

    def label(self, what: str) -> str:
        """A label that no block has."""
        self._serial += 1
        return f"{what}{self._serial}"

    def say(self, line: str) -> None:
        """Write a line."""
        self.lines.append("  " + line)

    def let(self, text: str) -> str:
        """Compute something; returns its name."""
        name = self.fresh()
        self.say(f"{name} = {text}")
        return name

    def begin(self, label: str) -> None:
        """A new block, which knows nothing yet."""
        self.lines.append(f"{label}:")
        self.known.clear()

    def declare(self, result: str, function: str, arguments: str) -> None:
        """Note that the module calls a function."""
        self.declared[function] = f"declare {result} {function}({arguments})"

    def shared(
        self,
        pattern: tuple,
        arguments: list[tuple[str, str]],
        types: list[str],
        write: Callable[[list[str]], list[str]],
    ) -> list[str]:
        """Lines that may stand in many places, written once.

        Args:
            pattern: equal for equal lines.
            arguments: type and value of all that the lines depend on.
            types: of the values that they read from memory, and then write none; empty where they
                may write.
            write: writes the lines for the arguments' names and returns the values.
        """
        result = f"{{{', '.join(types)}}}" if types else "void"
        function = self._functions.get(pattern)
        if function is None:
            names = [f"%at{i}" for i in range(len(arguments))]
            declared = ", ".join(
                f"{kind} {name}" for (kind, _), name in zip(arguments, names, strict=True)
            )
            outside, self.lines = self.lines, []
            value = "poison"
            for i, (one, part) in enumerate(zip(types, write(names), strict=True)):
                value = self.let(f"insertvalue {result} {value}, {one} {part}, {i}")
            self.say(f"ret {result} {value}" if types else "ret void")
            name = f"@attn.{'read' if types else 'each'}.{len(self._functions)}"
            function = _Function(name, result, declared, self.lines)
            self._functions[pattern], self.lines = function, outside
        function.calls += 1
        call = f"call {result} {function.name}({', '.join(f'{k} {v}' for k, v in arguments)})"
        if not types:
            self.say(call)
            return []
        values = self.let(call)
        return [self.let(f"extractvalue {result} {values}, {i}") for i in range(len(types))]

    def functions(self) -> list[str]:
        """All lines of what ``shared`` wrote."""
        return [line for function in self._functions.values() for line in function.text()]

    def buffer(self, kind: str, number: int = 0) -> str:
        """Memory for one value a lane."""
        name = "%buffer." + re.sub(r"\W+", ".", kind) + f".{number}"
        self.buffers[name] = kind
        return name

    def text(self) -> list[str]:
        """All lines; values that no other block wants are not kept."""
        return [
            line if isinstance(line, str) else line.line
            for line in self.lines
            if isinstance(line, str) or line.slot in self._wanted
        ]

    def head(self) -> list[str]:
        """Memory that the function has."""
        lines = [
            f"  {s} = alloca {t}, align 64" for s, t in self.slots.items() if s in self._wanted
        ]
        lines += [
            f"  {b} = alloca [{LANES} x {kind}], align 64" for b, kind in self.buffers.items()
        ]
        return lines

    def slot(self, value: str, part: str, kind: str) -> str:
        """Memory for a part of a value between blocks."""
        number = self._numbers.setdefault(value, len(self._numbers))
        name = f"%keep.{part}.{number}"
        self.slots[name] = kind
        return name

    def keep(self, value: str, part: str, kind: str, register: str) -> None:
        """Remember a value, here and for other blocks."""
        self.known[f"{part} {value}"] = register
        slot = self.slot(value, part, kind)
        self.lines.append(_Keep(slot, f"  store {kind} {register}, ptr {slot}, align 64"))

    def recall(self, value: str, part: str, kind: str) -> str:
        """A value that was kept."""
        key = f"{part} {value}"
        if key not in self.known:
            slot = self.slot(value, part, kind)
            self._wanted.add(slot)
            self.known[key] = self.let(f"load {kind}, ptr {slot}, align 64")
        return self.known[key]

    def want(self, slot: str) -> None:
        """Note that some block reads a slot."""
        self._wanted.add(slot)

    # One for all lanes

    def one(self, kind: str, value: str) -> str:
        """A value that does not vary."""
        assert value not in self.varying, f"{value} varies"
        return self.recall(value, "one", kind) if value in self.offsets.definitions else value

    def base(self, kind: str, value: str) -> str:
        """What a value with an offset has in common in all lanes."""
        if value not in self.varying:
            return self.one(kind, value)
        offset = self.offsets.of(value)
        if offset.exact:
            return "null" if kind.startswith("ptr") else "0"
        if value not in self.offsets.definitions:
            return value  # the argument
        return self.recall(value, "base", kind)

    def factor(self, expression: object) -> str:
        """A factor of an offset's terms."""
        key = f"factor {expression}"
        if key not in self.known:
            if isinstance(expression, str):
                definition = self.offsets.definitions.get(expression)
                self.known[key] = (
                    self.one(definition.type, expression) if definition else expression
                )
            else:
                cast, to, kind, inner = expression
                number = literal(inner) if isinstance(inner, str) else None
                if number is not None:
                    self.known[key] = str(number)
                else:
                    self.known[key] = self.let(f"{cast} {kind} {self.factor(inner)} to {to}")
        return self.known[key]

    def wide(self, cast: str, kind: str, value: str, to: str, nonnegative: bool) -> str:
        """The base of a value made wider; mirrors ``Offsets.extended``."""
        offset = self.offsets.of(value)
        if value not in self.varying:
            number = literal(value)
            if number is None:
                return self.let(f"{cast} {kind} {self.one(kind, value)} to {to}")
            return str(number & ((1 << bits_of(kind)) - 1) if cast == "zext" else number)
        if offset.exact:
            return "0"
        way = self.offsets.way(cast, kind, value, nonnegative)
        if way == "narrow":
            return self.let(f"sext {kind} {self.base(kind, value)} to {to}")
        definition, cast = self.offsets.definitions[value], way
        inner_kind, inner = definition.operands[0]
        if definition.op in ("sext", "zext"):
            return self.wide(definition.op, inner_kind, inner, to, "nneg" in definition.flags)
        if definition.op == "trunc":
            if bits_of(to) > bits_of(inner_kind):
                return self.wide("sext", inner_kind, inner, to, False)
            return self.base(inner_kind, inner)
        a = self.wide(cast, inner_kind, inner, to, False)
        if definition.op == "shl":
            return self.let(f"shl {to} {a}, {definition.operands[1][1]}")
        b = self.wide(cast, *definition.operands[1], to, False)
        op = "add" if definition.op == "or" else definition.op
        return self.let(f"{op} {to} {a}, {b}")

    # One a lane

    def lanes(self, kind: str, value: str) -> list[str]:
        """The parts of a value as vectors of lanes."""
        parts = parts_of(kind)
        if value in self.varying:
            offset = self.offsets.of(value)
            if offset is not None:
                return [self.spread(kind, value, offset)]
            return [self.recall(value, f"lanes{i}", vector(p)) for i, p in enumerate(parts)]
        if value not in self.offsets.definitions:
            return _literals(kind, value, parts)
        if parts == [kind]:
            return [self.splat(kind, self.one(kind, value))]
        key = f"spread {value}"
        if key not in self.known:
            uniform = self.one(kind, value)
            scalars = self.scalars(kind, uniform)
            self.known[key] = [self.splat(p, s) for p, s in zip(parts, scalars, strict=True)]
        return self.known[key]

    def scalars(self, kind: str, value: str) -> list[str]:
        """The scalars of one value."""
        members = direct_parts(kind)
        if members == [kind]:
            return [value]
        extract = "extractelement {} {}, i64 {}" if is_vector(kind) else "extractvalue {} {}, {}"
        return [
            scalar
            for i, member in enumerate(members)
            for scalar in self.scalars(member, self.let(extract.format(kind, value, i)))
        ]

    def composed(self, kind: str, scalars: list[str]) -> str:
        """The reverse of ``scalars``."""
        members = direct_parts(kind)
        if members == [kind]:
            return scalars[0]
        insert = "insertelement {} {}, {} {}, i64 {}"
        if not is_vector(kind):
            insert = "insertvalue {} {}, {} {}, {}"
        value, at = "poison", 0
        for i, member in enumerate(members):
            count = len(parts_of(member))
            part = self.composed(member, scalars[at : at + count])
            value = self.let(insert.format(kind, value, member, part, i))
            at += count
        return value

    def splat(self, kind: str, value: str) -> str:
        """One value in all lanes."""
        if value in ("poison", "undef", "zeroinitializer"):
            return value
        if value == "null":
            return "zeroinitializer"
        if value[0] not in "%@":
            return f"splat ({kind} {value})"
        key = f"splat {kind} {value}"
        if key not in self.known:
            first = self.let(f"insertelement {vector(kind)} poison, {kind} {value}, i64 0")
            self.known[key] = self.let(
                f"shufflevector {vector(kind)} {first}, {vector(kind)} poison, "
                f"{vector('i32')} zeroinitializer"
            )
        return self.known[key]

    def spread(self, kind: str, value: str, offset: LaneValue) -> str:
        """A value with an offset as a vector."""
        integer = "i64" if kind.startswith("ptr") else kind
        if offset.exact and integer == kind:
            return constants(kind, offset.steps)
        key = f"spread {value}"
        if key in self.known:
            return self.known[key]
        total = constants(integer, offset.steps)
        for factor, steps in offset.terms:
            many = self.splat(integer, self.factor(factor))
            product = self.let(f"mul {vector(integer)} {many}, {constants(integer, steps)}")
            total = self.let(f"add {vector(integer)} {product}, {total}")
        base = self.base(kind, value)
        if integer == kind:
            lanes = self.let(f"add {vector(kind)} {self.splat(kind, base)}, {total}")
        else:
            lanes = self.let(f"getelementptr i8, {kind} {base}, {vector('i64')} {total}")
        self.known[key] = lanes
        return lanes


def _literals(kind: str, value: str, parts: list[str]) -> list[str]:
    """A constant's parts."""
    if value in ("poison", "undef", "zeroinitializer"):
        return [value] * len(parts)
    if value[0] not in "<{[" and not value.startswith("splat"):
        if value[0] == "@" or "(" in value:
            return [_splat_constant(kind, value)]
        return ["zeroinitializer" if value == "null" else f"splat ({kind} {value})"]
    if value.startswith("splat"):
        inner = value[value.index("(") + 1 : -1]
        return [f"splat ({inner})"] * len(parts)
    value = value[1:-1] if value.startswith("<{") else value  # a packed struct's
    literals, at = [], 1
    while at < len(value) - 1:
        while value[at] in " ,":
            at += 1
        if value[at] in ">}]":
            break
        end = take_type(value, at)
        inner = value[at:end]
        stop = take_value(value, end + 1)
        literals += _literals(inner, value[end + 1 : stop], parts_of(inner))
        at = stop
    return literals


def _splat_constant(kind: str, value: str) -> str:
    """The address of a global in all lanes."""
    return "<" + ", ".join(f"{kind} {value}" for _ in range(LANES)) + ">"


def keep_lanes(w: Writer, instruction: Instruction, parts: list[str]) -> None:
    """Remember the parts of a result."""
    kinds = parts_of(instruction.type)
    for i, (kind, part) in enumerate(zip(kinds, parts, strict=True)):
        w.keep(instruction.name, f"lanes{i}", vector(kind), part)


def joined(w: Writer, kind: str, parts: list[str]) -> str:
    """The parts of each lane side by side."""
    if len(parts) == 1:
        return parts[0]
    count = len(parts)
    wide, width = parts[0], 32
    for part in parts[1:]:
        part = _padded(w, kind, part, 32, width)
        order = ", ".join(f"i32 {i}" for i in range(width + 32))
        wide = w.let(
            f"shufflevector <{width} x {kind}> {wide}, <{width} x {kind}> {part}, "
            f"<{width + 32} x i32> <{order}>"
        )
        width += 32
    order = ", ".join(f"i32 {i % count * 32 + i // count}" for i in range(width))
    return w.let(
        f"shufflevector <{width} x {kind}> {wide}, <{width} x {kind}> poison, "
        f"<{width} x i32> <{order}>"
    )


def _padded(w: Writer, kind: str, value: str, width: int, to: int) -> str:
    if width == to:
        return value
    order = ", ".join(f"i32 {i}" if i < width else "i32 poison" for i in range(to))
    return w.let(
        f"shufflevector <{width} x {kind}> {value}, <{width} x {kind}> poison, "
        f"<{to} x i32> <{order}>"
    )


def parted(w: Writer, kind: str, wide: str, count: int) -> list[str]:
    """The reverse of ``joined``."""
    if count == 1:
        return [wide]
    parts = []
    for part in range(count):
        order = ", ".join(f"i32 {lane * count + part}" for lane in range(32))
        parts.append(
            w.let(
                f"shufflevector <{32 * count} x {kind}> {wide}, <{32 * count} x {kind}> poison, "
                f"<32 x i32> <{order}>"
            )
        )
    return parts
