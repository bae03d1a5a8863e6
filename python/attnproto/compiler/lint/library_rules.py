"""Rules of Metal's compiler for the library's names, types and functions, one function each.

Source: Metal Shading Language Specification 3.1: 2.1 (bfloat), 6.9.2 (SIMD-group functions),
6.15.4 (atomic functions), and the headers that Apple's compiler comes with.
"""

from __future__ import annotations

from collections.abc import Iterator

from attnproto.compiler.frontend.lexer import Token, angle_close, close_of, split_commas
from attnproto.compiler.frontend.outline import Function, Outline

from .language_rules import Lint, calls, error, kernels, rule

_BUILTINS = ("__builtin_inff", "__builtin_nanf", "__builtin_huge_valf")
_ARITHMETIC = {"+", "-", "*", "/", "+=", "-=", "*=", "/="}
_STAGES = {"vertex", "fragment"}


@rule
def own_names(text: Outline) -> Iterator[Lint]:
    """Names that Apple's headers or its language own.

    Source: ``vertex`` and ``fragment`` are keywords (MSL 3.1, 5.1); reports of texts that Apple's
    compiler refused: a kernel called quad, classes called complex and bfloat16.
    """
    for class_ in text.classes:
        if class_.name.text in ("complex", "bfloat16"):
            message = (
                f"found a class called {class_.name.text}, a name of Metal's headers; rename it"
            )
            yield error(class_.name, "reserved-name", message)
    for kernel in kernels(text):
        if kernel.name == "quad":
            yield error(
                kernel.name,
                "reserved-name",
                "found a kernel called quad, a name of Metal's; rename it",
            )
    for before, token, after in zip(text.tokens, text.tokens[1:], text.tokens[2:], strict=False):
        is_variable = before.kind == "name" or before.text in ("*", "&", ",")
        if token.text in _STAGES and is_variable and after.text in ("=", ";", ",", ")", "["):
            message = f"found a variable called {token.text}, a word of Metal's; rename it"
            yield error(token, "reserved-name", message)


@rule
def undefined_functions(text: Outline) -> Iterator[Lint]:
    """A function that is declared, called and defined nowhere (MSL 3.1, 5.1)."""
    defined = {f.name.text for f in text.functions if f.body is not None}
    called = {
        at.text
        for f in text.functions
        for at in calls(f.body or [], {g.name.text for g in text.functions})
    }
    for function in text.functions:
        linked = "extern" in function.head or any(
            a[:1] in (["visible"], ["stitchable"]) for a in function.attributes
        )
        missing = function.name.text in called - defined
        if function.body is None and function.class_name is None and missing and not linked:
            message = f"found {function.name.text} declared and not defined; write its body"
            yield error(function.name, "undefined-function", message)


@rule
def bfloat_values(text: Outline) -> Iterator[Lint]:
    """A float literal becomes no bfloat by itself (MSL 3.1, 2.1: no implicit conversion)."""
    message = "found a float that becomes a bfloat by itself; write bfloat(...)"
    for function in text.functions:
        body = function.body or []
        names = _names_of(function, {"bfloat", "bfloat16_t"})
        returns = bool(function.head) and function.head[-1].text in ("bfloat", "bfloat16_t")
        for i, token in enumerate(body):
            assigned = token == "=" and i > 0 and _assigned(body, i) in names
            if assigned or (token == "return" and returns):
                value = _until_end(body, i + 1)
                yield from (error(at, "bfloat-conversion", message) for at in _literals(value))


def _until_end(body: list[Token], begin: int) -> list[Token]:
    end = begin
    while end < len(body) and body[end].text not in (";", ","):
        end = close_of(body, end) if body[end].text in ("(", "[", "{") else end
        end += 1
    return body[begin:end]


def _assigned(body: list[Token], equals: int) -> str:
    """The variable on the left: ``x =``, ``x[i] =``."""
    at, depth = equals - 1, 0
    while at > 0 and (depth or body[at] == "]"):
        depth += (body[at] == "]") - (body[at] == "[")
        at -= 1
    return "" if at and body[at - 1].text in (".", "->") else body[at].text


