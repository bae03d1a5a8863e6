"""ggml's kernels against FP64: arguments as its host fills them, at sizes that divide nothing."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

import attnproto
import numpy as np
from scipy import special
from support import third_party

from . import texts
from .case import UNFENCED, UNWRITTEN, Case, Finding, assert_close, launch
from .ggml_blocks import BLOCKS, Blocks

_STRUCT = re.compile(r"typedef struct \{([^{}]*)\} ggml_metal_kargs_(\w+);")
_FIELD = re.compile(r"^\s*(\w+)\s+(\w+)(?:\[(\d+)\])?;", re.M)
_TYPES = {
    "int16_t": "i2", "int32_t": "i4", "int64_t": "i8", "uint64_t": "u8", "size_t": "u8",
    "int": "i4", "float": "f4", "bool": "?",
}  # fmt: skip
_ELEMENTS = {"f32": (np.float32, 2e-6), "f16": (np.float16, 2e-3), "bf16": (None, 1e-2)}
_ROWS, _COLUMNS = 5, 211


@functools.cache
def _structs() -> dict[str, np.dtype]:
    """The structs of arguments, laid out as C does, from ggml's header."""
    header = texts.ggml_files(third_party.GGML)["ggml-metal/ggml-metal-impl.h"]
    return {
        name: np.dtype(
            [(f, _TYPES[t], *((int(n),) if n else ())) for t, f, n in _FIELD.findall(fields)],
            align=True,
        )
        for fields, name in _STRUCT.findall(header)
    }


@functools.cache
def _texts() -> dict[str, texts.Text]:
    return {one.name: one for one in texts.ggml()}


def text_named(name: str) -> texts.Text:
    """One of ggml's texts by its file's name."""
    return _texts()[name]


def _tensor(prefix: str, x: np.ndarray) -> dict[str, int]:
    """ggml's words for a tensor: extents and strides, the innermost first."""
    x = x.reshape((1,) * (4 - x.ndim) + x.shape)
    words = {f"ne{prefix}{i}": n for i, n in enumerate(x.shape[::-1])}
    return words | {f"nb{prefix}{i}": n for i, n in enumerate(x.strides[::-1])}


def arguments(struct: str, **values: object) -> np.ndarray:
    """A struct's bytes; words for fields that it has not are left out."""
    dtype = _structs()[struct]
    record = np.zeros(1, dtype)
    for name, value in values.items():
        if name in dtype.names:
            record[name] = value
    return record.view(np.uint8)


def _normal(*shape: int, seed: int = 1, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


_UNARY: dict[str, tuple[int, Callable]] = {
    "sqr": (13, np.square), "sin": (15, np.sin), "cos": (16, np.cos), "tanh": (100, np.tanh),
    "relu": (101, lambda x: np.maximum(x, 0)), "sigmoid": (102, special.expit),
    "gelu": (103, lambda x: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))),
    "gelu_erf": (104, lambda x: x / 2 * (1 + special.erf(x / np.sqrt(2)))),
    "silu": (106, lambda x: x * special.expit(x)),
    "elu": (107, lambda x: np.where(x > 0, x, np.expm1(x))),
    "step": (111, lambda x: (x > 0).astype(float)), "exp": (114, np.exp),
    "softplus": (115, lambda x: np.logaddexp(x, 0)), "expm1": (116, np.expm1),
    "floor": (117, np.floor), "round": (119, lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5)),
    "leaky_relu": (18, lambda x: np.where(x > 0, x, 0.125 * x)),
}  # fmt: skip


