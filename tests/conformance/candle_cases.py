"""candle's kernels against FP64, at sizes that divide nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import attnproto
import ml_dtypes
import numpy as np
from scipy import special

from . import texts
from .case import UNFENCED, Case, assert_close, launch
from .texts import Text

_ELEMENTS = {
    "f32": (np.float32, 1e-5),
    "f16": (np.float16, 4e-3),
    "bf16": (ml_dtypes.bfloat16, 3e-2),
}
_ROWS, _COLUMNS = 5, 211


@functools.cache
def _texts() -> dict[str, Text]:
    return {one.name: one for one in texts.candle()}


def _normal(*shape: int, seed: int = 1, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _over(x: np.ndarray) -> dict[str, tuple[int, int, int] | int]:
    """More threads than numbers: kernels end those that have none."""
    return {"threadgroups": -(-x.size // 64), "threads": 64}


def _sizes(values: tuple[int, ...], dtype: type = np.uint64) -> np.ndarray:
    return np.array(values, dtype)


_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sqr": np.square,
    "gelu": lambda x: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: x * special.ndtr(x), "erf": special.erf, "abs": np.abs,
    "silu": lambda x: x * special.expit(x), "sigmoid": special.expit, "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0), "recip": lambda x: 1 / x, "ceil": np.ceil,
}  # fmt: skip


def _unary(operation: str, element: str, device: attnproto.Device) -> None:
    dtype, rtol = _ELEMENTS[element]
    x = _normal(_ROWS, _COLUMNS, dtype=dtype)
    out = np.full_like(x, np.nan)
    launch(
        device, _texts()["unary.metal"], f"{operation}_{element}",
        {0: np.uint64(x.size), 1: x, 2: out}, **_over(x),
    )  # fmt: skip
    assert_close(out, _UNARY[operation](x.astype(np.float64)), rtol)


def _unary_strided(device: attnproto.Device) -> None:
    x = _normal(_COLUMNS, _ROWS)
    out = np.full((_ROWS, _COLUMNS), np.nan, np.float32)
    launch(
        device, _texts()["unary.metal"], "exp_f32_strided",
        {0: np.uint64(x.size), 1: np.uint64(2), 2: _sizes(out.shape), 3: _sizes((1, _ROWS)),
         4: x, 5: out}, **_over(x),
    )  # fmt: skip
    assert_close(out, np.exp(x.T.astype(np.float64)), 1e-5)


_BINARY = {
    "badd": np.add, "bsub": np.subtract, "bmul": np.multiply, "bdiv": np.divide,
    "bmaximum": np.maximum, "bminimum": np.minimum, "le": np.less_equal, "gt": np.greater,
}  # fmt: skip


def _binary(operation: str, element: str, device: attnproto.Device) -> None:
    dtype, rtol = _ELEMENTS[element]
    a, b = (_normal(_ROWS, _COLUMNS, seed=seed, dtype=dtype) for seed in (1, 2))
    b = (b + np.sign(b)).astype(dtype)
    out = np.full(a.shape, 77, np.uint8 if operation in ("le", "gt") else dtype)
    launch(
        device, _texts()["binary.metal"], f"{operation}_{element}",
        {0: np.uint64(a.size), 1: a, 2: b, 3: out}, **_over(a),
    )  # fmt: skip
    assert_close(out, _BINARY[operation](a.astype(np.float64), b.astype(np.float64)), rtol)


def _binary_strided(device: attnproto.Device) -> None:
    """The first is transposed, the second's rows are one."""
    a, b = _normal(_COLUMNS, _ROWS), _normal(_COLUMNS, seed=2)
    out = np.full((_ROWS, _COLUMNS), np.nan, np.float32)
    launch(
        device, _texts()["binary.metal"], "bsub_f32_strided",
        {0: np.uint64(a.size), 1: np.uint64(2), 2: _sizes(out.shape), 3: _sizes((1, _ROWS)),
         4: _sizes((0, 1)), 5: a, 6: b, 7: out}, **_over(a),
    )  # fmt: skip
    assert_close(out, a.T.astype(np.float64) - b, 1e-6)


def _affine(element: str, device: attnproto.Device) -> None:
    dtype, rtol = _ELEMENTS[element]
    x = _normal(_ROWS, _COLUMNS, dtype=dtype)
    out = np.full_like(x, np.nan)
    launch(
        device, _texts()["affine.metal"], f"affine_{element}",
        {0: np.uint64(x.size), 1: np.float32(1.5), 2: np.float32(-0.25), 3: x, 4: out}, **_over(x),
    )  # fmt: skip
    assert_close(out, 1.5 * x.astype(np.float64) - 0.25, rtol)


