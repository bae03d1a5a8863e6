"""Rules of Metal's compiler for kernel arguments and for pointers, one function each.

Source: Metal Shading Language Specification 3.1, 4 (address spaces), 5.2.1 (locating
arguments) and 5.2.3.6 (attributes of kernel arguments).
"""

from __future__ import annotations

from collections.abc import Iterator

from attnproto.compiler.frontend.declarations import parameter_name
from attnproto.compiler.frontend.lexer import Token, angle_close, close_of
from attnproto.compiler.frontend.numbers import Numbers
from attnproto.compiler.frontend.outline import Function, Outline, Parameter, without_template
from attnproto.compiler.frontend.rewrite_code import SPACES

from .language_rules import Finding, error, kernels, rule, warning

_DEDUCED = {"auto", "decltype"}
_OPENS = {")": "(", "]": "[", "}": "{", ">": "<"}
_LAST_BUFFER = 30
_POSITIONS = (
    "thread_position_in_grid", "threads_per_grid", "thread_position_in_threadgroup",
    "threads_per_threadgroup", "threadgroup_position_in_grid", "threadgroups_per_grid",
    "dispatch_threads_per_threadgroup",
)  # fmt: skip
_OF_SIMDGROUP = (
    "thread_index_in_simdgroup", "simdgroup_index_in_threadgroup", "simdgroups_per_threadgroup",
    "threads_per_simdgroup", "dispatch_simdgroups_per_threadgroup",
)  # fmt: skip
_INDICES = (
    "thread_index_in_threadgroup", "thread_execution_width", "thread_index_in_quadgroup",
    "quadgroup_index_in_threadgroup", "quadgroups_per_threadgroup",
    "dispatch_quadgroups_per_threadgroup", *_OF_SIMDGROUP,
)  # fmt: skip
_WHOLE = {"uint": "uint", "ushort": "ushort", "uint32_t": "uint", "uint16_t": "ushort"}
_STATEMENT_ENDS = (";", "{", "}", "else")  # what follows a ")" may be an operand of a cast


@rule
def pointers(text: Outline) -> Iterator[Finding]:
    """Every pointer and reference names the address space it points into."""
    seen: set[int] = set()
    for star in [*_abstract(text.tokens), *_declared(text), *_aliased(text.tokens)]:
        if id(star) in seen:
            continue
        seen.add(id(star))
        kind = "pointer" if star == "*" else "reference"
        message = (
            f"found a {kind} without address space; write device, constant, threadgroup or thread "
            "before its type"
        )
        yield error(star, "address-space", message)


def _abstract(t: list[Token]) -> Iterator[Token]:
    """Of types without a name: an operand, not a ``)`` or ``>``, would follow an operator."""
    for i, token in enumerate(t[:-1]):
        if token.text not in ("*", "&") or t[i + 1].text not in (")", ">", ">>"):
            continue
        if i and (t[i - 1].kind == "name" or t[i - 1].text in (">", "*")):
            begin = _type_begin(t, i)
            if t[i - 1] != "operator" and not _names_space(t[begin:i]):
                yield token


def _type_begin(t: list[Token], end: int) -> int:
    """Where the type that ends before ``end`` begins."""
    i = end - 1
    while i >= 0:
        if t[i].text in _OPENS:
            wanted, depth = _OPENS[t[i].text], 0
            closing = t[i].text
            while i >= 0:
                depth += (t[i] == closing) - (t[i] == wanted)
                if depth == 0:
                    break
                i -= 1
        elif t[i].kind not in ("name", "number") and t[i].text not in ("::", "*", "&"):
            return i + 1
        i -= 1
    return 0


def _names_space(tokens: list[Token]) -> bool:
    return any(t.text in SPACES or t.text in _DEDUCED for t in tokens)


def _declared(text: Outline) -> Iterator[Token]:
    """Of parameters, results, members and local variables."""
    for function in text.functions:
        for parameter in function.parameters:
            yield from _bare(parameter.tokens)
        yield from _bare(without_template(function.head))
        yield from _local(function.body or [])
    for variable in text.variables:
        yield from _bare(variable.tokens)


