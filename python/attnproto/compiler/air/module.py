"""A module as Apple's compiler wrote it: its kernel, arguments, function constants, options.

All of that is in the module's metadata. A kernel's node names its function and has a node for each
argument; function constants have nodes of their own.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from attnproto.compiler.interface import NUMBER_KINDS, FunctionConstant
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.types import SPACE_NAMES
from attnproto.errors import KernelCompileError

_NODE = re.compile(r"^!(\d+) = (?:distinct )?!\{(.*)\}$")
_NAMED = re.compile(r"^!([a-zA-Z][\w.$-]*) = !\{(.*)\}$")
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2})")
_OPENING, _CLOSING = "([{<", ")]}>"
_ELEMENT = re.compile(r"(packed_)?(bool|u?char|u?short|u?int|u?long|half|float|bfloat)([234]?)")
_NUMBERS = {
    "bool": ("bool", 1), "char": ("integer", 1), "short": ("integer", 2), "int": ("integer", 4),
    "long": ("integer", 8), "half": ("float", 2), "float": ("float", 4), "bfloat": ("bfloat", 2),
}  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """An argument of a kernel.

    Attributes:
        name: as the text had it.
        type: its type's name, or that of what it points at.
        what: ``buffer``, or the attribute of a position or size, such as
            ``thread_position_in_grid``.
        index: of a buffer or of threadgroup memory.
        space: of a buffer: ``device``, ``constant`` or ``threadgroup``.
        nbytes: that a buffer must at least hold.
        writes: whether the kernel may write to it.
        reference: whether the text had a reference, whose buffer cannot be an array.
        predicate: the symbol of the variable that says whether it is there; empty: it is.
        condition: the text's name for that.
    """

    name: str
    type: str
    what: str
    index: int = 0
    space: str = ""
    nbytes: int = 0
    writes: bool = False
    reference: bool = False
    predicate: str = ""
    condition: str = ""

    @property
    def element(self) -> int:
        """What its numbers are, where they are of one type, as entry points say it."""
        match = _ELEMENT.fullmatch(self.type)
        if not match:
            return 0
        kind, nbytes = _NUMBERS[match[2].removeprefix("u")]
        return NUMBER_KINDS[kind] * 16 + nbytes

    @property
    def declaration(self) -> str:
        """About what the text's parameter was."""
        if self.what != "buffer":
            spelled = f"{self.type} {self.name} [[{self.what}]]"
        else:
            const = "const " if self.space == "device" and not self.writes else ""
            attribute = "threadgroup" if self.space == "threadgroup" else "buffer"
            kind = f"{const}{self.type}{'&' if self.reference else '*'}"
            spelled = f"{self.space} {kind} {self.name} [[{attribute}({self.index})]]"
        return f"{spelled} [[function_constant({self.condition})]]" if self.condition else spelled


@dataclass(frozen=True)
class Module:
    """A kernel's module.

    Attributes:
        symbol: of the kernel's function.
        arguments: in order.
        constants: the function constants, by the symbol of the variable that holds each.
        max_threads: of ``[[max_total_threads_per_threadgroup]]``.
        options: of its compilation, as ``denorms_disable``.
        threadgroup_bytes: of its threadgroup variables, by symbol.
        ir: the code.
        nodes: the metadata, by number.
    """

    symbol: str
    arguments: tuple[Argument, ...]
    constants: dict[str, FunctionConstant]
    max_threads: int | None
    options: tuple[str, ...]
    threadgroup_bytes: dict[str, int]
    ir: ir.Module
    nodes: dict[str, str]

    @property
    def flushes_denormals(self) -> bool:
        """Whether it was compiled for arithmetic that takes denormal numbers for zero."""
        return "denorms_disable" in self.options


