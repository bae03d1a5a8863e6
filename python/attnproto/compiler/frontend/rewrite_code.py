"""Rewrite the inside of MSL functions, and types, to C++ for OpenCL 2021.

One method each: address spaces, vector construction, number suffixes, threadgroup
variables, reserved words, copies out of constant memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .casts import is_cast, is_truth
from .lexer import (
    RewriteError,
    Token,
    angle_close,
    close_of,
    inserted,
    is_attribute,
    skipping_brackets,
    split_commas,
)

SPACES = {
    "device": "__global",
    "constant": "__constant",
    "threadgroup": "__local",
    "thread": "__private",
}
SCALARS = ("float", "half", "bfloat", "bool", "int", "uint", "short", "ushort", "char", "uchar")
_NUMBERS = (*SCALARS, "long", "ulong")
# Packed vectors of three are classes (attnproto/packed.h).
_VECTORS = {s + n for s in _NUMBERS for n in "234"} | {
    f"packed_{s}{n}" for s in _NUMBERS for n in "24"
}
TABLE = "visible_function_table"
_BOOLS = {"bool2", "bool3", "bool4"}
# Words that C++ for OpenCL reserves and MSL does not.
_RESERVED = {"global", "local", "generic", "pipe", "read_only", "write_only", "read_write"}
_ALIGNMENTS = ("alignas", "__attribute__")
_SPECIFIERS = ("static", "volatile", "const")  # that may stand before threadgroup
# What an alias or a constant begins with that may be a pointer to a function.
_NAMES_A_POINTER = ("typedef", "using", "constexpr")
_ASSEMBLY = {"asm", "__asm", "__asm__"}
# Types that OpenCL predefines, and then finds ambiguous.
_ATOMICS = {f"atomic_{t}": f"atomic<{t}>" for t in ("bool", "int", "uint", "ulong", "float")}


@dataclass
class CodeRewriter:
    """What the declarations before say about names, and the rewriting that needs it."""

    derived: set[str] = field(default_factory=set)  # constants computed from others
    derived_arrays: set[str] = field(default_factory=set)  # those of them that are arrays
    vectors: set[str] = field(default_factory=lambda: set(_VECTORS))
    bools: set[str] = field(default_factory=lambda: set(_BOOLS))  # those of the vectors of bool
    classes: set[str] = field(default_factory=set)
    type_parameters: set[str] = field(default_factory=set)  # of the templates that we are in
    copied: set[str] = field(default_factory=set)  # classes that say how they are copied
    static_methods: set[str] = field(default_factory=set)  # as "class::method"
    threadgroup_variables: int = 0

    def note_alias(self, head: list[Token]) -> None:
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
        if target[:2] == ["decltype", "("]:  # of a construction, as in decltype(float4(0))
            target = target[2:]
        if target[:1] == ["vec"] or (target and target[0] in self.vectors):
            self.vectors.add(name)
        if target[:3] == ["vec", "<", "bool"] or (target and target[0] in self.bools):
            self.bools.add(name)

    def body(self, t: list[Token]) -> list[Token]:
        """A function's body: threadgroup variables, then expressions."""
        out: list[Token] = []
        rest: list[Token] = []
        i, starts = 0, True
        while i < len(t):
            token = t[i]
            if starts and token.text in ("using", "typedef"):
                end = next(k for k in range(i, len(t)) if t[k] == ";")
                self.note_alias(t[i:end])
            if starts and declares_threadgroup(t, i):
                end = self._threadgroup_declaration(t, i)
                if end is not None:
                    out += self.code(rest, body=True)
                    rest = []
                    out += self._threadgroup_variables(t[i:end])
                    i = end + 1
                    continue
            rest.append(token)
            starts = token.text in (";", "{", "}", ")") or token.kind == "directive"
            i += 1
        return out + self.code(rest, body=True)

    def _threadgroup_declaration(self, t: list[Token], i: int) -> int | None:
        """The ``;`` that ends a declaration of variables; None for pointers and the like."""
        j = i
        while j < len(t) and t[j] != ";":
            text = t[j].text
            if text in ("*", "&", "(", ")"):
                return None
            if text in _ALIGNMENTS or text == "{":
                j = close_of(t, j + (text != "{"))
            elif text == "<":
                j = angle_close(t, j) or j
            elif text == "[":
                j = close_of(t, j)
            j += 1
        return j

    def _threadgroup_variables(self, tokens: list[Token]) -> list[Token]:
        plain: list[Token] = []
        alignment = ""
        i = 0
        while i < len(tokens):
            if is_attribute(tokens, i):
                i = close_of(tokens, i) + 1
                continue
            if tokens[i].text in _ALIGNMENTS:
                end = close_of(tokens, i + 1)
                aligned = tokens[i + 2 : end] if tokens[i] == "alignas" else tokens[i + 5 : end - 2]
                alignment = "".join(f", {w.text}" for w in aligned[:1])
                i = end + 1
                continue
            if tokens[i].text not in (*SPACES, "const", "volatile", "static"):
                plain.append(tokens[i])
            i += 1
        out: list[Token] = []
        base: list[Token] | None = None
        for part in split_commas(plain):
            value = next((k for k, w in enumerate(part) if w.text in ("=", "{")), len(part))
            part, value = part[:value], part[value:]
            dims = next((k for k, w in enumerate(part) if w == "[" and k), len(part))
            name = self.code([part[dims - 1]])[0]
            if base is None:
                base = part[: dims - 1]
            self.threadgroup_variables += 1
            out += [
                inserted(f"__local auto& {name.text} = attn_threadgroup<", name),
                inserted(f"{self.threadgroup_variables},", name),
                *self.code(base + part[dims:]),
                inserted(f"{alignment}>();", name),
                *(self._start(name, value, bool(part[dims:])) if value else []),
            ]
        return out

    def _start(self, name: Token, value: list[Token], is_array: bool) -> list[Token]:
        """``= {0}``, which Metal takes of arrays."""
        inside = value[1:] if value[0] == "=" else value
        if not is_array or inside[0] != "{":
            raise RewriteError(
                name,
                f"threadgroup variable '{name.text}' cannot start with a value; assign it later",
            )
        if all(w.text in ("{", "}", ",") or w.text.strip("0.fhFHu") == "" for w in inside):
            return [inserted(f"attn_start_zero({name.text});", name)]
        return [
            inserted(f"attn_start({name.text},", name),
            *self.code(inside[1:-1]),
            inserted(");", name),
        ]

    def code(self, t: list[Token], *, body: bool = False) -> list[Token]:
        """Rewrite the tokens of a type or an expression, or of the statements of a body."""
        out: list[Token] = []
        templates_end = 0  # of the parameters of templates that functions have been written in
        i = 0
        while i < len(t):
            token = t[i]
            if is_attribute(t, i) and not (out and out[-1] == "]"):
                i = close_of(t, i) + 1
                continue
            text = token.text
            if text in SPACES:
                if text != "thread" or not (_qualifies_again(t, i) or _takes_temporaries(t, i)):
                    out.append(inserted(SPACES[text], token))
                    if text == "constant" and "const" not in (*out[-2:-1], *t[i + 1 : i + 2]):
                        # What is in constant memory is const: one type for both spellings.
                        out.append(inserted("const", token))
            elif text == "template" and t[i + 1 : i + 2] == ["<"]:
                # clang has no template argument that is a pointer to a function, but functions.
                if i >= templates_end:
                    end = angle_close(t, i + 1) or i + 1
                    parameters = as_functions(t[i:end])
                    t = [*t[:i], *parameters, *t[end:]]
                    templates_end = i + len(parameters)
                out.append(token)
            elif text in _NAMES_A_POINTER and (named := function_pointer(t, i)):
                out += [token, *self.code(named[0])]
                i = named[1]
                continue
            elif text == "kernel":
                pass
            elif token.kind == "number":
                out.append(self._number(token))
            elif text == TABLE and t[i + 1 : i + 2] == ["<"]:
                i = self._table(t, i, out)
                continue
            elif token.kind == "name" and self._is_vector(t, i):
                i = self._vector(t, i, out, body)
                continue
            elif body and text in self.classes - self.copied and self._copies(t, i, out):
                i = self._copy(t, i, out)
                continue
            elif text == "is_function_constant_defined" and t[i + 1 : i + 2] == ["("]:
                close = close_of(t, i + 1)
                *scope, name = t[i + 2 : close]
                out += [*scope, inserted(f"attn_defined_{name.text}", token)]
                i = close
            elif text in self.type_parameters and self._converts(t, i):
                # T(x), where T may be a vector of another element than x.
                close = close_of(t, i + 1)
                out += [inserted("attn_cast<", token), token, inserted(">(", token)]
                out += [*self._value(t[i + 2 : close], token), t[close]]
                i = close
            elif text == "(" and self._is_cast_to_parameter(t, i, out):
                out += self._cast([t[i + 1]], t[i + 3 :])
                i += 2
            elif text in self.derived and not (out and out[-1].text in (".", "->")):
                array = ".a" if text in self.derived_arrays else ""
                out.append(inserted(f"attn_derived_{text}(){array}", token))
            elif body and text in _ASSEMBLY:
                raise RewriteError(token, "inline assembly is no MSL; write it in MSL")
            elif text in _RESERVED:
                out.append(inserted(f"attn_name_{text}", token))
            elif text in _ATOMICS:
                out.append(inserted(_ATOMICS[text], token))
            else:
                out.append(token)
            i += 1
        return out

    def _number(self, token: Token) -> Token:
        text = token.text.replace("'", "")
        lower = text.lower()
        if lower.endswith("bf") and not lower.startswith("0x"):
            return inserted(f"((bfloat){text[:-2]})", token)
        if lower.endswith("h") and "." not in text and "e" not in lower and lower[:2] != "0x":
            return inserted(f"((half){text[:-1]})", token)
        return token if text == token.text else inserted(text, token)

    def _table(self, t: list[Token], i: int, out: list[Token]) -> int:
        """``visible_function_table<R(A...)>``: R( is a type here and constructs nothing."""
        end = angle_close(t, i + 1)
        opens = next((k for k in range(i + 2, end or 0) if t[k] == "("), None)
        if end and opens is None and t[end - 1].text not in _NUMBERS:  # by another name
            out += [*t[i : i + 2], *self.code(t[i + 2 : end]), t[end]]
            return end + 1
        if opens is None:
            raise RewriteError(t[i], f"{TABLE} needs a function type, as float(float)")
        out += [*t[i : i + 2], *self.code(t[i + 2 : opens]), t[opens]]
        out += [*self.code(t[opens + 1 : end - 1]), *t[end - 1 : end + 1]]
        return end + 1

    def _is_vector(self, t: list[Token], i: int) -> bool:
        return t[i].text in self.vectors or (t[i] == "vec" and t[i + 1 : i + 2] == ["<"])

    def _vector(self, t: list[Token], i: int, out: list[Token], body: bool) -> int:
        """A vector's type, or its construction: ``float4(x)``, ``float4(a, b, c, d)``."""
        end = i
        if t[i + 1 : i + 2] == ["<"]:
            end = angle_close(t, i + 1) or i
        type_tokens = self.code(t[i + 1 : end + 1])
        bools = t[i].text in self.bools
        if [w.text for w in type_tokens[:2]] == ["<", "bool"]:
            bools = True
            type_tokens[1] = inserted("uchar", type_tokens[1])
        type_tokens = [t[i], *type_tokens]
        convert = "attn_bools" if bools else "attn_vector"
        scope = _scope_begin(out)
        following = [w.text for w in t[end + 1 : end + 3]]
        before = out[-1].text if out else ""
        if body and t[end + 1].kind == "name" and following[1] in ("=", "(", ","):
            words = [o.text for o in out[max(scope - 2, 0) : scope]] or [";"]
            stop = next((k for k in skipping_brackets(t, end) if t[k] == ";"), None)
            if stop and (words[-1] not in ("(", ",", "<") or words == ["for", "("]):
                named = [*out[scope:], *type_tokens]
                out += [*type_tokens, *self._declarators(named, t[end + 1 : stop], bools)]
                return stop
        if following[:1] == [")"] and not bools:
            opens = scope - 1
            if is_cast(out, opens, t[end + 2 :]):
                type_tokens = [*out[opens + 1 :], *type_tokens]
                out[opens:] = self._cast(type_tokens, t[end + 2 :])
                return end + 2
        if (
            following[:1] not in (["("], ["{"])
            or before in ("operator", "~")
            or "operator" in [o.text for o in out[-4:]]
        ):
            out += type_tokens
            return end + 1
        close = close_of(t, end + 1)
        type_tokens = [*out[scope:], *type_tokens]
        del out[scope:]
        out += self._constructed(type_tokens, t[end + 2 : close], convert)
        return close + 1

    def _declarators(
        self, type_tokens: list[Token], declared: list[Token], bools: bool
    ) -> list[Token]:
        """``a(1, 2), b = x, c`` behind a vector's type."""
        out: list[Token] = []
        for part in split_commas(declared):
            name, value = part[0], part[1:]
            out += [inserted(",", name)] if out else []
            if value[:1] == ["("]:
                convert = "attn_bools" if bools else "attn_vector"
                vector = self._constructed(type_tokens, value[1:-1], convert)
            elif bools and value[:1] == ["="] and value[1] != "{":
                vector = self._constructed(type_tokens, value[1:], "attn_start_bools")
            else:
                out += self.code(part, body=True)
                continue
            out += [*self.code([name]), inserted("=", name), *vector]
        return out

    def _constructed(
        self, type_tokens: list[Token], arguments: list[Token], convert: str
    ) -> list[Token]:
        """A vector of one value, by a function of the library, or of several."""
        near, parts = type_tokens[0], split_commas(arguments)
        if not parts:
            return [inserted("((", near), *type_tokens, inserted(")(0))", near)]
        if len(parts) == 1:
            begin = [inserted(f"{convert}<", near), *type_tokens, inserted(">(", near)]
            truths = convert == "attn_vector"  # others see themselves whether a value is true
            value = self._value(parts[0], near) if truths else self.code(parts[0])
            return [*begin, *value, inserted(")", near)]
        out = [inserted("((", near), *type_tokens, inserted(")(", near)]
        for k, part in enumerate(parts):
            out += [*([inserted(",", near)] if k else []), *self.code(part)]
        return [*out, inserted("))", near)]

    def _converts(self, t: list[Token], i: int) -> bool:
        """Whether a type's name at a place is followed by the one value that it is made of.

        As ``T(x)`` is, and ``T (&x)[2]``, ``T(*x)(int)`` and ``T(T)`` are not.
        """
        if t[i + 1 : i + 2] != ["("] or (i and t[i - 1].text in (".", "->", "::", "operator")):
            return False
        value = t[i + 2 : close_of(t, i + 1)]
        if not value or len(split_commas(value)) > 1:
            return False
        if value[0].text in ("&", "*", "{", "const", *SPACES):
            return False
        types = {*_NUMBERS, "void"} | self.type_parameters | self.vectors
        return value[0].text not in types or value[1:2] == ["("]

    def _is_cast_to_parameter(self, t: list[Token], i: int, out: list[Token]) -> bool:
        """``(T)`` before an operand, where T is a parameter of a template."""
        return (
            t[i + 2 : i + 3] == [")"]
            and t[i + 1].text in self.type_parameters
            and is_cast([*out, t[i]], len(out), t[i + 3 :])
        )

    def _cast(self, type_tokens: list[Token], operand: list[Token]) -> list[Token]:
        """``(float4)`` before an operand."""
        near = type_tokens[0]
        out = [inserted("attn_to<", near), *type_tokens, inserted(">() ->*", near)]
        if operand[0] == "(" and is_truth(operand[1 : close_of(operand, 0)]):
            out.append(inserted("attn_truth", near))
        return out

    def _value(self, value: list[Token], near: Token) -> list[Token]:
        """What is converted; a comparison of vectors is 0 or 1 in MSL, and 0 or -1 for clang."""
        tokens = self.code(value)
        if not is_truth(value):
            return tokens
        return [inserted("attn_truth(", near), *tokens, inserted(")", near)]

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
        end = next(k for k in skipping_brackets(t, i) if t[k] == ";")
        value = t[i + 3 : end]
        if len(split_commas(value)) > 1:
            out += t[i : i + 1]
            return i + 1
        out += [t[i], *self.code([t[i + 1]]), t[i + 2], inserted(f"attn_copy<{t[i].text}>(", t[i])]
        out += [*self.code(value), inserted(")", t[end - 1])]
        return end


