"""Where a declaration ends, what kind it is, and the landmarks on the way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from .lexer import (
    RewriteError,
    Token,
    angle_close,
    close_of,
    is_attribute,
    scope_begin,
    split_commas,
)
from .rewrite_code import SCALARS, SPACES

_TYPE_WORDS = {*SCALARS, "long", "ulong", "unsigned", "signed", "auto"}
_QUALIFIERS = (*SPACES, "const", "volatile", "typename")


@dataclass
class Declaration:
    """One declaration: where it ends, and the landmarks found on the way."""

    kind: str  # namespace, class, function or plain
    end: int  # index after it
    head: list[Token]  # up to its body, without attributes
    attributes: list[list[Token]]
    body: tuple[int, int] | None = None  # of the braces
    parameters: tuple[int, int] | None = None  # of the parentheses
    initialiser: int | None = None  # of a constructor's ':'


def find_declaration(t: list[Token], start: int) -> Declaration:
    """The declaration that begins at ``start``, up to its ``;`` or its body's end."""
    attributes: list[list[Token]] = []
    head: list[Token] = []
    parameters = initialiser = None
    class_key = equals = False
    j = start

    def declaration(kind: str, end: int, body: tuple[int, int] | None = None) -> Declaration:
        return Declaration(kind, end, head, attributes, body, parameters, initialiser)

    while j < len(t):
        token = t[j]
        if is_attribute(t, j):
            end = close_of(t, j)
            attributes += split_commas(t[j + 2 : end - 1])
            j = end + 1
            continue
        end = j
        if token == "<" and j > start and t[j - 1].kind == "name" and not equals:
            end = angle_close(t, j) or j
        elif token == "operator":
            end = j + 2 if t[j + 1] == "(" else j
            while t[end + 1] != "(":
                end += 1
        elif token.text in ("(", "["):
            end = close_of(t, j)
            before = t[j - 1].text if j > start else ""
            callable_before = before not in ("alignas", "__attribute__", "decltype", "noexcept")
            if token == "(" and not equals and initialiser is None and callable_before:
                parameters = (j, end)
        elif token == "=":
            equals = True
        elif token.text in ("struct", "class", "union", "enum") and parameters is None:
            class_key = True
        elif token == ":" and parameters and not class_key and initialiser is None:
            initialiser = j
        elif token == ";":
            return declaration("plain", j + 1)
        elif token == "{":
            end = close_of(t, j)
            words = {h.text for h in head}
            if "namespace" in words or _is_linkage(head):
                return declaration("namespace", end + 1, (j, end))
            in_list = initialiser is not None and (t[j - 1].kind == "name" or t[j - 1] == ">")
            if class_key and parameters is None and not equals:
                after = end + 1
                while t[after] != ";":
                    after += 1
                return declaration("class", after + 1, (j, end))
            if parameters and not equals and not in_list:
                return declaration("function", end + 1, (j, end))
        elif token == "}":
            raise RewriteError(token, "'}' without its '{'")
        head += t[j : end + 1]
        j = end + 1
    raise RewriteError(t[start], "the declaration that begins here never ends")


def one_constant_each(t: list[Token]) -> list[Token]:
    """Function constants that share a declaration, as one each."""
    out: list[Token] = []
    at = 0
    for i, token in enumerate(t):
        if token != "function_constant" or t[i - 2 : i] != ["[", "["] or i < at:
            continue
        begin = i - 2
        while begin and t[begin - 1].text not in (";", "{", "}", "("):
            begin -= 1
        end = next((k for k in range(i, len(t)) if t[k].text in (";", "{")), i)
        parts = split_commas(t[begin:end])
        if (begin and t[begin - 1] == "(") or t[end] != ";" or len(parts) < 2:
            continue
        first = next(k for k in range(len(parts[0])) if is_attribute(parts[0], k))
        shared = parts[0][: first - 1]
        out += t[at:begin] + parts[0]
        for part in parts[1:]:
            out += [t[end], *shared, *part]
        at = end
    return [*out, *t[at:]]


def attributes_first(t: list[Token]) -> list[Token]:
    """``void f [[a]] (...)`` as ``[[a]] void f (...)``, which say the same."""
    out: list[Token] = []
    i = 0
    while i < len(t):
        end = i
        while end < len(t) and is_attribute(t, end) and t[close_of(t, end) - 1] == "]":
            end = close_of(t, end) + 1
        named = out and (out[-1].kind == "name" or out[-1] == ">")
        if end > i and named and t[end : end + 1] == ["("]:
            begin = template_end(out, declaration_begin(out, len(out)))
            out[begin:begin] = t[i:end]
            i = end
        else:
            out += t[i : max(end, i + 1)]
            i = max(end, i + 1)
    return out


def declaration_begin(t: list[Token], inside: int) -> int:
    """Where the declaration that holds a token begins, with its ``template <...>``."""
    begin = inside
    while begin and t[begin - 1].text not in (";", "{", "}") and t[begin - 1].kind != "directive":
        if t[begin - 1] == ":" and t[begin - 2].text in ("public", "private", "protected"):
            break
        begin -= 1
    return begin


