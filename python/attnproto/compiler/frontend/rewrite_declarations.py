"""Rewrite MSL tokens to C++ for OpenCL 2021.

The two languages agree on almost everything. What differs in declarations is here,
one method each: attributes, kernels and their instantiations, function constants. What
differs in methods is in rewrite_methods.py, and inside functions in rewrite_code.py.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace

from attnproto.compiler.interface import FunctionConstant, Instance, Parameter

from .casts import type_parameters
from .declarations import (
    Declaration,
    attributes_first,
    check_pointers,
    find_declaration,
    is_linkable,
    is_value,
    one_constant_each,
    parameter_names,
    static_methods_named,
    template_of,
    value_begin,
    without_linkage,
)
from .kernel_templates import Kernel, kernel_of_arguments
from .lexer import (
    RewriteError,
    Token,
    angle_open,
    close_of,
    inserted,
    is_attribute,
    split_commas,
    tokenize,
    untokenize,
)
from .number_types import NumberTypes
from .numbers import Numbers
from .rewrite_code import SPACES, TABLE, with_stored_elements
from .rewrite_methods import MethodRewriter
from .static_members import (
    Definition,
    as_assignment,
    class_path,
    definitions,
    member_values,
    name_with_arguments,
    one_each,
)

# What stands before an operand and is no type.
_STATEMENTS = ("return", "else", "case", "do", "sizeof", "alignof", "new", "throw")
_SCOPE_WORDS = ("namespace", "inline", "extern")
OPEN = -1  # the index of a function constant that clang works out
# How many of each a kernel may have (Metal feature set tables).
_INDEXED = {"buffer": 31, "threadgroup": 31, "texture": 128, "sampler": 16}
# The same pragma by clang's name.
_CONTRACT = re.compile(
    r"(?m)^([ \t]*#[ \t]*pragma[ \t]+)(?:METAL[ \t]+fp|STDC[ \t]+FP)[ \t]+contract", re.I
)


# The words that begin an assembly statement or label.
_ASSEMBLY = ("asm", "__asm", "__asm__")
# What of clang's reaches into the processor: its own instructions, its stack, its registers; and
# integers so wide that LLVM does not come to an end with them.
_MACHINE = re.compile(
    r"__builtin_(?:ia32|arm|aarch64|neon|sve|sme|eh|unwind|coro)_\w+|_BitInt|_ExtInt|__builtin_(?:"
    r"longjmp|setjmp|set_flt_rounds|flt_rounds|readcyclecounter|readsteadycounter|thread_pointer|"
    r"frame_address|return_address|stack_address|sponentry|dwarf_\w+|frob_return_addr|"
    r"extract_return_addr|init_dwarf_reg_size_table|call_with_static_chain|__clear_cache)"
)
# An attribute: a function without a way in and out.
_NAKED = re.compile(
    r"(?:__attribute(?:__)?\s*\(\s*\((?:[^()]|\([^()]*\))*?|\[\s*\[[^\[\]]*?"
    r"|#\s*pragma\s+clang\s+attribute\b[^\n]*?)\b(?:__)?naked(?:__)?\b"
)


@dataclass
class Rewritten:
    """The tokens for clang, and what the host must know about them."""

    tokens: list[Token]
    instances: dict[str, Instance]
    constants: dict[str, FunctionConstant]
    visible: list[str] = field(default_factory=list)  # functions other pipelines may link
    declared: list[str] = field(default_factory=list)  # functions to be linked
    # Where each instance is named, and then its parameters.
    names: dict[str, tuple[Token, ...]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text for clang, whose messages name the user's lines."""
        return untokenize(self.tokens)