def _scope_begin(out: list[Token]) -> int:
    """Where ``a::b::`` begins, with which a name that follows is qualified."""
    begin = len(out)
    while begin and out[begin - 1] == "::":
        begin -= 2 if begin > 1 and out[begin - 2].kind == "name" else 1
    return begin


def declares_threadgroup(t: list[Token], i: int) -> bool:
    """Whether a declaration in threadgroup memory begins at ``i``."""
    while i < len(t) and t[i].text in (*_ALIGNMENTS, *_SPECIFIERS):
        i = close_of(t, i + 1) + 1 if t[i].text in _ALIGNMENTS else i + 1
    return i < len(t) and t[i] == "threadgroup"


def as_functions(t: list[Token]) -> list[Token]:
    """``R (*f)(A)`` and ``R (&f)(A)`` as ``R f(A)``, also of a pack or without a name."""
    out: list[Token] = []
    i = 0
    while i < len(t):
        close = close_of(t, i) if t[i] == "(" and t[i + 1].text in ("*", "&") else i
        name = t[i + 2 : close]
        if t[close : close + 2] == [")", "("] and all(w.kind == "name" or w == "..." for w in name):
            out += name
            i = close + 1
        else:
            out.append(t[i])
            i += 1
    return out


def function_pointer(t: list[Token], i: int) -> tuple[list[Token], int] | None:
    """``typedef R (*N)(A)``, ``using N = R (*)(A)`` or ``constexpr R (*n)(A)`` that begins here.

    Returns:
        The same with the pointer's type as one (syntax.h), and where it ends; None of all else.
    """
    end = next((k for k in skipping_brackets(t, i) if t[k] == ";"), len(t))
    begin = next((k + 1 for k in range(i, end) if t[k] == "="), end) if t[i] == "using" else i + 1
    while begin < end and t[begin].text in (*SPACES, "const", "static", "inline"):
        begin += 1
    opens = next((k for k in skipping_brackets(t[:end], begin) if t[k].text in ("(", "=")), end)
    if opens == begin or t[opens : opens + 2] != ["(", "*"]:
        return None
    close = close_of(t, opens)
    if t[close + 1 : close + 2] != ["("]:
        return None
    after, near = close_of(t, close + 1) + 1, t[i]
    kind = [inserted("attn_pointer<", near), *t[begin : opens + 2], *t[close:after]]
    return [*t[i + 1 : begin], *kind, inserted(">", near), *t[opens + 2 : close]], after


