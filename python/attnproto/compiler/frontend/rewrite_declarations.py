"""Rewrite MSL tokens to C++ for OpenCL 2021.

The two languages agree on almost everything. What differs in declarations is here,
one method each: attributes, kernels and their instantiations, function constants. What
differs in methods is in methods.py, and inside functions in code.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from attnproto.compiler.interface import FunctionConstant, Instance, Parameter

from .declarations import Declaration, check_pointers, find_declaration, is_linkable
from .lexer import (
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
from .rewrite_code import SPACES, TABLE
from .rewrite_methods import MethodRewriter

# The same pragma by clang's name.
_CONTRACT = re.compile(
    r"(?m)^([ \t]*#[ \t]*pragma[ \t]+)(?:METAL[ \t]+fp|STDC[ \t]+FP)[ \t]+contract", re.I
)


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
class Rewriter(MethodRewriter):
    """Rewrites one text; its fields are what was found so far."""

    kernels: dict[str, _Kernel] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    constants: dict[str, FunctionConstant] = field(default_factory=dict)
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
                declaration = find_declaration(tokens, i)
                out += self._rewrite_declaration(tokens, i, declaration, class_name)
                i = declaration.end
        return out

    def _rewrite_declaration(
        self, t: list[Token], start: int, d: Declaration, class_name: str | None
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
                return self.method(t, start, d, class_name)
            if d.parameters and (is_linkable(d) or "extern" in words):
                check_pointers(t, d)
                self.declared.append(t[d.parameters[0] - 1].text)
            return self._variable(t, start, d)
        if is_kernel:
            self._kernel(t, d, host_name)
        if class_name is not None:
            return self.method(t, start, d, class_name)
        return self._function(t, start, d, is_kernel)

    def _class(self, t: list[Token], d: Declaration) -> list[Token]:
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

    def _function(self, t: list[Token], start: int, d: Declaration, is_kernel: bool) -> list[Token]:
        begin, end = d.body
        check_pointers(t, d)
        out = self.code(t[start:begin])
        if is_kernel and "template" not in {h.text for h in d.head}:
            out = [made("static", t[start]), *out]
        if is_linkable(d):
            self.visible.append(t[d.parameters[0] - 1].text)
            out = [made("__attribute__((used))", t[start]), *out]
        if any(a[-1:] == ["noinline"] for a in d.attributes):
            out = [made("__attribute__((noinline))", t[start]), *out]
        return [*out, t[begin], *self.body(t[begin + 1 : end]), t[end]]

    # -- kernels and constants ----------------------------------------------

    def _kernel(self, t: list[Token], d: Declaration, host_name: list[Token] | None) -> None:
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
        points_at = words[: next((i for i, w in enumerate(words) if w in ("*", "&")), 0)]
        writes = "device" in points_at and "const" not in points_at
        return Parameter(name, attributes, space, "&" in words, TABLE in words, writes)

    def _instantiation(
        self, d: Declaration, host_name: list[Token] | None, near: Token
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

    def _variable(self, t: list[Token], start: int, d: Declaration) -> list[Token]:
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
        self, d: Declaration, attribute: list[Token], near: Token
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

    def _derived_constant(self, d: Declaration, equals: int, near: Token) -> list[Token]:
        skip = (*SPACES, "const", "static", "constexpr")
        declared = [h for h in d.head[:equals] if h.text not in skip]
        name, type_tokens = declared[-1].text, declared[:-1]
        value = self.code(d.head[equals + 1 :])
        self.derived.add(name)
        spelled = " ".join(w.text for w in type_tokens)
        begin = made(f"ATTN_INLINE {spelled} attn_derived_{name}() {{ return", near)
        return [begin, *value, made("; }", near)]


def _joined(attribute: list[Token] | None) -> str | None:
    """The text of ``host_name("a" "b")``."""
    if attribute is None:
        return None
    return "".join(w.text[1:-1] for w in attribute if w.kind == "string")


def _angle(call: list[Token]) -> int:
    return next((i for i, c in enumerate(call) if c == "<"), len(call))


def rewrite(text: str) -> Rewritten:
    """Rewrite a preprocessed MSL text to C++ for OpenCL."""
    return Rewriter().rewrite(_CONTRACT.sub(r"\1clang fp contract", text))