def _where(device: attnproto.Device) -> None:
    a, b = _normal(_ROWS, _COLUMNS), _normal(_COLUMNS, _ROWS, seed=2)
    chosen = (a > 0).astype(np.uint8)
    out = np.full_like(a, np.nan)
    along = _sizes((_COLUMNS, 1))
    launch(
        device, _texts()["ternary.metal"], "where_u8_f32",
        {0: np.uint64(a.size), 1: np.uint64(2), 2: _sizes(a.shape), 3: along, 4: along,
         5: _sizes((1, _ROWS)), 6: chosen, 7: a, 8: b, 9: out},
        constants={"IDS_CONTIGUOUS": True, "T_CONTIGUOUS": True, "F_CONTIGUOUS": False},
        **_over(a),
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.where(a > 0, a, b.T))


_REDUCED = {"sum": np.sum, "mul": np.prod, "max": np.max, "min": np.min}


def _reduce(operation: str, element: str, device: attnproto.Device) -> None:
    dtype, rtol = _ELEMENTS[element]
    x = _normal(_ROWS, _COLUMNS, dtype=dtype)
    if operation == "mul":
        x = (1 + x / 16).astype(dtype)
    out = np.full(_ROWS, np.nan, dtype)
    launch(
        device, _texts()["reduce.metal"], f"fast_{operation}_{element}",
        {0: np.uint32(x.size), 1: np.uint32(2), 2: _sizes(x.shape, np.uint32),
         3: np.uint32(_COLUMNS), 4: x, 5: out}, threadgroups=_ROWS, threads=128,
    )  # fmt: skip
    wanted = _REDUCED[operation](x.astype(np.float64), -1)
    assert_close(out, wanted, rtol, 15 if operation == "sum" else 1)


def _arg_reduce(operation: str, device: attnproto.Device) -> None:
    x, out = _normal(_ROWS, _COLUMNS), np.full(_ROWS, 7777, np.uint32)
    launch(
        device, _texts()["reduce.metal"], f"fast_arg{operation}_f32",
        {0: np.uint32(x.size), 1: np.uint32(2), 2: _sizes(x.shape, np.uint32),
         3: np.uint32(_COLUMNS), 4: x, 5: out}, threadgroups=_ROWS, threads=128,
    )  # fmt: skip
    np.testing.assert_array_equal(out, getattr(np, f"arg{operation}")(x, -1))


def _softmax(element: str, device: attnproto.Device) -> None:
    dtype, rtol = _ELEMENTS[element]
    x = (_normal(_ROWS, _COLUMNS) * 3).astype(dtype)
    out = np.full_like(x, np.nan)
    launch(
        device, _texts()["reduce.metal"], f"softmax_{element}",
        {0: np.uint32(x.size), 1: np.uint32(_COLUMNS), 2: x, 3: out},
        threadgroups=_ROWS, threads=128,
    )  # fmt: skip
    assert_close(out, special.softmax(x.astype(np.float64), -1), rtol)


def _norm(kind: str, element: str, device: attnproto.Device) -> None:
    dtype, rtol = _ELEMENTS[element]
    x = _normal(_ROWS, _COLUMNS, dtype=dtype)
    weight, bias = (_normal(1, _COLUMNS, seed=seed, dtype=dtype) for seed in (2, 3))
    out = np.full_like(x, np.nan)
    bound = [np.uint32(x.size), np.uint32(_COLUMNS), x, out, weight]
    bound += [bias] if kind == "layernorm" else []
    launch(
        device, _texts()["reduce.metal"], f"{kind}_{element}",
        dict(enumerate([*bound, np.float32(1e-5)])), threadgroups=_ROWS, threads=128,
    )  # fmt: skip
    wide = x.astype(np.float64)
    if kind == "layernorm":
        wide = wide - wide.mean(-1, keepdims=True)
    wanted = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * weight.astype(np.float64)
    assert_close(out, wanted + (bias.astype(np.float64) if kind == "layernorm" else 0), rtol)