def _is_linkage(head: list[Token]) -> bool:
    """Whether it is ``extern "C"`` and no declaration."""
    return len(head) == 2 and head[0] == "extern" and head[1].kind == "string"


def without_linkage(head: list[Token]) -> list[Token]:
    """A declaration without its ``extern "C"``."""
    return head[2:] if _is_linkage(head[:2]) else head


def is_linkable(d: Declaration) -> bool:
    """Whether other pipelines may link the function."""
    return any(a[:1] in (["visible"], ["stitchable"]) for a in d.attributes)


def parameter_name(parameter: list[Token]) -> Token | None:
    """The name of a parameter without a default; None where it has only a type.

    Source: a declarator, as in ``float x``, ``float x[4]``, ``float (&x)[4]``.
    """
    last = next((k for k in range(len(parameter)) if parameter[k] == "["), len(parameter)) - 1
    if last > 2 and parameter[last] == ")" and parameter[last - 2].text in ("&", "*"):
        return parameter[last - 1]
    words = [w for w in parameter[:last] if w.text not in _QUALIFIERS]
    if last < 1 or parameter[last].kind != "name" or parameter[last].text in _TYPE_WORDS:
        return None
    return parameter[last] if words and words[-1] != "::" else None


def is_constant_reference(parameter: list[Token]) -> bool:
    """Whether it is ``const thread T&``, as clang spells it."""
    end = next((k for k, w in enumerate(parameter) if w == "="), len(parameter))
    words = {w.text for w in parameter[:end]}
    return {"const", "__private", "&"} <= words and not {"*", "("} & words


def check_pointers(t: list[Token], d: Declaration) -> None:
    """Refuse a pointer parameter without an address space, as Metal does."""
    for parameter in split_commas(t[d.parameters[0] + 1 : d.parameters[1]]):
        end = next((i for i in range(len(parameter)) if is_attribute(parameter, i)), None)
        parameter = parameter[:end]
        words = {w.text for w in parameter}
        pairs = itertools.pairwise(parameter)
        stars = [w for before, w in pairs if w == "*" and before != "("]  # (*f)(...) is a function
        if stars and not words & set(SPACES) and "auto" not in words and "=" not in words:
            name = parameter_name(parameter)
            called = f" '{name.text}'" if name else ""
            raise RewriteError(
                stars[0],
                f"pointer parameter{called} has no address space; write device, constant, "
                "threadgroup or thread before its type",
            )


def static_methods_named(
    t: list[Token], first: int, last: int, methods: set[str]
) -> Iterator[tuple[int, int, int]]:
    """Where static methods stand among tokens and are not called.

    Args:
        t: the tokens.
        first: the first of them.
        last: the last of them.
        methods: names of all static methods, without their classes.

    Yields:
        Where ``&A<T>::f<U>``, or as much of it as there is, begins; its f; and where it ends.
    """
    for name in range(first, last + 1):
        has_arguments = t[name + 1 : name + 2] == ["<"]
        end = angle_close(t, name + 1) or name if has_arguments else name
        if t[name].text not in methods or t[end + 1 : end + 2] == ["("]:
            continue
        begin = scope_begin(t, name)
        yield begin - (t[begin - 1 : begin] == ["&"]), name, end


def is_value(t: list[Token], opens: int) -> bool:
    """Whether parentheses behind a name have a value: no parameter begins like one."""
    first = t[opens + 1]
    return first.kind == "number" or first.text in ("-", "+", "~", "!", "(", "{")


def value_begin(head: list[Token]) -> int:
    """Where the value of a declared variable begins, with its ``=`` or bracket."""
    i = 0
    while i < len(head):
        text = head[i].text
        if text == "<":
            i = angle_close(head, i) or i
        elif text in ("decltype", "alignas", "__attribute__"):
            i = close_of(head, i + 1)
        elif text == "[":
            i = close_of(head, i)
        elif text in ("=", "{", "("):
            return i
        i += 1
    return i


def template_of(head: list[Token]) -> list[Token]:
    """``template <...>`` of a declaration; nothing of one that has no parameters."""
    close = angle_close(head, 1) if head[:1] == ["template"] else None
    return head[: close + 1] if close and close > 2 else []


def template_heads(head: list[Token]) -> list[Token]:
    """All of a declaration's ``template <...>``, those without parameters too."""
    return head[: template_end(head, 0)]


def template_end(t: list[Token], begin: int) -> int:
    """Where a declaration goes on behind its ``template <...>``."""
    end = begin
    while t[end : end + 2] == ["template", "<"] and (close := angle_close(t, end + 1)):
        end = close + 1
    return end


def parameter_names(head: list[Token]) -> list[Token]:
    """Of ``template <typename T, int N = 2>`` the names in order, of all of its templates."""
    names: list[Token] = []
    while template := template_of(head):
        for part in split_commas(template[2:-1]):
            end = next((k for k, w in enumerate(part) if w == "="), len(part))
            names.append(part[end - 1])
        head = head[len(template) :]
    return names
