"""One instruction of LLVM IR: its text, and what is in it.

It keeps its text in pieces around its operands, so that it can be written again with other ones.
What is in it is read when it is first asked for: most passes look at few of a kernel's instructions
closely.
"""

from __future__ import annotations

import re

from .types import NAME, SIMPLE_TYPE, Unreadable, element_of, elements_of, member_of, take_type

_BEGIN = re.compile(rf"\s+(?:({NAME}) = )?(?:(?:tail|musttail|notail) )?(\w+)")
_METADATA = re.compile(r", ![\w.]+ !\d+|, !\w+ !\{\}")
NAMES = re.compile(NAME)
_BLANK = (" ", ",")
_ALIGN = re.compile(r", align (\d+)")
_INCOMING = re.compile(rf"\[ (.*?), ({NAME}) \]")
_TARGET = re.compile(rf"label ({NAME})")
BINARY = frozenset((
    "add", "sub", "mul", "udiv", "sdiv", "urem", "srem", "shl", "lshr", "ashr", "and", "or",
    "xor", "fadd", "fsub", "fmul", "fdiv", "frem",
))  # fmt: skip
CASTS = frozenset((
    "zext", "sext", "trunc", "fpext", "fptrunc", "sitofp", "uitofp", "fptosi", "fptoui",
    "bitcast", "ptrtoint", "inttoptr", "addrspacecast",
))  # fmt: skip
_FLAGS = (
    r"((?:(?:nuw|nsw|exact|fast|contract|reassoc|nnan|ninf|nsz|arcp|afn|disjoint|nneg|samesign"
    r"|inbounds|nusw|volatile|atomic|weak|tail|musttail|notail|fastcc|ccc|inrange|syncscope)"
    r"(?:\([^)]*\))? )*)"
)
_HEAD = re.compile(rf"{_FLAGS}\w+ ?{_FLAGS}")
_WORDS = (
    r"(?:(?:noundef|nonnull|zeroext|signext|nocapture|readonly|writeonly|readnone|immarg|inreg"
    r"|noalias|nofree|returned|dead_on_unwind|writable|align \d+|initializes\(\([^)]*\)\)"
    r"|(?:captures|range|nofpclass|byval|sret|elementtype|addrspace|dereferenceable(?:_or_null)?)"
    r"\([^)]*\)) )*"
)
_ARGUMENT_WORDS = re.compile(_WORDS)
# A value of one word, and one with its type, which most are.
_VALUE = (
    r"(?:[%@][-\w.$]+|[-+]?\d[-+.\w]*|true|false|null|poison|undef|zeroinitializer)(?=[ ,)\]}]|$)"
)
_PLAIN_VALUE = re.compile(_VALUE)
_PLAIN_OPERAND = re.compile(rf"({SIMPLE_TYPE}) {_WORDS}({_VALUE})")
_CALLEE = re.compile(r'@(?:"[^"]*"|[-\w.$]+)(?=\()')
_EXPRESSION = re.compile(r"[a-z]+(?: [a-z]+)* ?\(")
_ASM = re.compile(r'asm (?:\w+ )*"[^"]*", "([^"]*)"')