def _rope(kind: str, element: str, device: attnproto.Device) -> None:
    """Of [heads, tokens, 22], or with heads inside tokens; pairs are half apart, or neighbours."""
    dtype, rtol = _ELEMENTS[element]
    heads, tokens, width = 3, 7, 22
    angles = np.random.default_rng(9).uniform(0, 6, (tokens, width // 2))
    cos, sin = (f(angles).astype(dtype) for f in (np.cos, np.sin))
    x = _normal(heads, tokens, width, dtype=dtype)
    if kind == "rope_thd":
        x = np.ascontiguousarray(x.swapaxes(0, 1))
    out = np.full_like(x, np.nan)
    sizes = {
        "rope": (heads, tokens * width, width, 0), "rope_i": (heads, tokens * width, 0),
        "rope_thd": (1, tokens, heads, width, 0),
    }[kind]  # fmt: skip
    bound = [*(np.uint64(one) for one in sizes), x, cos, sin, out]
    launch(
        device, _texts()["reduce.metal"], f"{kind}_{element}", dict(enumerate(bound)),
        **_over(x[..., : width // 2]),
    )  # fmt: skip
    wide = x.astype(np.float64)
    if kind == "rope_thd":
        wide = wide.swapaxes(0, 1)
    first = np.arange(width // 2)
    pair = (2 * first, 2 * first + 1) if kind == "rope_i" else (first, first + width // 2)
    a, b, wanted = wide[..., pair[0]], wide[..., pair[1]], wide.copy()
    c, s = cos.astype(np.float64), sin.astype(np.float64)
    wanted[..., pair[0]], wanted[..., pair[1]] = a * c - b * s, a * s + b * c
    assert_close(out, wanted.swapaxes(0, 1) if kind == "rope_thd" else wanted, rtol)


def _argsort(order: str, element: str, device: attnproto.Device) -> None:
    dtype = {"u8": np.uint8}.get(element) or _ELEMENTS[element][0]
    rng = np.random.default_rng(3)
    x = np.stack([rng.permutation(_COLUMNS) for _ in range(_ROWS)]).astype(dtype)
    out = np.full(x.shape, 7777, np.uint32)
    launch(
        device, _texts()["sort.metal"], f"asort_{order}_{element}",
        {0: x, 1: out, 2: np.int64(_COLUMNS), 3: np.int64(256)},
        threadgroups=(1, _ROWS, 1), threads=(256, 1, 1), threadgroup_bytes={0: 1024},
    )  # fmt: skip
    wide = x.astype(np.float64)
    np.testing.assert_array_equal(out, np.argsort(wide if order == "asc" else -wide, -1))


def _index_select(device: attnproto.Device) -> None:
    """Along the middle axis; an index of all ones stands for zero."""
    x, ids = _normal(3, 11, 13), np.array([10, 0, 0xFFFFFFFF, 4], np.uint32)
    out = np.full((3, 4, 13), np.nan, np.float32)
    launch(
        device, _texts()["indexing.metal"], "is_u32_f32",
        {0: np.uint64(out.size), 1: np.uint64(3), 2: np.uint64(11), 3: np.uint64(13),
         4: np.uint64(4), 5: np.bool_(True), 6: _sizes(x.shape), 7: _sizes((143, 13, 1)),
         8: x, 9: ids, 10: out}, **_over(out),
    )  # fmt: skip
    wanted = x[:, np.minimum(ids, 10)]
    wanted[:, 2] = 0
    np.testing.assert_array_equal(out, wanted)


def _checks() -> Iterator[tuple[str, Callable[[attnproto.Device], None]]]:
    for operation in _UNARY:
        yield f"{operation}_f32", functools.partial(_unary, operation, "f32")
    for operation, element in (("silu", "f16"), ("gelu_erf", "bf16"), ("tanh", "f16")):
        yield f"{operation}_{element}", functools.partial(_unary, operation, element)
    yield "exp_f32_strided", _unary_strided
    for operation in _BINARY:
        element = "f16" if operation in ("badd", "le") else "f32"
        yield f"{operation}_{element}", functools.partial(_binary, operation, element)
    yield "bdiv_bf16", functools.partial(_binary, "bdiv", "bf16")
    yield "bsub_f32_strided", _binary_strided
    yield "where_u8_f32", _where
    yield "is_u32_f32", _index_select
    for element in _ELEMENTS:
        yield f"affine_{element}", functools.partial(_affine, element)
    for element in ("f32", "f16"):
        yield f"softmax_{element}", functools.partial(_softmax, element)
    # Each has a loop for every size of a threadgroup: one type of them is enough to compile.
    yield "rmsnorm_f16", functools.partial(_norm, "rmsnorm", "f16")
    yield "layernorm_f32", functools.partial(_norm, "layernorm", "f32")
    for operation in _REDUCED:
        yield f"fast_{operation}_f32", functools.partial(_reduce, operation, "f32")
    yield "fast_max_f16", functools.partial(_reduce, "max", "f16")
    for operation in ("min", "max"):
        yield f"fast_arg{operation}_f32", functools.partial(_arg_reduce, operation)
    for kind, element in (("rope", "f32"), ("rope_i", "f16"), ("rope_thd", "f32")):
        yield f"{kind}_{element}", functools.partial(_rope, kind, element)
    for order, element in (("asc", "f32"), ("desc", "f16"), ("asc", "u8")):
        yield f"asort_{order}_{element}", functools.partial(_argsort, order, element)


_REDUCING = ("softmax_", "rmsnorm_", "layernorm_", "fast_")  # by block_reducer in reduce.metal


def cases() -> Iterator[Case]:
    """Every kernel that is compared."""
    for name, check in _checks():
        yield Case("candle", name, check, UNFENCED if name.startswith(_REDUCING) else None)
