"""Structs of the engine that compiled kernels bring along, as constants of IR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def struct(layout: Mapping[str, int], **values: str | int) -> tuple[str, str]:
    """Write a struct, its fields in the order that the engine has them.

    Args:
        layout: Where each field begins, in bytes, as ``attnproto._core`` says.
        values: Of every field: a symbol where it is a pointer, else a number of 32 bits.

    Returns:
        Its type and its value.

    Raises:
        ValueError: Other fields than those of the layout, or of other sizes.
    """
    fields, at = [], 0
    for name in sorted(layout, key=layout.__getitem__):
        if name not in values or layout[name] != at:
            raise ValueError(f"found no field {name} at byte {at}, needs the engine's {layout}")
        is_pointer = isinstance(values[name], str)
        at += 8 if is_pointer else 4
        fields.append(("ptr" if is_pointer else "i32", values[name]))
    if len(fields) != len(values):
        raise ValueError(f"found fields {', '.join(values)}, needs the engine's {layout}")
    kind = ", ".join(kind for kind, _ in fields)
    return f"{{ {kind} }}", f"{{ {', '.join(f'{kind} {value}' for kind, value in fields)} }}"


def table(symbol: str, rows: Sequence[tuple[str, str]], linkage: str = "private") -> str:
    """Define a constant array of structs, of one type each.

    Args:
        symbol: Its name.
        rows: As :func:`struct` gives them.
        linkage: Of the symbol.
    """
    kind = rows[0][0] if rows else "{}"
    values = ", ".join(f"{kind} {value}" for kind, value in rows)
    return f"{symbol} = {linkage} constant [{len(rows)} x {kind}] [{values}]"