def _literals(value: list[Token]) -> Iterator[Token]:
    """A literal that is the whole value, or one choice of it."""
    if "?" in value:
        at = value.index("?")
        colon = next((k for k in range(at, len(value)) if value[k] == ":"), len(value))
        yield from _literals(value[at + 1 : colon])
        yield from _literals(value[colon + 1 :])
        return
    plain = value[1:] if value[:1] in (["-"], ["+"]) else value
    while plain[:1] == ["("] and close_of(plain, 0) == len(plain) - 1:
        plain = plain[1:-1]
    called = len(plain) > 1 and plain[1] == "(" and close_of(plain, 1) == len(plain) - 1
    infinite = called and plain[0].text.startswith(_BUILTINS)  # what INFINITY and NAN are
    if infinite or (len(plain) == 1 and _is_float(plain[0])):
        yield plain[0]


def _is_float(token: Token) -> bool:
    text = token.text.lower()
    point = "." in text or "e" in text
    return token.kind == "number" and not text.startswith("0x") and point and text[-1] not in "h"


def _names_of(function: Function, types: set[str]) -> set[str]:
    """Parameters and local variables of some types, pointers and arrays of them too."""
    names = {
        p.tokens[-1].text for p in function.parameters if types & {t.text for t in p.tokens[:-1]}
    }
    body = function.body or []
    for i, token in enumerate(body[:-2]):
        if token.text in types:
            name = i + 1
            while name < len(body) and body[name].text in ("*", "&", "const", "thread"):
                name += 1
            if name < len(body) and body[name].kind == "name":
                names.add(body[name].text)
    return names


@rule
def atomics(text: Outline) -> Iterator[Lint]:
    """Operations that an atomic type has not (MSL 3.1, table 6.26; 6.15.4.5 and 6.15.4.6)."""
    for function in text.functions:
        floats = _atomics_of(function, "float")
        longs = _atomics_of(function, "ulong")
        for at, first in _atomic_calls(function.body or []):
            operation = at.text.removeprefix("atomic_").removesuffix("_explicit")
            if first in floats and operation in ("fetch_max", "fetch_min", "fetch_and", "fetch_or"):
                message = (
                    f"found {at.text} of atomic_float, which has add and sub; compare and exchange"
                )
                yield error(at, "atomic-operation", message)
            if first in longs and operation not in ("max", "min"):
                message = f"found {at.text} of atomic_ulong, which has atomic_max and atomic_min"
                yield error(at, "atomic-operation", message)
        for parameter in function.parameters:
            words = {t.text for t in parameter.tokens}
            if "threadgroup" in words and ("atomic_float" in words or {"atomic", "float"} <= words):
                message = "found atomic_float in threadgroup memory; Metal has it in device memory"
                yield error(parameter.tokens[-1], "atomic-operation", message)
        body = function.body or []
        for i, token in enumerate(body[:-1]):
            if token == "threadgroup" and body[i + 1] == "atomic_float":
                message = "found atomic_float in threadgroup memory; Metal has it in device memory"
                yield error(token, "atomic-operation", message)


def _atomics_of(function: Function, element: str) -> set[str]:
    names = _names_of(function, {f"atomic_{element}"})
    for parameter in function.parameters:
        words = [t.text for t in parameter.tokens]
        if any(words[k : k + 3] == ["atomic", "<", element] for k in range(len(words))):
            names.add(words[-1])
    return names


def _atomic_calls(body: list[Token]) -> Iterator[tuple[Token, str]]:
    """Each operation, and the variable that its first argument begins with."""
    for i, token in enumerate(body[:-1]):
        if token.text.startswith("atomic_") and token.text.endswith("_explicit"):
            opens = i + 1
            if body[opens] == "<":
                opens = (angle_close(body, opens) or opens) + 1
            if body[opens : opens + 1] != ["("]:
                continue
            arguments = split_commas(body[opens + 1 : close_of(body, opens)])
            names = [t.text for t in arguments[0] if t.kind == "name"] if arguments else []
            yield token, names[0] if names else ""


@rule
def whole_fragments(text: Outline) -> Iterator[Lint]:
    """``thread_elements()`` has 64 elements by its type: one is read by its index.

    Source: Apple's metal_simdgroup_matrix header, where the storage is vec<T, 64>.
    """
    t = text.tokens
    for i, token in enumerate(t):
        if token != "thread_elements" or t[i + 1 : i + 3] != ["(", ")"]:
            continue
        begin = i
        while begin > 1 and t[begin - 1].text in (".", "->"):
            begin -= 2
        before, after = t[begin - 1].text if begin else "", t[i + 3].text
        shuffled = before == "(" and t[begin - 2].text.startswith("simd_")
        if after != "[" and (after in _ARITHMETIC or before in _ARITHMETIC or shuffled):
            message = "found thread_elements() as a value; it is of 64 elements, take [0] and [1]"
            yield error(token, "thread-elements", message)
