"""Types of numbers by one name each: ``unsigned int`` and ``uint32_t`` are ``uint``."""

from __future__ import annotations

import functools

from .lexer import Token, angle_close
from .numbers import Numbers

_FIXED = {8: "char", 16: "short", 32: "int", 64: "long"}
_NAMES = {
    **{f"int{bits}_t": name for bits, name in _FIXED.items()},
    **{f"uint{bits}_t": f"u{name}" for bits, name in _FIXED.items()},
    "size_t": "ulong", "ptrdiff_t": "long", "unsigned": "uint", "signed": "int",
}  # fmt: skip
_SCALARS = {
    "bool", "float", "half", "bfloat", *_FIXED.values(), *(f"u{name}" for name in _FIXED.values())
}  # fmt: skip
_PLAIN = {"metal", "::", "const", "volatile", "constant", "static", "constexpr"}


class NumberTypes:
    """The scalars and vectors of a text, which may give them names of its own."""

    def __init__(self, tokens: list[Token]):
        self._tokens = tokens
        self._numbers = Numbers(tokens)

    def name(self, spelled: list[Token]) -> str | None:
        """The name of a type as ``uint`` or ``half4``; None of one that is neither.

        A packed vector is none: it is a type of memory, and no host can set a constant of it.
        """
        seen: set[str] = set()
        while True:
            spelled = [token for token in spelled if token.text not in _PLAIN]
            words = [token.text for token in spelled]
            if words[:2] == ["vec", "<"]:
                return self._vector(spelled)
            if len(words) != 1 or words[0] not in self._aliases or words[0] in seen:
                break
            seen.add(words[0])
            spelled = self._aliases[words[0]]
        name = _joined(words)
        element = name[:-1] if name[-1:] in ("2", "3", "4") else name
        return name if element in _SCALARS else None

    def _vector(self, spelled: list[Token]) -> str | None:
        close = angle_close(spelled, 1)
        comma = next((i for i, token in enumerate(spelled) if token == ","), None)
        if comma is None or close != len(spelled) - 1:
            return None
        element, width = self.name(spelled[2:comma]), self._numbers.value(spelled[comma + 1 : -1])
        return f"{element}{width}" if element in _SCALARS and width in (2, 3, 4) else None

    @functools.cached_property
    def _aliases(self) -> dict[str, list[Token]]:
        """What ``using`` and ``typedef`` give another name."""
        t, aliases = self._tokens, {}
        for i, token in enumerate(t):
            if token.text not in ("using", "typedef"):
                continue
            end = next((k for k in range(i, len(t)) if t[k].text in (";", "{")), i)
            if t[end] != ";":
                continue
            if token == "typedef":
                aliases[t[end - 1].text] = t[i + 1 : end - 1]
            elif t[i + 2 : i + 3] == ["="]:
                aliases[t[i + 1].text] = t[i + 3 : end]
        return aliases


def _joined(words: list[str]) -> str:
    """``unsigned long int`` as ``ulong``."""
    if len(words) == 1:
        return _NAMES.get(words[0], words[0])
    sign = "u" if "unsigned" in words else ""
    rest = {word for word in words if word not in ("unsigned", "signed", "int")} or {"int"}
    return sign + rest.pop() if len(rest) == 1 else ""