def _aliased(t: list[Token]) -> Iterator[Token]:
    """Of ``using P = float*;`` and ``typedef float* P;``, but for pointers to functions."""
    for i, token in enumerate(t):
        if token.text not in ("using", "typedef"):
            continue
        end = next((k for k in range(i, len(t)) if t[k].text in (";", "{", "(")), i)
        begin = next((k for k in range(i, end) if t[k] == "="), i)
        last = end - 1 if token == "using" else end - 2
        star = t[last] if t[end] == ";" else token
        if star.text in ("*", "&") and not _names_space(t[begin:end]):
            yield star


def _bare(declaration: list[Token]) -> Iterator[Token]:
    """The star of a declaration, up to its value, that names no space."""
    until = next((i for i, t in enumerate(declaration) if t == "="), len(declaration))
    i = 0
    while i < until:
        token = declaration[i]
        if token == "<":
            i = angle_close(declaration, i) or i
        elif token.text in ("(", "["):
            i = close_of(declaration, i)
        elif token.text in ("*", "&") and not _names_space(declaration[:i]):
            yield token
            return
        i += 1


def _local(body: list[Token]) -> Iterator[Token]:
    """A statement that begins ``type * name`` with a value or an end declares a pointer."""
    for i, token in enumerate(body):
        in_for = [t.text for t in body[max(i - 2, 0) : i]] == ["for", "("]
        if token.kind != "name" or (i and body[i - 1].text not in _STATEMENT_ENDS and not in_for):
            continue
        j = i
        while j < len(body) and (body[j].kind == "name" or body[j].text in ("::", "<")):
            j = (angle_close(body, j, expression=True) or len(body)) if body[j] == "<" else j
            j += 1
        if body[i].text in ("return", "delete", "goto", "else") or j + 2 >= len(body):
            continue
        named = body[j].text in ("*", "&") and body[j + 1].kind == "name"
        if named and body[j + 2].text in ("=", ";", ",", "[") and not _names_space(body[i:j]):
            yield body[j]


@rule
def kernel_pointers(text: Outline) -> Iterator[Finding]:
    """What a kernel is given lies in device, constant or threadgroup memory."""
    for kernel in kernels(text):
        for parameter in kernel.parameters:
            named = {t.text for t in parameter.tokens}
            if named & {"*", "&"} and "thread" in named:
                message = "found a kernel's argument in thread memory; use device or constant"
                yield error(parameter.tokens[-1], "kernel-pointer", message)
            at = next((t for t in parameter.tokens if t.text in ("size_t", "ptrdiff_t")), None)
            if at is None:
                at = _holds_size(text, named, parameter.tokens)
            if at is not None:
                message = (
                    "found size_t or ptrdiff_t in a kernel's argument, which the specification "
                    "forbids and the compiler takes; use ulong or long"
                )
                yield warning(at, "size_t-argument", message)


def _holds_size(text: Outline, named: set[str], tokens: list[Token]) -> Token | None:
    for class_ in text.classes:
        if class_.name.text in named and {"size_t", "ptrdiff_t"} & {t.text for t in class_.body}:
            return tokens[-1]
    return None


@rule
def indices(text: Outline) -> Iterator[Finding]:
    """No two arguments share an index, save those of which constants choose one."""
    numbers = Numbers(text.tokens)
    for kernel in kernels(text):
        words = {token.text for token in kernel.head}  # parameters of a template among them
        buffers = [p for p in kernel.parameters if _is_unnumbered_buffer(p)]
        if len(buffers) > _LAST_BUFFER + 1:
            message = f"found {len(buffers)} buffers, needs at most {_LAST_BUFFER + 1}"
            yield error(buffers[_LAST_BUFFER + 1].tokens[-1], "buffer-index", message)
        for kind in ("buffer", "threadgroup", "texture", "sampler"):
            given = {}
            for parameter in kernel.parameters:
                if kind in parameter.attributes and not words & set(parameter.attributes[kind]):
                    index = numbers.value(parameter.attributes[kind])
                    given.setdefault(index, []).append(parameter)
            given.pop(None, None)  # of which the compilation speaks
            for index, parameters in given.items():
                at = parameters[-1].tokens[-1]
                chosen = sum("function_constant" in p.attributes for p in parameters)
                if len(parameters) > 1 and chosen < len(parameters):
                    yield error(at, "duplicate-index", f"found two arguments at {kind}({index})")
                if kind == "buffer" and index > _LAST_BUFFER:
                    message = f"found buffer({index}); {_LAST_BUFFER} is the last"
                    yield error(at, "buffer-index", message)


