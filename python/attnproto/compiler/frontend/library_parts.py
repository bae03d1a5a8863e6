"""Which parts of MSL's library a text asks for: what it does not name is not compiled with it."""

from __future__ import annotations

import re

# Header by header, in the order in which they build on one another, what shows that it is needed.
_PARTS = {
    "accuracy.h": r"\b(?:fast|precise)\s*::|(?:::|\bnamespace)\s*(?:fast|precise)\b",
    "packed.h": r"\bpacked_",
    "more_traits.h": r"\bis_(?:void|array|union|class|function|[lr]value_reference|fundamental|"
    r"scalar|object|compound|volatile|base_of)(?:_v)?\b"
    r"|\b(?:remove_extent|common_type|underlying_type|add_const)(?:_t)?\b"
    r"|\b__is_valid_simdgroup_type\b|\b(?:index|integer)_sequence\b",
    "matrix.h": r"\b(?:float|half)[234]x[234]\b|\bmatrix\s*<",
    "simdgroup_matrix.h": r"\b(?:simdgroup_(?!barrier\b)|make_\w+_simdgroup_matrix)\w*",
    "quad.h": r"\b(?:__metal_)?quad_\w+",
    "atomic.h": r"\b_?atomic|\b(?:memory_order|thread_scope)",
    "pack.h": r"\b(?:un)?pack_\w+_to_",
    "logging.h": r"\bos_log",
    "builtins.h": r"\b__metal_",
    "syntax.h": r"\battn_(?:value|object|filled|cast|to|scalar|start|element|pointer)"
    r"|\bATTN_FUNCTION\b",
    "functions.h": r"\b(?:visible_function_table|attn_function_table)\b",
}
_PATTERNS = {header: re.compile(shows) for header, shows in _PARTS.items()}


def includes(text: str) -> str:
    """Return the lines that include what a rewritten text needs of the library.

    The line after them is the second, however many they are.
    """
    needed = ["metal.h", *(h for h, pattern in _PATTERNS.items() if pattern.search(text))]
    return "".join(f'#include "attnproto/{header}"\n' for header in needed) + "#line 2\n"
