"""The outline of a text: its functions, variables and classes, as tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from .declarations import Declaration, attributes_first, find_declaration, one_constant_each
from .lexer import Token, angle_close, close_of, is_attribute, split_commas

_SKIPPED = ("using", "typedef", "friend", "namespace")


@dataclass(frozen=True)
class Parameter:
    """A function's parameter: its tokens without attributes, and the attributes by name."""

    tokens: list[Token]
    attributes: dict[str, list[Token]]  # what stands in the parentheses of each


@dataclass(frozen=True)
class Function:
    """A function, method or constructor; ``body`` is None where it is only declared."""

    name: Token
    head: list[Token]  # before its name
    attributes: list[list[Token]]
    parameters: list[Parameter]
    body: list[Token] | None
    class_name: str | None

    @property
    def is_kernel(self) -> bool:
        """Whether a host may dispatch it."""
        words = {token.text for token in self.head}
        return "kernel" in words or any("kernel" in {w.text for w in a} for a in self.attributes)


@dataclass(frozen=True)
class Variable:
    """A variable of a namespace or a class, with the tokens of its declaration."""

    name: Token
    tokens: list[Token]
    attributes: list[list[Token]]
    class_name: str | None


@dataclass(frozen=True)
class Class:
    """A structure, class or union, with the classes it derives from."""

    name: Token
    bases: list[Token]
    body: list[Token]


@dataclass
class Outline:
    """What a text declares, in order."""

    tokens: list[Token]
    functions: list[Function] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)


def outline(tokens: list[Token]) -> Outline:
    """Find the declarations of a preprocessed text.

    Raises:
        RewriteError: a bracket or a declaration never ends.
    """
    plain = [t for t in tokens if t.kind != "directive"]
    declared = Outline(one_constant_each(attributes_first(plain)))
    _scope(declared.tokens, declared, None)
    return declared


def _scope(t: list[Token], declared: Outline, class_name: str | None) -> None:
    i = 0
    while i < len(t):
        if t[i] == ";":
            i += 1
        elif class_name is not None and t[i].text in ("public", "private", "protected"):
            i += 2
        elif t[i] == "static_assert":
            i = close_of(t, i + 1) + 2
        else:
            declaration = find_declaration(t, i)
            _declared(t, i, declaration, declared, class_name)
            i = declaration.end


def _declared(
    t: list[Token], start: int, d: Declaration, declared: Outline, class_name: str | None
) -> None:
    words = {token.text for token in d.head}
    if d.kind == "namespace":
        _scope(t[d.body[0] + 1 : d.body[1]], declared, class_name)
    elif d.kind == "class":
        _class(t, d, declared, "enum" in words)
    elif d.head[:1] == ["template"] and d.head[1:2] != ["<"]:
        return  # an instantiation
    elif d.kind == "function" or (d.parameters and not _is_initialised(d, class_name)):
        if d.kind == "function" or not words & {"typedef", "using", "decltype"}:
            declared.functions.append(_function(t, start, d, class_name))
    elif not words & {*_SKIPPED, "decltype", "template"} or "=" in words:
        variable = _variable(d, class_name)
        if variable is not None and not words & set(_SKIPPED):
            declared.variables.append(variable)


def _is_initialised(d: Declaration, class_name: str | None) -> bool:
    """Whether the parentheses are a value: ``constant float3 c(1, 2, 3);``."""
    return class_name is None and "constant" in {t.text for t in d.head} and d.kind == "plain"


def _class(t: list[Token], d: Declaration, declared: Outline, is_enum: bool) -> None:
    begin, end = d.body
    if is_enum:
        return
    key = max(i for i, h in enumerate(d.head) if h.text in ("struct", "class", "union"))
    name = next((h for h in d.head[key + 1 :] if h.kind == "name"), d.head[key])
    colon = next((i for i, h in enumerate(d.head) if i > key and h == ":"), len(d.head))
    body = t[begin + 1 : end]
    declared.classes.append(Class(name, d.head[colon + 1 :], body))
    _scope(body, declared, name.text)


def _function(t: list[Token], start: int, d: Declaration, class_name: str | None) -> Function:
    begin, end = d.parameters
    name = begin - 1
    if t[name] == ">":  # of a specialisation
        opens = (i for i in range(start, name) if t[i] == "<" and angle_close(t, i) == name)
        name = next(opens, name)
    while t[name].kind != "name" and name > start:  # of `operator+`
        name -= 1
    head = _without_attributes(t[start:name])
    declared = (_parameter(p) for p in split_commas(t[begin + 1 : end]))
    parameters = [one for one in declared if one.tokens]  # clang says it of attributes alone
    body = t[d.body[0] + 1 : d.body[1]] if d.body else None
    return Function(t[name], head, d.attributes, parameters, body, class_name)


def _parameter(tokens: list[Token]) -> Parameter:
    attributes: dict[str, list[Token]] = {}
    i = 0
    while i < len(tokens):
        if is_attribute(tokens, i):
            end = close_of(tokens, i)
            for attribute in filter(None, split_commas(tokens[i + 2 : end - 1])):
                attributes[attribute[0].text] = attribute[2:-1]
            i = end
        i += 1
    return Parameter(_without_attributes(tokens), attributes)


def _variable(d: Declaration, class_name: str | None) -> Variable | None:
    head = without_template(d.head)
    until = next((i for i, h in enumerate(head) if h.text in ("=", "[", "{", "(")), len(head))
    names = [h for h in head[:until] if h.kind == "name"]
    if head[0].text in ("struct", "class", "union") and len(names) == 2:
        return None  # declared before it is defined
    if head[0] == "enum" and (len(names) == 2 or ":" in head[:until]):
        return None
    return Variable(names[-1], head, d.attributes, class_name) if len(names) > 1 else None


def without_template(head: list[Token]) -> list[Token]:
    """A declaration without its ``template <...>``."""
    if head[:1] != ["template"] or head[1:2] != ["<"]:
        return head
    close = angle_close(head, 1)
    return head if close is None else without_template(head[close + 1 :])


def _without_attributes(tokens: list[Token]) -> list[Token]:
    out: list[Token] = []
    i = 0
    while i < len(tokens):
        if is_attribute(tokens, i):
            i = close_of(tokens, i)
        else:
            out.append(tokens[i])
        i += 1
    return out
