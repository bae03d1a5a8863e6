"""What tells a cast from a parameter's type, and a comparison from a number, among tokens."""

from __future__ import annotations

from .lexer import Token, angle_close, close_of, split_commas

_CLOSED = ("(", "[", "{")
_TRUTH = ("<", ">", "<=", ">=", "==", "!=", "&&", "||", "!")
_UNARY = ("-", "+", "!", "~", "*", "&")


def type_parameters(t: list[Token]) -> set[str]:
    """Names of the type parameters of a declaration's templates."""
    return {
        t[i + 1].text
        for i in range(1, len(t) - 2)
        if t[i].text in ("typename", "class")
        and t[i - 1].text in ("<", ",")
        and t[i + 1].kind == "name"
        and t[i + 2].text in (",", ">", "=")
    }


def is_cast(out: list[Token], opens: int, operand: list[Token]) -> bool:
    """Whether the parenthesis that opens at a place holds the type of a cast, and no parameter's.

    A list behind it, ``(float4)(a, b, c, d)``, makes a vector, as clang has it; a cast behind one
    of ! * & stays clang's, too.
    """
    if opens < 0 or out[opens] != "(" or not operand:
        return False
    before, earlier = (out[k] if k >= 0 else None for k in (opens - 1, opens - 2))
    if before is not None:
        if before.text in (")", "]", ">") or (
            before.kind == "name" and before.text not in ("return", "case", "else", "do")
        ):
            return False
        if before.text in ("!", "*", "&") and (
            earlier is None
            or earlier.text == "return"
            or (earlier.kind not in ("name", "number") and earlier.text not in (")", "]"))
        ):
            return False
    if operand[0] == "(":
        return len(split_commas(operand[1 : close_of(operand, 0)])) == 1
    known = operand[0].kind == "name" and operand[0].text not in ("const", "noexcept", "volatile")
    return known or operand[0].kind == "number" or operand[0].text in _UNARY


def is_truth(t: list[Token]) -> bool:
    """Whether an expression is a comparison or a logical one, as far as its operators say."""
    parts: list[list[Token]] = [[]]
    has_operator, i = False, 0
    while i < len(t):
        text, end = t[i].text, i
        if text in ("?", "=", ","):
            return False
        if text == "<" and (closes := angle_close(t, i, expression=True)):
            end = closes
        elif text in _CLOSED:
            end = close_of(t, i)
        elif text in _TRUTH:
            has_operator = True
        elif text in ("&", "|", "^"):
            parts.append([])
        if text not in ("&", "|", "^"):
            parts[-1] += t[i : end + 1]
        i = end + 1
    if len(parts) > 1:
        return all(map(is_truth, parts))
    if t[:1] == ["("] and close_of(t, 0) == len(t) - 1:
        return is_truth(t[1:-1])
    return has_operator
