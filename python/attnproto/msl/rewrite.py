"""Rewrite MSL tokens to C++ for OpenCL 2021.

The two languages agree on almost everything. What differs in declarations is here,
one method each: attributes, kernels and their instantiations, function constants, the
address space of methods. What differs inside functions is in code.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .code import SCALARS, SPACES, TABLE, CodeRewriter
from .tokens import (
    RewriteError,
    Token,
    angle_close,
    close_of,
    is_attribute,
    made,
    split_commas,
    tokenize,
    untokenize,
)

_TYPE_WORDS = {*SCALARS, "long", "ulong", "unsigned", "signed", "auto"}
# The same pragma by clang's name.
_CONTRACT = re.compile(
    r"(?m)^([ \t]*#[ \t]*pragma[ \t]+)(?:METAL[ \t]+fp|STDC[ \t]+FP)[ \t]+contract", re.I
)


@dataclass(frozen=True)
class Parameter:
    """A kernel parameter: its name, its attributes as texts, its address space."""

    name: str
    attributes: dict[str, str]
    space: str | None
    reference: bool
    table: bool = False


@dataclass(frozen=True)
class FunctionConstant:
    """A ``[[function_constant(index)]]``."""

    name: str
    index: int
    type: str


@dataclass(frozen=True)
class Instance:
    """A kernel that can be asked for by name; ``call`` names it in C++."""

    name: str
    call: str
    parameters: tuple[Parameter, ...]
    max_threads: int | None = None


@dataclass
class Rewritten:
    """The text for clang, and what the host must know about it."""

    text: str
    instances: dict[str, Instance]
    constants: dict[str, FunctionConstant]
    visible: list[str] = field(default_factory=list)  # functions other pipelines may link
    declared: list[str] = field(default_factory=list)  # functions to be linked


@dataclass
class _Kernel:
    parameters: tuple[Parameter, ...]
    max_threads: int | None


@dataclass
class _Declaration:
    """One declaration: where it ends, and the landmarks found on the way."""

    kind: str  # namespace, class, function or plain
    end: int  # index after it
    head: list[Token]  # up to its body, without attributes
    attributes: list[list[Token]]
    body: tuple[int, int] | None = None  # of the braces
    parameters: tuple[int, int] | None = None  # of the parentheses
    initialiser: int | None = None  # of a constructor's ':'


@dataclass
class Rewriter(CodeRewriter):
    """Rewrites one text; its fields are what was found so far."""

    kernels: dict[str, _Kernel] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    constants: dict[str, FunctionConstant] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)  # classes that name their methods' spaces
    pending: list[tuple[str, list[Token], int]] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)

    def rewrite(self, text: str) -> Rewritten:
        """Rewrite a preprocessed text."""
        out = self._scope(tokenize(text))
        for name, call, line in self.pending:
            base = next((t.text for t in reversed(call[: _angle(call)]) if t.kind == "name"), "")
            if base not in self.kernels:
                raise RewriteError(line, f"'{base}' is instantiated but is no kernel")
            kernel = self.kernels[base]
            spelled = untokenize(self.code(call)).split("\n")
            spelled = " ".join(s for s in spelled if not s.startswith("#")).strip()
            self.instances[name] = Instance(name, spelled, kernel.parameters, kernel.max_threads)
        declared = [name for name in self.declared if name not in self.visible]
        return Rewritten(untokenize(out), self.instances, self.constants, self.visible, declared)

    def _scope(self, tokens: list[Token], class_name: str | None = None) -> list[Token]:
        out: list[Token] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token.kind == "directive":
                out.append(token)
                i += 1
            elif token == ";":
                i += 1
            elif class_name is not None and token.text in ("public", "private", "protected"):
                out += tokens[i : i + 2]
                i += 2
            elif token == "static_assert":
                end = close_of(tokens, i + 1) + 2
                out += self.code(tokens[i:end])
                i = end
            else:
                declaration = self._declaration(tokens, i)
                out += self._rewrite_declaration(tokens, i, declaration, class_name)
                i = declaration.end
        return out

    def _declaration(self, t: list[Token], start: int) -> _Declaration:
        attributes: list[list[Token]] = []
        head: list[Token] = []
        parameters = initialiser = None
        class_key = equals = False
        j = start

        def found(kind: str, end: int, body: tuple[int, int] | None = None) -> _Declaration:
            return _Declaration(kind, end, head, attributes, body, parameters, initialiser)

        while j < len(t):
            token = t[j]
            if is_attribute(t, j):
                end = close_of(t, j)
                attributes.append(t[j + 2 : end - 1])
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
                return found("plain", j + 1)
            elif token == "{":
                end = close_of(t, j)
                words = {h.text for h in head}
                if "namespace" in words or head[:1] == ["extern"]:
                    return found("namespace", end + 1, (j, end))
                in_list = initialiser is not None and (t[j - 1].kind == "name" or t[j - 1] == ">")
                if class_key and parameters is None and not equals:
                    after = end + 1
                    while t[after] != ";":
                        after += 1
                    return found("class", after + 1, (j, end))
                if parameters and not equals and not in_list:
                    return found("function", end + 1, (j, end))
            elif token == "}":
                raise RewriteError(token.line, "'}' without its '{'")
            head += t[j : end + 1]
            j = end + 1
        raise RewriteError(t[start].line, "the declaration that begins here never ends")

    def _rewrite_declaration(
        self, t: list[Token], start: int, d: _Declaration, class_name: str | None
    ) -> list[Token]:
        near = t[start]
        if d.kind == "namespace":
            begin, end = d.body
            return [*self.code(d.head), t[begin], *self._scope(t[begin + 1 : end]), t[end]]
        if d.kind == "class":
            return self._class(t, d)
        words = {token.text for token in d.head}
        host_name = next((a for a in d.attributes if a[:1] == ["host_name"]), None)
        is_kernel = "kernel" in words or any("kernel" in {w.text for w in a} for a in d.attributes)
        if d.kind == "plain":
            if is_kernel or host_name:
                return self._instantiation(d, host_name, near)
            if class_name is not None and d.parameters:
                return self._method(t, start, d, class_name)
            if d.parameters and (_linkable(d) or "extern" in words):
                self._check_pointers(t, d)
                self.declared.append(t[d.parameters[0] - 1].text)
            return self._variable(t, start, d)
        if is_kernel:
            self._kernel(t, d, host_name)
        if class_name is not None:
            return self._method(t, start, d, class_name)
        return self._function(t, start, d, is_kernel)

    def _class(self, t: list[Token], d: _Declaration) -> list[Token]:
        begin, end = d.body
        if "enum" in {h.text for h in d.head}:
            return [*self.code(d.head), *t[begin : end + 1], *self.code(t[end + 1 : d.end])]
        names = [
            d.head[i + 1].text
            for i, h in enumerate(d.head[:-1])
            if h.text in ("struct", "class", "union") and d.head[i + 1].kind == "name"
        ]
        name = names[-1] if names else ""
        if "template" not in {h.text for h in d.head}:
            self.classes.add(name)
        if any(t[i].text in SPACES and t[i + 1].text in ("{", ";") for i in range(begin, end)):
            self.placed.add(name)
        inside = self._scope(t[begin + 1 : end], name)
        return [*self.code(d.head), t[begin], *inside, t[end], *self.code(t[end + 1 : d.end])]

    def _function(
        self, t: list[Token], start: int, d: _Declaration, is_kernel: bool
    ) -> list[Token]:
        begin, end = d.body
        self._check_pointers(t, d)
        out = self.code(t[start:begin])
        if is_kernel and "template" not in {h.text for h in d.head}:
            out = [made("static", t[start]), *out]
        if _linkable(d):
            self.visible.append(t[d.parameters[0] - 1].text)
            out = [made("__attribute__((used))", t[start]), *out]
        if any(a[-1:] == ["noinline"] for a in d.attributes):
            out = [made("__attribute__((noinline))", t[start]), *out]
        return [*out, t[begin], *self.body(t[begin + 1 : end]), t[end]]

    def _method(self, t: list[Token], start: int, d: _Declaration, class_name: str) -> list[Token]:
        """In MSL an object is in thread memory unless the method says otherwise."""
        self._check_pointers(t, d)
        words = {h.text for h in d.head}
        close = d.parameters[1]
        until = d.initialiser or (d.body[0] if d.body else d.end - 1)
        tail = t[close + 1 : until]
        name_at = d.parameters[0] - 1
        special = t[name_at] == class_name and "operator" not in words
        qualified = any(w.text in SPACES for w in tail)
        out = self.code(t[start : close + 1])
        if special:
            # clang has no constructor for temporaries of a `thread`-qualified one.
            out += self.code([w for w in tail if w != "thread"])
        elif qualified or "static" in words or "friend" in words:
            out += self.code(tail)
        else:
            after = 0
            while after < len(tail) and tail[after].text in ("const", "volatile"):
                after += 1
            forwarder = []
            if d.body and after == len(tail) and class_name not in self.placed:
                forwarder = self._for_temporaries(t, start, d, class_name)
            space = made("__private &" if forwarder else "__private", t[close])
            out = [*forwarder, *out]
            out += [*self.code(tail[:after]), space, *self.code(tail[after:])]
        if not d.body:
            return [*out, *self.code(t[until : d.end])]
        begin, end = d.body
        if d.initialiser is None:
            out += self.code(t[until:begin])
        else:
            out += self._initialisers(t[until:begin])
        return [*out, t[begin], *self.body(t[begin + 1 : end]), t[end]]

    def _initialisers(self, t: list[Token]) -> list[Token]:
        """``: v(x, y)`` of a constructor; in braces clang takes it for vectors too."""
        out = [t[0]]
        for number, part in enumerate(split_commas(t[1:])):
            begin = next((k for k, w in enumerate(part) if w == "("), None)
            if begin is not None and len(split_commas(part[begin + 1 : -1])) > 1:
                inside = self.code(part[begin + 1 : -1])
                part = [*part[:begin], made("{", part[0]), *inside, made("}", part[-1])]
            else:
                part = self.code(part)
            out += [*([made(",", part[0])] if number else []), *part]
        return out

    def _for_temporaries(
        self, t: list[Token], start: int, d: _Declaration, class_name: str
    ) -> list[Token]:
        """The same method for a temporary object, which clang puts in no address space."""
        begin, close = d.parameters
        near = t[close]
        name_at = begin - 1
        for i in range(start, begin):
            if t[i] == "operator":
                name_at = i
                break
        parameters = split_commas(t[begin + 1 : close])
        names, declared = [], []
        for number, parameter in enumerate(parameters):
            end = next((k for k, w in enumerate(parameter) if w.text in ("=", "[")), len(parameter))
            name = _parameter_name(parameter[:end])
            names.append(name or f"attn_argument_{number}")
            new = [] if name else [made(names[-1], near)]
            declared += [*([made(",", near)] if number else []), *parameter[:end], *new]
            declared += parameter[end:]
        head = t[start:name_at]
        arguments = ""
        if head[:1] == ["template"]:
            for parameter in split_commas(head[2 : angle_close(head, 1)]):
                words = [w.text for w in parameter]
                end = words.index("=") if "=" in words else len(words)
                if end < 2 or parameter[end - 1].kind != "name" or words[end - 2] == "::":
                    break
                pack = "..." if "..." in words else ""
                arguments += (", " if arguments else "") + words[end - 1] + pack
        called = " ".join(w.text for w in self.code(t[name_at:begin]))
        if arguments:
            called = f"template {called}<{arguments}>"
        const = "const" if "const" in {w.text for w in t[close + 1 : d.body[0]]} else ""
        body = (
            f"{const} && {{ return (({const} __private {class_name}*)this)->{called}"
            f"({', '.join(names)}); }}"
        )
        return [
            *self.code([*t[start : begin + 1], *declared, near]),
            *[made(body, near)],
        ]

    def _check_pointers(self, t: list[Token], d: _Declaration) -> None:
        for parameter in split_commas(t[d.parameters[0] + 1 : d.parameters[1]]):
            words = {w.text for w in parameter}
            stars = [w for w in parameter if w == "*"]
            if stars and not words & set(SPACES) and "auto" not in words and "=" not in words:
                raise RewriteError(
                    stars[0].line,
                    f"pointer parameter '{parameter[-1].text}' has no address space; write "
                    "device, constant, threadgroup or thread before its type",
                )

    # -- kernels and constants ----------------------------------------------

    def _kernel(self, t: list[Token], d: _Declaration, host_name: list[Token] | None) -> None:
        begin, end = d.parameters
        name = t[begin - 1]
        parameters = tuple(self._parameter(p) for p in split_commas(t[begin + 1 : end]))
        limit = next(
            (a for a in d.attributes if a[:1] == ["max_total_threads_per_threadgroup"]), None
        )
        max_threads = int(limit[2].text) if limit and limit[2].kind == "number" else None
        self.kernels[name.text] = _Kernel(parameters, max_threads)
        if "template" not in {h.text for h in d.head}:
            self.pending.append((_joined(host_name) or name.text, [name], name.line))

    def _parameter(self, tokens: list[Token]) -> Parameter:
        attributes: dict[str, str] = {}
        plain: list[Token] = []
        i = 0
        while i < len(tokens):
            if is_attribute(tokens, i):
                end = close_of(tokens, i)
                for attribute in split_commas(tokens[i + 2 : end - 1]):
                    argument = "".join(w.text for w in attribute[2:-1])
                    attributes[attribute[0].text] = argument
                i = end + 1
            else:
                plain.append(tokens[i])
                i += 1
        words = [w.text for w in plain]
        space = next((w for w in words if w in SPACES), None)
        name = next((w.text for w in reversed(plain) if w.kind == "name"), "")
        return Parameter(name, attributes, space, "&" in words, TABLE in words)

    def _instantiation(
        self, d: _Declaration, host_name: list[Token] | None, near: Token
    ) -> list[Token]:
        """``template [[host_name("n")]] [[kernel]] decltype(f<...>) f<...>;``."""
        head = [h for h in d.head if h != "kernel"]
        if "decltype" in {h.text for h in head}:
            at = next(i for i, h in enumerate(head) if h == "decltype")
            call = head[close_of(head, at + 1) + 1 :]
        elif d.parameters:  # template [[...]] kernel void f<...>(parameters);
            begin = next(i for i, h in enumerate(head) if h == "void") + 1
            call = head[begin : (angle_close(head, begin + 1) or begin) + 1]
        else:
            raise RewriteError(near.line, "a kernel is declared here without a body")
        name = _joined(host_name) or "".join(c.text for c in call)
        self.pending.append((name, call, near.line))
        return []

    def _variable(self, t: list[Token], start: int, d: _Declaration) -> list[Token]:
        near = t[start]
        attribute = next((a for a in d.attributes if a[:1] == ["function_constant"]), None)
        if attribute:
            return self._function_constant(d, attribute, near)
        self.note_alias(d.head)
        words = [h.text for h in d.head]
        if "constant" in words and "=" in words and not d.parameters:
            value = d.head[words.index("=") + 1 :]
            known = set(self.constants) | self.derived | {"is_function_constant_defined"}
            if known & {v.text for v in value} and "template" not in words:
                return self._derived_constant(d, words.index("="), near)
        return self.code(t[start : d.end])

    def _function_constant(
        self, d: _Declaration, attribute: list[Token], near: Token
    ) -> list[Token]:
        skip = (*SPACES, "const", "static")
        declared = [h for h in d.head if h.text not in skip]
        name, type_tokens = declared[-1].text, declared[:-1]
        if attribute[2].kind != "number":
            raise RewriteError(near.line, f"function constant '{name}' needs a number as its index")
        spelled = " ".join(w.text for w in type_tokens)
        self.constants[name] = FunctionConstant(name, int(attribute[2].text, 0), spelled)
        text = (
            f"extern __constant const {spelled} {name}; "
            f"extern __constant const bool attn_defined_{name};"
        )
        return [made(text, near)]

    def _derived_constant(self, d: _Declaration, equals: int, near: Token) -> list[Token]:
        skip = (*SPACES, "const", "static", "constexpr")
        declared = [h for h in d.head[:equals] if h.text not in skip]
        name, type_tokens = declared[-1].text, declared[:-1]
        value = self.code(d.head[equals + 1 :])
        self.derived.add(name)
        spelled = " ".join(w.text for w in type_tokens)
        begin = made(f"ATTN_INLINE {spelled} attn_derived_{name}() {{ return", near)
        return [begin, *value, made("; }", near)]


def _linkable(d: _Declaration) -> bool:
    return any(a[:1] in (["visible"], ["stitchable"]) for a in d.attributes)


def _joined(attribute: list[Token] | None) -> str | None:
    """The text of ``host_name("a" "b")``."""
    if attribute is None:
        return None
    return "".join(w.text[1:-1] for w in attribute if w.kind == "string")


def _parameter_name(tokens: list[Token]) -> str | None:
    """The name of a parameter; None where it has only a type."""
    if len(tokens) < 2 or tokens[-1].kind != "name" or tokens[-1].text in _TYPE_WORDS:
        return None
    before = [w for w in tokens[:-1] if w.text not in (*SPACES, "const", "volatile", "typename")]
    return None if not before or before[-1] == "::" else tokens[-1].text


def _angle(call: list[Token]) -> int:
    return next((i for i, c in enumerate(call) if c == "<"), len(call))


def rewrite(text: str) -> Rewritten:
    """Rewrite a preprocessed MSL text to C++ for OpenCL."""
    return Rewriter().rewrite(_CONTRACT.sub(r"\1clang fp contract", text))
