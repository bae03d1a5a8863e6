"""MLX's kernels against FP64: attention and products as the tests check them, and more."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import attnproto
import numpy as np
from scipy import special
from support import mlx, mlx_checks

from .case import ELEMENTS, UNWRITTEN, Case, Finding, assert_close, launch
from .texts import Text

_ROWS, _COLUMNS = 5, 211

_DIVERGENT = Finding(
    "divergent-barrier",
    "where simdgroups share a row a barrier stands inside a condition that one lane in 32 meets "
    "(gemv.h); it has no memory flags, and nothing but the order within a lane rests on it",
)


def _text(name: str, *headers: str, **calls: str) -> Text:
    return Text("MLX", name, mlx.instantiated(mlx.flattened(*headers), **calls))


def _normal(*shape: int, seed: int = 1, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Exp": np.exp, "Erf": special.erf, "Sin": np.sin, "Tanh": np.tanh, "Expm1": np.expm1,
    "Sigmoid": special.expit, "Square": np.square, "Floor": np.floor, "Round": np.rint,
    "ArcSinh": np.arcsinh, "Log1p": lambda x: np.log1p(x), "ErfInv": special.erfinv,
    "Rsqrt": lambda x: 1 / np.sqrt(x), "Log2": np.log2, "ArcCos": np.arccos,
}  # fmt: skip
_INSIDE = ("Log1p", "ErfInv", "Rsqrt", "Log2", "ArcCos")  # defined between 0 and 1, if not beyond


def _unary(operation: str, name: str, device: attnproto.Device) -> None:
    dtype, rtol = ELEMENTS[name]
    x = _normal(_ROWS * _COLUMNS, dtype=dtype)
    if operation in _INSIDE:
        x = np.random.default_rng(1).uniform(0.02, 0.98, x.shape).astype(dtype)
    out = np.full_like(x, np.nan)
    text = _text("unary.h", "utils.h", "unary_ops.h", "unary.h",
                 kernel_=f"unary_v<{name}, {name}, {operation}, 1>")  # fmt: skip
    launch(device, text, "kernel_", {0: x, 1: out, 2: np.uint32(x.size)},
           threadgroups=-(-x.size // 64), threads=64, grid=x.size)  # fmt: skip
    assert_close(out, _UNARY[operation](x.astype(np.float64)), max(rtol, 3e-5))


_BINARY: dict[str, Callable] = {
    "Add": np.add, "Divide": np.divide, "Maximum": np.maximum, "LogAddExp": np.logaddexp,
    "ArcTan2": np.arctan2, "Remainder": np.mod,
}  # fmt: skip


def _binary(operation: str, name: str, device: attnproto.Device) -> None:
    """With strides: the second operand is transposed."""
    dtype, rtol = ELEMENTS[name]
    a, b = _normal(_ROWS, _COLUMNS, dtype=dtype), _normal(_COLUMNS, _ROWS, seed=2, dtype=dtype)
    b = (b + np.sign(b)).astype(dtype)
    out = np.full_like(a, np.nan)
    text = _text("binary.h", "utils.h", "binary_ops.h", "binary.h",
                 kernel_=f"binary_g_nd2<{name}, {name}, {operation}>")  # fmt: skip
    launch(
        device, text, "kernel_",
        {0: a, 1: b, 2: out, 3: np.array([_COLUMNS, 1]), 4: np.array([1, _ROWS])},
        threadgroups=(4, _ROWS, 1), threads=(64, 1, 1), grid=(_COLUMNS, _ROWS, 1),
    )  # fmt: skip
    wanted = _BINARY[operation](a.astype(np.float64), b.T.astype(np.float64))
    assert_close(out, wanted, max(rtol, 3e-5))


def _row_reduce(operation: str, name: str, device: attnproto.Device) -> None:
    dtype, rtol = ELEMENTS[name]
    x = _normal(_ROWS * 4, 1011, dtype=dtype)
    out = np.full(len(x), np.nan, dtype)
    text = _text("reduce.h", "utils.h", "atomic.h", "reduction/ops.h", "reduce_utils.h", "reduce.h",
                 kernel_=f"row_reduce_simple<{name}, {name}, {operation}<{name}>>")  # fmt: skip
    launch(
        device, text, "kernel_", {0: x, 1: out, 2: np.uint64(x.shape[1]), 3: np.int64(len(x))},
        threadgroups=(1, -(-len(x) // 4), 1), threads=(96, 1, 1),
    )  # fmt: skip
    wide = x.astype(np.float64)
    wanted = wide.sum(-1) if operation == "Sum" else wide.max(-1)
    assert_close(out, wanted, rtol, 30 if operation == "Sum" else 1)


def _scan(name: str, inclusive: bool, reverse: bool, device: attnproto.Device) -> None:
    dtype, rtol = ELEMENTS[name]
    x = _normal(_ROWS, 1011, dtype=dtype)
    out = np.full_like(x, np.nan)
    flags = f"{str(inclusive).lower()}, {str(reverse).lower()}"
    call = f"contiguous_scan<{name}, {name}, CumSum<{name}>, 4, {flags}>"
    text = _text("scan.h", "utils.h", "binary_ops.h", "scan.h", kernel_=call)
    launch(device, text, "kernel_", {0: x, 1: out, 2: np.uint64(x.shape[1])},
           threadgroups=(1, _ROWS, 1), threads=(256, 1, 1))  # fmt: skip
    wide = x.astype(np.float64)[:, :: -1 if reverse else 1]
    wanted = wide.cumsum(-1) - (0 if inclusive else wide)
    assert_close(out, wanted[:, :: -1 if reverse else 1], rtol, 30)


def _sort(device: attnproto.Device) -> None:
    """Indices that sort rows of 211; the rest of a block of 512 is padding."""
    x, out = _normal(_ROWS, _COLUMNS), np.full((_ROWS, _COLUMNS), 7777, np.uint32)
    text = _text("sort.h", "utils.h", "sort.h", kernel_="block_sort<float, uint, true, 128, 4>")
    launch(
        device, text, "kernel_",
        {0: x, 1: out, 2: np.int32(_COLUMNS), 3: np.int32(1), 4: np.int32(1),
         5: np.int32(_COLUMNS), 6: np.int32(_COLUMNS)},
        threadgroups=(1, _ROWS, 1), threads=(128, 1, 1),
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.argsort(x, -1))


def _searchsorted(device: attnproto.Device) -> None:
    x, sought = np.sort(_normal(_COLUMNS)), _normal(101, seed=2)
    sought[:7] = x[::31]
    out = np.full(101, 7777, np.uint32)
    text = _text("searchsorted.h", "utils.h", "sort.h", "searchsorted.h",
                 kernel_="searchsorted<float, true>")  # fmt: skip
    launch(
        device, text, "kernel_", {0: x, 1: sought, 2: out, 3: np.uint32(_COLUMNS), 4: np.int64(1)},
        threadgroups=(101, 1, 1), threads=(1, 1, 1),
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.searchsorted(x, sought, "right"))


def _checks() -> Iterator[tuple[str, Callable[[attnproto.Device], None], Finding | None]]:
    for name in mlx_checks.TYPES:
        for d, nq, nkv, causal in ((64, 100, 131, False), (128, 77, 77, True)):
            check = functools.partial(
                mlx_checks.check_steel_attention, name=name, d=d, nq=nq, nkv=nkv, causal=causal
            )
            yield f"attention<{name}>, D={d}", check, None
        vector = functools.partial(mlx_checks.check_sdpa_vector, name=name, d=64, causal=True)
        yield f"sdpa_vector<{name}>", vector, None
        yield (
            f"softmax_single_row<{name}>",
            functools.partial(mlx_checks.check_softmax, name=name),
            None,
        )
        yield f"logsumexp<{name}>", functools.partial(mlx_checks.check_logsumexp, name=name), None
        yield f"gemv<{name}>", functools.partial(mlx_checks.check_gemv, name=name, bn=1), None
        for operation in ("Sum", "Max"):
            check = functools.partial(_row_reduce, operation, name)
            yield f"row_reduce_simple<{name}, {operation}>", check, None
    shared = functools.partial(mlx_checks.check_gemv, name="float", bn=4)
    yield "gemv<float>, simdgroups share rows", shared, _DIVERGENT
    for operation in _UNARY:
        yield f"unary_v<{operation}>", functools.partial(_unary, operation, "float"), None
    yield "unary_v<bfloat, Exp>", functools.partial(_unary, "Exp", "bfloat"), None
    for operation in _BINARY:
        yield f"binary_g_nd2<{operation}>", functools.partial(_binary, operation, "float"), None
    for inclusive, reverse in ((True, False), (False, True)):
        check = functools.partial(_scan, "float", inclusive, reverse)
        yield f"contiguous_scan<{inclusive}, {reverse}>", check, UNWRITTEN
    yield "block_sort", _sort, None
    yield "searchsorted", _searchsorted, None


def cases() -> Iterator[Case]:
    """Every kernel that is compared."""
    for name, check, finding in _checks():
        yield Case("MLX", name, check, finding)
