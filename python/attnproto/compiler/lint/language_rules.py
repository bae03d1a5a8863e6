"""Rules of Metal's compiler for the words and declarations of a text, one function each.

Source: Metal Shading Language Specification 3.1: 1.5.4 (restrictions), 2.13 and 5.1
(functions), 4 (address spaces), 5.2 (attributes), 5.8 (function constants).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from attnproto.compiler.frontend.lexer import Token, angle_close, close_of, is_attribute
from attnproto.compiler.frontend.literals import single
from attnproto.compiler.frontend.number_types import NumberTypes
from attnproto.compiler.frontend.numbers import Numbers, whole_number
from attnproto.compiler.frontend.outline import Function, Outline, Variable
from attnproto.compiler.frontend.rewrite_code import SPACES

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Lint:
    """What Apple's compiler would say of a line that clang takes.

    Attributes:
        line: in the text, from 1; in an included file where ``file`` names one.
        rule: a name, such as ``goto``.
        severity: ``error`` where Metal refuses the text, ``warning`` where it only warns or
            the specification forbids what it takes.
        message: what was found and what Metal needs.
        file: an included file; empty for the text itself.
        column: in the line, from 1, in characters; 0 where none is known.
    """

    line: int
    rule: str
    severity: str
    message: str
    file: str = ""
    column: int = 0


@dataclass(frozen=True)
class Finding:
    """What a rule finds at a token; the rest is as in ``Lint``."""

    at: Token
    rule: str
    severity: str
    message: str


Rule = Callable[[Outline], Iterator[Finding]]
RULES: list[Rule] = []


def rule(check: Rule) -> Rule:
    """Register a rule."""
    RULES.append(check)
    return check


def error(at: Token, name: str, message: str) -> Finding:
    """A finding that makes Metal refuse the text."""
    return Finding(at, name, ERROR, message)


def warning(at: Token, name: str, message: str) -> Finding:
    """A finding with which Metal takes the text."""
    return Finding(at, name, WARNING, message)


_WORDS = {
    "goto": ("goto", "a goto; Metal has none, use a loop or a return"),
    "virtual": ("virtual", "a virtual function or base; Metal has none, use a template"),
    "throw": ("exceptions", "a throw; Metal has no exceptions, return a value"),
    "try": ("exceptions", "a try; Metal has no exceptions, return a value"),
    "catch": ("exceptions", "a catch; Metal has no exceptions, return a value"),
    "dynamic_cast": ("dynamic-cast", "a dynamic_cast; Metal has none, use static_cast"),
    "typeid": ("typeid", "a typeid; Metal has none, use is_same"),
    "new": ("new-delete", "a new; Metal has no allocation, declare an array"),
    "delete": ("new-delete", "a delete; Metal has no allocation, declare an array"),
    "thread_local": ("thread-local", "thread_local; Metal has none, declare a local variable"),
    "register": ("register", "register; Metal has none, remove the word"),
    "double": ("double", "double; Metal has none, use float"),
}


# Behind these an attribute is of what follows.
_TAKE_ONE = ("else", "do", "struct", "class", "union", "enum", "template", "return", "namespace")
_STATEMENTS = ("if", "for", "while", "switch", "constexpr")


@rule
def words(text: Outline) -> Iterator[Finding]:
    """Words of C++ that MSL leaves out."""
    for before, token in zip([None, *text.tokens], text.tokens, strict=False):
        if token.kind != "name" or token.text not in _WORDS:
            continue
        if token == "delete" and before == "=":  # a deleted function
            continue
        name, what = _WORDS[token.text]
        yield error(token, name, f"found {what}")


@rule
def long_literals(text: Outline) -> Iterator[Finding]:
    """``1.0L`` is a long double, and there is none (MSL 3.1, 2.1)."""
    for token in text.tokens:
        lower = token.text.lower()
        # Of a float literal alone the part before the suffix is one without a suffix.
        if token.kind == "number" and lower.endswith("l") and single(lower[:-1]) != lower[:-1]:
            yield error(token, "double", f"found {token.text}, a long double; write f behind it")


@rule
def noexcept_operator(text: Outline) -> Iterator[Finding]:
    """``noexcept(e)`` as an expression; after a parameter list it specifies a function."""
    ends = {")", "const", "volatile", *SPACES}
    for before, token in zip([None, *text.tokens], text.tokens, strict=False):
        if token == "noexcept" and before is not None and before.text not in ends:
            yield error(token, "noexcept-operator", "found a noexcept operator; Metal has none")


@rule
def lambdas(text: Outline) -> Iterator[Finding]:
    """A bracket that follows no value and is no attribute begins a lambda, of MSL 3.2 (1.5.4)."""
    t = text.tokens
    for i, token in enumerate(t):
        if token != "[" or is_attribute(t, i) or (i and is_attribute(t, i - 1)):
            continue
        value_before = i and (
            t[i - 1].kind in ("name", "string") or t[i - 1].text in ("]", ")", ">")
        )
        if value_before and t[i - 1] != "return":
            continue
        after = close_of(t, i) + 1
        if after < len(t) and t[after].text in ("(", "{"):
            yield error(
                token, "lambda", "found a lambda, which needs MSL 3.2; write a function object"
            )


@rule
def attribute_places(text: Outline) -> Iterator[Finding]:
    """An attribute of a function stands before its declaration or behind its name.

    Behind its parameters, Apple's compiler says, one cannot be applied to types; that is clang's
    word too of one behind the returned type. Between other specifiers none may appear.
    """
    t = text.tokens
    for i, token in enumerate(t):
        if not is_attribute(t, i) or t[close_of(t, i) - 1] != "]" or not i:
            continue
        end = close_of(t, i) + 1
        while end < len(t) and is_attribute(t, end):
            end = close_of(t, end) + 1
        spelled = "".join(w.text for w in t[i + 2 : close_of(t, i) - 1])
        if t[i - 1] == ")" and t[end : end + 1] in (["{"], [";"]) and _ends_parameters(t, i - 1):
            where = "behind the parameters"
        elif t[i - 1].kind == "name" and t[end].kind == "name" and t[i - 1].text not in _TAKE_ONE:
            where = f"behind {t[i - 1].text}"
        else:
            continue
        message = f"found [[{spelled}]] {where}; write it before the declaration"
        yield error(token, "attribute-place", message)


def _ends_parameters(t: list[Token], close: int) -> bool:
    """Whether a parenthesis closes the parameters of a function that is declared."""
    opens = next((k for k in range(close, 0, -1) if t[k] == "(" and close_of(t, k) == close), 0)
    before = t[opens - 1]
    return opens > 1 and before.kind == "name" and before.text not in _STATEMENTS


@rule
def standard_library(text: Outline) -> Iterator[Finding]:
    """``std::`` is not metal's, nor is ``using namespace std``."""
    for token, after in zip(text.tokens, text.tokens[1:], strict=False):
        used = token == "namespace" and after == "std"
        if used or (token == "std" and after == "::"):
            yield error(token, "std", "found std::; Metal has no C++ standard library, use metal::")


