"""Rewrite the methods of classes: each gets the address space MSL gives it.

In MSL an object is in thread memory unless the method says otherwise; in C++ for OpenCL
it would be in the generic one, which kernels don't have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .declarations import Declaration, check_pointers, parameter_name, template_of
from .lexer import Token, angle_close, angle_open, inserted, split_commas
from .rewrite_code import SPACES, CodeRewriter


@dataclass
class MethodRewriter(CodeRewriter):
    """Rewrites methods."""

    placed: set[str] = field(default_factory=set)  # classes that name their methods' spaces
    by_reference: set[str] = field(default_factory=set)  # as "class::method", for objects that stay
    as_values: set[str] = field(default_factory=set)  # static methods of the class that we are in

    def method(
        self, t: list[Token], start: int, d: Declaration, class_name: str, *, inside: bool = True
    ) -> list[Token]:
        """In MSL an object is in thread memory unless the method says otherwise."""
        check_pointers(t, d)
        words = {h.text for h in d.head}
        close = d.parameters[1]
        until = d.initialiser or (d.body[0] if d.body else d.end - 1)
        tail = t[close + 1 : until]
        name_at = d.parameters[0] - 1
        if t[name_at] == ">":  # A<T>()
            name_at = angle_open(t, name_at) - 1
        method = f"{class_name}::{t[name_at].text}"
        if inside and "static" in words:
            self.static_methods.add(method)
        if t[name_at] == class_name and {class_name, "&"} <= {
            w.text for w in t[name_at + 1 : close]
        }:
            self.copied.add(class_name)
        special = t[name_at] == class_name and "operator" not in words
        out = self.code(t[start : close + 1])
        if inside and "static" in words and t[name_at].kind == "name":
            out = [*self._as_value(d.head, t[name_at]), *out]
        if special:
            # clang has no constructor for temporaries of a `thread`-qualified one.
            out += [inserted(SPACES.get(w.text, w.text), w) for w in tail if w != "thread"]
        elif "static" in words or "friend" in words or method in self.static_methods:
            out += self.code(tail)
        else:
            after = 0
            while after < len(tail) and tail[after].text in (*SPACES, "const", "volatile"):
                after += 1
            qualifiers = self.code(tail[:after])
            spaces = [w.text for w in tail[:after] if w.text in SPACES]
            forwarder = []
            if d.body and inside and after == len(tail) and spaces in ([], ["thread"]):
                forwarder = self._for_temporaries(t, start, d, class_name)
            if not spaces:
                qualifiers.append(inserted("__private", t[close]))
            if forwarder:
                self.by_reference.add(method)
            # Of methods that differ by their spaces only, all are for objects that stay, or none.
            stays = forwarder or class_name in self.placed
            specialises = d.head[:3] == ["template", "<", ">"] and method in self.by_reference
            if (stays or specialises) and tail[after : after + 1] != ["&"]:
                qualifiers.append(inserted("&", t[close]))
            out = [*forwarder, *out, *qualifiers, *self.code(tail[after:])]
        if not d.body:
            return [*out, *self.code(t[until : d.end])]
        begin, end = d.body
        if d.initialiser is None:
            out += self.code(t[until:begin])
        else:
            out += self._initialisers(t[until:begin])
        return [*out, t[begin], *self.body(t[begin + 1 : end]), t[end]]

    def _as_value(self, head: list[Token], name: Token) -> list[Token]:
        """What a static method is converted to a pointer by (mend.py); a template by its arguments.

        clang has static methods in the generic address space, where no pointer to a function is.
        """
        out: list[Token] = []
        if name.text not in self.as_values:
            out += [inserted("ATTN_FUNCTION(", name), name, inserted(", )", name)]
        template = template_of(head)
        arguments = template_arguments(template)
        key = name.text + " ".join(w.text for w in template)
        if arguments and key not in self.as_values:
            out += [*self.code(template), inserted("ATTN_FUNCTION(", name), name]
            out.append(inserted(f", <{arguments}>)", name))
        self.as_values |= {name.text, key}
        return out

    def _initialisers(self, t: list[Token]) -> list[Token]:
        """``: v(x, y)`` of a constructor; in braces clang takes it for vectors too."""
        out = [t[0]]
        for number, part in enumerate(split_commas(t[1:])):
            begin = next((k for k, w in enumerate(part) if w == "("), None)
            if begin is not None and len(split_commas(part[begin + 1 : -1])) > 1:
                inside = self.code(part[begin + 1 : -1])
                part = [*part[:begin], inserted("{", part[0]), *inside, inserted("}", part[-1])]
            else:
                part = self.code(part)
            out += [*([inserted(",", part[0])] if number else []), *part]
        return out

    def _for_temporaries(
        self, t: list[Token], start: int, d: Declaration, class_name: str
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
            name = parameter_name(parameter[:end])
            spelled = name.text if name else f"attn_argument_{number}"
            names.append(spelled + ("..." if "..." in parameter else ""))
            new = [] if name else [inserted(spelled, near)]
            declared += [*([inserted(",", near)] if number else []), *parameter[:end], *new]
            declared += parameter[end:]
        head = t[start:name_at]
        arguments = template_arguments(head)
        called = " ".join(w.text for w in self.code(t[name_at:begin]))
        converts = t[name_at] == "operator" and t[name_at + 1].kind == "name"  # operator T()
        if arguments and not converts:
            called = f"template {called}<{arguments}>"
        const = "const" if "const" in {w.text for w in t[close + 1 : d.body[0]]} else ""
        body = (
            f"{const} && {{ return (({const} __private {class_name}*)this)->{called}"
            f"({', '.join(names)}); }}"
        )
        return [
            *self.code([*t[start : begin + 1], *declared, near]),
            *[inserted(body, near)],
        ]


def template_arguments(head: list[Token]) -> str:
    """``T, N, Ts...`` of ``template <typename T, int N = 2, typename... Ts>``."""
    arguments: list[str] = []
    if head[:1] == ["template"]:
        for parameter in split_commas(head[2 : angle_close(head, 1)]):
            words = [w.text for w in parameter]
            end = words.index("=") if "=" in words else len(words)
            if end < 2 or parameter[end - 1].kind != "name" or words[end - 2] == "::":
                break
            arguments.append(words[end - 1] + ("..." if "..." in words else ""))
    return ", ".join(arguments)
