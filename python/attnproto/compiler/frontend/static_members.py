"""Static members that get their values outside of their classes: clang has them inside."""

from __future__ import annotations

from dataclasses import dataclass

from .declarations import is_value, parameter_names, template_heads, value_begin
from .lexer import Token, angle_close, inserted, scope_begin, skipping_brackets, split_commas
from .rewrite_code import SPACES

_SPECIFIERS = (*SPACES, "const", "static", "constexpr", "inline")
_FURTHEST = 64  # tokens from where a definition begins to its member's name


@dataclass(frozen=True)
class Definition:
    """What ``template <class T> constant T A<T>::b = value;`` says."""

    path: str  # class and member, as in class_path
    parameters: list[Token]  # of the class, as the definition names them
    value: list[Token]  # with its = or brackets


def name_with_arguments(head: list[Token], at: int) -> list[Token]:
    """``A``, or ``A<int>`` of a specialisation, that a class's head names at a place."""
    has_arguments = head[at + 1 : at + 2] == ["<"]
    return head[at : (angle_close(head, at + 1) or at) + 1 if has_arguments else at + 1]


def class_path(name: list[Token], parameters: list[Token]) -> str:
    """``A::B`` of a class's name; of a specialisation with its arguments, parameters by number."""
    numbers = {token.text: f"${k}" for k, token in enumerate(parameters)}
    out = ""
    i = 0
    while i < len(name):
        close = angle_close(name, i) if name[i] == "<" else None
        if close is None:
            out += name[i].text
        else:
            arguments = split_commas(name[i + 1 : close])
            if any(len(a) > 1 or a[0].text not in numbers for a in arguments):
                spelled = [numbers.get(w.text, w.text) for w in name[i : close + 1]]
                out += " ".join(spelled)
        i = (close or i) + 1
    return out


def one_each(head: list[Token]) -> list[list[Token]]:
    """The constants of one declaration, each with its type."""
    parts = split_commas(head[len(template_heads(head)) :])
    shared = parts[0][: _declarator(parts[0])[0]]
    heads = [parts[0], *([*shared, *part] for part in parts[1:])]
    return [[*template_heads(head), *one] for one in heads]


def definitions(head: list[Token]) -> list[Definition]:
    """Of constants of classes that are not those of one instance of a template alone."""
    if "constant" not in head or head[:3] == ["template", "<", ">"]:
        return []
    return [d for one in one_each(head) if (d := _definition(one))]


def _definition(head: list[Token]) -> Definition | None:
    begin, end = _declarator(head)
    value_at = value_begin(head)
    if value_at == len(head) or head[end - 2] != "::":
        return None
    parameters = parameter_names(head)
    value = _assigned(head[len(template_heads(head)) : begin], head[value_at:])
    return Definition(class_path(head[begin:end], parameters), parameters, value)


def _assigned(kind: list[Token], value: list[Token]) -> list[Token]:
    """``(1, 2)`` behind a constant's name as ``= T(1, 2)``."""
    if value[0] != "(":
        return value
    plain = [w for w in kind if w.text not in _SPECIFIERS]
    return [inserted("=", value[0]), *plain, *value]


def as_assignment(declared: list[Token]) -> list[Token]:
    """``constant T A<int>::b(1, 2);`` as ``constant T A<int>::b = T(1, 2);``."""
    head = declared[:-1]
    begin, end = _declarator(head)
    kind = head[len(template_heads(head)) : begin]
    return [*head[:end], *_assigned(kind, head[end:]), declared[-1]]


def _declarator(head: list[Token]) -> tuple[int, int]:
    """Where ``A<T>::b`` begins and ends, before the array's size or the value."""
    end = value_begin(head)
    while end > 1 and head[end - 1] == "]":
        end = max(k for k in range(end) if head[k] == "[")
    return scope_begin(head, end - 1), end


def member_values(t: list[Token]) -> dict[str, Definition]:
    """The values of a text's static members, by their namespaces and paths."""
    values: dict[str, Definition] = {}
    namespaces: list[str] = []  # of each brace that is open, what its namespace adds
    begin = 0  # of a declaration
    i = 0
    while i < len(t):
        text = t[i].text
        if text == "{":
            namespaces.append(_namespace(t[begin:i]))
        elif text == "}" and namespaces:
            namespaces.pop()
        elif text == "::" and i - begin < _FURTHEST and _has_value(t, i):
            end = next((k for k in skipping_brackets(t, i) if t[k] == ";"), i)
            head = [h for h in t[begin:end] if h.kind != "directive"]
            for one in definitions(head):
                values["".join(namespaces) + one.path] = one
            i = max(i, end)
        if t[i].text in (";", "{", "}"):
            begin = i + 1
        i += 1
    return values


def _has_value(t: list[Token], i: int) -> bool:
    if t[i + 2 : i + 3] == ["("]:
        return is_value(t, i + 2)
    return t[i + 1].kind == "name" and t[i + 2 : i + 3] in (["="], ["{"], ["["])


def _namespace(head: list[Token]) -> str:
    words = [h.text for h in head if h.kind == "name" and h.text not in ("inline", "extern")]
    return "".join(f"{word}::" for word in words[1:]) if words[:1] == ["namespace"] else ""