@dataclass
class Rewriter(MethodRewriter):
    """Rewrites one text; its fields are what was found so far."""

    kernels: dict[str, list[Kernel]] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    constants: dict[str, FunctionConstant] = field(default_factory=dict)
    pending: list[tuple[str, list[Token], str]] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    asked: list[list[Token]] = field(default_factory=list)  # a class for each open number
    deduced: dict[str, str] = field(default_factory=dict)  # declarations of instances by name
    defined_classes: set[str] = field(default_factory=set)  # templates too
    namespace: str = ""  # where we are: "a::b::"
    namespaces: dict[str, str] = field(default_factory=dict)  # by their other names
    members: dict[str, Definition] = field(default_factory=dict)  # of classes, by their paths
    class_scope: str = ""  # the classes that we are in: "A::B::"
    class_parameters: list[Token] = field(default_factory=list)  # of the templates that those are
    open_numbers: int = 0  # how many there are
    indices: dict[str, str] = field(default_factory=dict)  # of function constants, as clang has it
    numbers: Numbers = field(default_factory=lambda: Numbers([]))
    types: NumberTypes = field(default_factory=lambda: NumberTypes([]))

    def rewrite(self, text: str) -> Rewritten:
        """Rewrite a preprocessed text."""
        tokens = one_constant_each(attributes_first(tokenize(text)))
        _refuse_machine(tokens, text)
        self.numbers, self.types = Numbers(tokens), NumberTypes(tokens)
        self.members = member_values(tokens)
        out = self._scope(tokens)
        names = {}
        for name, call, namespace in self.pending:
            scope, place, kernel = self._kernel_of(call, namespace, name in self.deduced)
            if name in names:
                raise RewriteError(call[0], f"found a second kernel called '{name}'; rename one")
            names[name] = (call[0], *kernel.names)
            spelled = scope + self._on_a_line(call)
            signature = self.deduced.get(name, spelled)
            given = len(_template_arguments(call))
            # Of a kernel whose other arguments have defaults, a call would have to deduce them.
            if name in self.deduced or 0 < given < len(kernel.template_parameters):
                spelled = f"((decltype(&{signature})){spelled})"
            arguments = self._on_a_line(call[_angle(call) :])
            self.instances[name] = _instance(
                Instance(name, spelled, kernel.parameters, None, namespace, signature),
                kernel.max_threads,
                (f"::{place}", f"{arguments}::value"),
            )
        declared = [name for name in self.declared if name not in self.visible]
        return Rewritten(out, self.instances, self.constants, self.visible, declared, names)

    def _on_a_line(self, tokens: list[Token]) -> str:
        lines = untokenize(self.code(tokens)).split("\n")
        return " ".join(line for line in lines if not line.startswith("#")).strip()

    def _kernel_of(
        self, call: list[Token], namespace: str, deduced: bool
    ) -> tuple[str, str, Kernel]:
        """The kernel that a call names, looked up from its own namespace outwards.

        And what stands before its name where the call does not: with it a kernel may be called as
        a function of Metal's is, whose namespace the text uses. Then the namespace that it is in.
        """
        begin = 1 if call[0] == "::" else 0
        first, *rest = (c.text for c in call[begin : _angle(call)])
        called = "".join([self.namespaces.get(first, first), *rest])
        scopes = namespace.split("::")[:-1] if begin == 0 else []
        for depth in range(len(scopes), -1, -1):
            full = "::".join([*scopes[:depth], called])
            if full in self.kernels:
                scope = "::".join(["", *scopes[:depth], ""]) if begin == 0 else ""
                given, kernels = _template_arguments(call), self.kernels[full]
                kernel = kernel_of_arguments(call[0], given, kernels, self._is_type, deduced)
                return scope, full[: full.rfind("::") + 2] if "::" in full else "", kernel
        raise RewriteError(call[0], f"'{called}' is instantiated but is no kernel")

    def _is_type(self, argument: list[Token]) -> bool | None:
        """Whether a template's argument is one; None where only clang can tell."""
        if self.types.name(argument) is not None or argument[0].text in self.defined_classes:
            return True
        known = argument[0].text in ("true", "false") or self.numbers.value(argument) is not None
        return False if known else None

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
        outer, derived = self.type_parameters, self.derived
        self.type_parameters = outer | type_parameters(d.head)
        if d.kind in ("function", "class"):
            self.derived = derived - _declared_again(t[start : d.end], derived)
        out = self._declared(t, start, d, class_name)
        self.type_parameters, self.derived = outer, derived | self.derived
        return out

    def _declared(
        self, t: list[Token], start: int, d: Declaration, class_name: str | None
    ) -> list[Token]:
        near = t[start]
        if d.kind == "namespace":
            begin, end = d.body
            return [*self.code(d.head), t[begin], *self._named_scope(d, t[begin + 1 : end]), t[end]]
        if d.kind == "class":
            return self._class(t, d)
        words = {token.text for token in d.head}
        host_name = next((a for a in d.attributes if a[:1] == ["host_name"]), None)
        is_kernel = "kernel" in words or any("kernel" in {w.text for w in a} for a in d.attributes)
        if d.kind == "plain":
            if words >= {"constexpr", "constant"} and _is_redeclared(d):
                return []
            defined = definitions(d.head) if class_name is None else []
            if defined and all(self.namespace + one.path in self.members for one in defined):
                return []  # its class says its value
            if class_name is not None and words >= {"static", "constant"} and not d.parameters:
                return self._static_members(t, start, d, class_name)
            if (is_kernel or host_name) and _is_instantiation(d):
                return self._instantiation(t, d, host_name)
            if is_kernel and d.parameters:
                return [inserted("static", near), *self.code(without_linkage(t[start : d.end]))]
            if class_name is not None and d.parameters:
                return self.method(t, start, d, class_name)
            if d.parameters and (is_linkable(d) or "extern" in words):
                check_pointers(t, d)
                self.declared.append(t[d.parameters[0] - 1].text)
            return self._variable(t, start, d)
        if is_kernel:
            self._kernel(t, d, host_name)
            asked, self.asked = self.asked, []
            return [*itertools.chain(*asked), *self._function(t, start, d, is_kernel)]
        if class_name is not None:
            return self.method(t, start, d, class_name)
        owner = _class_of_definition(t, d.parameters[0]) if d.parameters else None
        if owner in self.defined_classes:
            return self.method(t, start, d, owner, inside=False)
        return self._function(t, start, d, is_kernel)

    def _static_members(
        self, t: list[Token], start: int, d: Declaration, class_name: str
    ) -> list[Token]:
        """Constants of a class, with values that they are given outside: clang has them inside."""
        heads = one_each(d.head)
        if all(value_begin(head) < len(head) for head in heads):
            return self._variable(t, start, d)
        return [w for head in heads for w in self._static_member(head, t[d.end - 1], class_name)]

    def _static_member(self, head: list[Token], ends: Token, class_name: str) -> list[Token]:
        out = self.code(head)
        if value_begin(head) < len(head):
            return [*out, ends]
        dims = next((k for k, h in enumerate(head) if h == "["), len(head))
        name = head[dims - 1]
        definition = self.members.get(f"{self.namespace}{self.class_scope}{name.text}")
        if definition is not None:
            named = zip(definition.parameters, self.class_parameters, strict=False)
            names = {token.text: own for token, own in named}
            tokens = [names.get(token.text, token) for token in definition.value]
            return [inserted("constexpr", name), *out, *self.code(tokens), ends]
        if not self.class_parameters or dims < len(head):
            return [*out, ends]
        skip = (*SPACES, "const", "static", "constexpr")
        kind = self.code([h for h in head[:-1] if h.text not in skip])
        # Of a template whose specialisations have values, which is never asked for its own.
        undefined = [inserted("= attn_undefined<", name), *kind]
        undefined.append(inserted(f", {class_name}>()", name))
        return [inserted("constexpr", name), *out, *undefined, ends]

    def _named_scope(self, d: Declaration, inside: list[Token]) -> list[Token]:
        outer = self.namespace
        names = [h.text for h in d.head if h.kind == "name" and h.text not in _SCOPE_WORDS]
        self.namespace += "".join(f"{name}::" for name in names)
        out = self._scope(inside)
        self.namespace = outer
        return out

    def _class(self, t: list[Token], d: Declaration) -> list[Token]:
        begin, end = d.body
        d.head = without_linkage(d.head)
        if "enum" in {h.text for h in d.head}:
            return [*self.code(d.head), *t[begin : end + 1], *self.code(t[end + 1 : d.end])]
        named = [
            i + 1
            for i, h in enumerate(d.head[:-1])
            if h.text in ("struct", "class", "union") and d.head[i + 1].kind == "name"
        ]
        name = d.head[named[-1]].text if named else ""
        self.defined_classes.add(name)
        if "template" not in {h.text for h in d.head}:
            self.classes.add(name)
        if any(_qualifies_method(t, i) for i in range(begin, end)):
            self.placed.add(name)
        outer = self.class_parameters, self.class_scope, self.as_values
        self.class_parameters = [*self.class_parameters, *parameter_names(d.head)]
        if named:
            spelled = name_with_arguments(d.head, named[-1])
            self.class_scope += class_path(spelled, self.class_parameters) + "::"
        self.as_values = set()
        inside = self._scope(t[begin + 1 : end], name)
        self.class_parameters, self.class_scope, self.as_values = outer
        return [*self.code(d.head), t[begin], *inside, t[end], *self.code(t[end + 1 : d.end])]

    def _function(self, t: list[Token], start: int, d: Declaration, is_kernel: bool) -> list[Token]:
        begin, end = d.body
        check_pointers(t, d)
        out = self.code(without_linkage(t[start:begin]) if is_kernel else t[start:begin])
        if is_kernel and "template" not in {h.text for h in d.head}:
            out = [inserted("static", t[start]), *out]
        if is_linkable(d):
            self.visible.append(t[d.parameters[0] - 1].text)
            out = [inserted("__attribute__((used))", t[start]), *out]
        if any(a[-1:] == ["noinline"] for a in d.attributes):
            out = [inserted("__attribute__((noinline))", t[start]), *out]
        return [*out, t[begin], *self.body(t[begin + 1 : end]), t[end]]

    # -- kernels and constants ----------------------------------------------

    def _kernel(self, t: list[Token], d: Declaration, host_name: list[Token] | None) -> None:
        begin, end = d.parameters
        name = t[begin - 1]
        if "void" not in {h.text for h in d.head}:
            raise RewriteError(name, f"found kernel {name.text} returning a value, needs void")
        declared = split_commas(t[begin + 1 : end])
        template = template_of(d.head)
        parameters = tuple(self._parameter(p, template) for p in declared)
        names = tuple(
            next((w for w in p if w == x.name), p[0])
            for p, x in zip(declared, parameters, strict=True)
        )
        limit = next(
            (a for a in d.attributes if a[:1] == ["max_total_threads_per_threadgroup"]), None
        )
        max_threads = self._number_of(limit, (1, 2**31), template) if limit else None
        self.kernels.setdefault(self.namespace + name.text, []).append(
            Kernel(parameters, names, max_threads, tuple(template[2:-1]))
        )
        if "template" not in {h.text for h in d.head}:
            self.pending.append((_joined(host_name) or name.text, [name], self.namespace))

    def _parameter(self, tokens: list[Token], template: list[Token]) -> Parameter:
        attributes: dict[str, str] = {}
        plain: list[Token] = []
        i = 0
        while i < len(tokens):
            if is_attribute(tokens, i):
                end = close_of(tokens, i)
                for attribute in split_commas(tokens[i + 2 : end - 1]):
                    attributes[attribute[0].text] = self._attribute(attribute, template)
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

    def _attribute(self, attribute: list[Token], template: list[Token]) -> str:
        """What stands in an attribute's parentheses: an index as a number, else its text."""
        of = attribute[0].text
        if of == "function_constant":
            return self._switch(attribute)
        if of not in _INDEXED:
            return "".join(w.text for w in attribute[2:-1])
        return self._number_of(attribute, (0, _INDEXED[of]), template)

    def _switch(self, attribute: list[Token]) -> str:
        """The function constant that says whether an argument is there, without its namespace."""
        *scope, name = attribute[2:-1] or attribute[:1]
        known = name in self.constants or name in self.derived
        if not known or any(w.kind != "name" and w != "::" for w in scope):
            spelled = "".join(w.text for w in attribute)
            raise RewriteError(
                attribute[0],
                f"found {spelled}, needs the name of a function constant or of a constant that is "
                "computed from one; declare it before the kernel",
            )
        return name.text

    def _number_of(
        self, attribute: list[Token], bounds: tuple[int, int], template: list[Token]
    ) -> str:
        """The number in an attribute's parentheses, or the class that tells it.

        Args:
            attribute: its tokens.
            bounds: the least that it may be, and what it must be less than.
            template: ``template <...>`` of the kernel, whose parameters it may name.
        """
        expression, (least, end) = attribute[2:-1], bounds
        of_template = {token.text for token in template if token.kind == "name"}
        known = None
        if not of_template & {token.text for token in expression}:
            known = self.numbers.value(expression)
        if known is None:
            name = f"attn_number_{self.open_numbers}"
            self.open_numbers += 1
            near = attribute[0]
            self.asked.append(
                [
                    *self.code(template),
                    inserted(f"struct {name} {{ enum : uint {{ value =", near),
                    inserted("attn_number_within<(", near),
                    *self.code(expression),
                    inserted(f"), {least}, {end}>::value }}; }};", near),
                ]
            )
            return name
        if not least <= known < end:
            spelled = f"{attribute[0].text}({known})"
            needs = f"a number from {least}" if least else f"an index below {end}"
            raise RewriteError(attribute[0], f"found {spelled}, needs {needs}; renumber it")
        return str(known)

    def _instantiation(
        self, t: list[Token], d: Declaration, host_name: list[Token] | None
    ) -> list[Token]:
        """``template [[host_name("n")]] [[kernel]] decltype(f<...>) f<...>;``."""
        near = d.head[0]
        head = [h for h in d.head if h != "kernel"]
        end = len(head)
        if d.parameters:  # template [[...]] kernel void f<...>(parameters);
            end = next(i for i in range(end) if head[i] is t[d.parameters[0]])
        call = head[_call_begin(head, end) : end]
        name = _joined(host_name) or "".join(c.text for c in call)
        self.pending.append((name, self._with_functions(call), self.namespace))
        if call[-1] == ">":
            return []
        if not d.parameters:
            raise RewriteError(near, "a kernel is instantiated here by its name, needs f<...>")
        # Its template arguments are what makes it a function of these parameters.
        self.deduced[name] = f"attn_deduced_{len(self.deduced)}"
        parameters = self.code(t[d.parameters[0] : d.parameters[1] + 1])
        return [inserted(f"void {self.deduced[name]}", near), *parameters, inserted(";", near)]

    def _with_functions(self, call: list[Token]) -> list[Token]:
        """``f<S::g>`` with what a static method is converted to a pointer by (mend.py)."""
        out, at = [], 0
        methods = {method.rpartition("::")[2] for method in self.static_methods}
        for begin, name, end in static_methods_named(call, 0, len(call) - 1, methods):
            scope = call[begin + (call[begin] == "&") : name]
            if scope:
                spelled = inserted(f"attn_function_{call[name].text}", call[name])
                out += [*call[at:begin], *scope, spelled, *call[name + 1 : end + 1]]
                out.append(inserted("()", call[end]))
                at = end + 1
        return [*out, *call[at:]]

    def _variable(self, t: list[Token], start: int, d: Declaration) -> list[Token]:
        near = t[start]
        attribute = next((a for a in d.attributes if a[:1] == ["function_constant"]), None)
        if attribute:
            return self._function_constant(d, attribute, near)
        self.note_alias(d.head)
        words = [h.text for h in d.head]
        if words[:1] == ["namespace"] and words[2:3] == ["="]:
            self.namespaces[words[1]] = "".join(words[3:])
        if "constant" in words and _holds_lambda(d.head):
            if words[0] == "template":
                raise RewriteError(
                    near,
                    "found a template of a variable that holds a lambda; write a function template",
                )
            return self._derived_constants(d.head, near)
        if "constant" in words and "template" not in words and self._is_derived(d.head):
            return self._derived_constants(d.head, near)
        declared = t[start : d.end]
        if {"using", "typedef"} & set(words) and "template" not in words:
            declared = with_stored_elements(declared)
        if "constant" in words and d.parameters and is_value(t, d.parameters[0]):
            opens = d.parameters[0] - start
            if "::" in words[max(opens - 2, 0) : opens]:
                declared = as_assignment(declared)
            return self.code(declared, body=True)
        if words[:1] == ["using"]:  # R(A...) is the type of a function and makes no R
            opens = next((k for k, w in enumerate(declared) if w == "("), 0)
            if opens and (declared[opens - 1].kind == "name" or declared[opens - 1] == ">"):
                return [*self.code(declared[:opens]), *self.code(declared[opens:])]
        return self.code(declared)

    def _function_constant(
        self, d: Declaration, attribute: list[Token], near: Token
    ) -> list[Token]:
        skip = (*SPACES, "const", "static", "constexpr")
        declared = [h for h in d.head if h.text not in skip]
        name, type_tokens = declared[-1].text, declared[:-1]
        if name == "]":
            raise RewriteError(
                near, "found an array as a function constant, needs a scalar or a vector; use those"
            )
        index = self._number_of(attribute, (0, 2**16), [])
        spelled = " ".join(w.text for w in type_tokens)
        if name in self.constants:
            raise RewriteError(
                declared[-1], f"found a second function constant '{name}'; rename one"
            )
        apart = self._index_apart(declared[-1], index)
        number = self.types.name(type_tokens) or ""
        is_open = not index.isdecimal()
        word = spelled if len(type_tokens) == 1 else number or spelled
        self.constants[name] = FunctionConstant(name, OPEN if is_open else int(index), word, number)
        text = (
            f"extern __constant const {spelled} {name}; "
            f"extern __constant const bool attn_defined_{name};"
        )
        # Its symbol is its name, in namespaces too (passes/fix_function_constants.py).
        out = [inserted(f'extern "C" {{ {text} }}' if self.namespace else text, near)]
        if is_open:
            tells = (
                'extern "C" __attribute__((used)) __constant const uint '
                f"attn_index_{name}[] = {{{index}::value}};"
            )
            out += [*itertools.chain(*self.asked), inserted(tells, near)]
            self.asked = []
        return [*out, *apart]

    def _index_apart(self, name: Token, index: str) -> list[Token]:
        """Refuse an index that an earlier constant has; clang does where it works one out.

        Source: Metal has one constant an index, says SPIRV-Cross, which merges those of Vulkan.
        """
        spelled = index if index.isdecimal() else f"::{self.namespace}{index}::value"
        out: list[Token] = []
        for other, its in self.indices.items():
            message = (
                f"found function constant '{name.text}' numbered as '{other}' is; renumber one"
            )
            if its == spelled:
                raise RewriteError(name, message)
            if not (its.isdecimal() and spelled.isdecimal()):
                out.append(inserted(f'static_assert({its} != {spelled}, "{message}");', name))
        self.indices[name.text] = spelled
        return out

    def _is_derived(self, head: list[Token]) -> bool:
        """Whether a constant's value names a function constant: ``constant int m = n + 1``."""
        known = set(self.constants) | self.derived | {"is_function_constant_defined"}
        value = head[value_begin(head) :]
        used = {v.text for before, v in itertools.pairwise(value) if before.kind != "name"}
        return bool(known & used)

    def _derived_constants(self, head: list[Token], near: Token) -> list[Token]:
        """A function for each constant of a declaration, since what it is nobody knows yet.

        Of one that holds a lambda, too: clang calls no object in constant memory.
        """
        skip = (*SPACES, "const", "static", "constexpr")
        first, *others = split_commas([h for h in head if h.text not in skip])
        ends = value_begin(first)
        dims = next((k for k in range(ends) if first[k] == "[" and k), ends)
        type_tokens = first[: dims - 1]
        out: list[Token] = []
        for part in [first[dims - 1 :], *others]:
            name, begin = part[0].text, value_begin(part)
            value, dims = part[begin:], part[1:begin]
            value = value[1:] if value[0] == "=" else value
            if type_tokens == ["auto"] and value[0].text in ("(", "{"):
                value = value[1:-1]
            elif value[0] == "(":
                value = [*type_tokens, *value]
            result = self.code(type_tokens)
            if value[0] == "[":
                specifiers = "static constexpr" if self.class_scope else "constexpr"
                result = [inserted(specifiers, near), *result]
            if dims:  # a function returns no array, but a class that has one
                result = [inserted(f"attn_array_{name}", near)]
                array = [*self.code(type_tokens), inserted("a", near), *self.code(dims)]
                out += [inserted(f"struct attn_array_{name} {{", near), *array]
                out.append(inserted("; };", near))
                value = [inserted("{", near), *value, inserted("}", near)]
            out += [inserted("ATTN_INLINE", near), *result]
            out += [inserted(f"attn_derived_{name}() {{ return", near)]
            out += self.code(value, body=True)
            out.append(inserted("; }", near))
            self.derived.add(name)
            if dims:
                self.derived_arrays.add(name)
        return out