def _is_unnumbered_buffer(parameter: Parameter) -> bool:
    return not parameter.attributes and bool(
        {"device", "constant"} & {t.text for t in parameter.tokens}
    )


@rule
def argument_spaces(text: Outline) -> Iterator[Finding]:
    """A buffer is in device or constant memory, threadgroup memory in its own (MSL 3.1, 5.2.1)."""
    spaces = {"buffer": ("device", "constant"), "threadgroup": ("threadgroup",)}
    for kernel in kernels(text):
        for parameter in kernel.parameters:
            words = {token.text for token in parameter.tokens}
            for kind in spaces.keys() & parameter.attributes.keys():
                if words & {"*", "&"} and words & set(SPACES) and not words & set(spaces[kind]):
                    message = (
                        f"found {kind} of an argument in another memory, needs "
                        f"{' or '.join(spaces[kind])}; change one of them"
                    )
                    yield error(parameter.tokens[-1], "attribute-type", message)


@rule
def attribute_types(text: Outline) -> Iterator[Finding]:
    """Positions are uint or ushort of one width, indices scalars, and some go together."""
    for kernel in kernels(text):
        types: dict[str, tuple[str, int, Token]] = {}
        for parameter in kernel.parameters:
            given = [name for name in parameter.attributes if name in (*_POSITIONS, *_INDICES)]
            if len(given) > 1:
                message = f"found {' and '.join(given)} of one argument, needs one of them"
                yield error(parameter.tokens[-1], "attribute-type", message)
            for name in parameter.attributes:
                if name in _POSITIONS or name in _INDICES:
                    base, width = _whole_type(parameter.tokens)
                    at = parameter.tokens[-1]
                    if not base or (name in _INDICES and width > 1) or width > 3:
                        needs = "uint or ushort" + (
                            "" if name in _INDICES else ", or 2 or 3 of them"
                        )
                        message = f"found {name} of another type, needs {needs}"
                        yield error(at, "attribute-type", message)
                    else:
                        types[name] = (base, width, at)
        yield from _together(kernel, types)


def _whole_type(tokens: list[Token]) -> tuple[str, int]:
    """Element type and width of an argument; an empty type where it is no whole number's."""
    name = parameter_name(tokens)
    plain = [t.text for t in tokens if t is not name and t.text not in ("const", "metal", "::")]
    if plain[:2] == ["vec", "<"]:
        return _WHOLE.get(plain[2], ""), int(plain[4])
    if plain[:1] == ["unsigned"]:
        return ("ushort" if "short" in plain else "uint"), 1
    word = plain[0] if plain else ""
    if word[-1:] in "234" and word[:-1] in _WHOLE:
        return _WHOLE[word[:-1]], int(word[-1])
    return _WHOLE.get(word, ""), 1


def _together(kernel: Function, types: dict[str, tuple[str, int, Token]]) -> Iterator[Finding]:
    name = kernel.name.text
    last = kernel.name
    widths = {width for n, (_, width, _) in types.items() if n in _POSITIONS}
    if len(widths) > 1:
        message = f"found positions of {len(widths)} widths in kernel {name}, needs one"
        yield error(last, "attribute-type", message)
    grid = [types[n][:2] for n in ("thread_position_in_grid", "threads_per_grid") if n in types]
    if len(set(grid)) > 1:
        message = (
            f"found thread_position_in_grid and threads_per_grid of two types in kernel {name}"
        )
        yield error(last, "attribute-type", message)
    index, position = (
        types.get(n) for n in ("thread_index_in_threadgroup", "thread_position_in_threadgroup")
    )
    if index and position and position[0] == "uint" and index[0] != "uint":
        message = f"found thread_index_in_threadgroup of ushort beside a uint position in {name}"
        yield error(last, "attribute-type", message)
    if len({types[n][0] for n in _OF_SIMDGROUP if n in types}) > 1:
        message = f"found indices of simdgroups of two types in kernel {name}, needs one"
        yield error(last, "attribute-type", message)
