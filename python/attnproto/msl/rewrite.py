"""Rewrite MSL tokens to C++ for OpenCL 2021.

The two languages agree on almost everything; what differs is listed here, one
method each: attributes, kernels and their instantiations, function constants,
threadgroup variables, vector constructors, the address space of methods.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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

SPACES = {
    "device": "__global",
    "constant": "__constant",
    "threadgroup": "__local",
    "thread": "__private",
}
_SCALARS = ("float", "half", "bfloat", "bool", "int", "uint", "short", "ushort", "char", "uchar")
_TYPE_WORDS = {*_SCALARS, "long", "ulong", "unsigned", "signed", "auto"}
_VECTORS = {s + n for s in (*_SCALARS, "long", "ulong") for n in "234"}
_TABLE = "visible_function_table"
_BOOLS = {"bool2", "bool3", "bool4"}
# The same pragma by clang's name.
_CONTRACT = re.compile(
    r"(?m)^([ \t]*#[ \t]*pragma[ \t]+)(?:METAL[ \t]+fp|STDC[ \t]+FP)[ \t]+contract", re.I
)
# Words that C++ for OpenCL reserves and MSL does not.
_RESERVED = {"global", "local", "generic", "pipe", "read_only", "write_only", "read_write"}
# Types that OpenCL predefines, and then finds ambiguous.
_ATOMICS = {f"atomic_{t}": f"atomic<{t}>" for t in ("bool", "int", "uint", "ulong", "float")}


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
class Rewriter:
    """Rewrites one text; its fields are what was found so far."""

    kernels: dict[str, _Kernel] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    constants: dict[str, FunctionConstant] = field(default_factory=dict)
    derived: set[str] = field(default_factory=set)
    vectors: set[str] = field(default_factory=lambda: set(_VECTORS))
    classes: set[str] = field(default_factory=set)
    placed: set[str] = field(default_factory=set)  # classes that name their methods' spaces
    pending: list[tuple[str, list[Token], int]] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    threadgroup_variables: int = 0

    def rewrite(self, text: str) -> Rewritten:
        """Rewrite a preprocessed text."""
        out = self._scope(tokenize(text))
        for name, call, line in self.pending:
            base = next((t.text for t in reversed(call[: _angle(call)]) if t.kind == "name"), "")
            if base not in self.kernels:
                raise RewriteError(line, f"'{base}' is instantiated but is no kernel")
            kernel = self.kernels[base]
            spelled = untokenize(self._code(call)).split("\n")
            spelled = " ".join(s for s in spelled if not s.startswith("#")).strip()
            self.instances[name] = Instance(name, spelled, kernel.parameters, kernel.max_threads)
        declared = [name for name in self.declared if name not in self.visible]
        return Rewritten(untokenize(out), self.instances, self.constants, self.visible, declared)

    # -- declarations -------------------------------------------------------

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
                out += self._code(tokens[i:end])
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
            return [*self._code(d.head), t[begin], *self._scope(t[begin + 1 : end]), t[end]]
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
            return [*self._code(d.head), *t[begin : end + 1], *self._code(t[end + 1 : d.end])]
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
        return [*self._code(d.head), t[begin], *inside, t[end], *self._code(t[end + 1 : d.end])]

    def _function(
        self, t: list[Token], start: int, d: _Declaration, is_kernel: bool
    ) -> list[Token]:
        begin, end = d.body
        self._check_pointers(t, d)
        out = self._code(t[start:begin])
        if is_kernel and "template" not in {h.text for h in d.head}:
            out = [made("static", t[start]), *out]
        if _linkable(d):
            self.visible.append(t[d.parameters[0] - 1].text)
            out = [made("__attribute__((used))", t[start]), *out]
        if any(a[-1:] == ["noinline"] for a in d.attributes):
            out = [made("__attribute__((noinline))", t[start]), *out]
        return [*out, t[begin], *self._body(t[begin + 1 : end]), t[end]]

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
        out = self._code(t[start : close + 1])
        if special:
            # clang has no constructor for temporaries of a `thread`-qualified one.
            out += self._code([w for w in tail if w != "thread"])
        elif qualified or "static" in words or "friend" in words:
            out += self._code(tail)
        else:
            after = 0
            while after < len(tail) and tail[after].text in ("const", "volatile"):
                after += 1
            forwarder = []
            if d.body and after == len(tail) and class_name not in self.placed:
                forwarder = self._for_temporaries(t, start, d, class_name)
            space = made("__private &" if forwarder else "__private", t[close])
            out = [*forwarder, *out]
            out += [*self._code(tail[:after]), space, *self._code(tail[after:])]
        if not d.body:
            return [*out, *self._code(t[until : d.end])]
        begin, end = d.body
        if d.initialiser is None:
            out += self._code(t[until:begin])
        else:
            out += self._initialisers(t[until:begin])
        return [*out, t[begin], *self._body(t[begin + 1 : end]), t[end]]

    def _initialisers(self, t: list[Token]) -> list[Token]:
        """``: v(x, y)`` of a constructor; in braces clang takes it for vectors too."""
        out = [t[0]]
        for number, part in enumerate(split_commas(t[1:])):
            begin = next((k for k, w in enumerate(part) if w == "("), None)
            if begin is not None and len(split_commas(part[begin + 1 : -1])) > 1:
                inside = self._code(part[begin + 1 : -1])
                part = [*part[:begin], made("{", part[0]), *inside, made("}", part[-1])]
            else:
                part = self._code(part)
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
        called = " ".join(w.text for w in self._code(t[name_at:begin]))
        if arguments:
            called = f"template {called}<{arguments}>"
        const = "const" if "const" in {w.text for w in t[close + 1 : d.body[0]]} else ""
        body = (
            f"{const} && {{ return (({const} __private {class_name}*)this)->{called}"
            f"({', '.join(names)}); }}"
        )
        return [
            *self._code([*t[start : begin + 1], *declared, near]),
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
        return Parameter(name, attributes, space, "&" in words, _TABLE in words)

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
        self._note_alias(d.head)
        words = [h.text for h in d.head]
        if "constant" in words and "=" in words and not d.parameters:
            value = d.head[words.index("=") + 1 :]
            known = set(self.constants) | self.derived | {"is_function_constant_defined"}
            if known & {v.text for v in value} and "template" not in words:
                return self._derived_constant(d, words.index("="), near)
        return self._code(t[start : d.end])

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
        value = self._code(d.head[equals + 1 :])
        self.derived.add(name)
        spelled = " ".join(w.text for w in type_tokens)
        begin = made(f"ATTN_INLINE {spelled} attn_derived_{name}() {{ return", near)
        return [begin, *value, made("; }", near)]

    def _note_alias(self, head: list[Token]) -> None:
        """``using T4 = vec<T, 4>`` and ``typedef vec<T, 4> T4`` name vector types too."""
        words = [h.text for h in head]
        if "using" in words and "=" in words:
            at = words.index("=")
            name, target = words[at - 1], words[at + 1 :]
        elif "typedef" in words:
            at = words.index("typedef")
            name, target = words[-1], words[at + 1 : -1]
        else:
            return
        target = [w for w in target if w not in ("metal", "::", "const")]
        if target[:1] == ["vec"] or (target and target[0] in self.vectors):
            self.vectors.add(name)

    # -- code ---------------------------------------------------------------

    def _body(self, t: list[Token]) -> list[Token]:
        """A function's body: threadgroup variables, then expressions."""
        out: list[Token] = []
        rest: list[Token] = []
        i, starts = 0, True
        while i < len(t):
            token = t[i]
            if starts and token.text in ("using", "typedef"):
                end = next(k for k in range(i, len(t)) if t[k] == ";")
                self._note_alias(t[i:end])
            if starts and token == "threadgroup":
                end = self._threadgroup_declaration(t, i)
                if end is not None:
                    out += self._code(rest, body=True)
                    rest = []
                    out += self._threadgroup_variables(t[i + 1 : end])
                    i = end + 1
                    continue
            rest.append(token)
            starts = token.text in (";", "{", "}", ")") or token.kind == "directive"
            i += 1
        return out + self._code(rest, body=True)

    def _threadgroup_declaration(self, t: list[Token], i: int) -> int | None:
        """The ``;`` that ends a declaration of variables; None for pointers and the like."""
        j = i
        while j < len(t) and t[j] != ";":
            text = t[j].text
            if text in ("*", "&", "=", "(", ")", "{"):
                return None
            if text == "<":
                j = angle_close(t, j) or j
            elif text == "[":
                j = close_of(t, j)
            j += 1
        return j

    def _threadgroup_variables(self, tokens: list[Token]) -> list[Token]:
        plain: list[Token] = []
        i = 0
        while i < len(tokens):
            if is_attribute(tokens, i):
                i = close_of(tokens, i) + 1
                continue
            if tokens[i].text not in (*SPACES, "const", "volatile"):
                plain.append(tokens[i])
            i += 1
        out: list[Token] = []
        base: list[Token] | None = None
        for part in split_commas(plain):
            dims = next((k for k, w in enumerate(part) if w == "[" and k), len(part))
            name = self._code([part[dims - 1]])[0]
            if base is None:
                base = part[: dims - 1]
            self.threadgroup_variables += 1
            out += [
                made(f"__local auto& {name.text} = attn_threadgroup<", name),
                made(f"{self.threadgroup_variables},", name),
                *self._code(base + part[dims:]),
                made(">();", name),
            ]
        return out

    def _code(self, t: list[Token], *, body: bool = False) -> list[Token]:
        """Rewrite the tokens of a type or an expression, or of the statements of a body."""
        out: list[Token] = []
        i = 0
        while i < len(t):
            token = t[i]
            if is_attribute(t, i) and not (out and out[-1] == "]"):
                i = close_of(t, i) + 1
                continue
            text = token.text
            if text in SPACES:
                out.append(made(SPACES[text], token))
            elif text == "kernel":
                pass
            elif token.kind == "number":
                out.append(self._number(token))
            elif text == _TABLE and t[i + 1 : i + 2] == ["<"]:
                i = self._table(t, i, out)
                continue
            elif token.kind == "name" and self._is_vector(t, i):
                i = self._vector(t, i, out, body)
                continue
            elif body and text in self.classes and self._copies(t, i, out):
                i = self._copy(t, i, out)
                continue
            elif text == "is_function_constant_defined" and t[i + 1 : i + 2] == ["("]:
                out.append(made(f"attn_defined_{t[i + 2].text}", token))
                i = close_of(t, i + 1)
            elif text in self.derived:
                out.append(made(f"attn_derived_{text}()", token))
            elif text in _RESERVED:
                out.append(made(f"attn_name_{text}", token))
            elif text in _ATOMICS:
                out.append(made(_ATOMICS[text], token))
            else:
                out.append(token)
            i += 1
        return out

    def _number(self, token: Token) -> Token:
        text = token.text.replace("'", "")
        lower = text.lower()
        if lower.endswith("bf") and not lower.startswith("0x"):
            return made(f"((bfloat){text[:-2]})", token)
        if lower.endswith("h") and "." not in text and "e" not in lower and lower[:2] != "0x":
            return made(f"((half){text[:-1]})", token)
        return token if text == token.text else made(text, token)

    def _table(self, t: list[Token], i: int, out: list[Token]) -> int:
        """``visible_function_table<R(A...)>``: R( is a type here and constructs nothing."""
        end = angle_close(t, i + 1)
        opens = next((k for k in range(i + 2, end or 0) if t[k] == "("), None)
        if opens is None:
            raise RewriteError(t[i].line, f"{_TABLE} needs a function type, as float(float)")
        out += [*t[i : i + 2], *self._code(t[i + 2 : opens]), t[opens]]
        out += [*self._code(t[opens + 1 : end - 1]), *t[end - 1 : end + 1]]
        return end + 1

    def _is_vector(self, t: list[Token], i: int) -> bool:
        return t[i].text in self.vectors or (t[i] == "vec" and t[i + 1 : i + 2] == ["<"])

    def _vector(self, t: list[Token], i: int, out: list[Token], body: bool) -> int:
        """A vector's type, or its construction: ``float4(x)``, ``float4(a, b, c, d)``."""
        end = i
        if t[i + 1 : i + 2] == ["<"]:
            end = angle_close(t, i + 1) or i
        type_tokens = self._code(t[i + 1 : end + 1])
        type_tokens = [t[i], *type_tokens]
        following = [w.text for w in t[end + 1 : end + 3]]
        before = out[-1].text if out else ""
        if body and following[1:] == ["("] and t[end + 1].kind == "name":
            # float4 name(a, b, c, d);
            close = close_of(t, end + 2)
            out += [*type_tokens, *self._code([t[end + 1]]), made("=", t[i])]
            out += self._constructed(type_tokens, t[end + 3 : close], t[i])
            return close + 1
        if body and t[i].text in _BOOLS and following[1:] == ["="]:
            # bool4 name = a < b;
            stop = next(k for k in range(end, len(t)) if t[k] == ";")
            value = split_commas(t[end + 3 : stop])
            if len(value) == 1 and value[0][0] != "{":
                out += [*type_tokens, *self._code([t[end + 1]]), t[end + 2]]
                out += self._constructed(type_tokens, value[0], t[i])
                return stop
        if (
            following[:1] not in (["("], ["{"])
            or before in ("operator", "~")
            or "operator" in [o.text for o in out[-4:]]
        ):
            out += type_tokens
            return end + 1
        close = close_of(t, end + 1)
        while [o.text for o in out[-2:]] == ["metal", "::"]:
            type_tokens = [*out[-2:], *type_tokens]
            del out[-2:]
        out += self._constructed(type_tokens, t[end + 2 : close], t[i])
        return close + 1

    def _constructed(
        self, type_tokens: list[Token], arguments: list[Token], near: Token
    ) -> list[Token]:
        parts = split_commas(arguments)
        if not parts:
            return [made("((", near), *type_tokens, made(")(0))", near)]
        if len(parts) == 1:
            convert = "attn_bools" if type_tokens[-1].text in _BOOLS else "attn_vector"
            begin = [made(f"{convert}<", near), *type_tokens, made(">(", near)]
            return [*begin, *self._code(parts[0]), made(")", near)]
        out = [made("((", near), *type_tokens, made(")(", near)]
        for k, part in enumerate(parts):
            out += [*([made(",", near)] if k else []), *self._code(part)]
        return [*out, made("))", near)]

    @staticmethod
    def _copies(t: list[Token], i: int, out: list[Token]) -> bool:
        """Whether a declaration with one initialiser begins here: ``Params p = params[0];``."""
        before = out[-1].text if out else ";"
        following = [w.text for w in t[i + 1 : i + 4]]
        return (
            before in (";", "{", "}", ")", "const", "__private")
            and len(following) == 3
            and t[i + 1].kind == "name"
            and following[1] == "="
            and following[2] != "{"
        )

    def _copy(self, t: list[Token], i: int, out: list[Token]) -> int:
        """clang has no constructor that copies an object of constant memory."""
        end = next(k for k in range(i, len(t)) if t[k] == ";")
        value = t[i + 3 : end]
        if len(split_commas(value)) > 1:
            out += t[i : i + 1]
            return i + 1
        out += [t[i], *self._code([t[i + 1]]), t[i + 2], made(f"attn_copy<{t[i].text}>(", t[i])]
        out += [*self._code(value), made(")", t[end - 1])]
        return end


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
