"""Rules of Metal's compiler for the library's names, types and functions, one function each.

Source: Metal Shading Language Specification 3.1: 2.1 (bfloat), 6.9.2 (SIMD-group functions),
6.15.4 (atomic functions), and the headers that Apple's compiler comes with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from attnproto.compiler.frontend import clang
from attnproto.compiler.frontend.clang import Message
from attnproto.compiler.frontend.lexer import Token, close_of, inserted
from attnproto.compiler.frontend.outline import Outline
from attnproto.compiler.frontend.source import Place

from .language_rules import Finding, calls, error, kernels, rule

_ARITHMETIC = {"+", "-", "*", "/", "+=", "-=", "*=", "/="}
_KEYWORDS = {"kernel", "vertex", "fragment"}
_SPACE_WORDS = {"device", "constant", "threadgroup", "thread"}
_OWNED = ("complex", "bfloat16")
_ORDERS = {f"memory_order_{word}" for word in ("acquire", "release", "acq_rel", "seq_cst")}
_NEWER = {"os_log", "os_log_default", "atomic_thread_fence", "coherent"}

_WHOLE = ("char", "short", "int", "long")
# By what overloads.h says of a call: what its functions lack, and the cure.
_REFUSED = {
    "ambiguous-call": "which Metal finds ambiguous; give its arguments one type",
    "argument-type": "which Metal's library has not; convert its argument",
    "atomic-operation": "which Metal has not; compare and exchange, or use another type",
}
_FLOAT = re.compile(r"[\d.]+(?:[eE][+-]?\d+)?[fF]")
_INFINITE = {"__builtin_inff", "__builtin_nanf", "__builtin_huge_valf"}
_SPELLED = [("signed char", "char"), *((f"unsigned {t}", f"u{t}") for t in _WHOLE)]
_FUNCTION = re.compile(r"from 'diagnose_if' attribute on '(\w+)<(.*)>':$")
_NARROWING = re.compile(r"implicit conversion .*'float'\)? to .*(?:\bbfloat\d?|__bf16)'")
_SAID = re.compile(rf"({'|'.join(_REFUSED)}) \[")


def refused_arguments(
    said: list[Message], place_of: Callable[[str, int, int], Place | None]
) -> Iterator[tuple[Place, str, str]]:
    """Where clang warns of what Apple's compiler refuses: rule and message.

    A float becomes no bfloat by itself (Metal Shading Language Specification 3.1, 2.1). Arguments
    that Apple's library has no function for:

    Source: Metal Shading Language Specification 3.1, 6.3 to 6.6 (a function of each type T, of the
    types that T stands for), 6.9.2 (T is neither bool nor of 64 bits), 6.15.4 (atomic functions).
    What Apple's compiler says: "call to 'clamp' is ambiguous" of (float, int, int)
    (github.com/amzeratul/halley/pull/79), of 'min' of (int, long)
    (github.com/gfx-rs/wgpu/issues/3212), of half and float (github.com/halide/Halide/issues/8245),
    "no matching function" of a shuffle of 64 bits
    (github.com/llvm/offload-test-suite/issues/672).
    """
    for number, message in enumerate(said):
        place = place_of(*message[:3])
        rule = _SAID.match(message.text)
        if message.kind != "warning" or place is None:
            continue
        if _NARROWING.match(message.text):
            cure = "found a float that becomes a bfloat by itself; write bfloat(...)"
            yield place, "bfloat-conversion", cure
        elif rule:
            function = next(m for n in said[number:] if (m := _FUNCTION.search(n.text)))
            yield place, rule[1], _refused(rule[1], *function.groups())


def _refused(rule: str, name: str, arguments: str) -> str:
    """``max(half, float)`` of the instance ``max<half, float>`` that is called."""
    if name == "attn_threadgroup":
        return "found atomic_float in threadgroup memory; Metal has it in device memory"
    types = clang.in_msl(arguments)
    for spelled, word in _SPELLED:
        types = re.sub(rf"\b{spelled}\b", word, types)
    return f"found {name}({types}), {_REFUSED[rule]}"


def _next_float(text: str) -> np.float32:
    """The float after a literal, and the largest one for what is as large or larger."""
    largest = float(np.finfo(np.float32).max)
    return np.nextafter(np.float32(min(float(text), largest)), np.float32(largest))


def inexact(tokens: list[Token]) -> list[Token]:
    """Tokens whose float literals are no bfloats: clang says nothing of a conversion that is exact.

    No value matters to lint.
    """
    return [
        inserted(f"{_next_float(token.text[:-1]):.9e}f", token)
        if token.kind == "number" and _FLOAT.fullmatch(token.text)
        else inserted("attn_infinity", token)
        if token.text in _INFINITE
        else token
        for token in tokens
    ]


@rule
def own_names(text: Outline) -> Iterator[Finding]:
    """Names that Apple's headers or its language own.

    Source: ``kernel``, ``vertex`` and ``fragment`` are keywords (MSL 3.1, 5.1); reports of texts
    that Apple's compiler refused: a kernel called quad, classes called complex and bfloat16.
    """
    for class_ in text.classes:
        if class_.name.text in _OWNED:
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
        is_alias = (before == "using" and after == "=") or (before == "}" and after == ";")
        if token.text in _OWNED and is_alias:
            message = f"found a type called {token.text}, a name of Metal's headers; rename it"
            yield error(token, "reserved-name", message)
        is_enumerator = before.text in ("{", ",") and after.text in ("=", ",", "}")
        if token.text in _SPACE_WORDS and is_enumerator:
            message = f"found an enumerator called {token.text}, a word of Metal's; rename it"
            yield error(token, "reserved-name", message)
        if token.text in _KEYWORDS and is_variable and after.text in ("=", ";", ",", ")", "["):
            message = f"found a variable called {token.text}, a word of Metal's; rename it"
            yield error(token, "reserved-name", message)


@rule
def memory_orders(text: Outline) -> Iterator[Finding]:
    """Atomic functions take the relaxed order only; fences of MSL 3.2 take others (6.15.1)."""
    t = text.tokens
    for i, token in enumerate(t):
        is_atomic = token.text.startswith("atomic_") and token.text.endswith("_explicit")
        if not is_atomic or t[i + 1 : i + 2] != ["("]:
            continue
        for word in t[i + 2 : close_of(t, i + 1)]:
            if word.text in _ORDERS:
                message = f"found {word.text}; atomic functions take memory_order_relaxed only"
                yield error(word, "atomic-operation", message)


@rule
def newer_library(text: Outline) -> Iterator[Finding]:
    """Names that the library has from MSL 3.2 on.

    Source: Metal Shading Language Specification 3.2: 4.8 (memory coherency), 6.15.3 (fences), 6.19
    (logging).
    """
    own = {one.name.text for one in (*text.classes, *text.functions, *text.variables)}
    for token, after in zip(text.tokens, text.tokens[1:], strict=False):
        if token.text in _NEWER - own and (token != "coherent" or after == "("):
            yield error(token, "msl-3.2", f"found {token.text}, which needs MSL 3.2; do without it")


@rule
def undefined_functions(text: Outline) -> Iterator[Finding]:
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
def whole_fragments(text: Outline) -> Iterator[Finding]:
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
