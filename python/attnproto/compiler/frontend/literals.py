"""Numbers as MSL reads them: one with a point or an exponent and no suffix is a float.

clang's own option for that leaves out literals in code that depends on a template's parameter,
which then computes in double.
"""

from __future__ import annotations

import re

_DIGITS = r"\d(?:'?\d)*"
_HEX_DIGITS = r"[\da-fA-F](?:'?[\da-fA-F])*"
_DECIMAL = rf"(?:(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?\d+)?|{_DIGITS}[eE][+-]?\d+)"
_HEXADECIMAL = rf"0[xX](?:{_HEX_DIGITS}\.?(?:{_HEX_DIGITS})?|\.{_HEX_DIGITS})[pP][+-]?\d+"
_UNSUFFIXED = re.compile(f"{_DECIMAL}|{_HEXADECIMAL}")


def single(number: str) -> str:
    """Spell a number so that every compiler takes it for the type that MSL gives it.

    Args:
        number: a preprocessing number: ``1``, ``0x1f``, ``.5``, ``1e-3h``, ``0x1.8p-3``.
    """
    return f"{number}f" if _UNSUFFIXED.fullmatch(number) else number
