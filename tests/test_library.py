"""What metal_stdlib has besides functions of numbers: constants, packing, matrices, names."""

from __future__ import annotations

import math
import re

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto import _core
from attnproto.compiler.frontend.library_parts import includes
from attnproto.compiler.frontend.literals import single
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.errors import KernelCompileError
from support.msl import HEAD, read_text

BFLOAT = ml_dtypes.bfloat16
CONSTANTS = [
    math.e, 1 / math.log(2), 1 / math.log(10), math.log(2), math.log(10), math.pi, math.pi / 2,
    math.pi / 4, 1 / math.pi, 2 / math.pi, 2 / math.sqrt(math.pi), math.sqrt(2), math.sqrt(0.5),
]  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "validating"])
def device(request):
    return attnproto.open_device("cpu", validate=request.param)


def run(device, file, kernel, *arrays, threads=1):
    library = device.library(read_text(file))
    device.run(
        library.pipeline(kernel), threadgroups=1, threads=threads, buffers=dict(enumerate(arrays))
    )


def test_constants_are_the_nearest_numbers_of_their_types(device):
    floats = [np.full(26, np.nan, t) for t in (np.float32, np.float16, BFLOAT)]
    n = np.full(64, -99, np.int64)
    run(device, "constants.metal", "constants", *floats, n)
    for values in floats:
        info = ml_dtypes.finfo(values.dtype)
        most, least, step = (float(v) for v in (info.max, info.tiny, info.eps))
        limits = [most, least, step, -most, most, least, step, -most]
        limits += [float(info.smallest_subnormal), np.inf, np.inf]
        expected = np.array([*CONSTANTS, *limits], np.float64).astype(values.dtype)
        np.testing.assert_array_equal(values[: len(expected)], expected)
    bounds = [8]
    for t in (np.int8, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64):
        info = np.iinfo(t)
        bounds += [info.max, info.min] if info.min else [info.max]
    bounds += [-1]  # ULONG_MAX as a long
    for digits, t in ((6, np.float32), (3, np.float16), (2, BFLOAT)):
        info = ml_dtypes.finfo(t)
        ten = [math.floor(math.log10(float(info.max))), math.ceil(math.log10(float(info.tiny)))]
        bounds += [digits, info.nmant + 1, info.maxexp, info.minexp + 1, *ten, 2]
    np.testing.assert_array_equal(n[: len(bounds)], bounds)
    assert n[60] == 1


def test_vectors_convert_between_all_types_of_elements(device):
    x = np.zeros(8, np.float32)
    x[:4] = [1.3, 100.7, 77.77, 3.14159]
    out = np.full((10, 10, 3), np.nan, np.float32)
    run(device, "conversions.metal", "conversions", x, out)
    types = (np.float32, np.float16, BFLOAT, np.int32, np.uint32, np.int16, np.uint16, np.int8,
             np.uint8, np.int64)  # fmt: skip
    for row, to in zip(out, types, strict=True):
        for elements, of in zip(row, types, strict=True):
            v = x[:4].astype(of).astype(to).astype(np.float32)
            np.testing.assert_array_equal(
                elements, [v[0] + v[3], v[1] + v[2], 2 * v[1]], str((to, of))
            )


def test_packed_vectors_convert(device):
    h, f = np.array([[1.5, 2.25, 3.3], [4, 5, 6]], np.float16), np.zeros((2, 3), np.float32)
    run(device, "conversions.metal", "packs", h, f)
    np.testing.assert_array_equal(f, [h[0].astype(BFLOAT).astype(np.float32), h[1]])


LAYOUTS = [
    (False, (8, 8, 8, 8)), (True, (8, 8, 8, 8)), (False, (16, 16)), (True, (16, 16)),
    (False, (10, 10, 10, 2)), (False, (5, 6, 5)), (False, (8, 8, 8, 8)),
]  # fmt: skip


def to_srgb(x):
    x = np.clip(x, 0, 1)
    return np.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def packed(values, signed, widths):
    """The bits of one vector: each element rounded to the nearest, ties to even."""
    word = at = 0
    for x, bits in zip(values, widths, strict=False):
        most = 2 ** (bits - signed) - 1
        n = int(
            np.rint(np.float32(np.clip(0 if np.isnan(x) else x, -signed, 1)) * np.float32(most))
        )
        word |= (n & 2**bits - 1) << at
        at += bits
    return word


