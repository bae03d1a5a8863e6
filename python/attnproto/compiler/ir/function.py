"""LLVM IR text of one function, read into blocks of instructions.

Every instruction keeps its text in pieces around its operands, so that it can be written
again with other ones; what the pass must understand beyond that is in its fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from attnproto.dtypes import LLVM_FLOATS

NAME = r'%(?:"[^"]+"|[-\w.$]+)'
_DEFINED = re.compile(rf"^\s+({NAME}) = (.*)$")
_LABEL = re.compile(r'^("[^"]+"|[-\w.$]+):')
_METADATA = re.compile(r", ![\w.]+ !\d+|, !\w+ !\{\}")
_FLOAT = "|".join(LLVM_FLOATS)
_TYPE = re.compile(rf"(?:ptr(?: addrspace\(\d+\))?|i\d+|{_FLOAT}|void|{NAME})")
BINARY = frozenset((
    "add", "sub", "mul", "udiv", "sdiv", "urem", "srem", "shl", "lshr", "ashr", "and", "or",
    "xor", "fadd", "fsub", "fmul", "fdiv", "frem",
))  # fmt: skip
CASTS = frozenset((
    "zext", "sext", "trunc", "fpext", "fptrunc", "sitofp", "uitofp", "fptosi", "fptoui",
    "bitcast", "ptrtoint", "inttoptr", "addrspacecast",
))  # fmt: skip
_FLAGS = frozenset((
    "nuw", "nsw", "exact", "fast", "contract", "reassoc", "nnan", "ninf", "nsz", "arcp", "afn",
    "disjoint", "nneg", "samesign", "inbounds", "nusw", "volatile", "atomic", "weak", "tail",
    "notail", "fastcc", "ccc",
))  # fmt: skip
_ARGUMENT_WORDS = re.compile(
    r"(?:noundef|nonnull|zeroext|signext|nocapture|readonly|writeonly|readnone|immarg|inreg|noalias"
    r"|nofree|returned|dead_on_unwind|writable|align \d+|dereferenceable(?:_or_null)?\(\d+\)"
    r"|captures\([^)]*\)|range\([^)]*\)|nofpclass\([^)]*\)) "
)


class Unsupported(Exception):
    """The kernel has something this pass does not take; the text says what."""


@dataclass
class Instruction:
    """One instruction; ``operands`` are (type, value)."""

    name: str  # "" where it has no result
    op: str
    type: str  # of the result
    operands: list[tuple[str, str]]
    pieces: list[str]  # text around the operands' values
    flags: list[str] = field(default_factory=list)
    predicate: str = ""
    element: str = ""  # what a getelementptr or alloca is of
    callee: str = ""
    indices: tuple[int, ...] = ()  # of extractvalue, insertvalue; mask of shufflevector
    sources: list[str] = field(default_factory=list)  # blocks of a phi's operands
    targets: list[str] = field(default_factory=list)
    align: int = 1

    def render(self, values: list[str], result: str | None = None) -> str:
        """The instruction with other operands and another name."""
        body = self.pieces[0]
        for value, piece in zip(values, self.pieces[1:], strict=True):
            body += value + piece
        name = self.name if result is None else result
        return f"{name} = {body}" if name else body


@dataclass
class Block:
    """Instructions up to the terminator."""

    name: str
    phis: list[Instruction] = field(default_factory=list)
    body: list[Instruction] = field(default_factory=list)
    end: Instruction | None = None

    @property
    def successors(self) -> list[str]:
        """Blocks it leads to."""
        return self.end.targets


def take_type(text: str, at: int) -> int:
    """End of the type that begins at ``at``."""
    if text[at] in "<[{":
        depth, i = 0, at
        while True:
            depth += (text[i] in "<[{(") - (text[i] in ">]})")
            i += 1
            if depth == 0:
                return i
    match = _TYPE.match(text, at)
    if not match:
        raise Unsupported(f"a type this pass does not read: {text[at : at + 30]}")
    return match.end()


def take_value(text: str, at: int) -> int:
    """End of the operand that begins at ``at``: a comma, bracket or blank outside brackets."""
    depth = i = 0
    i = at
    while i < len(text):
        c = text[i]
        if c == '"':
            i = text.index('"', i + 1)
        elif c in "<[{(":
            depth += 1
        elif c in ">]})":
            if depth == 0:
                return i
            depth -= 1
        elif depth == 0 and (c == "," or (c == " " and not text.startswith(" (", i))):
            return i
        i += 1
    return i


class _Reader:
    """Reads one instruction's text from left to right."""

    def __init__(self, text: str):
        self.text, self.at, self.cut = text, 0, 0
        self.pieces: list[str] = []
        self.operands: list[tuple[str, str]] = []

    def word(self) -> str:
        end = self.text.find(" ", self.at)
        end = len(self.text) if end < 0 else end
        word = self.text[self.at : end]
        self.at = min(end + 1, len(self.text))
        return word

    def peek(self) -> str:
        at = self.at
        word = self.word()
        self.at = at
        return word

    def flags(self) -> list[str]:
        found = []
        while (word := self.peek().split("(")[0]) in _FLAGS or word in ("inrange", "syncscope"):
            found.append(self.word())
        return found

    def type(self) -> str:
        end = take_type(self.text, self.at)
        found = self.text[self.at : end]
        self.at = end
        self.blank()
        return found

    def blank(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", ","):
            self.at += 1

    def value(self, kind: str) -> None:
        end = take_value(self.text, self.at)
        self.pieces.append(self.text[self.cut : self.at])
        self.operands.append((kind, self.text[self.at : end]))
        self.at = self.cut = end
        self.blank()

    def operand(self) -> None:
        kind = self.type()
        while match := _ARGUMENT_WORDS.match(self.text, self.at):
            self.at = match.end()
        self.value(kind)

    def more(self) -> bool:
        return self.at < len(self.text)

    def rest(self) -> str:
        return self.text[self.at :]

    def finish(self) -> list[str]:
        return [*self.pieces, self.text[self.cut :]]


def _instruction(line: str) -> Instruction:
    line = _METADATA.sub("", line)
    match = _DEFINED.match(line)
    name, text = (match[1], match[2]) if match else ("", line.strip())
    r = _Reader(text)
    leading = r.flags()
    op = r.word()
    made = Instruction(name, op, "void", r.operands, [])
    made.flags = leading + r.flags()
    if op == "call":
        _call(made, r)
    elif op in BINARY:
        made.type = r.type()
        r.value(made.type)
        r.value(made.type)
    elif op in CASTS:
        r.operand()
        r.word()
        made.type = r.type()
    elif op in ("fneg", "freeze"):
        r.operand()
        made.type = r.operands[0][0]
    elif op in ("icmp", "fcmp"):
        made.predicate = r.word()
        kind = r.type()
        r.value(kind)
        r.value(kind)
        made.type = re.sub(r"(?<=x ).*(?=>)", "i1", kind) if kind[0] == "<" else "i1"
    elif op == "select":
        for _ in range(3):
            r.operand()
        made.type = r.operands[1][0]
    elif op == "load":
        made.type = r.type()
        r.operand()
    elif op == "store":
        r.operand()
        r.operand()
    elif op == "getelementptr":
        made.element = r.type()
        while r.more():
            r.operand()
        made.type = r.operands[0][0]
    elif op == "alloca":
        made.element, made.type = r.type(), "ptr"
    elif op == "phi":
        made.type = r.type()
        for value, source in re.findall(r"\[ (.*?), (%(?:\"[^\"]+\"|[-\w.$]+)) \]", r.rest()):
            r.operands.append((made.type, value))
            made.sources.append(source[1:])
    else:
        _rare(made, r)
    if op != "phi":
        made.pieces = r.finish()
    align = re.search(r", align (\d+)", made.pieces[-1]) if made.pieces else None
    made.align = int(align[1]) if align else 1
    return made


def _rare(made: Instruction, r: _Reader) -> None:
    op = made.op
    if op == "br":
        if r.peek() == "label":
            made.targets = [r.rest().split("%", 1)[1]]
        else:
            r.operand()
            made.targets = re.findall(r"label %(\"[^\"]+\"|[-\w.$]+)", r.rest())
    elif op == "ret":
        if r.rest() != "void":
            raise Unsupported("a function that returns a value")
    elif op in ("extractelement", "insertelement"):
        while r.more():
            r.operand()
        first = r.operands[0][0]
        made.type = first if op == "insertelement" else element_of(first)
    elif op == "shufflevector":
        r.operand()
        r.operand()
        kind = r.type()
        count = int(re.match(r"<(\d+)", kind)[1])
        made.indices = _mask(r.rest(), count)
        made.type = f"<{count} x {element_of(r.operands[0][0])}>"
    elif op == "extractvalue":
        r.operand()
        made.indices = tuple(int(n) for n in r.rest().split(", "))
    elif op == "insertvalue":
        r.operand()
        r.operand()
        made.indices = tuple(int(n) for n in r.rest().split(", "))
        made.type = r.operands[0][0]
    elif op == "cmpxchg":
        for _ in range(3):
            r.operand()
        made.type = f"{{ {r.operands[1][0]}, i1 }}"
    elif op == "atomicrmw":
        made.predicate = r.word()
        r.operand()
        r.operand()
        made.type = r.operands[1][0]
    elif op == "fence":
        r.at = len(r.text)
    else:
        raise Unsupported(f"the instruction {op}")


def _mask(text: str, count: int) -> tuple[int, ...]:
    if text.startswith("zeroinitializer"):
        return (0,) * count
    if text.startswith("splat"):
        return (int(re.search(r"i32 (\d+)", text)[1]),) * count
    found = re.findall(r"i32 (-?\d+|poison|undef)", text)
    return tuple(-1 if n in ("poison", "undef") else int(n) for n in found)


def _call(made: Instruction, r: _Reader) -> None:
    while match := _ARGUMENT_WORDS.match(r.text, r.at):
        r.at = match.end()
    made.type = r.type()
    if r.text[r.at] == "(":  # the type of a variadic function stands before it
        raise Unsupported("a call of a function with variable arguments")
    at = r.text.index("(", r.at)
    made.callee = r.text[r.at : at]
    if made.callee.startswith("%"):
        r.value("ptr")
    elif not made.callee.startswith("@"):
        raise Unsupported("a call of something that is not a function")
    r.at = at + 1
    while r.text[r.at] != ")":
        r.operand()


def element_of(kind: str) -> str:
    """The type of a vector's elements."""
    match = re.fullmatch(r"<\d+ x (.*)>", kind)
    return match[1] if match else kind


def size_of(kind: str) -> int:
    """Bytes of a value in memory; of scalars, vectors and arrays.

    Raises:
        Unsupported: of a struct, whose layout is not known here.
    """
    if kind.startswith("ptr"):
        return 8
    if re.fullmatch(r"i\d+", kind):
        return (int(kind[1:]) + 7) // 8
    if kind in LLVM_FLOATS:
        return LLVM_FLOATS[kind]
    match = re.fullmatch(r"[<\[](\d+) x (.*)[>\]]", kind)
    if not match:
        raise Unsupported(f"memory of type {kind}")
    count = int(match[1])
    if kind[0] == "<" and count == 3:
        count = 4
    return count * size_of(match[2])


def read_function(text: str) -> list[Block]:
    """The blocks of a function whose values all have names."""
    blocks: list[Block] = []
    for line in text.split("\n")[1:]:
        if line == "}":
            break
        label = _LABEL.match(line)
        if label:
            blocks.append(Block(label[1]))
            continue
        if not line.strip():
            continue
        made = _instruction(line)
        block = blocks[-1]
        if made.op == "phi":
            block.phis.append(made)
        elif made.op in ("br", "ret"):
            block.end = made
        else:
            block.body.append(made)
    return blocks