def with_stored_elements(t: list[Token]) -> list[Token]:
    """``vec<T, N>`` of an alias, where T may be bool."""
    out: list[Token] = []
    for i, token in enumerate(t):
        out.append(token)
        opens = [w.text for w in t[i - 1 : i + 1]] == ["vec", "<"] and t[i + 2 : i + 3] == [","]
        if opens and t[i + 1].kind == "name" and t[i + 1].text not in _NUMBERS:
            out.append(inserted("attn_element <", token))
        if i > 1 and t[i - 2 : i] == ["vec", "<"] and out[-2].text == "attn_element <":
            out.append(inserted(">", token))
    return out


def _takes_temporaries(t: list[Token], i: int) -> bool:
    """Whether ``thread`` is of a ``thread T&&``; clang's temporaries are in no space by name."""
    k = i + 1
    while k < len(t) and (t[k].kind == "name" or t[k].text in ("::", "<")):
        k = (angle_close(t, k) or len(t)) + 1 if t[k] == "<" else k + 1
    return t[k : k + 1] == ["&&"] or t[k : k + 2] == ["&", "&"]


def _qualifies_again(t: list[Token], i: int) -> bool:
    """Whether ``thread`` says where a pointer is and another word where it points."""
    begin = i
    while begin and (t[begin - 1].kind == "name" or t[begin - 1] == "::"):
        begin -= 1
    end = i
    while end < len(t) and (t[end].kind == "name" or t[end] == "::"):
        end += 1
    return any(w.text in SPACES and w != "thread" for w in t[begin:end])