def test_vectors_are_packed_into_bits(device):
    rng = np.random.default_rng(1)
    x = rng.uniform(-1.3, 1.3, (64, 4)).astype(np.float32)
    x[0], x[1] = [0, -0.0, 1, -1], [np.inf, -np.inf, np.nan, 0.5]
    out = np.zeros((64, 14), np.uint32)
    run(device, "pack.metal", "pack", x, out, threads=64)
    for start, values in ((0, x), (7, x.astype(np.float16).astype(np.float32))):
        for k, (signed, widths) in enumerate(LAYOUTS):
            rows = values
            if k == 6:
                with np.errstate(invalid="ignore"):
                    rows = np.concatenate([to_srgb(np.nan_to_num(values[:, :3])), values[:, 3:]], 1)
            expected = [packed(row, signed, widths) for row in rows]
            if k == 6:  # by the curve's own error an element may fall on the other side of a half
                bytes_of = [
                    np.array(v, np.uint32).view(np.uint8) for v in (out[:, 6 + start], expected)
                ]
                assert np.abs(bytes_of[0].astype(int) - bytes_of[1]).max() <= 1
                assert (bytes_of[0] != bytes_of[1]).sum() <= 2
            else:
                np.testing.assert_array_equal(out[:, k + start], expected, err_msg=str(k))


def test_bits_are_unpacked_into_vectors(device):
    words = np.random.default_rng(2).integers(0, 2**32, 64, np.uint32)
    words[:4] = [0, 2**32 - 1, 0x80808080, 0x80008000]
    out, halves = np.full((64, 7, 4), np.nan, np.float32), np.full((64, 7, 4), np.nan, np.float16)
    run(device, "pack.metal", "unpack", words, out, halves, threads=64)
    for k, (signed, widths) in enumerate(LAYOUTS):
        for i, word in enumerate(words.tolist()):
            at, values = 0, np.zeros(4)
            for j, bits in enumerate(widths):
                n = word >> at & 2**bits - 1
                if signed and n >= 2 ** (bits - 1):
                    n -= 2**bits
                values[j] = max(n / (2 ** (bits - signed) - 1), -1)
                at += bits
            if k == 6:
                low = values[:3] <= 0.04045
                values[:3] = np.where(
                    low, values[:3] / 12.92, ((values[:3] + 0.055) / 1.055) ** 2.4
                )
            np.testing.assert_allclose(out[i, k], values, rtol=3e-7 if k < 6 else 2e-6)
            np.testing.assert_allclose(halves[i, k], values, rtol=5e-4, atol=1e-7)


@pytest.mark.parametrize(("name", "dtype"), [("float", np.float32), ("half", np.float16)])
def test_matrices_compute_as_columns(device, name, dtype):
    # Small whole numbers: exact in half, whatever the order of sums.
    rng = np.random.default_rng(3)
    x, fixed = rng.integers(-3, 4, 16).astype(dtype), rng.integers(-2, 3, (4, 4)).astype(dtype)
    out, stored = np.full(40, np.nan, dtype), np.full((9, 4, 4), np.nan, dtype)
    run(device, "matrices.metal", f"matrices_{name}", x, out, fixed, stored)
    v = x[:4].astype(np.float64)
    # numpy's rows are the columns of the matrices, so products are the other way around.
    a, c = fixed.astype(np.float64), x.reshape(4, 4).astype(np.float64)
    b = np.array([np.roll(v, -k) for k in range(4)])
    changed = a.copy()
    changed[1], changed[2, 3], changed[3, :2] = v, 7, v[2:]
    expected = [b @ a, a, 3 * np.eye(4), a @ c, c + a - b, -2 * a + 3 * b, c.T, 2 * (a + b - c)]
    np.testing.assert_array_equal(stored, np.array([*expected, changed]).astype(dtype))
    wide = x[:6].reshape(2, 3).astype(np.float64)
    threes = np.array([v[:3], v[1:], [v[3], v[3], v[0]]])
    up = v[:2] @ wide
    numbers = np.concatenate([
        v @ a, a @ v, v @ c, (b @ a)[1],
        [np.linalg.det(a), np.linalg.det(threes), v[0] * v[2] - v[1] * v[3], 1 + 2 + 8],
        (wide @ wide.T).ravel(), (wide.T @ wide).ravel(), up, wide @ up,
    ])  # fmt: skip
    np.testing.assert_array_equal(out[: len(numbers)], np.rint(numbers).astype(dtype))


