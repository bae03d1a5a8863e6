"""Overloads that take temporaries where a function takes ``const thread T&``.

clang keeps a temporary in no address space, so that only ``const T&&`` binds to it; the
overload hands it on as what it is on every device, an object in thread memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from .declarations import Declaration, find_declaration, parameter_name
from .lexer import RewriteError, Token, angle_close, split_commas

_MOST = 4  # constant references of one function
MOST_OVERLOADS = 2**_MOST - 1


def forwarders(t: list[Token], inside: int) -> Iterator[tuple[int, str]]:
    """The overloads of the function with the token ``inside``, and where each is put."""
    enclosing = _function_at(t, inside)
    if enclosing is None:
        return
    start, d = enclosing
    begin, close = d.parameters
    parameters = split_commas(t[begin + 1 : close])
    bound = [k for k, parameter in enumerate(parameters) if _is_constant_reference(parameter)]
    named = [parameter_name(_declarator(parameter)) for parameter in parameters]
    if len(bound) > _MOST or None in named:
        return
    names = [name.text for name in named]
    arguments = _template_arguments(t[start:begin])
    called = _text(t[_called(t, begin) : begin]) + arguments
    tail = _text([w for w in t[close + 1 : d.body[0]] if w.text not in (":",)])
    for count in range(1, len(bound) + 1):
        for chosen in itertools.combinations(bound, count):
            declared = [
                _text(_taking_temporary(p) if k in chosen else p) for k, p in enumerate(parameters)
            ]
            passed = [
                f"({_text(_type(parameters[k]))}){name}" if k in chosen else name
                for k, name in enumerate(names)
            ]
            yield (
                d.end,
                f"{_text(t[start:begin])}({', '.join(declared)}) {tail} "
                f"{{ return {called}({', '.join(passed)}); }}",
            )


def _function_at(t: list[Token], inside: int) -> tuple[int, Declaration] | None:
    """The free function whose parameters hold a token."""
    start = statement_begin(t, inside)
    try:
        d = find_declaration(t, start)
    except (RewriteError, IndexError):
        return None
    is_function = d.kind == "function" and d.initialiser is None
    return (start, d) if is_function and d.parameters[0] < inside < d.parameters[1] else None


def statement_begin(t: list[Token], inside: int, *, skip_template: bool = False) -> int:
    """Where the declaration that holds a token begins; or what its ``template <...>`` is about."""
    start = inside
    while start and t[start - 1].text not in (";", "{", "}") and t[start - 1].kind != "directive":
        start -= 1
    while skip_template and t[start] == "template":
        start = (angle_close(t, start + 1) or start) + 1
    return start


def _is_constant_reference(parameter: list[Token]) -> bool:
    words = [w.text for w in _declarator(parameter)]
    return {"const", "__private", "&"} <= set(words) and not {"*", "("} & set(words)


def _declarator(parameter: list[Token]) -> list[Token]:
    """A parameter without its default."""
    end = next((k for k, w in enumerate(parameter) if w == "="), len(parameter))
    return parameter[:end]


def _type(parameter: list[Token]) -> list[Token]:
    return _declarator(parameter)[:-1]


def _taking_temporary(parameter: list[Token]) -> list[Token | str]:
    words = [w for w in parameter if w != "__private"]
    return ["&&" if w == "&" else w for w in words]


def _called(t: list[Token], begin: int) -> int:
    at = begin - 1
    return at - 1 if t[at - 1] == "operator" else at


def _template_arguments(head: list[Token]) -> str:
    """``<T, N>`` of ``template <typename T, int N>``: not all can be deduced."""
    if head[:1] != ["template"]:
        return ""
    names = []
    for parameter in split_commas(head[2 : angle_close(head, 1)]):
        words = [w.text for w in parameter]
        end = words.index("=") if "=" in words else len(words)
        if end < 2 or parameter[end - 1].kind != "name" or words[end - 2] == "::":
            break
        names.append(words[end - 1] + ("..." if "..." in words else ""))
    return f"<{', '.join(names)}>" if names else ""


def _text(tokens: list[Token | str]) -> str:
    return " ".join(w if isinstance(w, str) else w.text for w in tokens)