class Instruction:
    """One instruction; ``operands`` are (type, value).

    Attributes:
        text: as LLVM prints it, on several lines where it is a switch.
        output: what is printed instead; nothing where it is empty.
        place: its number in the function.
        block: the name of the block it stands in.

    Read when first asked for, which raises ``Unreadable`` where the text is not known: ``name`` and
    ``type`` of the result, "" and void where it has none; ``op``; ``operands``; ``pieces``, the
    text around their values; ``flags``; ``predicate``; ``element``, what a getelementptr or alloca
    is of; ``callee``; ``indices`` of extractvalue and insertvalue, mask of shufflevector;
    ``sources``, the blocks of a phi's operands; ``targets`` of a terminator; ``align``; ``used``,
    names in it besides its own, among which those of blocks and types may be.
    """

    __slots__ = (
        "align", "block", "callee", "element", "flags", "indices", "name", "op", "operands",
        "output", "pieces", "place", "predicate", "sources", "targets", "text", "type", "used",
    )  # fmt: skip
    name: str
    op: str
    type: str
    operands: list[tuple[str, str]]
    pieces: list[str]
    flags: list[str]
    predicate: str
    element: str
    callee: str
    indices: tuple[int, ...]
    sources: list[str]
    targets: list[str]
    align: int
    used: list[str]

    def __init__(self, text: str, place: int = -1, block: str = ""):
        self.text = self.output = text
        self.place, self.block = place, block

    def __getattr__(self, field: str):
        if field.startswith("__"):
            raise AttributeError(field)
        if field in ("name", "op"):
            match = _BEGIN.match(self.text)
            if not match:
                raise Unreadable(f"a line that is no instruction: {self.text}")
            self.name, self.op = match[1] or "", match[2]
        elif field == "used":
            names = NAMES.findall(self.text)
            self.used = names[1:] if self.name else names
        # Passes over control flow need no more than these two.
        elif field == "targets" and self.op in ("br", "switch"):
            self.targets = [name[1:] for name in _TARGET.findall(self.text)]
        elif field == "callee" and (symbol := _CALLEE.search(self.text)) and self.op == "call":
            self.callee = symbol[0]
        else:
            _read(self)
        return getattr(self, field)

    @property
    def held(self) -> str:
        """The type of what a load reads or a store writes."""
        return self.operands[0][0] if self.op == "store" else self.type

    @property
    def metadata(self) -> str:
        """What stands behind it: the line it comes from, what it aliases; with its comma."""
        at = self.text.find(", !")
        return self.text[at:] if at >= 0 else ""

    def render(self, values: list[str], result: str | None = None) -> str:
        """The instruction with other operands and another name."""
        body = self.pieces[0]
        for value, piece in zip(values, self.pieces[1:], strict=True):
            body += value + piece
        name = self.name if result is None else result
        return f"{name} = {body}" if name else body

    def with_operands(self, values: dict[int, str]) -> str:
        """The line with some other operands, by position; all else, metadata too, as it was."""
        own = [value for _, value in self.operands]
        line, begin = self.text, self.text.index(self.pieces[0])
        end = begin + len("".join([self.pieces[0], *own, *self.pieces[1:]]))
        body = self.render([values.get(k, value) for k, value in enumerate(own)], "")
        return line[:begin] + body + line[end:]


def take_value(text: str, at: int) -> int:
    """End of the operand that begins at ``at``: a comma, bracket or blank outside brackets."""
    plain = _PLAIN_VALUE.match(text, at)
    if plain:
        return plain.end()
    expression = _EXPRESSION.match(text, at)
    depth, i = 0, expression.end() - 1 if expression else at
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
        elif depth == 0 and c in ", ":
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

    def type(self) -> str:
        end = take_type(self.text, self.at)
        kind = self.text[self.at : end]
        self.at = end
        self.blank()
        return kind

    def blank(self) -> None:
        while self.text[self.at : self.at + 1] in _BLANK:
            self.at += 1

    def value(self, kind: str) -> None:
        self.take(kind, self.at, take_value(self.text, self.at))

    def operand(self) -> None:
        plain = _PLAIN_OPERAND.match(self.text, self.at)
        if plain:
            self.take(plain[1], *plain.span(2))
            return
        kind = self.type()
        self.words()
        self.value(kind)

    def take(self, kind: str, begin: int, end: int) -> None:
        self.pieces.append(self.text[self.cut : begin])
        self.operands.append((kind, self.text[begin:end]))
        self.at = self.cut = end
        self.blank()

    def words(self) -> None:
        self.at = _ARGUMENT_WORDS.match(self.text, self.at).end()

    def more(self) -> bool:
        return self.at < len(self.text)

    def rest(self) -> str:
        return self.text[self.at :]

    def finish(self) -> list[str]:
        return [*self.pieces, self.text[self.cut :]]


def _read(instruction: Instruction) -> None:
    """Fill the fields that are read when they are asked for."""
    text = instruction.text.strip()
    if ", !" in text:  # metadata ends an instruction
        text = _METADATA.sub("", text) if '"' in text else text[: text.index(", !")]
    r = _Reader(text[len(instruction.name) + 3 :] if instruction.name else text)
    instruction.type, instruction.operands = "void", r.operands
    instruction.predicate = instruction.element = instruction.callee = ""
    instruction.indices, instruction.sources, instruction.targets = (), [], []
    head = _HEAD.match(r.text)
    instruction.flags, r.at = (head[1] + head[2]).split(), head.end()
    try:
        (_REST.get(instruction.op) or _group(instruction.op))(instruction, r)
    except IndexError:
        raise Unreadable(f"an instruction without its end: {instruction.text}") from None
    instruction.pieces = r.finish() if instruction.op != "phi" else []
    align = instruction.pieces and _ALIGN.search(instruction.pieces[-1])
    instruction.align = int(align[1]) if align else 1


def _group(op: str):
    if op in BINARY:
        return _binary
    if op in CASTS:
        return _cast
    raise Unreadable(f"the instruction {op}")


def _binary(instruction: Instruction, r: _Reader) -> None:
    instruction.type = r.type()
    r.value(instruction.type)
    r.value(instruction.type)


def _cast(instruction: Instruction, r: _Reader) -> None:
    r.operand()
    r.word()
    instruction.type = r.type()


def _unary(instruction: Instruction, r: _Reader) -> None:
    r.operand()
    instruction.type = r.operands[0][0]


