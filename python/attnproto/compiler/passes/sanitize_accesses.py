"""Make a kernel ask before every access of memory that others see.

The optimised IR of a kernel is instrumented: a load or store of device, constant or
threadgroup memory first hands its pointer to the engine, which judges the access and
returns the address (cpp/cpu/validation.h says how). Barriers and collectives say which
line they are of. A table of sites, in the module, holds what the engine needs to know of
each place: its line, the line's text, size and alignment of the access.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from attnproto import _core
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir.debug_lines import LineTable, Place, without_lines
from attnproto.compiler.ir.runtime_calls import MATRIX_MULTIPLY, THREADGROUP_VARIABLE, calls
from attnproto.compiler.ir.structs import struct, table
from attnproto.compiler.ir.types import Unsupported, access_bytes
from attnproto.compiler.target import Target
from attnproto.dtypes import ANY_LLVM

from .define_arithmetic import BAD_DIVISION, CHECK_DEPTH

_READ, _WRITE = _core.SITE_READ, _core.SITE_WRITE
_BARRIERS = {
    "threadgroup": _core.SITE_THREADGROUP_BARRIER,
    "simdgroup": _core.SITE_SIMDGROUP_BARRIER,
}
_LOCAL_SPACE = "0"
_SHOWN = 100  # characters of a line

_NAME = r'%(?:"[^"]+"|[-\w.$]+)'
_POINTER = rf"ptr addrspace\((?P<space>[1-4])\) (?P<pointer>{_NAME}|null)"
_LOAD = re.compile(
    rf"^  {_NAME} = load (?P<atomic>atomic )?(?:volatile )?(?P<type>.+?), {_POINTER}(?=,| )"
)
_STORE = re.compile(rf"^  store (?P<atomic>atomic )?(?:volatile )?(?P<value>.+), {_POINTER}(?=,| )")
_UPDATE = re.compile(
    rf"^  {_NAME} = (?:atomicrmw|cmpxchg) (?:weak )?(?:volatile )?(?:\w+ )?{_POINTER}, "
    rf"(?P<type>\w+)"
)
_BLOCK = re.compile(r"call void @llvm\.(?P<what>memcpy|memmove|memset)[\w.]*\((?P<arguments>.*)\)")
_ARGUMENT = re.compile(rf"ptr addrspace\((?P<space>[1-4])\) (?:[^,%]* )?(?P<pointer>{_NAME})$")
_ALIGN = re.compile(r", align (\d+)")
_OFFSET = re.compile(
    rf"^  (?P<name>{_NAME}) = getelementptr .*?, ptr addrspace\(2\) (?P<base>{_NAME}|@[-\w.$]+),"
)
_LOCAL = re.compile(rf"^  (?P<name>{_NAME}) = alloca (?P<type>[^,]+), align")
_MOVED = re.compile(
    rf"^  (?P<name>{_NAME}) = (?:getelementptr .*?, ptr|addrspacecast ptr) (?P<base>{_NAME})[, ]"
)
_LOCAL_ACCESS = re.compile(
    rf"^  (?:{_NAME} = load (?:volatile )?(?P<loaded>[^,]+?)|store (?:volatile )?(?P<stored>.+)), "
    rf"ptr(?: addrspace\(4\))? (?P<pointer>{_NAME})(?=,| |$)"
)
_TABLE = re.compile(r"^(?P<name>@[-\w.$]+) = .*?addrspace\(2\) constant (?P<rest>.*)$", re.M)
_ARRIVE = re.compile(r"call void @attn_arrive_(threadgroup|simdgroup)\(i32 (?:noundef )?(\S+)\)")
# A lane reads what another one may not be there to give.
_FROM_LANE = re.compile(rf"@(?:{calls(lambda c: c.result == 'source')})\(")
_BAD_DIVISION = re.compile(rf"call void {BAD_DIVISION}\(i1 (?:noundef )?([^)]+)\)")
_VARIABLE = re.compile(rf"call [^@]*@({THREADGROUP_VARIABLE})\(")
_TYPE = re.compile(r'(?:ptr addrspace\(\d\)|<[^>]*>|%"[^"]*"|%[-\w.$]+|\w+)')

_ARITHMETIC = re.compile(
    rf"^  (?P<result>{_NAME}) = (?:fadd|fsub|fmul|fdiv|frem) (?:\w+ )*?"
    rf"(?P<type><\d+ x \w+>|{ANY_LLVM}) (?P<operands>.*?)(?:, !.*)?$"
)
_FUNCTION = re.compile(
    rf"^  (?P<result>{_NAME}) = (?:tail )?call (?:\w+ )*?(?P<type><\d+ x \w+>|float|half) "
    r"@(?:llvm\.(?:sqrt|exp2?|exp10|log2?|log10|pow|sin|cos|fma|fmuladd)\.[\w.]+|\w+f)"
    r"\((?P<operands>.*?)\)"
)


def target_with_lines(host: Target) -> Target:
    """Return the target whose IR knows the lines it comes from."""
    # Variables that nothing was assigned to hold NaNs.
    extra = ("-gline-tables-only", "-DATTN_VALIDATE=1", "-ftrivial-auto-var-init=pattern")
    return dataclasses.replace(host, options=(*host.options, *extra))


def without_promises(text: str) -> str:
    """IR before optimisation, without leave to read memory that the text does not read.

    A reference is dereferenceable, and what is may be loaded before the branch that asks.
    """
    return re.sub(r" dereferenceable(?:_or_null)?\(\d+\)", "", text)


@dataclass(frozen=True)
class _Site:
    place: Place
    nbytes: int
    alignment: int
    kind: int
    space: str  # 3 threadgroup, 4 generic: any, 0 local; others are device memory


@dataclass
class _Instrumenter:
    lines: LineTable
    texts: list[list[str]]
    nan: bool
    named: str  # the module's type definitions
    tables: dict[str, int]  # sizes of constant tables by symbol
    sites: dict[_Site, int] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)  # sites of threadgroup variables
    serial: int = 0
    place: Place = field(default_factory=Place)  # of the latest instruction that has one
    bases: dict[str, str] = field(default_factory=dict)  # what a pointer was computed from
    locals: dict[str, int] = field(default_factory=dict)  # sizes of a function's variables

    def function(self, body: list[str]) -> Iterator[str]:
        """The lines of a function, with what they ask the engine."""
        made = [m for line in body for m in (_OFFSET.match(line), _MOVED.match(line)) if m]
        self.bases = {m["name"]: m["base"] for m in made}
        found = [m for m in map(_LOCAL.match, body) if m]
        self.locals = {m["name"]: self._bytes(m["type"]) for m in found}
        self.place = Place()
        for line in body:
            place = self.lines.place(line)
            if place.line:
                self.place = place
            yield from [line] if place.entry else self._instruction(line)

    def _instruction(self, line: str) -> Iterator[str]:
        match = _LOAD.match(line) or _STORE.match(line) or _UPDATE.match(line)
        local = _LOCAL_ACCESS.match(line)
        if local and self._root(local["pointer"]) in self.locals:
            if local["pointer"] in self.bases:  # not the variable as a whole
                yield from self._local(local)
            yield line
        elif match:
            yield from self._access(line, match)
        elif block := _BLOCK.search(line):
            yield from self._block(line, block["what"], block["arguments"])
        elif arrive := _ARRIVE.search(line):
            kind = _BARRIERS[arrive[1]]
            yield f"  call void @attn_arrive(i32 {arrive[2]}, ptr {self._site(kind)})"
        elif _FROM_LANE.search(line):
            yield f"  call void @attn_arrive(i32 0, ptr {self._site(0)})"
            yield line
        elif division := _BAD_DIVISION.search(line):
            if division[1] != "false":
                wide = self._fresh()
                yield f"  {wide} = zext i1 {division[1]} to i32"
                yield f"  call void @attn_judge_division(i32 {wide}, ptr {self._site(0)})"
        elif f"call void {CHECK_DEPTH}()" in line:
            yield f"  call void @attn_judge_depth(ptr {self._site(0)})"
        elif "call void @llvm.trap()" in line:
            yield f"  call void @attn_trapped(ptr {self._site(0)})"
            yield line
        elif MATRIX_MULTIPLY in line:
            yield f"  call void @attn_about_to_multiply(ptr {self._site(0)})"
            yield line
        else:
            if variable := _VARIABLE.search(line):
                self.declared.setdefault(variable[1], self._site(0))
            yield line
            if self.nan:
                yield from self._nan(line)

    def _site(self, kind: int, nbytes: int = 0, alignment: int = 1, space: str = "3") -> str:
        site = _Site(self.place, nbytes, alignment, kind, space)
        number = self.sites.setdefault(site, len(self.sites))
        return f"getelementptr (i8, ptr @attn.sites, i64 {number * _core.SITE_BYTES})"

    def _fresh(self) -> str:
        self.serial += 1
        return f"%attn.v.{self.serial}"

    def _access(self, line: str, match: re.Match) -> Iterator[str]:
        stores, updates = match.re is _STORE, match.re is _UPDATE
        kind = _READ | _WRITE if updates else _WRITE if stores else _READ
        if updates or match["atomic"]:
            kind |= _core.SITE_ATOMIC
        kind_of_value = _first_type(match["value"]) if stores else match["type"]
        nbytes = self._bytes(kind_of_value)
        aligned = _ALIGN.search(line, match.end())
        alignment = int(aligned[1]) if aligned else 1
        space, pointer = match["space"], match["pointer"]
        site = self._site(kind, nbytes, alignment, space)
        table = self._table_of(pointer) if space == "2" else None
        if table:
            yield from self._check_table(table, pointer, site)
            yield line
            return
        address = self._fresh()
        typed = f"ptr addrspace({space})"
        yield f"  {address} = call {typed} @attn_access_{space}({typed} {pointer}, ptr {site})"
        at = match.start("pointer")
        yield line[:at] + address + line[match.end("pointer") :]

    def _root(self, pointer: str) -> str:
        while pointer in self.bases:
            pointer = self.bases[pointer]
        return pointer

    def _table_of(self, pointer: str) -> str | None:
        root = self._root(pointer)
        return root if root in self.tables else None

    def _check_table(self, table: str, pointer: str, site: str) -> Iterator[str]:
        pointers = f"ptr addrspace(2) {pointer}", f"ptr addrspace(2) {table}"
        yield from self._check_offset("constant", *pointers, self.tables[table], site)

    def _local(self, match: re.Match) -> Iterator[str]:
        """An access of a local array, which has no address that the engine could judge."""
        pointer, root = match["pointer"], self._root(match["pointer"])
        kind = match["loaded"] or _first_type(match["stored"])
        reads = _READ if match["loaded"] else _WRITE
        site = self._site(reads, self._bytes(kind), space=_LOCAL_SPACE)
        space = match[0].rsplit("ptr", 1)[1].rsplit("%", 1)[0].strip()
        typed = f"ptr {space} {pointer}" if space else f"ptr {pointer}"
        yield from self._check_offset("local", typed, f"ptr {root}", self.locals[root], site)

    def _check_offset(
        self, what: str, pointer: str, whole: str, size: int, site: str
    ) -> Iterator[str]:
        at, base, offset = self._fresh(), self._fresh(), self._fresh()
        yield f"  {at} = ptrtoint {pointer} to i64"
        yield f"  {base} = ptrtoint {whole} to i64"
        yield f"  {offset} = sub i64 {at}, {base}"
        yield f"  call void @attn_check_{what}(i64 {offset}, i64 {size}, ptr {site})"

    def _block(self, line: str, what: str, arguments: str) -> Iterator[str]:
        """A copy or a fill: of one of our own sizes, or as long as a register says."""
        parts = arguments.split(", ")
        length = parts[2].split()[-1]
        for position in (0, 1) if what != "memset" else (0,):
            match = _ARGUMENT.match(parts[position])
            if not match:
                continue
            nbytes = 0 if length.startswith("%") else int(length)
            if length == "0":
                continue
            aligned = re.search(r"align (\d+)", parts[position])
            alignment = int(aligned[1]) if aligned else 1
            space, address = match["space"], self._fresh()
            kind = _WRITE if position == 0 else _READ
            site = self._site(kind, nbytes, alignment, space)
            typed = f"ptr addrspace({space})"
            yield (
                f"  {address} = call {typed} @attn_access_range_{space}({typed} "
                f"{match['pointer']}, i64 {length}, ptr {site})"
            )
            at = match.start("pointer")
            parts[position] = parts[position][:at] + address
        yield line.replace(arguments, ", ".join(parts))

    def _nan(self, line: str) -> Iterator[str]:
        match = _ARITHMETIC.match(line) or _FUNCTION.match(line)
        if not match:
            return
        kind, lanes = match["type"], match["type"].startswith("<")
        bits = f"<{kind[1:].split()[0]} x i1>" if lanes else "i1"
        operands = [part.split()[-1] for part in _split(match["operands"])]
        if any(not operand.startswith(("%", "0", "1", "-")) for operand in operands):
            operands = [o for o in operands if o.startswith("%")]
        bad = self._fresh()
        yield f"  {bad} = fcmp uno {kind} {match['result']}, {match['result']}"
        for operand in operands:
            fine, both = self._fresh(), self._fresh()
            yield f"  {fine} = fcmp ord {kind} {operand}, {operand}"
            yield f"  {both} = and {bits} {bad}, {fine}"
            bad = both
        if lanes:
            whole, some = self._fresh(), self._fresh()
            number = f"i{bits[1:].split()[0]}"
            yield f"  {whole} = bitcast {bits} {bad} to {number}"
            yield f"  {some} = icmp ne {number} {whole}, 0"
            bad = some
        wide = self._fresh()
        yield f"  {wide} = zext i1 {bad} to i32"
        yield f"  call void @attn_made_nan(i32 {wide}, ptr {self._site(0)})"

    def _bytes(self, kind: str) -> int:
        """What an access of a type touches: a vector of three is three elements."""
        with contextlib.suppress(Unsupported):
            return access_bytes(kind)
        return llvm.frame_bytes(f"{self.named}\n  %x = alloca {kind}, align 1")

    def table(self) -> str:
        """The module's table of sites, and the lines' texts."""
        shifts = _granules(self.sites)
        out, rows, texts = [], [], {}
        for number, site in enumerate(self.sites):
            source = self._source(site.place)
            if source not in texts:
                texts[source] = f"@attn.line.{len(texts)}"
                raw = source.encode() + b"\0"
                shown = "".join(
                    chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in raw
                )
                out.append(f'{texts[source]} = private constant [{len(raw)} x i8] c"{shown}"')
            rows.append(struct(
                _core.SITE, source=texts[source], line=site.place.line, index=number,
                bytes=site.nbytes, alignment=site.alignment, kind=site.kind,
                shift=shifts[site.space],
            ))  # fmt: skip
        out.append(table("@attn.sites", rows, "internal"))
        return "\n".join(out)

    def _source(self, place: Place) -> str:
        text = self.texts[place.text] if place.text < len(self.texts) else []
        shown = text[place.line - 1].strip() if 0 < place.line <= len(text) else ""
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
        return "\n".join([shown, *map(str, place.callers)])


_DECLARATIONS = [
    "declare void @attn_arrive(i32, ptr) nounwind",
    "declare void @attn_about_to_multiply(ptr) nounwind",
    "declare void @attn_made_nan(i32, ptr) nounwind",
    "declare void @attn_judge_division(i32, ptr) nounwind",
    "declare void @attn_judge_depth(ptr) nounwind",
    "declare void @attn_trapped(ptr) nounwind",
    "declare void @attn_check_constant(i64, i64, ptr) nounwind",
    "declare void @attn_check_local(i64, i64, ptr) nounwind",
    "declare ptr addrspace(3) @attn_threadgroup_array(i32, i32, i32, ptr) nounwind memory(none)",
    *(
        f"declare ptr addrspace({n}) @attn_access_{n}(ptr addrspace({n}), ptr) nounwind\n"
        f"declare ptr addrspace({n}) @attn_access_range_{n}(ptr addrspace({n}), i64, ptr) nounwind"
        for n in range(1, 5)
    ),
]


def _granules(sites: dict[_Site, int]) -> dict[str, int]:
    """By space, log2 of the unit that memory's history is kept for.

    A generic pointer may be one to either memory, which then have one unit.
    """
    accesses = [site for site in sites if site.kind & (_READ | _WRITE)]
    spaces = ("3", "124", _LOCAL_SPACE)
    if any(site.space == "4" for site in accesses):
        spaces = ("1234", _LOCAL_SPACE)
    return {
        space: _granule([site for site in accesses if site.space in together])
        for together in spaces
        for space in together
    }


def _granule(accesses: list[_Site]) -> int:
    """log2 of the largest unit, up to a word, that every access is a multiple of."""
    shift = 2
    for site in accesses:
        while shift and (not site.nbytes or (site.nbytes | site.alignment) & ((1 << shift) - 1)):
            shift -= 1
    return shift


def _first_type(typed_value: str) -> str:
    """The type that begins a typed value."""
    if typed_value[0] in "[{":
        depth = 0
        for i, c in enumerate(typed_value):
            depth += (c in "[{") - (c in "]}")
            if not depth:
                return typed_value[: i + 1]
    return _TYPE.match(typed_value).group()


def _split(arguments: str) -> list[str]:
    """Arguments at the commas outside brackets."""
    parts, depth, begin = [], 0, 0
    for i, c in enumerate(arguments):
        depth += (c in "<([{") - (c in ">)]}")
        if c == "," and not depth:
            parts.append(arguments[begin:i])
            begin = i + 1
    return [*parts, arguments[begin:]]


def instrument(text: str, sources: Sequence[str], *, nan: bool) -> tuple[str, dict[str, str]]:
    """Instrument an optimised module that was compiled for :func:`target_with_lines`.

    Args:
        text: the IR.
        sources: MSL texts in the order the module was linked from them.
        nan: whether arithmetic that makes a NaN of numbers is reported.

    Returns:
        The IR, without its line tables, and the site of each threadgroup variable.
    """
    named = "\n".join(re.findall(r"^%.* = type .*$", text, re.M))
    work = _Instrumenter(LineTable(text), [s.split("\n") for s in sources], nan, named, {})
    for match in _TABLE.finditer(text):
        work.tables[match["name"]] = work._bytes(_first_type(match["rest"]))
    out: list[str] = []
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        if lines[i].startswith("define "):
            end = lines.index("}", i)
            out += [lines[i], *work.function(lines[i + 1 : end]), "}"]
            i = end + 1
            continue
        if not lines[i].startswith("declare ") or "@attn_arrive_" not in lines[i]:
            out.append(lines[i])
        i += 1
    if not work.sites:
        work._site(0)
    module = without_lines("\n".join(out))
    return "\n".join([module, work.table(), *_DECLARATIONS]) + "\n", work.declared