def _holds_lambda(head: list[Token]) -> bool:
    begin = value_begin(head)
    return head[begin + 1 : begin + 2] == ["["]


def _declared_again(t: list[Token], names: set[str]) -> set[str]:
    """Which of some names a function or a class gives to something of its own."""
    again = set()
    for i, token in enumerate(t[1:-1], 1):
        if token.text not in names or t[i + 1].text not in ("=", ";", ",", ")", "{", "(", "["):
            continue
        before = t[i - 1]
        pointer = before.text in ("*", "&") and {w.text for w in t[max(i - 5, 0) : i]} & set(SPACES)
        if pointer or (before.kind == "name" and before.text not in _STATEMENTS):
            again.add(token.text)
    return again


def _instance(bare: Instance, max_threads: str | None, around: tuple[str, str]) -> Instance:
    """An instance with its numbers, of which clang works out those that are none yet.

    Args:
        bare: an instance without.
        max_threads: the limit of its threads.
        around: what stands before and behind the name of a class that tells a number.
    """
    numbers: list[str] = []

    def number(one: str) -> str:
        if one.isdecimal():
            return one
        numbers.append(one.join(around))
        return numbers[-1]

    parameters = tuple(
        replace(
            parameter,
            attributes={
                of: number(value) if of in _INDEXED else value
                for of, value in parameter.attributes.items()
            },
        )
        for parameter in bare.parameters
    )
    limit = number(max_threads) if max_threads else ""
    return replace(
        bare,
        parameters=parameters,
        max_threads=int(limit) if limit.isdecimal() else None,
        numbers=tuple(numbers),
    )