def _compare(instruction: Instruction, r: _Reader) -> None:
    instruction.predicate = r.word()
    kind = r.type()
    r.value(kind)
    r.value(kind)
    instruction.type = f"<{elements_of(kind)[0]} x i1>" if kind[0] == "<" else "i1"


def _select(instruction: Instruction, r: _Reader) -> None:
    for _ in range(3):
        r.operand()
    instruction.type = r.operands[1][0]


def _load(instruction: Instruction, r: _Reader) -> None:
    instruction.type = r.type()
    r.operand()


def _two(instruction: Instruction, r: _Reader) -> None:
    r.operand()
    r.operand()


def _address(instruction: Instruction, r: _Reader) -> None:
    instruction.element = r.type()
    while r.more():
        r.operand()
    instruction.type = r.operands[0][0]


def _alloca(instruction: Instruction, r: _Reader) -> None:
    instruction.element, instruction.type = r.type(), "ptr"


def _phi(instruction: Instruction, r: _Reader) -> None:
    instruction.type = r.type()
    for value, source in _INCOMING.findall(r.rest()):
        r.operands.append((instruction.type, value))
        instruction.sources.append(source[1:])


def _branch(instruction: Instruction, r: _Reader) -> None:
    if not r.text.startswith("label", r.at):
        r.operand()
    instruction.targets = [name[1:] for name in _TARGET.findall(instruction.text)]


def _return(instruction: Instruction, r: _Reader) -> None:
    if r.rest() != "void":
        r.operand()


def _element(instruction: Instruction, r: _Reader) -> None:
    while r.more():
        r.operand()
    first = r.operands[0][0]
    instruction.type = first if instruction.op == "insertelement" else element_of(first)


def _shuffle(instruction: Instruction, r: _Reader) -> None:
    r.operand()
    r.operand()
    count = elements_of(r.type())[0]
    instruction.indices = _mask(r.rest(), count)
    instruction.type = f"<{count} x {element_of(r.operands[0][0])}>"


def _mask(text: str, count: int) -> tuple[int, ...]:
    if text.startswith("zeroinitializer"):
        return (0,) * count
    if text.startswith(("poison", "undef")):
        return (-1,) * count
    entries = re.findall(r"i32 (-?\d+|poison|undef)", text)
    indices = tuple(-1 if n in ("poison", "undef") else int(n) for n in entries)
    return indices * count if text.startswith("splat") else indices


def _member(instruction: Instruction, r: _Reader) -> None:
    r.operand()
    if instruction.op == "insertvalue":
        r.operand()
    instruction.indices = tuple(int(n) for n in r.rest().split(", "))
    instruction.type = r.operands[0][0]
    for index in instruction.indices if instruction.op == "extractvalue" else ():
        instruction.type = member_of(instruction.type, index)


def _exchange(instruction: Instruction, r: _Reader) -> None:
    for _ in range(3):
        r.operand()
    instruction.type = f"{{ {r.operands[1][0]}, i1 }}"


def _update(instruction: Instruction, r: _Reader) -> None:
    instruction.predicate = r.word()
    r.operand()
    r.operand()
    instruction.type = r.operands[1][0]


def _nothing(instruction: Instruction, r: _Reader) -> None:
    r.at = len(r.text)


def _call(instruction: Instruction, r: _Reader) -> None:
    r.words()
    instruction.type = r.type()
    if r.text[r.at] == "(":  # the type of a variadic function stands before it
        r.at = r.text.index(") ", r.at) + 2
    asm = _ASM.match(r.text, r.at)
    quoted = r.text.startswith('@"', r.at)
    named = asm.end() if asm else r.text.index('"', r.at + 2) if quoted else r.at
    at = r.text.index("(", named)
    instruction.callee = r.text[r.at : at]
    if instruction.callee[0] == "%" or instruction.callee in ("null", "undef", "poison"):
        r.take("ptr", r.at, at)
    elif instruction.callee[0] != "@" and not asm:
        raise Unreadable(f"a call of something that is not a function: {instruction.callee}")
    r.at = at + 1
    while r.text[r.at] != ")":
        r.operand()


_REST = {
    "call": _call, "fneg": _unary, "freeze": _unary, "icmp": _compare, "fcmp": _compare,
    "select": _select, "load": _load, "store": _two, "getelementptr": _address,
    "alloca": _alloca, "phi": _phi, "br": _branch, "switch": _branch, "ret": _return,
    "unreachable": _nothing, "fence": _nothing, "extractelement": _element,
    "insertelement": _element, "shufflevector": _shuffle, "extractvalue": _member,
    "insertvalue": _member, "cmpxchg": _exchange, "atomicrmw": _update,
}  # fmt: skip