@rule
def newer_language(text: Outline) -> Iterator[Finding]:
    """C++17 in a C++14 language: Apple's compiler takes it with -Wc++17-extensions."""
    for token, after in zip(text.tokens, text.tokens[1:], strict=False):
        if token == "if" and after == "constexpr":
            yield warning(token, "c++17", "found if constexpr of C++17 in a C++14 language")
        if token == "auto" and after == "[":
            yield warning(token, "c++17", "found a structured binding of C++17 in a C++14 language")


@rule
def derived_classes(text: Outline) -> Iterator[Finding]:
    """The specification has none; the compiler takes them unless a kernel's argument is one."""
    derived = {c.name.text for c in text.classes if c.bases}
    for class_ in text.classes:
        if class_.bases:
            message = f"found class {class_.name.text} with a base; the specification has none"
            yield warning(class_.name, "derived-class", message)
    for kernel in kernels(text):
        for parameter in kernel.parameters:
            for token in parameter.tokens[:-1]:
                if token.text in derived:
                    message = (
                        f"found derived class {token.text} as a kernel's argument; write it flat"
                    )
                    yield error(token, "derived-class", message)


def kernels(text: Outline) -> list[Function]:
    """The kernels of a text, templates too."""
    return [f for f in text.functions if f.is_kernel]


@rule
def kernel_functions(text: Outline) -> Iterator[Finding]:
    """Kernels return nothing, have a name each, and call no kernel."""
    all_kernels = kernels(text)
    plain = [k for k in all_kernels if "template" not in {h.text for h in k.head}]
    for kernel in all_kernels:
        if "void" not in {h.text for h in kernel.head}:
            message = f"found kernel {kernel.name.text} returning a value; a kernel returns void"
            yield error(kernel.name, "kernel-return", message)
    seen: set[str] = set()
    for kernel in plain:
        if kernel.name.text in seen:
            message = f"found a second kernel {kernel.name.text}; kernels cannot be overloaded"
            yield error(kernel.name, "kernel-overload", message)
        seen.add(kernel.name.text)
    # Of one name and several functions, a call is of the others.
    others = {f.name.text for f in text.functions if not f.is_kernel}
    names = {k.name.text for k in all_kernels} - others
    classes = {c.name.text for c in text.classes}
    for function in text.functions:
        for at in calls(function.body or [], names, classes):
            message = f"found a call of kernel {at.text}; move its code into a function"
            yield error(at, "kernel-call", message)
    for function in text.functions:
        if function.name == "main" and function.class_name is None:
            yield error(function.name, "main", "found a function called main; rename it")


def calls(body: list[Token], names: set[str], classes: Iterable[str] = ()) -> Iterator[Token]:
    """Where a body calls one of some functions, methods of the classes left out."""
    for i, token in enumerate(body):
        of_class = i > 1 and body[i - 1] == "::" and body[i - 2].text in (">", *classes)
        if token.text not in names or of_class or (i and body[i - 1].text in (".", "->")):
            continue
        after = i + 1
        if body[after : after + 1] == ["<"]:
            after = (angle_close(body, after, expression=True) or after) + 1
        if body[after : after + 1] == ["("]:
            yield token