def _template_arguments(call: list[Token]) -> list[list[Token]]:
    return split_commas(call[_angle(call) + 1 : -1]) if call[-1] == ">" else []


def _qualifies_method(t: list[Token], i: int) -> bool:
    """Whether a word at a place says where a method's object is: ``f() const device {``."""
    if t[i].text not in SPACES:
        return False
    before, after = i - 1, i + 1
    while t[before].text in ("const", "volatile"):
        before -= 1
    while t[after].text in ("const", "volatile"):
        after += 1
    return t[before] == ")" and t[after].text in ("{", ";", "=")


def _class_of_definition(t: list[Token], opens: int) -> str | None:
    """The class of a method defined outside it: ``R A<T>::f(...)``, ``A::operator()(...)``."""
    name = next((k for k in range(opens - 1, max(opens - 4, 0), -1) if t[k] == "operator"), None)
    if name is None:
        name = opens - 1
        if t[name] == ">":  # of a specialisation
            name = angle_open(t, name) - 1
    if name < 2 or t[name].kind != "name" or t[name - 1] != "::":
        return None
    at = close = name - 2
    if t[close] == ">":
        at = angle_open(t, close) - 1
    return t[at].text if t[at].kind == "name" else None


def _is_instantiation(d: Declaration) -> bool:
    """``template kernel ...``; ``template <...> kernel ...`` is a declaration."""
    return d.head[:1] == ["template"] and d.head[1:2] != ["<"]