def _unary(kernel: str, operation: str, device: attnproto.Device) -> None:
    number, function = _UNARY[operation]
    dtype, rtol = _ELEMENTS[kernel.split("_")[2]]
    lanes = 4 if kernel.endswith("_4") else 1
    x = _normal(_ROWS, 212 if lanes == 4 else _COLUMNS, dtype=dtype)
    out = np.full_like(x, np.nan)
    words = _tensor("0", x) | _tensor("", out) | {"slope": 0.125}
    words |= {"ne00": x.shape[1] // lanes, "ne0": x.shape[1] // lanes}
    launch(
        device, text_named("unary.metal"), kernel,
        {0: arguments("unary", **words), 1: x, 2: out},
        threadgroups=(2 * _ROWS, 1, 1), threads=(128, 1, 1),
        constants={"FC_unary_op": number, "FC_unary_cnt": False},
    )  # fmt: skip
    # erf and elu are approximated in the text, to about 1e-4.
    loose = 2e-4 if operation in ("gelu_erf", "expm1", "elu", "sin", "cos") else 0
    assert_close(out, function(x.astype(np.float64)), max(rtol * 4, loose))


_UNALIGNED = Finding(
    "misaligned",
    "the edge of a tile is written as float4, at rows of an odd number of floats: no multiple of "
    "16 bytes, which float4 asks for (specification, 2.2.3)",
    unsafe=True,
)

_ROWS_BEYOND = Finding(
    "out-of-bounds",
    "the last threadgroup multiplies rows that the matrix has not and drops the results: rows are "
    "read beyond the buffer, where ggml's host has more of its heap",
)

_BINARY = (np.add, np.subtract, np.multiply, np.divide)


def _binary(kernel: str, operation: int, device: attnproto.Device) -> None:
    """The second operand's rows and columns repeat."""
    dtype, rtol = _ELEMENTS[kernel.split("_")[3]]
    lanes = 4 if kernel.endswith("_4") else 1
    columns = 212 if lanes == 4 else _COLUMNS
    a, b = _normal(3, _ROWS, columns, dtype=dtype), _normal(1, _ROWS, columns, seed=2, dtype=dtype)
    b += np.sign(b).astype(dtype)
    out = np.full_like(a, np.nan)
    words = _tensor("0", a) | _tensor("1", b) | _tensor("", out)
    words |= {name: columns // lanes for name in ("ne00", "ne10", "ne0")}
    launch(
        device, text_named("binbcast.metal"), kernel,
        {0: arguments("bin", **words), 1: a, 2: b, 3: out},
        threadgroups=(_ROWS, 3, 1), threads=(64, 1, 1),
        constants={"FC_bin_op": operation, "FC_bin_f": 1, "FC_bin_rb": False, "FC_bin_cb": True},
    )  # fmt: skip
    assert_close(out, _BINARY[operation](a.astype(np.float64), b.astype(np.float64)), rtol)


def _normalised(kernel: str, device: attnproto.Device) -> None:
    lanes = 4 if kernel.endswith("_4") else 1
    x = _normal(2, 3, _ROWS, 212 if lanes == 4 else _COLUMNS) + np.float32(0.5)
    weight, bias = (_normal(1, 1, 1, x.shape[-1], seed=seed) for seed in (2, 3))
    out = np.full_like(x, np.nan)
    parts = (x, weight, bias)
    fields = {f"nef{i}": [one.shape[3 - i] for one in parts] for i in (1, 2, 3)}
    fields |= {f"nbf{i}": [one.strides[3 - i] for one in parts] for i in (1, 2, 3)}
    eps = 1e-5
    words = _tensor("", out) | fields | {"ne00": x.shape[-1], "ne00_t": x.shape[-1] // lanes}
    launch(
        device, text_named("norm.metal"), kernel,
        {0: arguments("norm", **words, eps=eps), 1: x, 2: weight, 3: bias, 4: out},
        threadgroups=(_ROWS, 3, 2), threads=(96, 1, 1), threadgroup_bytes={0: 128},
        constants={"FC_norm_use_scale": False},
    )  # fmt: skip
    wide, w, b = (one.astype(np.float64) for one in parts)
    if "rms" not in kernel:
        wide = wide - wide.mean(-1, keepdims=True)
    wanted = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + eps)
    if "mul" in kernel:
        wanted = wanted * w
    if "add" in kernel:
        wanted = wanted + b
    assert_close(out, wanted, 1e-5)


def _l2_norm(device: attnproto.Device) -> None:
    x = _normal(2, 3, _ROWS, _COLUMNS)
    out = np.full_like(x, np.nan)
    words = _tensor("0", x) | _tensor("", out)
    launch(
        device, text_named("norm.metal"), "kernel_l2_norm_f32_f32",
        {0: arguments("l2_norm", **words, eps=1e-6), 1: x, 2: out},
        threadgroups=(_ROWS, 3, 2), threads=(96, 1, 1), threadgroup_bytes={0: 128},
    )  # fmt: skip
    wide = x.astype(np.float64)
    assert_close(out, wide / np.sqrt((wide**2).sum(-1, keepdims=True)), 1e-5)


def _soft_max(kernel: str, device: attnproto.Device) -> None:
    """With a mask, ALiBi and sinks."""
    lanes = 4 if kernel.endswith("_4") else 1
    heads, columns = 3, 212 if lanes == 4 else _COLUMNS
    x = _normal(1, heads, _ROWS, columns) * 3
    mask = _normal(1, 1, _ROWS, columns, seed=2, dtype=np.float16 if "f16" in kernel else x.dtype)
    mask[..., ::7] = -np.inf
    sinks = _normal(heads, seed=3)
    out = np.full_like(x, np.nan)
    scale, most, power = 0.75, 8.0, 2
    m0, m1 = 2.0 ** (-most / power), 2.0 ** (-most / 2 / power)
    words = _tensor("0", x) | _tensor("1", mask) | _tensor("", out)
    words |= {"scale": scale, "max_bias": most, "m0": m0, "m1": m1, "n_head_log2": power}
    launch(
        device, text_named("softmax.metal"), kernel,
        {0: arguments("soft_max", **words), 1: x, 2: mask, 3: sinks, 4: out},
        threadgroups=(_ROWS, heads, 1), threads=(64, 1, 1), threadgroup_bytes={0: 128},
    )  # fmt: skip
    slopes = np.array(
        [m0 ** (h + 1) if h < power else m1 ** (2 * (h - power) + 1) for h in (0, 1, 2)]
    )
    scores = scale * x.astype(np.float64) + slopes[:, None, None] * mask.astype(np.float64)
    last = np.broadcast_to(sinks.astype(np.float64)[:, None, None], (1, heads, _ROWS, 1))
    assert_close(out, special.softmax(np.concatenate((scores, last), -1), -1)[..., :-1], 1e-5)


def _sum_rows(kernel: str, device: attnproto.Device) -> None:
    lanes = 4 if kernel.endswith("_4") else 1
    x = _normal(2, 3, _ROWS, 212 if lanes == 4 else _COLUMNS)
    out = np.full((2, 3, _ROWS, 1), np.nan, np.float32)
    words = _tensor("0", x) | _tensor("", out) | {"ne00": x.shape[-1] // lanes}
    launch(
        device, text_named("reduce.metal"), kernel,
        {0: arguments("sum_rows", **words), 1: x, 2: out},
        threadgroups=(_ROWS, 3, 2), threads=(64, 1, 1), threadgroup_bytes={0: 512},
        constants={"FC_sum_rows_op": 10},
    )  # fmt: skip
    assert_close(out, x.astype(np.float64).sum(-1, keepdims=True), 1e-5, 15)


def _cumulative_sum(device: attnproto.Device) -> None:
    """In blocks, whose sums a second kernel adds; here there is one block."""
    x = _normal(2, 3, _ROWS, _COLUMNS)
    out, sums = np.full_like(x, np.nan), np.zeros(1, np.float32)
    words = _tensor("0", x) | {"outb": False}
    launch(
        device, text_named("reduce.metal"), "kernel_cumsum_blk_f32",
        {0: arguments("cumsum_blk", **words), 1: x, 2: sums, 3: out},
        threadgroups=(_ROWS, 3, 2), threads=(256, 1, 1), threadgroup_bytes={0: 128},
    )  # fmt: skip
    assert_close(out, x.astype(np.float64).cumsum(-1), 1e-5, 15)


def _argmax(device: attnproto.Device) -> None:
    x, out = _normal(_ROWS, _COLUMNS), np.full(_ROWS, -7, np.int32)
    words = {"ne00": _COLUMNS, "nb01": x.strides[0]}
    launch(
        device, text_named("misc.metal"), "kernel_argmax_f32",
        {0: arguments("argmax", **words), 1: x, 2: out},
        threadgroups=_ROWS, threads=96, threadgroup_bytes={0: 256},
    )  # fmt: skip
    np.testing.assert_array_equal(out, x.argmax(-1))


def _argsort(kernel: str, device: attnproto.Device) -> None:
    x, out = _normal(_ROWS, _COLUMNS), np.full((_ROWS, _COLUMNS), -7, np.int32)
    words = _tensor("0", x) | _tensor("", out) | {"top_k": _COLUMNS}
    launch(
        device, text_named("argsort.metal"), kernel,
        {0: arguments("argsort", **words), 1: x, 2: out},
        threadgroups=(_ROWS, 1, 1), threads=(256, 1, 1), threadgroup_bytes={0: 1024},
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.argsort(x if kernel.endswith("asc") else -x, -1))


def _pool(kernel: str, device: attnproto.Device) -> None:
    """Windows of 3 by 2, two apart, padded by one."""
    x = _normal(3, 11, 13)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), (1, 2))[:, ::2, ::2]
    wanted = np.nanmax(windows, (-1, -2))
    if "avg" in kernel:
        wanted = np.nansum(windows, (-1, -2)) / 6
    out = np.full(wanted.shape, np.nan, np.float32)
    words = {
        "k0": 3, "k1": 2, "s0": 2, "s1": 2, "p0": 1, "p1": 1, "IH": 11, "IW": 13,
        "OH": out.shape[1], "OW": out.shape[2], "np": out.size,
    }  # fmt: skip
    launch(
        device, text_named("pool.metal"), kernel,
        {0: arguments("pool_2d", **words), 1: x, 2: out},
        threadgroups=-(-out.size // 64), threads=64,
    )  # fmt: skip
    assert_close(out, wanted, 1e-6)


def _triangle(kernel: str, kept: Callable, device: attnproto.Device) -> None:
    dtype = _ELEMENTS[kernel.split("_")[2]][0]
    x = _normal(2, 3, 17, 23, dtype=dtype)
    out = np.full_like(x, np.nan)
    words = _tensor("0", x) | _tensor("", out)
    launch(
        device, text_named("tri.metal"), kernel, {0: arguments("tri", **words), 1: x, 2: out},
        threadgroups=(17, 3, 2), threads=(32, 1, 1),
    )  # fmt: skip
    np.testing.assert_array_equal(out, kept(x))


def _rope(kernel: str, device: attnproto.Device) -> None:
    """Rotates 48 of 52 numbers: pairs that are neighbours, or half apart."""
    dtype, rtol = _ELEMENTS[kernel.split("_")[3]]
    tokens, heads, width, rotated, base = 5, 3, 52, 48, 10000.0
    x = _normal(1, tokens, heads, width, dtype=dtype)
    out = np.full_like(x, np.nan)
    positions = np.array([0, 1, 7, 40, 41], np.int32)
    words = _tensor("0", x) | _tensor("", out)
    words |= {
        "n_dims": rotated, "freq_base": base, "freq_scale": 0.5, "attn_factor": 1.25,
        "beta_fast": 32, "beta_slow": 1, "n_ctx_orig": 4096,
    }  # fmt: skip
    launch(
        device, text_named("rope.metal"), kernel,
        {0: arguments("rope", **words), 1: x, 2: positions, 3: np.ones(1, np.float32), 4: out},
        threadgroups=(heads, tokens, 1), threads=(32, 1, 1),
        constants={"FC_rope_is_back": False, "FC_rope_is_imrope": False},
    )  # fmt: skip
    wide = x.astype(np.float64)
    angles = 0.5 * positions[:, None] * base ** (-np.arange(0, rotated, 2) / rotated)
    cos, sin = (1.25 * f(angles)[None, :, None] for f in (np.cos, np.sin))
    first = np.arange(rotated // 2)
    pair = (2 * first, 2 * first + 1) if "norm" in kernel else (first, first + rotated // 2)
    a, b = wide[..., pair[0]], wide[..., pair[1]]
    wanted = wide.copy()
    wanted[..., pair[0]], wanted[..., pair[1]] = a * cos - b * sin, a * sin + b * cos
    assert_close(out, wanted, max(rtol, 1e-5), 3)


def _copy(kernel: str, device: attnproto.Device) -> None:
    """Of a transposed tensor into rows."""
    source, into = ({"f32": np.float32, "f16": np.float16, "i32": np.int32}[t]
                    for t in kernel.split("_")[2:])  # fmt: skip
    x = (_normal(3, 19, 23) * 50).astype(source).transpose(0, 2, 1)
    out = np.full(x.shape, 77, into)
    words = _tensor("0", x) | _tensor("", out)
    launch(
        device, text_named("quantize.metal"), kernel,
        {0: arguments("cpy", **words), 1: x.base, 2: out},
        threadgroups=(23, 3, 1), threads=(32, 1, 1),
    )  # fmt: skip
    np.testing.assert_array_equal(out, x.astype(into))


def _get_rows(name: str, blocks: Blocks, device: attnproto.Device) -> None:
    packed, wide = blocks.random(7, 512, seed=4)
    chosen = np.array([[6, 0, 3]], np.int32)
    out = np.full((1, 3, 512), np.nan, np.float32)
    words = _tensor("", out) | {
        "ne00t": 512 // 16, "ne00": 512, "nb01": packed.strides[0], "nb02": packed.nbytes,
        "nb03": packed.nbytes, "ne10": 3, "nb10": 4, "nb11": 12, "nb12": 12,
    }  # fmt: skip
    launch(
        device, text_named("quantize.metal"), f"kernel_get_rows_{name}",
        {0: arguments("get_rows", **words), 1: packed, 2: chosen, 3: out},
        threadgroups=(3, 1, 1), threads=(32, 1, 1),
    )  # fmt: skip
    assert_close(out[0], wide[chosen[0]], 1e-3 if name == "mxfp4" else 1e-5)


def _product_words(
    rows: int, columns: int, b: np.ndarray, out: np.ndarray, row: int, block: int
) -> dict:
    return _tensor("1", b) | _tensor("", out) | {
        "ne00": columns, "ne01": rows, "ne02": 1, "nb00": block, "nb01": row, "nb02": row * rows,
        "nb03": row * rows, "r2": 1, "r3": 1, "nr0": 1,
    }  # fmt: skip


def _matrix_by_vector(name: str, blocks: Blocks, rows: int, device: attnproto.Device) -> None:
    """Rows by 3 vectors of 512 numbers."""
    columns, vectors = 512, 3
    packed, wide = blocks.random(rows, columns, seed=4)
    b, out = _normal(vectors, columns), np.full((vectors, rows), np.nan, np.float32)
    words = _product_words(rows, columns, b, out, packed.strides[0], blocks.nbytes)
    launch(
        device, text_named("mul_mv.metal"), f"kernel_mul_mv_{name}_f32",
        {0: arguments("mul_mv", **words), 1: packed, 2: b, 3: out},
        threadgroups=(-(-rows // blocks.rows), vectors, 1),
        threads=(32, blocks.simdgroups, 1), threadgroup_bytes={0: 32 * 4 * 8},
        constants={
            "FC_mul_mv_nsg": blocks.simdgroups, "FC_mul_mv_ne12": 1, "FC_mul_mv_r2": 1,
            "FC_mul_mv_r3": 1,
        },
    )  # fmt: skip
    wanted = b.astype(np.float64) @ wide.T
    assert_close(out, wanted, 1e-4, np.abs(wide).max() * np.sqrt(columns))


def _matrix_product(name: str, blocks: Blocks, rows: int, device: attnproto.Device) -> None:
    """Rows of 512 numbers by 45 columns, in half inside the tile."""
    columns, others = 512, 45
    packed, wide = blocks.random(rows, columns, seed=4)
    b, out = _normal(others, columns), np.full((others, rows), np.nan, np.float32)
    words = _product_words(rows, columns, b, out, packed.strides[0], blocks.nbytes) | {"ne12": 1}
    launch(
        device, text_named("mul_mm.metal"), f"kernel_mul_mm_{name}_f32",
        {0: arguments("mul_mm", **words), 1: packed, 2: b, 3: out},
        threadgroups=(-(-others // 32), -(-rows // 64), 1), threads=(128, 1, 1),
        threadgroup_bytes={0: 8192},
        constants={
            "FC_mul_mm_bc_inp": False, "FC_mul_mm_bc_out": True, "FC_mul_mm_ne12": 1,
            "FC_mul_mm_r2": 1, "FC_mul_mm_r3": 1,
        },
    )  # fmt: skip
    wanted = b.astype(np.float64) @ wide.T
    assert_close(out, wanted, 2e-3, np.abs(wide).max() * np.sqrt(columns))


def _checks() -> Iterator[tuple[str, Callable[[attnproto.Device], None]]]:
    for operation in _UNARY:
        kernel = "kernel_unary_f32_f32_4" if len(operation) % 2 else "kernel_unary_f32_f32"
        yield f"{kernel} {operation}", functools.partial(_unary, kernel, operation)
    for kernel, operation in (("kernel_unary_f16_f16", "silu"), ("kernel_unary_f16_f16_4", "exp")):
        yield f"{kernel} {operation}", functools.partial(_unary, kernel, operation)
    for i, kind in enumerate(("f32_f32_f32", "f32_f32_f32_4", "f16_f16_f16", "f16_f16_f16_4")):
        name = f"kernel_bin_fuse_{kind}"
        yield name, functools.partial(_binary, name, i)
    for kind in ("norm", "norm_mul", "rms_norm", "rms_norm_mul", "rms_norm_mul_add"):
        for end in ("f32", "f32_4"):
            name = f"kernel_{kind}_{end}"
            yield name, functools.partial(_normalised, name)
    yield "kernel_l2_norm_f32_f32", _l2_norm
    for kind in ("f16", "f32", "f16_4", "f32_4"):
        yield f"kernel_soft_max_{kind}", functools.partial(_soft_max, f"kernel_soft_max_{kind}")
    for kind in ("f32_f32", "f32_f32_4"):
        yield f"kernel_sum_rows_{kind}", functools.partial(_sum_rows, f"kernel_sum_rows_{kind}")
    yield "kernel_cumsum_blk_f32", _cumulative_sum
    yield "kernel_argmax_f32", _argmax
    for order in ("asc", "desc"):
        name = f"kernel_argsort_f32_i32_{order}"
        yield name, functools.partial(_argsort, name)
    for kind in ("max", "avg"):
        name = f"kernel_pool_2d_{kind}_f32"
        yield name, functools.partial(_pool, name)
    for name, kept in (
        ("kernel_tri_f32_0", np.triu),
        ("kernel_tri_f16_3", lambda x: np.tril(x, -1)),
    ):
        yield name, functools.partial(_triangle, name, kept)
    for kind in ("norm_f32", "norm_f16", "neox_f32", "neox_f16"):
        yield f"kernel_rope_{kind}", functools.partial(_rope, f"kernel_rope_{kind}")
    for kind in ("f32_f32", "f32_f16", "f16_f32", "f32_i32", "i32_f32"):
        yield f"kernel_cpy_{kind}", functools.partial(_copy, f"kernel_cpy_{kind}")
    for name, blocks in BLOCKS.items():
        yield f"kernel_get_rows_{name}", functools.partial(_get_rows, name, blocks)
        by_vector = functools.partial(_matrix_by_vector, name, blocks)
        yield f"kernel_mul_mv_{name}_f32, 32 rows", functools.partial(by_vector, 32)
        yield f"kernel_mul_mv_{name}_f32, 29 rows", functools.partial(by_vector, 29)
        yield f"kernel_mul_mm_{name}_f32", functools.partial(_matrix_product, name, blocks, 76)


def _finding(name: str) -> Finding | None:
    if "soft_max" in name:  # the maximum is read from where the sum is collected next
        return UNFENCED
    if "cumsum" in name:
        return UNWRITTEN
    return _ROWS_BEYOND if name.endswith("29 rows") else None


def cases() -> Iterator[Case]:
    """Every kernel that is compared."""
    for name, check in _checks():
        yield Case("ggml", name, check, _finding(name))
    check = functools.partial(_matrix_product, "q4_0", BLOCKS["q4_0"], 77)
    yield Case("ggml", "kernel_mul_mm_q4_0_f32, 77 rows", check, _UNALIGNED)
