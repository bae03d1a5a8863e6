"""What MSL allows by the types of operands, which tokens don't tell: clang is asked where.

An object of a class is copied and chosen between address spaces, a temporary is bound to a
reference to thread memory, braces fill a vector. clang refuses each at a place that it names;
there the text says it in clang's way, and clang is asked again. A text that clang takes is
never touched, and one that it refuses for another reason is refused as before.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .casts import is_truth
from .declarations import (
    declaration_begin,
    is_constant_reference,
    static_methods_named,
    template_end,
)
from .lexer import (
    Token,
    angle_close,
    close_of,
    continues_mark,
    inserted,
    skipping_brackets,
    split_commas,
)

ONE_A_LINE = "mend"  # what such a text is called in clang's messages
_FIRST = re.compile(
    rf"^{ONE_A_LINE}:(?P<line>\d+):\d+:(?P<ranges>(?:\{{[-:\d]+\}})*):? "
    r"(?P<kind>error|note): (?P<text>.*)$"
)
_RANGE = re.compile(r"\{(\d+):\d+-(\d+):\d+\}")
_VECTOR = re.compile(r"cannot convert initializer list argument to .*\(vector of (\d+) '([^']+)'")
_MATRIX = re.compile(r"matrix<(\w+), \d, (\d)>'")
_PLACED = re.compile(r"from '(const )?__(global|constant|local)")
_BOOLS = re.compile(r"'(?:__\w+ )?(?:metal::)?bool([234])' \(vector of")
_NTH = re.compile(r"for (\d+)\w+ argument")
# A temporary, of a type that is in no memory, and the reference's type.
_BOUND = re.compile(
    r"of type 'const __private ([^'&]+?) ?&?'"
    r"(?: to value of type '(?!(?:const )?__(?:global|local|constant))| cannot bind to a temporary)"
)
# A parameter that is a reference to thread memory, to which clang binds no temporary.
_IN_THREAD = re.compile(
    r"^candidate .*(?:in default address space|would make '(?:const )?__private)"
)
# A static method, which clang has in the generic address space.
_STATIC_METHOD = re.compile(
    r"\) __generic'|<overloaded function type>|address of overloaded function|no overload of '"
)
_SWIZZLES = ("xyz", "rgb")
_ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=")
_PREFERRED = '__attribute__((enable_if(true, "")))'
_CONSTANT = "bind reference in address space '__constant' to object"


@dataclass
class _Error:
    """An error at a token, the tokens of its operands, and the notes beneath it."""

    at: int
    operands: list[tuple[int, int]]  # first and last token
    text: str
    notes: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class _Edits:
    """What is put before and after tokens; a set, since every instance of a template errs."""

    before: dict[int, list[str]] = field(default_factory=dict)
    after: dict[int, list[str]] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)
    seen: set[tuple[int, int, str]] = field(default_factory=set)

    def wrap(self, first: int, last: int, call: str) -> None:
        if (first, last, call) not in self.seen:
            self.seen.add((first, last, call))
            self.before.setdefault(first, []).insert(0, f"{call}(")
            self.after.setdefault(last, []).append(")")

    def hold(self, first: int, last: int, type_: str = "") -> None:
        """A temporary as an object in thread memory, until the expression's end (types.h)."""
        if (first, last, "hold") not in self.seen:
            self.seen.add((first, last, "hold"))
            self.before.setdefault(first, []).insert(0, f"attn_held{type_}(")
            self.after.setdefault(last, []).append(").get()")

    def insert(self, at: int, text: str) -> None:
        if (at, at, text) not in self.seen:
            self.seen.add((at, at, text))
            self.before.setdefault(at, []).append(text)

    def follow(self, last: int, text: str) -> None:
        if (last, last, text) not in self.seen:
            self.seen.add((last, last, text))
            self.after.setdefault(last, []).append(text)

    def applied(self, t: list[Token]) -> list[Token]:
        out: list[Token] = []
        for i, token in enumerate(t):
            out += [inserted(text, token) for text in self.before.get(i, [])]
            if i not in self.left_out:
                out.append(token)
            out += [inserted(text, token) for text in self.after.get(i, [])]
        return out