@functools.lru_cache(maxsize=16)
def read(bitcode: bytes) -> Module:
    """Read the bitcode of a kernel.

    Raises:
        KernelCompileError: it is no bitcode that LLVM reads, or not of a kernel.
    """
    text, variables = llvm.disassemble(bitcode)
    split = ir.split(text)
    nodes, named = {}, {}
    for line in split.other:
        if match := _NODE.match(line):
            nodes[match[1]] = match[2]
        elif match := _NAMED.match(line):
            named[match[1]] = [o.strip()[1:] for o in match[2].split(",") if o.strip()]
    kernels = named.get("air.kernel", [])
    if len(kernels) != 1:
        raise _malformed(f"a module of {len(kernels)} kernels", "one of one")
    metadata = _Metadata(nodes)
    function, _, listed, *more = metadata.words(kernels[0], 3)
    symbol = ir.symbols(function)[-1:] or [""]
    if symbol[0] not in split.functions:
        raise _malformed(f"a kernel that is {function}", "a function that the module defines")
    arguments = tuple(metadata.argument(node[1:]) for node in metadata.words(listed[1:]))
    extra = [metadata.words(node[1:]) for node in more]
    limits = [_number(w[1]) for w in extra if len(w) > 1 and w[0] == '!"air.max_work_group_size"']
    options = [_string(w) for n in named.get("air.compile_options", []) for w in metadata.words(n)]
    return Module(
        symbol[0],
        arguments,
        dict(metadata.constant(node) for node in named.get("air.function_constants", [])),
        limits[0] if limits else None,
        tuple(option.removeprefix("air.compile.") for option in options),
        {s: n for s, n in variables.items() if "addrspace(3)" in split.globals.get(s, "")},
        split,
        nodes,
    )


@dataclass(frozen=True)
class _Metadata:
    nodes: dict[str, str]

    def words(self, number: str, least: int = 0) -> list[str]:
        """A node's operands."""
        words = operands(self.nodes.get(number, ""))
        if len(words) < least:
            raise _malformed(f"metadata !{number} of {len(words)} operands", f"{least} at least")
        return words

    def constant(self, number: str) -> tuple[str, FunctionConstant]:
        words = self.words(number, 4)
        name, kind = _string(words[2]), _string(words[1])
        return ir.symbols(words[0])[-1], FunctionConstant(name, _number(words[3]), kind)

    def argument(self, number: str) -> Argument:
        words = self.words(number, 2)
        plain = [_string(word) if word.startswith('!"') else word for word in words]

        def after(key: str, default: str = "") -> str:
            place = plain.index(key) + 1 if key in plain else len(plain)
            return plain[place] if place < len(plain) else default

        name = after("air.arg_name", f"argument_{_number(words[0])}")
        kind = after("air.arg_type_name")
        predicate = condition = ""
        if "air.function_constant" in plain:
            variable, _, named = self.words(after("air.function_constant")[1:], 3)
            predicate, condition = ir.symbols(variable)[-1], _string(named)
        known = [w[4:] for w in plain if w.startswith("air.") and w != "air.function_constant"]
        what = known[0] if known else ""
        if what != "buffer":
            return Argument(name, kind, what, predicate=predicate, condition=condition)
        space = _number(after("air.address_space", "i32 0"))
        if space not in SPACE_NAMES:
            raise _malformed(f"argument '{name}' in address space {space}", "1, 2 or 3")
        referred = after("air.buffer_size")
        return Argument(
            name,
            kind,
            what,
            _number(after("air.location_index", "i32 0")),
            SPACE_NAMES[space],
            _number(referred or after("air.arg_type_size", "i32 0")),
            writes="air.read" not in plain,
            reference=bool(referred),
            predicate=predicate,
            condition=condition,
        )


def operands(body: str) -> list[str]:
    """The operands of a list in IR, which commas part."""
    words, depth, quoted, begin = [], 0, False, 0
    for at, character in enumerate(body):
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth == 0:
            words.append(body[begin:at].strip())
            begin = at + 1
    last = body[begin:].strip()
    return [*words, last] if last else words


def _string(word: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)), word.removeprefix('!"').removesuffix('"'))


def _number(word: str) -> int:
    match = re.fullmatch(r"i\d+ (-?\d+)", word)
    if not match:
        raise _malformed(f"metadata {word}", "a whole number")
    return int(match[1])


def _malformed(found: str, needed: str) -> KernelCompileError:
    return KernelCompileError(
        f"[air] found {found}, needs {needed}; compile the kernel with Apple's metal again"
    )
