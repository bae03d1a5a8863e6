"""bfloat as 16-bit integers, for processors that know no such number.

Without instructions of its own for bfloat an x86-64 processor gets calls of the compiler's library,
which a loaded kernel does not find, and even shuffles go through float; the instruction that
rounds, where there is one, takes denormal numbers for zero. So every processor has the same here,
put in after the operations were counted: what computes is computed in float and rounded to nearest,
ties to even, NaNs made quiet.
"""

from __future__ import annotations

import re

from .contract_fma import FLAGS, VALUE

_KIND = r"(?P<kind>bfloat|<\d+ x bfloat>)"
_FLAGS = rf"(?P<flags>{FLAGS})"
_NAME = r"^  (?P<name>\S+) = "
_WIDEN = re.compile(rf"{_NAME}fpext {_FLAGS}{_KIND} (?P<value>{VALUE}) to (?P<to>[^,]*)")
_ROUND = re.compile(
    rf"{_NAME}(?P<op>fptrunc|sitofp|uitofp) (?P<flags>(?:\w+ )*?)"
    rf"(?P<source><\d+ x \w+>|\w+) (?P<value>{VALUE}) to {_KIND}"
)
_WHOLE = re.compile(rf"{_NAME}(?P<op>fptosi|fptoui) {_KIND} (?P<value>{VALUE}) to (?P<to>[^,]*)")
_COMPUTE = re.compile(
    rf"{_NAME}(?P<op>fneg|fadd|fsub|fmul|fdiv|frem|fcmp) {_FLAGS}(?P<predicate>\w+ )??{_KIND} "
    rf"(?P<values>{VALUE}(?:, {VALUE})?)"
)
_CALL = re.compile(
    rf"{_NAME}(?:tail )?call {_FLAGS}(?:noundef )?{_KIND} @llvm\.(?P<op>\w+)\.(?P<lanes>v\d+)?bf16"
    r"\((?P<values>.*?)\)"
)
_TYPE = re.compile(r"(?<![\w.$@%-])bfloat(?![\w.$-])")
_STRING = re.compile(r'^@\S+ = .*\] c"')  # a line of the text, say, which may name the type
_CONSTANT = re.compile(r"\b0xR([0-9A-Fa-f]{4})\b")
# Lines that widen %x, and that round %x, to %result.
_WIDENING = """\
  %wide = zext {i16} %x to {i32}
  %bits = shl {i32} %wide, {sixteen}
  %result = bitcast {i32} %bits to {float}"""
_ROUNDING = """\
  %bits = bitcast {float} %x to {i32}
  %high = lshr {i32} %bits, {sixteen}
  %odd = and {i32} %high, {one}
  %bias = add {i32} %odd, {half}
  %near = add {i32} %bits, %bias
  %none = fcmp uno {float} %x, zeroinitializer
  %quiet = or {i32} %bits, {quiet}
  %chosen = select {i1} %none, {i32} %quiet, {i32} %near
  %shifted = lshr {i32} %chosen, {sixteen}
  %result = trunc {i32} %shifted to {i16}"""


def lower(text: str) -> str:
    """Rewrite an optimised module that computes with bfloat to one that does not.

    Args:
        text: the module, its matrix operations in batches.

    Returns:
        A module without the type; functions that took or returned one have i16.
    """
    if "bfloat" not in text or not _TYPE.search(text):
        return text
    writer = _Writer()
    lines = [out for line in text.split("\n") for out in writer.line(line)]
    return "\n".join([*map(_as_integers, lines), *writer.declarations(text)]) + "\n"


def _as_integers(line: str) -> str:
    if _STRING.match(line):
        return line
    line = _TYPE.sub("i16", line)
    return _CONSTANT.sub(lambda match: str(int(match[1], 16)), line)


