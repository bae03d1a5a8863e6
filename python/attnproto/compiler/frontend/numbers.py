"""Whole numbers written in a text: the index of a buffer, the limit of a kernel's threads."""

from __future__ import annotations

import ast
import operator

from .lexer import Token

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


def whole_number(tokens: list[Token]) -> int | None:
    """The value of an expression of literals; None where it names something else."""
    words = []
    try:
        for token in tokens:
            word = {"/": "//"}.get(token.text, token.text)
            words.append(str(literal(word)) if token.kind == "number" else word)
        return _value(ast.parse("".join(words), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("no whole number")