def test_matrices_convert_and_lie_in_structs(device):
    rng = np.random.default_rng(4)
    m = rng.integers(-3, 4, (4, 4)).astype(np.float32)
    camera = np.dtype({
        "names": ["n", "view", "flat"], "formats": ["u4", ("f4", (4, 4)), ("f4", (3, 2))],
        "offsets": [0, 16, 80], "itemsize": 112,
    })  # fmt: skip
    cameras = np.zeros(3, camera)
    cameras["n"] = [5, 6, 7]
    cameras["view"] = rng.integers(-3, 4, (3, 4, 4))
    cameras["flat"] = rng.integers(-3, 4, (3, 3, 2))
    halves, sizes = np.zeros((2, 4, 4), np.float16), np.zeros(10, np.uint32)
    given, stored = cameras[:1].copy(), cameras[1:].copy()
    run(device, "matrices.metal", "converted", m, halves, given, stored, sizes)
    np.testing.assert_array_equal(halves, np.array([m, m @ m]).astype(np.float16))
    np.testing.assert_array_equal(stored["view"][0], m @ given["view"][0])
    assert stored["n"][0] == 7
    flat = cameras["flat"][2].copy()
    flat[2] = (np.array([1, 2, 3], np.float32) @ given["flat"][0])[::-1]
    np.testing.assert_array_equal(stored["flat"][0], flat)
    np.testing.assert_array_equal(sizes, [16, 32, 48, 64, 64, 8, 24, 16, 8, 8])


def test_matrices_of_half_and_bfloat_convert_into_each_other(device):
    # Numbers of more bits than bfloat has, and one that becomes too large for half.
    h = np.linspace(-3, 65504, 16).astype(np.float16).reshape(4, 4)
    h[0, 0] = 1.0009765625
    b, back = np.zeros((4, 4), BFLOAT), np.zeros((4, 4), np.float16)
    wide = np.zeros((4, 4), np.float32)
    run(device, "matrices.metal", "between_narrow_types", h, b, back, wide)
    rounded = h.astype(np.float32).astype(BFLOAT)
    np.testing.assert_array_equal(b.view(np.uint16), rounded.view(np.uint16))
    with np.errstate(over="ignore"):
        expected = rounded.astype(np.float32).astype(np.float16)
    np.testing.assert_array_equal(back, expected)
    np.testing.assert_array_equal(wide, rounded.astype(np.float32))


def test_names_that_other_people_s_kernels_use(device):
    rng = np.random.default_rng(5)
    x = np.zeros(16, np.float32)
    x[8:12] = [0.25, 0.5, 2.0, 3.0]
    h, b = np.zeros(16, np.float16), np.zeros(16, BFLOAT)
    h[8] = b[8] = 3.0
    n, q = np.zeros(8, np.int32), np.zeros((2, 3), np.float16)
    p, fixed = rng.integers(1, 5, (5, 3)).astype(np.float32), np.array([2, 3, 6], np.float32)
    p1 = p[1].copy()
    run(device, "names.metal", "names", x, h, b, n, p, q, fixed)

    def tenth(v, dtype):
        # The literals are floats: a double would give another last bit, or no code at all.
        product = (v * np.float32(0.1)).astype(dtype)
        return product + dtype(0.5) - np.float32(1) * dtype(0.1) + dtype(0.25)

    v = np.array([tenth(value, np.float32) for value in x[8:12]])
    np.testing.assert_allclose(x[:2], v[:2], rtol=3e-7)
    np.testing.assert_allclose(np.float32(h[0]), tenth(3.0, np.float32), rtol=2e-3)
    np.testing.assert_allclose(np.float32(b[0]), tenth(3.0, np.float32), rtol=2e-2)
    assert n[:5].tolist() == [4 + 10 + 200, 1 + 4, 1, 1 + 4 + 8 + 16, 1]
    cosine, eta = -0.8, 1.5
    k = 1 - eta**2 * (1 - cosine**2)
    bent = eta * -0.8 - (eta * cosine + math.sqrt(k))
    np.testing.assert_allclose(x[2:5], [1, 25, bent], rtol=1e-6)
    first = (np.array([1, 2, 3]) + p1) * 2
    np.testing.assert_array_equal(p[0], first)
    np.testing.assert_array_equal(p[2], first + p1 - p1 / 2)
    np.testing.assert_array_equal(p[3], fixed - 1)
    np.testing.assert_array_equal(p[4], -fixed)
    np.testing.assert_array_equal(q[0], p1.astype(np.float16))
    geometry = p1 @ fixed + 7 + max(p1[0], 2.5) + np.cross(p1, fixed - 1)[2]
    np.testing.assert_allclose(x[5], geometry, rtol=1e-6)
    assert x[6] == 2 * (0.25 + 0.5)
    t = v[3]
    mixed = min(max(v[0], 0.25), 0.5) + v[1] + 0.5 + (v[2] >= 0.5) + min(v[0], 0.1)
    mixed += t * t * (3 - 2 * t) + max(v[0], 0.75) - v[0] + max(v[3], 2.0)
    np.testing.assert_allclose(x[7], mixed, rtol=2e-6)