def one_a_line(tokens: list[Token]) -> str:
    """The text with a token a line, so that clang's places and ranges are tokens'."""
    lines: list[str] = []
    first = 0  # of the tokens that are one mark together, such as >>
    for i, token in enumerate(tokens):
        if continues_mark(tokens, i):
            lines[first] += token.text
            lines.append("")
        else:
            first = i
            lines.append(token.text)
    return f'#line 1 "{ONE_A_LINE}"\n' + "".join(f"{line}\n" for line in lines)


def mended(tokens: list[Token], messages: str, before: int) -> list[Token] | None:
    """The tokens after what clang's messages about them ask for; None where it is nothing.

    Args:
        tokens: of a rewritten text.
        messages: clang's, with ranges, about ``one_a_line(tokens)``.
        before: lines before the first token in what clang reads, which its ranges count.
    """
    edits = _Edits()
    for error in _errors(messages, len(tokens), before):
        for pattern, mend in _MENDS:
            if pattern in error.text:
                mend(tokens, error, edits)
    return edits.applied(tokens) if edits.seen else None


def _errors(messages: str, count: int, before: int) -> Iterator[_Error]:
    error = None
    for line in messages.split("\n"):
        match = _FIRST.match(line)
        if not match:
            continue
        at = int(match["line"]) - 1
        if match["kind"] == "note":
            if error:
                error.notes.append((at, match["text"]))
            continue
        if error:
            yield error
        operands = [
            (int(first) - before - 1, int(last) - before - 1)
            for first, last in _RANGE.findall(match["ranges"])
        ]
        error = _Error(at, [o for o in operands if o[1] < count], match["text"])
    if error:
        yield error


def _value(t: list[Token], error: _Error, operand: tuple[int, int], edits: _Edits) -> None:
    first, last = operand
    if t[first] != "{" and not t[first].text.startswith("attn_value"):
        edits.wrap(first, last, "attn_value")


def _choice(t: list[Token], error: _Error, edits: _Edits) -> None:
    for operand in error.operands[:2]:
        _value(t, error, operand, edits)


def _assignment(t: list[Token], error: _Error, edits: _Edits) -> None:
    if len(error.operands) == 2:
        _value(t, error, error.operands[1], edits)


def _same_class(t: list[Token], error: _Error, edits: _Edits) -> None:
    """Where the class has an assignment from another type that its own converts to."""
    first = re.search(
        r"types '(?:__\w+ )?([^']+)'.* and '(?:const )?(?:__\w+ )?([^']+)'", error.text
    )
    if len(error.operands) == 2 and first and first[1] == first[2]:
        edits.wrap(*error.operands[0], "attn_object")


def _copy(t: list[Token], error: _Error, edits: _Edits) -> None:
    """Out of constant memory, the only one that no generic reference covers."""
    if len(error.operands) == 1 and any(_CONSTANT in text for _, text in error.notes):
        _value(t, error, error.operands[0], edits)


def _conversion(t: list[Token], error: _Error, edits: _Edits) -> None:
    """Of an element in braces: clang would rather convert to its class's first member."""
    if len(error.operands) == 1 and _PLACED.search(error.text):
        _value(t, error, error.operands[0], edits)


def _packed(t: list[Token], error: _Error, edits: _Edits) -> None:
    """A packed vector among the parts of which a vector is made."""
    if len(error.operands) == 1 and "attn_packed3<" in error.text.partition("' to '")[0]:
        edits.wrap(*error.operands[0], "metal::attn_unpack")


