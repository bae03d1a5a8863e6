"""simdgroup_matrix on the cpu device: Apple's layout, memory, products in every arrangement."""

from __future__ import annotations

from typing import ClassVar

import attnproto
import ml_dtypes
import numpy as np
import pytest

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
LANE = np.arange(32)
QUAD = LANE // 4
ROW = (QUAD & 4) + (LANE // 2) % 4
COLUMN = (QUAD & 2) * 2 + (LANE % 2) * 2


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


TEXT = (
    HEAD
    + """
typedef simdgroup_float8x8 M;

kernel void layout(device float* in [[buffer(0)]], device float* out [[buffer(1)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  M m;
  simdgroup_load(m, in);
  out[2 * lane] = m.thread_elements()[0];
  out[2 * lane + 1] = m.thread_elements().y;
}

kernel void constructors(device float* out [[buffer(0)]], device half* halves [[buffer(1)]]) {
  M diagonal(3.0f);
  simdgroup_store(diagonal, out);
  simdgroup_store(make_filled_simdgroup_matrix<float, 8, 8>(4.0f), out + 64);
  simdgroup_store(make_filled_simdgroup_matrix<float, 8>(5.0f), out + 128);
  M set;
  set = M(0.0f);
  simdgroup_store(set, out + 192);
  simdgroup_store(simdgroup_half8x8(2.0h), halves);
}

template <typename T>
kernel void memory(device const T* in [[buffer(0)]], device T* out [[buffer(1)]],
                   threadgroup T* shared [[threadgroup(0)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_matrix<T, 8, 8> m;
  simdgroup_load(m, in, 24, ulong2(3, 2));
  simdgroup_store(m, out);
  simdgroup_load(m, in, 24, ulong2(3, 2), true);
  simdgroup_store(m, out + 64);
  simdgroup_load(m, in, 24, 0, true);
  simdgroup_store(m, out + 128, 16, ulong2(8, 0));
  for (uint i = lane; i < 240; i += 32) shared[i] = in[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_load(m, shared + 1, 20, ulong2(2, 1));
  simdgroup_store(m, out + 256, 8, ulong2(0, 0), true);
  simdgroup_load(m, (const threadgroup T*)shared, 20, ulong2(2, 1), true);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_store(m, shared, 10, ulong2(1, 1), true);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = lane; i < 100; i += 32) out[320 + i] = shared[i];
}
template [[host_name("memory_float")]] kernel decltype(memory<float>) memory<float>;
template [[host_name("memory_half")]] kernel decltype(memory<half>) memory<half>;
template [[host_name("memory_bfloat")]] kernel decltype(memory<bfloat>) memory<bfloat>;

template <typename D, typename A, typename B, typename C>
kernel void mixed(device const A* a [[buffer(0)]], device const B* b [[buffer(1)]],
                  device const C* c [[buffer(2)]], device D* out [[buffer(3)]]) {
  simdgroup_matrix<A, 8, 8> ma;
  simdgroup_matrix<B, 8, 8> mb;
  simdgroup_matrix<C, 8, 8> mc;
  simdgroup_matrix<D, 8, 8> d;
  simdgroup_load(ma, a);
  simdgroup_load(mb, b);
  simdgroup_load(mc, c);
  simdgroup_multiply_accumulate(d, ma, mb, mc);
  simdgroup_store(d, out);
}
#define MIXED(D, A, B, C) \\
  template [[host_name("mixed_" #D "_" #A "_" #B "_" #C)]] [[kernel]] \\
  decltype(mixed<D, A, B, C>) mixed<D, A, B, C>;
MIXED(float, float, float, float)
MIXED(float, half, half, float)
MIXED(half, half, half, half)
MIXED(float, bfloat, bfloat, float)
MIXED(bfloat, bfloat, bfloat, bfloat)
MIXED(float, half, float, half)
MIXED(half, float, bfloat, float)

kernel void aliased(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M a, b, c;
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  simdgroup_load(c, in + 128);
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_store(c, out);
  simdgroup_multiply_accumulate(a, a, b, c);  // d is a
  simdgroup_store(a, out + 64);
  simdgroup_multiply(b, a, b);  // d is b
  simdgroup_store(b, out + 128);
  simdgroup_multiply_accumulate(a, a, a, a);
  simdgroup_store(a, out + 192);
  const M constant_operand = b;
  M d;
  simdgroup_multiply_accumulate(d, constant_operand, M(2.0f), M(1.0f));
  simdgroup_store(d, out + 256);
  simdgroup_store(c * d, out + 320);
}

kernel void chain(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                  device float* out [[buffer(2)]], constant int& turns [[buffer(3)]]) {
  M sum(0.0f), left, right;
  for (int i = 0; i < turns; i++) {
    simdgroup_load(left, a + 64 * i);
    simdgroup_load(right, b + 64 * i);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  simdgroup_store(sum, out);
}

// 8 row blocks, 8 column blocks, 4 steps: 256 products in a block, 64 accumulators.
kernel void tile(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                 device float* out [[buffer(2)]]) {
  M sums[8][8], left[8][4], right[4][8];
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 4; k++) {
      simdgroup_load(left[i][k], a, 32, ulong2(8 * k, 8 * i));
      simdgroup_load(right[k][i], b, 64, ulong2(8 * i, 8 * k));
    }
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (int k = 0; k < 4; k++)
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < 8; j++)
        simdgroup_multiply_accumulate(sums[i][j], left[i][k], right[k][j], sums[i][j]);
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) simdgroup_store(sums[i][j], out, 64, ulong2(8 * j, 8 * i));
}

// 144 accumulators, all continued after all were begun: more than there are slots.
kernel void wide(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M left[12], right[12], sums[12][12];
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++) {
    simdgroup_load(left[i], in + 64 * i);
    simdgroup_load(right[i], in + 64 * (12 + i));
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; j++) sums[i][j] = left[i] * right[j];
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; j++)
      simdgroup_multiply_accumulate(sums[i][j], left[j], right[i], sums[i][j]);
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; j++) simdgroup_store(sums[i][j], out + 64 * (12 * i + j));
}

// One accumulator, read after each of 150 products and then continued.
kernel void read_each(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M left, right, sum(0.0f);
  simdgroup_load(left, in);
#pragma clang loop unroll(full)
  for (int i = 0; i < 150; i++) {
    simdgroup_load(right, in + 64 + 8 * (i % 9));
    simdgroup_multiply_accumulate(sum, left, right, sum);
    simdgroup_store(sum, out + 64 * i);
  }
}

// Two products continue the same accumulator, and a third begins from it twice removed.
kernel void forked(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M a, b, c, first, second, third;
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  simdgroup_load(c, in + 128);
  simdgroup_multiply_accumulate(first, a, b, c);
  simdgroup_multiply_accumulate(second, b, a, first);
  simdgroup_multiply_accumulate(third, c, a, first);
  simdgroup_multiply_accumulate(first, a, a, first);
  simdgroup_store(first, out);
  simdgroup_store(second, out + 64);
  simdgroup_store(third, out + 128);
  simdgroup_multiply_accumulate(a, b, b, c);
  simdgroup_store(a, out + 192);
}

kernel void branch(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                   constant int& which [[buffer(2)]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  M a, b, sum(1.0f);
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  if (simdgroup == uint(which)) {
    simdgroup_multiply_accumulate(sum, a, b, sum);
    if (which > 0) simdgroup_multiply_accumulate(sum, b, a, sum);
  } else {
    simdgroup_multiply(sum, b, b);
  }
  simdgroup_multiply(sum, sum, a);
  simdgroup_store(sum, out + 64 * simdgroup);
}

struct Pair {
  M left, right;
  M product() const { return left * right; }
};
struct Tile {
  Pair pairs[2];
  metal::vec<float, 2> scale;
};
void scale(thread M& m, float by) { m.thread_elements() *= by; }
kernel void structures(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  Tile tile;
  tile.scale = float2(2.0f, -1.0f);
  for (int i = 0; i < 2; i++) {
    simdgroup_load(tile.pairs[i].left, in + 128 * i);
    simdgroup_load(tile.pairs[i].right, in + 128 * i + 64);
  }
  for (int i = 0; i < 2; i++) {
    M m = tile.pairs[i].product();
    scale(m, tile.scale[i]);
    simdgroup_store(m, out + 64 * i);
  }
}

// A row-wise softmax between two products, as attention does it.
kernel void attention(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M q, k, v, s, o;
  simdgroup_load(q, in);
  simdgroup_load(k, in + 64, 8, 0, true);
  simdgroup_load(v, in + 128);
  simdgroup_multiply(s, q, k);
  thread float2& e = reinterpret_cast<thread float2&>(s.thread_elements());
  float largest = max(e.x, e.y);
  largest = max(largest, simd_shuffle_xor(largest, 1));
  largest = max(largest, simd_shuffle_xor(largest, 8));
  e = exp(e - largest);
  float total = e.x + e.y;
  total += simd_shuffle_xor(total, 1);
  total += simd_shuffle_xor(total, 8);
  e /= total;
  simdgroup_multiply(o, s, v);
  simdgroup_store(o, out);
}
"""
)


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def launch(device, library, name, buffers, threads=32, **options):
    device.run(
        library.pipeline(name),
        threadgroups=1,
        threads=threads,
        buffers=dict(enumerate(buffers)),
        **options,
    )


def matrices(count, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((count, 8, 8)).astype(dtype)


def blank(count, dtype=np.float32):
    return np.full((count, 8, 8), np.nan, dtype)


def close(found, expected, tolerance=1e-5):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 10)


def test_a_lane_holds_two_neighbours_of_a_row_where_apple_puts_them(device, library):
    m, out = matrices(1)[0], np.zeros((32, 2), np.float32)
    launch(device, library, "layout", [m, out])
    np.testing.assert_array_equal(out[:, 0], m[ROW, COLUMN])
    np.testing.assert_array_equal(out[:, 1], m[ROW, COLUMN + 1])


def test_a_value_fills_the_diagonal_and_make_filled_fills_all(device, library):
    out, halves = blank(4), blank(1, np.float16)
    launch(device, library, "constructors", [out, halves])
    np.testing.assert_array_equal(out[0], 3 * np.eye(8))
    np.testing.assert_array_equal(out[1], np.full((8, 8), 4))
    np.testing.assert_array_equal(out[2], np.full((8, 8), 5))
    np.testing.assert_array_equal(out[3], np.zeros((8, 8)))
    np.testing.assert_array_equal(halves[0], 2 * np.eye(8))


TYPES = {"float": np.float32, "half": np.float16, "bfloat": ml_dtypes.bfloat16}


@pytest.mark.parametrize("name", TYPES)
def test_loads_and_stores_follow_stride_origin_and_transposition(device, library, name):
    dtype = TYPES[name]
    flat = np.arange(24 * 24).astype(np.float32) % 251  # exact in 8 bits of mantissa
    data, out = flat.astype(dtype), np.full(420, -1, dtype)
    launch(device, library, f"memory_{name}", [data, out], threadgroup_bytes={0: 1024})
    grid, found = flat.reshape(24, 24), out.astype(np.float32)
    np.testing.assert_array_equal(found[:64].reshape(8, 8), grid[2:10, 3:11])
    np.testing.assert_array_equal(found[64:128].reshape(8, 8), grid[2:10, 3:11].T)
    wide = found[128:256].reshape(8, 16)
    np.testing.assert_array_equal(wide[:, 8:], grid[:8, :8].T)
    assert (wide[:, :8] == -1).all()
    shared = flat[:240].reshape(12, 20)
    np.testing.assert_array_equal(found[256:320].reshape(8, 8), shared[1:9, 3:11].T)
    square = flat[:240].copy()[:100].reshape(10, 10)
    square[1:9, 1:9] = shared[1:9, 2:10]
    np.testing.assert_array_equal(found[320:].reshape(10, 10), square)


COMBINATIONS = [
    ("float", "float", "float", "float"),
    ("float", "half", "half", "float"),
    ("half", "half", "half", "half"),
    ("float", "bfloat", "bfloat", "float"),
    ("bfloat", "bfloat", "bfloat", "bfloat"),
    ("float", "half", "float", "half"),
    ("half", "float", "bfloat", "float"),
]


@pytest.mark.parametrize("types", COMBINATIONS, ids="-".join)
def test_multiply_accumulate_takes_four_independent_types(device, library, types):
    d, a, b, c = (TYPES[t] for t in types)
    left, right, addend = (matrices(1, i, t) for i, t in enumerate((a, b, c)))
    out = np.zeros((1, 8, 8), d)
    launch(device, library, "mixed_" + "_".join(types), [left, right, addend, out])
    wide = [x.astype(np.float64) for x in (left, right, addend)]
    exact = wide[0] @ wide[1] + wide[2]
    # Half a unit in the last place of the result, and the sum's own rounding.
    step = {"float": 1e-6, "half": 2**-11, "bfloat": 2**-8}[types[0]]
    size = np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(wide[2])
    assert (np.abs(out.astype(np.float64) - exact) <= step * np.abs(exact) + 1e-6 * size).all()


def test_the_result_may_be_any_of_the_operands(device, library):
    given, out = matrices(3), blank(6)
    launch(device, library, "aliased", [given, out])
    a, b, c = given.astype(np.float64)
    c = a @ b + c
    a2 = a @ b + c
    b2 = a2 @ b
    a3 = a2 @ a2 + a2
    d = 2 * b2 + np.eye(8)
    close(out, [c, a2, b2, a3, d, c @ d], 1e-4)


@pytest.mark.parametrize("turns", [0, 1, 7, 200])
def test_an_accumulator_is_carried_through_a_loop(device, library, turns):
    a, b, out = matrices(200, 1), matrices(200, 2), blank(1)
    launch(device, library, "chain", [a, b, out, np.int32(turns)])
    close(out[0], np.einsum("nij,njk->ik", *(x[:turns].astype(np.float64) for x in (a, b))), 1e-4)


def test_a_block_may_hold_more_products_than_a_batch(device, library):
    rng = np.random.default_rng(3)
    a = rng.standard_normal((64, 32)).astype(np.float32)
    b = rng.standard_normal((32, 64)).astype(np.float32)
    out = np.full((64, 64), np.nan, np.float32)
    launch(device, library, "tile", [a, b, out])
    close(out, a.astype(np.float64) @ b)


def test_a_block_may_hold_more_accumulators_than_slots(device, library):
    given, out = matrices(24), blank(144)
    launch(device, library, "wide", [given, out])
    left, right = given[:12].astype(np.float64), given[12:].astype(np.float64)
    expected = [left[i] @ right[j] + left[j] @ right[i] for i in range(12) for j in range(12)]
    close(out, expected)


def test_an_accumulator_read_after_every_product_keeps_every_value(device, library):
    given, out = matrices(3), blank(150)
    launch(device, library, "read_each", [given, out])
    flat = given.astype(np.float64).ravel()
    total, expected = np.zeros((8, 8)), []
    for i in range(150):
        right = flat[64 + 8 * (i % 9) :][:64].reshape(8, 8)
        total = total + given[0].astype(np.float64) @ right
        expected.append(total)
    close(out, expected, 1e-4)


def test_several_products_may_continue_one_accumulator(device, library):
    given, out = matrices(3), blank(4)
    launch(device, library, "forked", [given, out])
    a, b, c = given.astype(np.float64)
    first = a @ b + c
    close(out, [first + a @ a, first + b @ a, first + c @ a, b @ b + c])


@pytest.mark.parametrize("which", [0, 1, 5])
def test_simdgroups_may_take_different_branches_with_products(device, library, which):
    given, out = matrices(2), blank(3)
    launch(device, library, "branch", [given, out, np.int32(which)], threads=96)
    a, b = given.astype(np.float64)
    taken = (a @ b + np.eye(8) + (b @ a if which else 0)) @ a
    close(out, [taken if which == i else b @ b @ a for i in range(3)], 1e-4)


def test_matrices_live_in_arrays_and_structures(device, library):
    given, out = matrices(4), blank(2)
    launch(device, library, "structures", [given, out])
    wide = given.astype(np.float64)
    close(out, [2 * wide[0] @ wide[1], -(wide[2] @ wide[3])])


def test_a_softmax_between_two_products_is_attention(device, library):
    given, out = matrices(3), blank(1)
    launch(device, library, "attention", [given, out])
    q, k, v = given.astype(np.float64)
    weights = np.exp(q @ k.T)
    close(out[0], weights / weights.sum(1, keepdims=True) @ v)


class Program:
    """A random kernel of matrix products and element accesses, and the same in numpy."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.name = f"random_{seed}"
        # In some, most products begin or continue one of many accumulators, in turns: more of
        # them on one level than there are slots.
        self.wide = seed % 5 == 4
        self.registers = 128 if self.wide else int(self.rng.choice([3, 8, 40]))
        length = int(self.rng.integers(5, 60)) + self.registers * 2
        self.steps = [self._step(i) for i in range(length)]
        # The steps from here on are run twice, in a loop the compiler cannot unroll.
        self.loop = int(self.rng.integers(0, 2 * length))

    def _step(self, number):
        d, a, b, c = (int(n) for n in self.rng.integers(0, self.registers, 4))
        kinds = ["mma", "accumulate", "multiply", "scale", "negate", "mix", "swap", "turn", "load"]
        kind = str(self.rng.choice(kinds, p=[0.3, 0.4, 0.06, 0.04, 0.04, 0.04, 0.04, 0.04, 0.04]))
        if self.wide and self.rng.random() < 0.95:
            kind, d = "accumulate", number % self.registers
        return kind, d, a, b, c

    _MSL: ClassVar[dict[str, str]] = {
        "mma": "simdgroup_multiply_accumulate(r[{d}], x[{a8}], r[{b}], r[{c}]); halve(r[{d}]);",
        "accumulate": "simdgroup_multiply_accumulate(r[{d}], x[{a8}], x[{b8}], r[{d}]);",
        "multiply": "simdgroup_multiply(r[{d}], x[{a8}], r[{b}]);",
        "scale": "r[{d}].thread_elements() = 0.5f * r[{a}].thread_elements();",
        "negate": "r[{d}].thread_elements()[1] = -r[{a}].thread_elements()[0];",
        "mix": "r[{d}].thread_elements() -= 0.5f * r[{a}].thread_elements();",
        "swap": "r[{d}].thread_elements() = simd_shuffle_xor(r[{a}].thread_elements(), 1);",
        "turn": "simdgroup_store(r[{a}], shared); simdgroup_barrier(mem_flags::mem_threadgroup); "
        "simdgroup_load(r[{d}], shared, 8, 0, true); "
        "simdgroup_barrier(mem_flags::mem_threadgroup);",
        "load": "simdgroup_load(r[{d}], in + 64 * {a8});",
    }

    def text(self):
        lines = []
        for number, (kind, d, a, b, c) in enumerate(self.steps):
            if number == self.loop:
                lines.append("for (int turn = 0; turn < turns; turn++) {")
            step = self._MSL[kind]
            lines.append(step.format(d=d, a=a, b=b, c=c, a8=a % 8, b8=b % 8))
        if self.loop < len(self.steps):
            lines.append("}")
        body = "\n  ".join(lines)
        count = self.registers
        return f"""
kernel void {self.name}(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                        constant int& turns [[buffer(2)]]) {{
  threadgroup float shared[64];
  M x[8], r[{count}];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) simdgroup_load(x[i], in + 64 * i);
#pragma clang loop unroll(full)
  for (int i = 0; i < {count}; i++) r[i] = x[i % 8];
  {body}
#pragma clang loop unroll(full)
  for (int i = 0; i < {count}; i++) simdgroup_store(r[i], out + 64 * i);
}}
"""

    def run(self, given):
        """The values in FP64, and a bound of what rounding can move them by."""
        x = given.astype(np.float64)
        r = [x[i % 8].copy() for i in range(self.registers)]
        size = [np.abs(m) for m in r]
        steps = self.steps + self.steps[self.loop :]
        for kind, d, a, b, c in steps:
            left, right = x[a % 8], x[b % 8]
            if kind == "mma":
                r[d] = 0.5 * (left @ r[b] + r[c])
                size[d] = 0.5 * (np.abs(left) @ size[b] + size[c])
            elif kind == "accumulate":
                r[d] = left @ right + r[d]
                size[d] = np.abs(left) @ np.abs(right) + size[d]
            elif kind == "multiply":
                r[d], size[d] = left @ r[b], np.abs(left) @ size[b]
            elif kind == "scale":
                r[d], size[d] = 0.5 * r[a], 0.5 * size[a]
            elif kind == "negate":
                r[d], size[d] = r[d].copy(), size[d].copy()
                r[d][:, 1::2] = -r[a][:, ::2]
                size[d][:, 1::2] = size[a][:, ::2]
            elif kind == "mix":
                r[d], size[d] = r[d] - 0.5 * r[a], size[d] + 0.5 * size[a]
            elif kind == "swap":
                order = [2, 3, 0, 1, 6, 7, 4, 5]
                r[d], size[d] = r[a][:, order], size[a][:, order]
            elif kind == "turn":
                r[d], size[d] = r[a].T.copy(), size[a].T.copy()
            else:
                r[d], size[d] = left.copy(), np.abs(left)
        return np.array(r), np.array(size)


PROGRAMS = {seed: Program(seed) for seed in range(20)}


@pytest.fixture(scope="module")
def programs(device):
    halve = "void halve(thread M& m) { m.thread_elements() *= 0.5f; }\n"
    text = HEAD + "typedef simdgroup_float8x8 M;\n" + halve
    return device.library(text + "".join(p.text() for p in PROGRAMS.values()))


@pytest.mark.parametrize("seed", PROGRAMS)
def test_a_random_program_of_products_agrees_with_numpy(device, programs, seed):
    program = PROGRAMS[seed]
    given = (matrices(8, seed + 1) * np.float32(8**-0.5)).astype(np.float32)
    out = blank(program.registers)
    launch(device, programs, program.name, [given, out, np.int32(2)])
    expected, size = program.run(given)
    assert (np.abs(out - expected) <= 1e-4 * size).all()