def test_fences_coherence_and_atomics_of_64_bits(device):
    most, least = np.zeros(1, np.uint64), np.full(1, 2**64 - 1, np.uint64)
    seen, more = np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    run(device, "names.metal", "ordered", most, least, seen, more, threads=64)
    assert (most[0], least[0]) == ((63 << 33) + 5, 5)
    np.testing.assert_array_equal(more, np.arange(64) + 1)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_a_fence_with_an_order_is_in_the_machine_code(engine):
    """That another thread sees the order cannot be forced; that the fence is there can be seen."""
    text = (
        HEAD
        + """
kernel void k(device atomic_int* x [[buffer(0)]], device int* y [[buffer(1)]],
              uint i [[thread_position_in_grid]]) {
  atomic_store_explicit(x + i, 1, memory_order_relaxed);
  atomic_thread_fence(mem_flags::mem_device, ORDER, thread_scope_device);
  y[i] = atomic_load_explicit(x + (i ^ 32), memory_order_relaxed);
}
"""
    )
    codes = []
    for order in ("memory_order_relaxed", "memory_order_seq_cst"):
        described = _core.PipelineDescriptor("k", [])
        codes.append(
            NativeFrontEnd(engine=engine).object_code(text.replace("ORDER", order), described)
        )
    assert [code.engine for code in codes] == [engine] * 2
    assert codes[0].object_file != codes[1].object_file


@pytest.mark.parametrize(
    "number", ["0.1", ".5", "1.", "1e-3", "1E+3", "1.5e3", "0x1p-3", "0x1.8P2", "0x.8p1", "1'000.5"]
)
def test_a_number_without_a_suffix_becomes_a_float(number):
    assert single(number) == f"{number}f"


@pytest.mark.parametrize(
    "number",
    ["1", "0x1f", "0xe", "0b101", "017", "1u", "1'000", "0.1f", "1.F", "1e3h", "2.5H", "1.0bf",
     "0x1p3f", "0xEF", "10l", "1.0_km", "0x1e+3"],
)  # fmt: skip
def test_any_other_number_stays(number):
    assert single(number) == number


def test_a_text_is_compiled_with_what_it_names():
    plain = includes("kernel void k(device float* x) { x[0] = max(x[1], 0.0f); }")
    assert plain == '#include "attnproto/metal.h"\n#line 2\n'
    for name, header in (
        ("fast::exp(x)", "accuracy.h"), ("using namespace metal :: precise ;", "accuracy.h"),
        ("packed_half3", "packed.h"), ("float4x3", "matrix.h"), ("quad_sum", "quad.h"),
        ("simdgroup_load (", "simdgroup_matrix.h"), ("atomic<int>", "atomic.h"),
        ("pack_float_to_unorm4x8", "pack.h"), ("os_log_default", "logging.h"),
        ("__metal_exp", "builtins.h"), ("is_void", "more_traits.h"),
    ):  # fmt: skip
        assert re.findall(r"attnproto/(\w+\.h)", includes(name))[1:] == [header], name
    assert "simdgroup_matrix" not in includes("simdgroup_barrier(mem_flags::mem_none)")


LEFT_OUT = {
    "texture2d": "kernel void k(texture2d<float> t [[texture(0)]]) {}",
    "depthcube_array": "kernel void k(depthcube_array<float> t [[texture(0)]]) {}",
    "texture_buffer": "kernel void k(metal::texture_buffer<float> t [[texture(0)]]) {}",
    "sampler": "constexpr sampler s(filter::linear);",
    "vertex": "vertex float4 f(uint i [[vertex_id]]) { return 0; }",
    "fragment": "[[fragment]] float4 f() { return 0; }",
    "raytracing": "using namespace metal::raytracing;",
    "intersector": "kernel void k(device float* x) { intersector<triangle_data> i; }",
    "tensor": "kernel void k(tensor<device half, dextents<int, 2>> t [[buffer(0)]]) {}",
    "mpp": "kernel void k(device float* x) { mpp::tensor_ops::run(x); }",
}


@pytest.mark.parametrize("feature", LEFT_OUT)
def test_a_feature_that_is_left_out_is_refused_by_its_name(device, feature):
    text = f"{HEAD}{LEFT_OUT[feature]}\nkernel void other(device float* x) {{ x[0] = 1; }}\n"
    with pytest.raises(
        KernelCompileError, match=rf"^\[msl\] line 3, column \d+: found {feature}, needs .*; "
    ):
        device.library(text).pipeline("other")


def test_words_of_features_are_free_where_they_mean_nothing(device):
    text = """
struct vertex { float tensor; };
template <typename T> struct intersector { T value; };
kernel void k(device float* x [[buffer(0)]]) {
  vertex v;
  intersector<float> i = {2};
  int mesh = 3, raytracing = 4, fragment = 5;
  v.tensor = x[0];
  if (v.tensor < mesh && raytracing > 0) x[0] = i.value + fragment;
}
"""
    x = np.zeros(1, np.float32)
    device.run(device.library(HEAD + text).pipeline("k"), threadgroups=1, threads=1, buffers={0: x})
    assert x[0] == 7
