"""Whole numbers written in a text: the index of a buffer, the limit of a kernel's threads."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Iterator, Mapping

from .lexer import Token, close_of, split_commas

_TYPES = {
    "char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "unsigned", "signed",
    "size_t", *(f"{u}int{n}_t" for u in ("", "u") for n in (8, 16, 32, 64)),
}  # fmt: skip

_OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift, ast.BitOr: operator.or_, ast.BitAnd: operator.and_,
}  # fmt: skip


def literal(text: str) -> int:
    """A whole number as C++ writes it: ``010`` is 8, ``0x1Fu``, ``1'024``.

    Raises:
        ValueError: it is another token.
    """
    plain = text.replace("'", "").rstrip("uUlL")
    if len(plain) > 1 and plain[0] == "0" and plain.isdigit():
        return int(plain, 8)
    return int(plain, 0)


class Numbers:
    """The whole numbers of a text's expressions, which may name enumerators and constants."""

    def __init__(self, tokens: list[Token]):
        self._tokens = tokens

    def value(self, expression: list[Token]) -> int | None:
        """The value of an expression; None where the text alone does not tell it."""
        plain = whole_number(expression)
        return whole_number(expression, self._names) if plain is None else plain

    @functools.cached_property
    def _names(self) -> dict[str, int]:
        """By the last word of a name; one of two values has none."""
        names: dict[str, int] = {}
        several: set[str] = set()
        for name, value in _definitions(self._tokens, names):
            if names.setdefault(name, value) != value:
                several.add(name)
        return {name: value for name, value in names.items() if name not in several}


def _definitions(t: list[Token], names: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Enumerators and constants, of which each may name those before it."""
    for i, token in enumerate(t):
        if token == "enum":
            opens = next((k for k in range(i, len(t)) if t[k].text in ("{", ";", ")")), i)
            if t[opens] == "{":
                yield from _enumerators(t[opens + 1 : close_of(t, opens)], names)
        elif token == "=" and t[i - 1].kind == "name" and _is_constant(t, i - 1):
            end = next((k for k in range(i, len(t)) if t[k] == ";"), len(t))
            for one in split_commas(t[i - 1 : end]):
                value = whole_number(one[2:], names)
                if one[1:2] == ["="] and value is not None:
                    yield one[0].text, value


def _is_constant(t: list[Token], name: int) -> bool:
    """Whether a constant of an integer's type is declared by a name."""
    begin = name
    while begin and (t[begin - 1].kind == "name" or t[begin - 1] == "::"):
        begin -= 1
    words = {token.text for token in t[begin:name]}
    return bool(words & _TYPES and words & {"const", "constexpr", "constant"})


def _enumerators(body: list[Token], names: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    value: int | None = -1
    for one in split_commas(body):
        at = next((k for k, token in enumerate(one) if token == "="), None)
        if at is not None:
            value = whole_number(one[at + 1 :], names)
        elif value is not None:
            value += 1
        if one and value is not None:
            yield one[0].text, value


def whole_number(tokens: list[Token], names: Mapping[str, int] | None = None) -> int | None:
    """The value of an expression of literals and of names; None where it says something else.

    Args:
        tokens: the expression; a cast to an integer's type changes no value here.
        names: values by names without their scopes.
    """
    words = []
    try:
        for i, token in enumerate(tokens):
            if "::" in (token.text, *(after.text for after in tokens[i + 1 : i + 2])):
                continue
            if token.kind == "number":
                words.append(str(literal(token.text)))
            elif token.text not in _TYPES and token != "static_cast":
                word = {"/": "//"}.get(token.text, token.text)
                words.append(str((names or {}).get(token.text, word)))
        spelled = "".join(words).replace("()", "").replace("<>", "")
        return _value(ast.parse(spelled, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    raise ValueError("no whole number")