def _packed_operand(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``v += p`` of a vector and a packed one."""
    if len(error.operands) == 2 and "attn_packed3<" in error.text.rpartition(" and ")[2]:
        edits.wrap(*error.operands[1], "metal::attn_unpack")


def _swizzle(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``v.zx`` of a packed vector, which clang has as a class with members x, y and z."""
    numbers = next(
        (tuple(map(s.index, t[error.at].text)) for s in _SWIZZLES if {*t[error.at].text} <= {*s}),
        None,
    )
    if "attn_packed3<" not in error.text or numbers is None or not error.operands:
        return
    if t[error.at - 1] == "->":
        edits.wrap(*error.operands[0], "*")
    if t[error.at + 1].text in _ASSIGNMENTS:
        edits.wrap(*error.operands[0], f"metal::attn_swizzle<{', '.join(map(str, numbers))}>")
        edits.left_out |= {error.at - 1, error.at}
    else:
        edits.wrap(*error.operands[0], "metal::attn_unpack")
        if t[error.at - 1] == "->":
            edits.left_out.add(error.at - 1)
            edits.insert(error.at, ".")


def _temporary(t: list[Token], error: _Error, edits: _Edits) -> None:
    """Of the reference's type, or of one that is converted to it."""
    wanted = _BOUND.search(error.text)
    if wanted and error.operands:
        edits.hold(*error.operands[0], f"<{wanted[1]}>")


def _held_arguments(t: list[Token], error: _Error, edits: _Edits) -> None:
    """Temporaries that a template, a method or a constructor takes by such a reference."""
    first, last = error.operands[0] if error.operands else (error.at, error.at)
    opens = next((k for k in (last + 1, first - 1) if t[k].text in ("(", "{")), None)
    opens = _call_opens(t, error.at) if opens is None else opens
    if opens is None:
        return
    given = [part for part in split_commas(t[opens + 1 : close_of(t, opens)])]
    begins = itertools.accumulate((len(part) + 1 for part in given), initial=opens + 1)
    places = [(begin, begin + len(part) - 1) for begin, part in zip(begins, given, strict=False)]
    for at, text in error.notes:
        if not _IN_THREAD.search(text):
            continue
        for part, place, parameter in zip(given, places, _parameters(t, at), strict=False):
            if is_constant_reference(parameter) and not _is_object(part):
                edits.hold(*place)


def _parameters(t: list[Token], name: int) -> list[list[Token]]:
    """Those of the function that is declared by a name, an operator's too."""
    opens = next(k for k in range(name + 1, len(t)) if t[k] == "(")
    opens += 2 if t[name] == "operator" and t[opens + 1 : opens + 3] == [")", "("] else 0
    return split_commas(t[opens + 1 : close_of(t, opens)])


def _is_object(expression: list[Token]) -> bool:
    """Whether it names a variable, or a part of one."""
    plain = list(skipping_brackets(expression, 0))
    words = [expression[k] for k in plain]
    return all(w.kind == "name" or w.text in (".", "->", "::", "[") for w in words)


def _call_opens(t: list[Token], at: int) -> int | None:
    """The parenthesis after ``f``, ``a<T>::f`` or ``f<T>``."""
    opens = at + 1
    while opens < len(t) and t[opens].text in ("::", "template", "<"):
        if t[opens] == "<":
            opens = (angle_close(t, opens) or opens) + 1
        else:
            opens += 1 if t[opens + 1] == "template" else 2
    return opens if opens < len(t) and t[opens] == "(" else None


def _braces(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``f({1, 2, 3})`` where f takes a vector: clang's note says of what."""
    vector = next((m for _, text in error.notes if (m := _VECTOR.search(text))), None)
    opens = _call_opens(t, error.at)
    if vector is None or opens is None:
        return
    _fill(t, (opens, close_of(t, opens)), (vector[2], vector[1]), edits)


def _columns(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``float2x2 m = {{1, 2}, {3, 4}}``: a column in braces."""
    matrix = _MATRIX.search(error.text)
    braces = next((o for o in error.operands if t[o[0]] == "{"), None)
    if matrix and braces:
        _fill(t, braces, (matrix[1], matrix[2]), edits)


def _fill(t: list[Token], within: tuple[int, int], vector: tuple[str, str], edits: _Edits) -> None:
    """Make vectors, of an element and a width, of what is in braces between two brackets."""
    element = {"__bf16": "bfloat"}.get(vector[0], vector[0])
    i, end = within[0] + 1, within[1]
    while i < end:
        if t[i] == "{" and t[i - 1].text in ("(", ",", "{"):
            close = close_of(t, i)
            edits.insert(i, f"attn_filled<metal::vec<{element}, {vector[1]}>>(")
            edits.insert(close, ")")
            edits.left_out |= {i, close}
            i = close
        elif t[i].text in ("(", "["):
            i = close_of(t, i)
        i += 1


def _short(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``float4 a = {1, 2}``: the rest is zero."""
    wanted, given = (int(n) for n in re.findall(r"(?:expected|have) (\d+)", error.text))
    opens = next((first for first, _ in error.operands if t[first] == "{"), error.at)
    if t[opens] == "{":
        edits.insert(close_of(t, opens), ", 0" * (wanted - given))


def _construction(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``V(a, b)`` where V is a parameter of a template, and here a vector."""
    opens = _call_opens(t, error.at)
    if t[error.at].kind == "name" and opens is not None:
        edits.insert(error.at, "attn_filled<")
        edits.insert(opens, ">")


def _functional_cast(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``bfloat(x)`` of a half."""
    opens = _call_opens(t, error.at)
    if opens is not None:
        edits.insert(error.at, "attn_cast<")
        edits.insert(opens, ">")


def _ambiguous(t: list[Token], error: _Error, edits: _Edits) -> None:
    """A call that a template of the text and one of the library take alike: the text's own."""
    for at, text in error.notes:
        if text.startswith("candidate function [with") and t[at] == t[error.at]:
            edits.insert(template_end(t, declaration_begin(t, at)), _PREFERRED)


def _static_cast(t: list[Token], error: _Error, edits: _Edits) -> None:
    if t[error.at] == "static_cast":
        edits.insert(error.at, "attn_cast")
        edits.left_out.add(error.at)


def _cast(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``(float4)x`` of a vector of another element."""
    if t[error.at] != "(" or not error.operands:
        return
    close, last = close_of(t, error.at), error.operands[-1][1]
    edits.insert(error.at, "attn_cast<")
    edits.insert(close, ">(")
    edits.left_out |= {error.at, close}
    edits.follow(last, ")")


def _rank(t: list[Token], error: _Error, edits: _Edits) -> None:
    """A vector and a scalar of a wider type, which becomes the vector's element."""
    if len(error.operands) != 2:
        return
    vector, scalar = error.operands
    if error.text.rpartition(" and ")[2].count("'") > 2:
        vector, scalar = scalar, vector
    spelled = " ".join(w.text for w in t[vector[0] : vector[1] + 1])
    if "attn_scalar" not in t[scalar[0]].text:
        edits.wrap(*scalar, f"attn_scalar<decltype({spelled})>")


def _truths(t: list[Token], error: _Error, edits: _Edits) -> None:
    """A comparison of vectors where a vector of bool is wanted; clang has one of integers."""
    wanted = _BOOLS.search(error.text)
    if wanted and error.operands:
        _truth(t, *error.operands[-1], wanted[1], edits)


def _truth_operand(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``m & (a > b)``, whose operands clang does not name."""
    wanted, after = _BOOLS.search(error.text), error.at + 1
    if wanted is None:
        return
    if t[after] == "(":
        _truth(t, after, close_of(t, after), wanted[1], edits)
    before = error.at - 1
    opens = next(
        (i for i in range(before, -1, -1) if t[i] == "(" and close_of(t, i) == before), None
    )
    if t[before] == ")" and opens is not None:
        _truth(t, opens, before, wanted[1], edits)


def _static_method(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``float (*p)(float) = S::f``: a pointer to a static method, which a lambda stands for."""
    if _STATIC_METHOD.search(error.text):
        for operand in error.operands or [(error.at, error.at)]:
            _functions(t, *operand, edits)


def _static_method_argument(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``g<S::f>(x)``, ``g(S::f, x)``, and ``g(x)`` of a template for which S::f is the default."""
    for at, text in error.notes:
        if "invalid explicitly-specified argument" in text:
            _functions(t, error.at, _call_opens(t, error.at) or error.at, edits)
        elif "substitution failure" in text and _STATIC_METHOD.search(text):
            begin = declaration_begin(t, at)
            _functions(t, begin, template_end(t, begin), edits)
        elif _STATIC_METHOD.search(text) and (nth := _nth_argument(t, error.at, text)):
            _functions(t, *nth, edits)


def _functions(t: list[Token], first: int, last: int, edits: _Edits) -> None:
    """Convert the static methods that are named among tokens, and not called, to pointers."""
    methods = {t[i + 2].text for i in range(len(t) - 2) if t[i] == "ATTN_FUNCTION"}
    for begin, name, end in static_methods_named(t, first, last, methods):
        edits.insert(name, f"attn_function_{t[name].text}")
        edits.follow(end, "()")
        edits.left_out |= {name} | ({begin} if t[begin] == "&" else set())


def _truth_argument(t: list[Token], error: _Error, edits: _Edits) -> None:
    """``f(a > b)`` where f takes a vector of bool: clang's note says which argument."""
    for _, text in error.notes:
        wanted = _BOOLS.search(text)
        nth = _nth_argument(t, error.at, text)
        if wanted and nth:
            _truth(t, *nth, wanted[1], edits)


def _nth_argument(t: list[Token], at: int, note: str) -> tuple[int, int] | None:
    """First and last token of the argument of a call that a note speaks of."""
    opens, nth = _call_opens(t, at), _NTH.search(note)
    if opens is None or nth is None:
        return None
    begin = opens + 1
    for part in split_commas(t[begin : close_of(t, opens)])[: int(nth[1]) - 1]:
        begin += len(part) + 1
    argument = split_commas(t[begin : close_of(t, opens)])[0]
    return begin, begin + len(argument) - 1


def _truth(t: list[Token], first: int, last: int, width: str, edits: _Edits) -> None:
    if is_truth(t[first : last + 1]):
        edits.wrap(first, last, f"attn_bools<bool{width}>")


_MENDS = (
    ("assigning to", _truths),
    ("cannot initialize", _truths),
    ("implicit conversions between vector types", _truth_operand),
    ("no matching function for call to", _truth_argument),
    ("too few elements in vector initialization", _short),
    ("excess elements in scalar initializer", _construction),
    ("is ambiguous", _ambiguous),
    ("static_cast from", _static_cast),
    ("C-style cast from", _cast),
    ("functional-style cast from", _functional_cast),
    ("scalar operand type has greater rank than the type of the vector element", _rank),
    ("incompatible operand types", _choice),
    ("conditional expression is ambiguous", _choice),
    ("no viable overloaded '='", _assignment),
    ("overloaded operator '=' is ambiguous", _same_class),
    ("no matching constructor for initialization of", _copy),
    ("no matching constructor for initialization of", _columns),
    ("no viable conversion from", _conversion),
    ("no viable conversion from", _packed),
    ("cannot convert between vector and non-scalar values", _packed_operand),
    ("no member named", _swizzle),
    ("cannot bind to a temporary object because of address space mismatch", _temporary),
    ("changes address space", _temporary),
    ("no matching function for call to", _held_arguments),
    ("no matching member function for call to", _held_arguments),
    ("no matching constructor for initialization of", _held_arguments),
    ("no matching function for call to", _braces),
    ("no matching function for call to", _static_method_argument),
    ("", _static_method),
)