class _Writer:
    """Rewrites line by line, and keeps what it then needs."""

    def __init__(self) -> None:
        self.serial = 0
        self.called: dict[str, str] = {}  # intrinsics by name, as they are declared

    def line(self, line: str) -> list[str]:
        if "bfloat" not in line:
            return [line]
        if line.startswith("declare ") and "bf16(" in line:
            return []
        for pattern, write in (
            (_WIDEN, self._widen), (_ROUND, self._round), (_WHOLE, self._whole),
            (_COMPUTE, self._compute), (_CALL, self._call),
        ):  # fmt: skip
            match = pattern.match(line)
            if match:
                return write(match, match["name"], match["kind"], _like(match["kind"], "float"))
        return [line]

    def _widen(self, match: re.Match, name: str, kind: str, wide: str) -> list[str]:
        if match["to"] == wide:
            return self._inline(_WIDENING, kind, match["value"], name)
        own = self._fresh()
        lines = self._inline(_WIDENING, kind, match["value"], own)
        return [*lines, f"  {name} = fpext {wide} {own} to {match['to']}"]

    def _round(self, match: re.Match, name: str, kind: str, wide: str) -> list[str]:
        if match["op"] == "fptrunc" and match["source"] == wide:
            return self._inline(_ROUNDING, kind, match["value"], name)
        made = f"{match['op']} {match['flags']}{match['source']} {match['value']} to {wide}"
        return self._rounded(kind, made, name)

    def _whole(self, match: re.Match, name: str, kind: str, wide: str) -> list[str]:
        own = self._fresh()
        lines = self._inline(_WIDENING, kind, match["value"], own)
        return [*lines, f"  {name} = {match['op']} {wide} {own} to {match['to']}"]

    def _compute(self, match: re.Match, name: str, kind: str, wide: str) -> list[str]:
        lines, values = self._widened(kind, re.findall(VALUE, match["values"]))
        made = f"{match['op']} {match['flags']}{match['predicate'] or ''}{wide} {', '.join(values)}"
        if match["op"] == "fcmp":
            return [*lines, f"  {name} = {made}"]
        return [*lines, *self._rounded(kind, made, name)]

    def _call(self, match: re.Match, name: str, kind: str, wide: str) -> list[str]:
        given = [one.split()[-1] for one in match["values"].split(", ")]
        lines, values = self._widened(kind, given)
        function = f"llvm.{match['op']}.{match['lanes'] or ''}f32"
        self.called[function] = f"declare {wide} @{function}({', '.join([wide] * len(given))})"
        arguments = ", ".join(f"{wide} {value}" for value in values)
        made = f"call {match['flags']}{wide} @{function}({arguments})"
        return [*lines, *self._rounded(kind, made, name)]

    def _widened(self, kind: str, given: list[str]) -> tuple[list[str], list[str]]:
        names = [self._fresh() for _ in given]
        pairs = zip(given, names, strict=True)
        return [line for x, to in pairs for line in self._inline(_WIDENING, kind, x, to)], names

    def _rounded(self, kind: str, made: str, name: str) -> list[str]:
        own = self._fresh()
        return [f"  {own} = {made}", *self._inline(_ROUNDING, kind, own, name)]

    def _fresh(self) -> str:
        self.serial += 1
        return f"%attn.bfloat.{self.serial}"

    def _inline(self, lines: str, kind: str, x: str, result: str) -> list[str]:
        def constant(n: int) -> str:
            return str(n) if kind == "bfloat" else f"splat (i32 {n})"

        filled = lines.format(
            sixteen=constant(16), one=constant(1), half=constant(0x7FFF), quiet=constant(0x400000),
            **{scalar: _like(kind, scalar) for scalar in ("float", "i1", "i16", "i32")},
        )  # fmt: skip
        own = self._fresh()

        def named(match: re.Match) -> str:
            return {"x": x, "result": result}.get(match[1], f"{own}.{match[1]}")

        return re.sub(r"%(\w+)", named, filled).split("\n")

    def declarations(self, text: str) -> list[str]:
        return [
            declared
            for name, declared in sorted(self.called.items())
            if not re.search(rf"^declare .*@{re.escape(name)}\(", text, re.M)
        ]


def _like(kind: str, scalar: str) -> str:
    return kind.replace("bfloat", scalar)
