"""Give function constants their values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from attnproto.compiler.interface import FunctionConstant, Value, Values
from attnproto.compiler.ir.module import _SYMBOL, Module
from attnproto.errors import KernelCompileError

_WHOLE_RANGES = {
    "char": (-128, 127), "uchar": (0, 255), "short": (-32768, 32767), "ushort": (0, 65535),
    "int": (-(2**31), 2**31 - 1), "uint": (0, 2**32 - 1),
    "long": (-(2**63), 2**63 - 1), "ulong": (0, 2**64 - 1),
}  # fmt: skip

_IR_TYPE = r'<\d+ x \w+>|\[[^\]]*\]|%"[^"]*"|[^,\s]+'
_TYPE = re.compile(rf" (?:constant|global) ({_IR_TYPE})")
_AGGREGATES = ("%", "[")  # how the types of structs and arrays begin
_VECTOR = re.compile(r"<(\d+) x (\w+)>")


def _literal(constant: FunctionConstant, value: Value, ir_type: str) -> str:
    """The value as IR, after checking that the declared type holds it."""
    where = f"[msl] function constant '{constant.name}' ({constant.type})"
    several = isinstance(value, Sequence)
    vector = _VECTOR.fullmatch(ir_type)
    if vector is None:
        if several and ir_type[:1] not in _AGGREGATES:
            raise KernelCompileError(f"{where} found {value!r}, needs one value; pass a number")
        return _number(where, constant.number or constant.type, value, ir_type)
    width, element_ir = int(vector[1]), vector[2]
    if not several or len(value) != width:
        raise KernelCompileError(
            f"{where} found {value!r}, needs {width} elements; pass a list of as many numbers"
        )
    element = (constant.number or constant.type).rstrip("234")
    parts = (f"{element_ir} {_number(where, element, one, element_ir)}" for one in value)
    return f"<{', '.join(parts)}>"


def _number(where: str, msl_type: str, value: bool | int | float, ir_type: str) -> str:
    """One number. Of a type whose name says nothing, the IR tells all but the sign."""
    if msl_type == "bool":
        if value not in (0, 1):
            raise KernelCompileError(f"{where} found {value!r}, needs True or False")
        return str(int(value))
    bits = int(ir_type[1:]) if ir_type[:1] == "i" else 0
    if bits:
        low, high = _WHOLE_RANGES.get(msl_type, (-(2 ** (bits - 1)), 2**bits - 1))
        if not low <= value <= high or int(value) != value:
            raise KernelCompileError(
                f"{where} found {value!r}, needs a whole number from {low} to {high}"
            )
        return str(int(value))
    if ir_type in ("float", "half", "bfloat"):
        literal = _real(ir_type, value)
        if literal is None:
            raise KernelCompileError(f"{where} found {value!r}, needs a number that it holds")
        return literal
    raise KernelCompileError(
        f"{where} found a type that no host can set, needs a scalar or a vector; use one, as float3"
    )


def _real(ir_type: str, value: float) -> str | None:
    """A number in hexadecimal, as IR has it: a float as a double. None: it is too large."""
    import ml_dtypes
    import numpy as np

    dtype = {"float": np.float32, "half": np.float16, "bfloat": ml_dtypes.bfloat16}[ir_type]
    with np.errstate(over="ignore"):
        rounded = np.asarray(value, dtype)
    if math.isinf(rounded) and not math.isinf(value):
        return None
    if ir_type == "float":
        return f"0x{rounded.astype(np.float64).view(np.uint64):016X}"
    return f"0x{'H' if ir_type == 'half' else 'R'}{rounded.view(np.uint16):04X}"


def fix_constants(
    module: Module,
    constants: Mapping[str, FunctionConstant],
    values: Values,
) -> None:
    """Give every function constant that the module uses its value.

    Raises:
        KernelCompileError: one that is used has no value.
    """
    missing = []
    for name, constant in constants.items():
        symbol, defined = f"@{name}", f"@attn_defined_{name}"
        if defined in module.globals:
            literal = "1" if name in values else "0"
            module.globals[defined] = _given(module.globals[defined], literal)
        if symbol not in module.globals:
            continue
        if name in values:
            ir_type = _TYPE.search(module.globals[symbol])[1]
            literal = _literal(constant, values[name], ir_type)
        elif defined in module.globals:
            literal = "zeroinitializer"  # the text asks whether it is set before it reads it
        else:
            missing.append(f"'{name}' (index {constant.index}, {constant.type})")
            continue
        module.globals[symbol] = _given(module.globals[symbol], literal)
    if missing:
        raise KernelCompileError(
            f"[msl] found no value for function constant {', '.join(missing)}, which the kernel "
            "reads; pass it in constants"
        )


def _given(line: str, literal: str) -> str:
    """An external constant's declaration as a definition."""
    match = re.match(rf"({_SYMBOL}) = .*?(addrspace\(\d+\)) constant ({_IR_TYPE})", line)
    symbol, space, ir_type = match.groups()
    return f"{symbol} = internal {space} constant {ir_type} {literal}"