def _is_redeclared(d: Declaration) -> bool:
    """``constant constexpr T A<int>::b;`` of C++14, which says again what its class says."""
    if d.parameters or "=" in {h.text for h in d.head}:
        return False
    last = next((i for i in range(len(d.head) - 1, 0, -1) if d.head[i].kind == "name"), 0)
    return last > 0 and d.head[last - 1] == "::"


def _call_begin(head: list[Token], end: int) -> int:
    """Where ``a::f<...>``, which ends before ``end``, begins."""
    begin = end - 1
    if head[begin] == ">":
        begin = angle_open(head, begin) - 1
    while begin >= 2 and head[begin - 1] == "::" and head[begin - 2].kind == "name":
        begin -= 2
    return begin


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


def _refuse_machine(tokens: list[Token], text: str) -> None:
    """What ends the process: LLVM's assembler at a line that it does not know, the rest running."""
    naked = _NAKED.search(text)
    for token in tokens:
        if naked and token.offset + len(token.text) >= naked.end():
            raise RewriteError(token, "found naked; MSL has no such attribute, remove it")
        if token.kind == "name" and token.text in _ASSEMBLY:
            raise RewriteError(token, f"found {token.text}; MSL has no assembly, remove it")
        if token.kind == "name" and _MACHINE.fullmatch(token.text):
            raise RewriteError(token, f"found {token.text}; MSL has none, remove it")