@rule
def program_scope(text: Outline) -> Iterator[Finding]:
    """A variable outside functions is in constant memory (MSL 3.1, 4.2)."""
    for variable in text.variables:
        texts = {t.text for t in variable.tokens}
        if "constant" in texts or "sampler" in texts or _is_member(variable) or variable.attributes:
            continue
        space = next((s for s in ("device", "threadgroup", "thread") if s in texts), None)
        what = f"in {space} memory" if space else "without constant"
        message = (
            f"found {variable.name.text} at program scope {what}; write constant before its type"
        )
        yield error(variable.name, "program-scope", message)


@rule
def static_variables(text: Outline) -> Iterator[Finding]:
    """One of a function lives as long as the program, and so in constant memory (MSL 3.1, 4.2)."""
    for function in text.functions:
        body = function.body or []
        for i, token in enumerate(body):
            if token != "static":
                continue
            ends = ("=", ";", "{", "(")
            end = next((j for j in range(i, len(body)) if body[j].text in ends), i)
            # A parenthesis is of a method, of a class within the function.
            if body[end] != "(" and not {w.text for w in body[i:end]} & set(SPACES):
                message = "found a static variable without constant; write constant before its type"
                yield error(token, "program-scope", message)


@rule
def vector_widths(text: Outline) -> Iterator[Finding]:
    """A vector has two, three or four elements (MSL 3.1, 2.2).

    Or 64, as Apple's metal_simdgroup_matrix has it; published kernels write it as that header does.
    """
    for head, number, after in zip(text.tokens, text.tokens[4:], text.tokens[5:], strict=False):
        width = whole_number([number]) if number.kind == "number" and after == ">" else None
        if head == "vec" and width is not None and width not in (2, 3, 4, 64):
            message = f"found a vector of {width} elements, needs 2, 3 or 4; use an array"
            yield error(head, "vector-width", message)


def _is_member(variable: Variable) -> bool:
    return variable.class_name is not None and "static" not in {t.text for t in variable.tokens}


@rule
def threadgroup_variables(text: Outline) -> Iterator[Finding]:
    """They stand in a kernel's body (MSL 3.1, 4.4); the compiler takes braces of an array."""
    for function in text.functions:
        for name, initialised, is_array in _threadgroup_variables(function.body or []):
            if not function.is_kernel:
                message = (
                    f"found threadgroup variable {name.text} outside a kernel; declare it in the "
                    "kernel and pass a threadgroup pointer"
                )
                yield error(name, "threadgroup-variable", message)
            if initialised and not is_array:
                message = f"found a value for threadgroup variable {name.text}; assign it later"
                yield error(name, "threadgroup-initialiser", message)


def _threadgroup_variables(body: list[Token]) -> Iterator[tuple[Token, bool, bool]]:
    """Name, whether it has a value, and whether that is an array's."""
    for i, token in enumerate(body):
        before = (";", "{", "}", ")", "static", "volatile", "const")
        if token != "threadgroup" or (i and body[i - 1].text not in before):
            continue
        end = next((j for j in range(i, len(body)) if body[j] == ";"), len(body))
        declared = body[i + 1 : end]
        if declared[:1] in (["__attribute__"], ["alignas"]):
            declared = declared[close_of(declared, 1) + 1 :]
        until = next(
            (j for j, w in enumerate(declared) if w.text in ("=", "[", "{")), len(declared)
        )
        if any(w.text in ("*", "&", "(") for w in declared[:until]):
            continue
        initialised = any(w.text in ("=", "{") for w in declared[until:])
        is_array = declared[until : until + 1] == ["["] and "{" in declared
        yield declared[until - 1], initialised, is_array


@rule
def function_constants(text: Outline) -> Iterator[Finding]:
    """A scalar or a vector, without a value, numbered up to 65535 (MSL 3.1, 5.8.1)."""
    numbers, types = Numbers(text.tokens), NumberTypes(text.tokens)
    for variable in text.variables:
        given = next((a for a in variable.attributes if a[:1] == ["function_constant"]), None)
        if given is None:
            continue
        name = variable.name.text
        tokens = {t.text for t in variable.tokens}
        declared = variable.tokens[: variable.tokens.index(variable.name)]
        if types.name(declared) is None or "[" in tokens:
            message = f"found function constant {name} of another type; use a scalar or a vector"
            yield error(variable.name, "function-constant", message)
        if "constant" not in tokens:
            message = f"found function constant {name} without constant; write it before its type"
            yield error(variable.name, "function-constant", message)
        if "=" in tokens:
            message = f"found a value for function constant {name}; the host gives it"
            yield error(variable.name, "function-constant", message)
        index = numbers.value(given[2:-1])
        if index is not None and index > 65535:
            message = f"found function constant {name} numbered {index}; 65535 is the last"
            yield error(variable.name, "function-constant", message)
