"""simdgroup and quad functions on the cpu device, and which lanes take part in them."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
LANE = np.arange(32)
LANES = "uint lane [[thread_index_in_simdgroup]]"
SCALARS = {
    "float": np.float32,
    "half": np.float16,
    "int": np.int32,
    "uint": np.uint32,
    "short": np.int16,
    "ushort": np.uint16,
}
VECTORS = {"float2": np.float32, "float3": np.float32, "float4": np.float32, "half4": np.float16}
VECTORS |= {"int3": np.int32, "ushort2": np.uint16, "short4": np.int16, "half3": np.float16}
WIDTHS = {name: int(name[-1]) for name in VECTORS}
TYPES = SCALARS | VECTORS


def template(name, parameters, body, types, before=""):
    """A kernel for each type, by the name `name_type`."""
    made = f"{before}template <typename T> kernel void {name}({parameters}, {LANES}) {{ {body} }}\n"
    for t in types:
        made += f'template [[host_name("{name}_{t}")]] kernel decltype({name}<{t}>) {name}<{t}>;\n'
    return made


INPUT = "device const T* in [[buffer(0)]], device T* out [[buffer(1)]]"
REDUCTIONS = ("sum", "product", "min", "max")
SCANS = (
    "prefix_inclusive_sum",
    "prefix_exclusive_sum",
    "prefix_inclusive_product",
    "prefix_exclusive_product",
)
BITWISE = ("and", "or", "xor")
SHUFFLES = {
    "shuffle(x, ushort(31 - lane))": LANE[::-1],
    "shuffle(x, ushort((lane * 7) % 32))": LANE * 7 % 32,
    "broadcast(x, ushort(13))": np.full(32, 13),
    "shuffle_xor(x, ushort(9))": LANE ^ 9,
    "shuffle_rotate_up(x, ushort(5))": (LANE - 5) % 32,
    "shuffle_rotate_down(x, ushort(5))": (LANE + 5) % 32,
    "broadcast_first(x)": np.zeros(32, int),
}
EDGES = {"shuffle_up(x, ushort(3))": LANE - 3, "shuffle_down(x, ushort(3))": LANE + 3}


def statements(calls):
    return " ".join(f"out[{32 * i} + lane] = simd_{c};" for i, c in enumerate(calls))


def every(names):
    return statements(f"{n}(x)" for n in names)


TEXT = HEAD + "".join(
    [
        template("reduce", INPUT, "T x = in[lane]; " + every(REDUCTIONS + SCANS), TYPES),
        template(
            "bitwise",
            INPUT,
            "T x = in[lane]; " + every(BITWISE),
            [t for t in TYPES if not t.startswith(("float", "half"))],
        ),
        template("shuffle", INPUT, "T x = in[lane]; " + statements([*SHUFFLES, *EDGES]), TYPES),
        template(
            "fill",
            INPUT + ", device const T* fill [[buffer(2)]]",
            "T x = in[lane], y = fill[lane];"
            + statements(
                f"shuffle_and_fill_{way}(x, y, ushort({delta}){modulo})"
                for way in ("down", "up")
                for delta, modulo in ((3, ""), (0, ""), (2, ", ushort(8)"))
            ),
            TYPES,
        ),
        template(
            "quad",
            INPUT,
            "T x = in[lane]; out[lane] = quad_sum(x); out[32 + lane] = quad_min(x);"
            "out[64 + lane] = quad_max(x); out[96 + lane] = quad_broadcast(x, ushort(2));"
            "out[128 + lane] = quad_shuffle(x, ushort(3 - lane % 4));"
            "out[160 + lane] = quad_shuffle_xor(x, ushort(3));"
            "T y = quad_shuffle_down(x, ushort(1)); out[192 + lane] = lane % 4 < 3 ? y : x;"
            "y = quad_shuffle_up(x, ushort(1)); out[224 + lane] = lane % 4 > 0 ? y : x;"
            "out[256 + lane] = quad_product(x);"
            "out[288 + lane] = quad_prefix_inclusive_sum(x);"
            "out[320 + lane] = quad_prefix_exclusive_sum(x);",
            ["float", "half", "int", "uint", "short", "float2", "half4"],
        ),
    ]
)
OUT = f"device int* out [[buffer(0)]], constant int& n [[buffer(1)]], {LANES}"
TEXT += f"""
kernel void small({OUT}) {{
  bool b = lane % 3 == 0;
  out[lane] = simd_shuffle_xor(char(lane - 16), ushort(1));
  out[32 + lane] = simd_shuffle_xor(uchar(200 + lane), ushort(2));
  out[64 + lane] = simd_broadcast(b, ushort(3)) + 2 * simd_broadcast(b, ushort(4));
  out[96 + lane] = simd_max(char(lane - 16));
  out[128 + lane] = simd_sum(uchar(lane / 8));
  out[160 + lane] = simd_broadcast_first(char(-5 - int(lane)));
}}
kernel void votes({OUT}) {{
  bool even = lane % 2 == 0;
  simd_vote ballot = simd_ballot(even);
  ulong mask = static_cast<ulong>(static_cast<simd_vote::vote_t>(ballot));
  out[lane] = int(mask);
  out[32 + lane] = ballot.all() + 2 * ballot.any() + 4 * simd_all(even) + 8 * simd_any(even);
  out[64 + lane] = simd_all(lane < 32) + 2 * simd_any(lane > 40) + 4 * simd_is_first();
  out[96 + lane] = int((simd_vote::vote_t)simd_active_threads_mask());
  if (lane >= 5 && even) {{
    out[128 + lane] = int((simd_vote::vote_t)simd_active_threads_mask());
    out[160 + lane] = simd_is_first() + 2 * simd_all(even) + 4 * simd_any(lane == 4);
    out[192 + lane] = simd_ballot(true).all() + 2 * simd_ballot(lane > 10).all();
  }}
}}
kernel void branches({OUT}) {{
  int found;
  if (lane < 7) found = simd_sum(1);
  else if (lane % 2) {{
    found = 100 * simd_sum(1);
    if (lane > 20) found += simd_broadcast_first(int(lane));
  }} else found = simd_max(int(lane));
  out[lane] = found + 10000 * simd_sum(1);
}}
kernel void same_in_both({OUT}) {{
  int x = 1;
  if (lane % 4 == 0) out[lane] = simd_sum(x);
  else out[lane] = simd_sum(x);
  int y;
  if (lane < 20) y = simd_prefix_inclusive_sum(x); else y = simd_prefix_inclusive_sum(x);
  out[32 + lane] = y;
  out[64 + lane] = simd_sum(x);
}}
kernel void early({OUT}) {{
  out[lane] = simd_sum(1);
  if (lane % 3 == 1) return;
  out[32 + lane] = simd_sum(1);
  if (lane > 20) return;
  out[64 + lane] = simd_sum(1);
}}
kernel void trips({OUT}) {{
  int seen = 0;
  for (int k = 0; k < int(lane % 5) * n; k++) seen = seen * 3 + simd_sum(1);
  out[lane] = seen;
  out[32 + lane] = simd_sum(1);
}}
kernel void branch_in_loop({OUT}) {{
  int seen = 0;
  for (int k = 0; k < n; k++) {{
    seen += simd_sum(1);
    if ((lane + k) % 3 == 0) seen += 1000 * simd_sum(1);
  }}
  out[lane] = seen;
}}
kernel void skip_in_loop({OUT}) {{
  int seen = 0;
  for (int k = 0; k < n; k++) {{
    if ((lane + k) % 4 == 0) continue;
    seen += simd_sum(1);
    if ((lane + k) % 4 == 1) continue;
    seen += 100 * simd_sum(1);
    if (lane == 9 && k == 2) break;
  }}
  out[lane] = seen;
}}
kernel void nested_loops({OUT}) {{
  int seen = 0;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < int(lane + i) % 3; k++) {{
      seen += simd_sum(1);
      if (lane & 1) seen += 1000 * simd_sum(1);
    }}
  out[lane] = seen;
}}
kernel void while_voting({OUT}) {{
  int turns = 0, mine = int(lane % 7) * n;
  while (simd_any(mine > 0)) {{
    mine--;
    turns++;
  }}
  out[lane] = turns;
  mine = int(lane % 7) * n, turns = 0;
  do {{
    turns += simd_sum(1);
  }} while (--mine > 0);
  out[32 + lane] = turns;
}}
int sum_of_active(int x) {{ return simd_sum(x); }}
kernel void switched({OUT}) {{
  int found = 0;
  switch (lane % 4) {{
    case 0: found = sum_of_active(1); break;
    case 1: found = 10 * sum_of_active(int(lane)); break;
    case 2: found = 7;  // and on into the next
    default: found += 100 * sum_of_active(1);
  }}
  out[lane] = found;
}}
kernel void partial(device int* out [[buffer(0)]], uint i [[thread_position_in_grid]], {LANES},
                    uint simdgroup [[simdgroup_index_in_threadgroup]],
                    uint simdgroups [[simdgroups_per_threadgroup]],
                    uint width [[threads_per_simdgroup]]) {{
  out[8 * i] = simd_sum(1);
  out[8 * i + 1] = int((simd_vote::vote_t)simd_ballot(true));
  out[8 * i + 2] = simd_all(true) + 2 * simd_ballot(true).all() + 4 * simd_is_first();
  out[8 * i + 3] = simd_prefix_exclusive_sum(2);
  out[8 * i + 4] = simd_max(-int(lane)) + simd_min(int(lane) + 1);
  out[8 * i + 5] = lane;
  out[8 * i + 6] = simdgroup * 100 + simdgroups;
  out[8 * i + 7] = width;
}}
"""


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def values(name, seed=0):
    """32 values and what a device buffer of the type holds for them (float3 is 16 bytes)."""
    dtype = TYPES[name]
    rng = np.random.default_rng(seed)
    low = 1 if np.dtype(dtype).kind == "u" else -4
    width = WIDTHS.get(name, 1)
    data = np.where((v := rng.integers(low, 5, (32, width))) == 0, 1, v).astype(dtype)
    return data[:, 0] if width == 1 else data


def packed(data):
    return np.pad(data, ((0, 0), (0, 1))) if data.ndim == 2 and data.shape[1] == 3 else data


def launch(device, library, name, data, rows, *extra):
    """Run a templated kernel; what it wrote, as `rows` times 32 values."""
    given = packed(data)
    out = np.full((rows * 32, *given.shape[1:]), 77, given.dtype)
    buffers = {0: given, 1: out, **{2 + i: packed(e) for i, e in enumerate(extra)}}
    device.run(library.pipeline(name), threadgroups=1, threads=32, buffers=buffers)
    out = out[..., : data.shape[1]] if data.ndim == 2 else out
    return out.reshape(rows, *data.shape)


def integers(device, library, name, rows, n=1, threads=32):
    out = np.full((rows, 32), -1, np.int32)
    device.run(
        library.pipeline(name), threadgroups=1, threads=threads, buffers={0: out, 1: np.int32(n)}
    )
    return out


@pytest.mark.parametrize("name", TYPES)
def test_reductions_and_scans_agree_with_numpy(device, library, name):
    # Products of 32 values would overflow a half: ones, with a few that are not.
    data = values(name)
    data[(LANE % 8) != 0] = data.dtype.type(1)
    found = launch(device, library, f"reduce_{name}", data, 8)
    wide = data.astype(np.float64 if data.dtype.kind == "f" else np.int64)
    one = np.ones_like(wide[:1])
    expected = [
        np.broadcast_to(f(wide, axis=0), wide.shape) for f in (np.sum, np.prod, np.min, np.max)
    ]
    sums, products = np.cumsum(wide, axis=0), np.cumprod(wide, axis=0)
    expected += [sums, sums - wide, products, np.concatenate([one, products[:-1]])]
    np.testing.assert_array_equal(found, np.array(expected).astype(data.dtype))


@pytest.mark.parametrize("name", [t for t in TYPES if not t.startswith(("float", "half"))])
def test_bitwise_reductions_agree_with_numpy(device, library, name):
    data = values(name)
    found = launch(device, library, f"bitwise_{name}", data, 3)
    for row, op in enumerate((np.bitwise_and, np.bitwise_or, np.bitwise_xor)):
        np.testing.assert_array_equal(
            found[row], np.broadcast_to(op.reduce(data, axis=0), data.shape)
        )


@pytest.mark.parametrize("name", TYPES)
def test_shuffles_read_the_lane_they_name(device, library, name):
    data = values(name)
    found = launch(device, library, f"shuffle_{name}", data, len(SHUFFLES) + len(EDGES))
    for row, source in zip(found, SHUFFLES.values(), strict=False):
        np.testing.assert_array_equal(row, data[source])
    for row, source in zip(found[len(SHUFFLES) :], EDGES.values(), strict=True):
        inside = (source >= 0) & (source < 32)  # beyond the edge the value is undefined
        np.testing.assert_array_equal(row[inside], data[source[inside]])


@pytest.mark.parametrize("name", TYPES)
def test_shuffle_and_fill_takes_what_is_missing_from_the_filler(device, library, name):
    data, fill = values(name), values(name, 1)
    found = iter(launch(device, library, f"fill_{name}", data, 6, fill))
    for way in (1, -1):
        for delta, modulo in ((3, 32), (0, 32), (2, 8)):
            # Down, lane i reads i + delta of the data followed by the filler's first lanes;
            # up, i - delta of the filler's last lanes followed by the data (MSL 6.9.2).
            within, base = LANE % modulo + way * delta, LANE - LANE % modulo
            inside = (within >= 0) & (within < modulo)
            source = base + within % modulo
            expected = np.where(
                inside.reshape(-1, *[1] * (data.ndim - 1)), data[source], fill[source]
            )
            np.testing.assert_array_equal(next(found), expected)


@pytest.mark.parametrize("name", ["float", "half", "int", "uint", "short", "float2", "half4"])
def test_quad_functions_stay_within_four_lanes(device, library, name):
    data = values(name)
    found = launch(device, library, f"quad_{name}", data, 11)
    quads = data.reshape(8, 4, *data.shape[1:]).astype(np.float64)
    whole = [f(quads, axis=1, keepdims=True) for f in (np.sum, np.min, np.max)]
    whole.append(quads[:, 2:3])
    expected = [np.broadcast_to(w, quads.shape) for w in whole]
    expected += [quads[:, ::-1], quads[:, ::-1]]
    expected += [quads[:, [1, 2, 3, 3]], quads[:, [0, 0, 1, 2]]]
    expected.append(np.broadcast_to(quads.prod(axis=1, keepdims=True), quads.shape))
    sums = np.cumsum(quads, axis=1)
    expected += [sums, sums - quads]
    expected = np.array(expected).reshape(11, *data.shape).astype(data.dtype)
    np.testing.assert_array_equal(found, expected)


def test_one_byte_values_move_and_reduce(device, library):
    found = integers(device, library, "small", 6)
    np.testing.assert_array_equal(found[0], (LANE ^ 1) - 16)
    np.testing.assert_array_equal(found[1], 200 + (LANE ^ 2))
    assert (found[2] == 1).all()
    assert (found[3] == 15).all()
    assert (found[4] == 8 * (0 + 1 + 2 + 3)).all()
    assert (found[5] == -5).all()


def test_votes_count_the_lanes_that_are_active(device, library):
    found = integers(device, library, "votes", 7)
    even = 0x55555555
    assert (found[0] == even).all()
    assert (found[1] == 2 + 8).all()
    np.testing.assert_array_equal(found[2], 1 + 4 * (LANE == 0))
    assert (found[3] == -1).all()
    inside = (LANE >= 5) & (LANE % 2 == 0)
    active = sum(1 << int(lane) for lane in LANE[inside])
    assert (found[4][inside] == active).all()
    np.testing.assert_array_equal(found[5][inside], 2 + (LANE[inside] == 6))
    assert (found[6][inside] == 1).all()
    assert (found[4:, ~inside] == -1).all()


def test_a_collective_in_a_branch_is_for_the_lanes_in_it(device, library):
    found = integers(device, library, "branches", 1)[0]
    low, odd = LANE < 7, (LANE >= 7) & (LANE % 2 == 1)
    # Odd lanes 7..31 are 13; of those above 20 the first is 21; the greatest even lane is 30.
    expected = np.where(low, 7, np.where(odd, 1300 + 21 * (LANE > 20), 30)) + 320000
    np.testing.assert_array_equal(found, expected)


def test_the_same_call_in_both_branches_is_two_calls(device, library):
    found = integers(device, library, "same_in_both", 3)
    np.testing.assert_array_equal(found[0], np.where(LANE % 4 == 0, 8, 24))
    np.testing.assert_array_equal(found[1], np.where(LANE < 20, LANE + 1, LANE - 19))
    assert (found[2] == 32).all()


def test_lanes_that_have_returned_take_no_part(device, library):
    found = integers(device, library, "early", 3)
    stay = LANE % 3 != 1
    assert (found[0] == 32).all()
    np.testing.assert_array_equal(found[1], np.where(stay, 21, -1))
    last = stay & (LANE <= 20)
    np.testing.assert_array_equal(found[2], np.where(last, last.sum(), -1))


def simulate(turn_of, turns):
    """Sums over the lanes active at each collective of each turn, in lockstep.

    `turn_of(k)` yields (mask, weight) for the collectives of turn `k`.
    """
    seen = np.zeros(32, np.int64)
    for k in range(turns):
        for mask, weight in turn_of(k):
            seen[mask] += weight * mask.sum()
    return seen


@pytest.mark.parametrize("n", [1, 3])
def test_lanes_leave_a_loop_at_different_turns_and_meet_after_it(device, library, n):
    found = integers(device, library, "trips", 2, n)
    expected = np.zeros(32, np.int64)
    for k in range(4 * n):
        mask = LANE % 5 * n > k
        expected[mask] = expected[mask] * 3 + mask.sum()
    np.testing.assert_array_equal(found[0], expected)
    assert (found[1] == 32).all()


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_lanes_that_skip_a_branch_wait_for_the_others_before_the_next_turn(device, library, n):
    found = integers(device, library, "branch_in_loop", 1, n)[0]
    everyone = np.ones(32, bool)
    expected = simulate(lambda k: [(everyone, 1), ((LANE + k) % 3 == 0, 1000)], n)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_continue_and_break_do_not_mix_turns(device, library, n):
    found = integers(device, library, "skip_in_loop", 1, n)[0]

    def turn(k):
        here = (LANE + k) % 4 != 0
        here &= ~((LANE == 9) & (k > 2))
        return [(here, 1), (here & ((LANE + k) % 4 != 1), 100)]

    np.testing.assert_array_equal(found, simulate(turn, n))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_turns_of_an_inner_loop_belong_to_one_turn_of_the_outer(device, library, n):
    found = integers(device, library, "nested_loops", 1, n)[0]

    def turn(ik):
        here = (LANE + ik // 2) % 3 > ik % 2
        return [(here, 1), (here & (LANE % 2 == 1), 1000)]

    np.testing.assert_array_equal(found, simulate(turn, 2 * n))


def test_a_loop_may_be_governed_by_a_vote(device, library):
    found = integers(device, library, "while_voting", 2, 2)
    assert (found[0] == 12).all()
    # The body runs max(1, 2 (lane % 7)) times, for those lanes that are still in the loop.
    turns = np.maximum(1, 2 * (LANE % 7))
    expected = [sum((turns > k).sum() for k in range(t)) for t in turns]
    np.testing.assert_array_equal(found[1], expected)


def test_a_function_called_in_each_case_of_a_switch_sees_its_own_lanes(device, library):
    found = integers(device, library, "switched", 1)[0]
    by_case = [np.full(32, 8), np.full(32, 10 * LANE[1::4].sum())]
    # Case 2 falls through to default, which case 3 enters too: 16 lanes meet there.
    by_case += [np.full(32, 7 + 1600), np.full(32, 1600)]
    np.testing.assert_array_equal(found, np.choose(LANE % 4, by_case))


@pytest.mark.parametrize("threads", [1, 5, 33, 63])
def test_the_last_simdgroup_may_be_partial(device, library, threads):
    out = np.full((threads + 1, 8), -9, np.int32)
    device.run(library.pipeline("partial"), threadgroups=1, threads=threads, buffers={0: out})
    assert (out[threads] == -9).all()
    i = np.arange(threads)
    lane, group = i % 32, i // 32
    here = np.minimum(32, threads - 32 * group)
    mask = np.where(here == 32, -1, (1 << here.astype(np.int64)) - 1).astype(np.int32)
    expected = np.stack(
        [
            here,
            mask,
            3 + 4 * (lane == 0),
            2 * lane,
            np.ones(threads),
            lane,
            100 * group + (threads + 31) // 32,
            np.full(threads, 32),
        ],
        axis=1,
    )
    np.testing.assert_array_equal(out[:threads], expected.astype(np.int32))


class Divergent:
    """A random kernel of branches and loops that lanes take differently, and its lockstep run.

    The interpreter does what a SIMD machine does: a statement is executed for a mask of lanes,
    a branch for either part of it, a loop until none of its lanes are left.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.name = f"divergent_{seed}"
        self.loops = 0
        self.body = self.block(3, in_loop=False)

    def block(self, depth, in_loop):
        return [self.statement(depth, in_loop) for _ in range(self.rng.integers(1, 4))]

    def condition(self):
        m = int(self.rng.integers(2, 6))
        return m, int(self.rng.integers(0, m)), int(self.rng.integers(0, 3))

    def statement(self, depth, in_loop):
        kinds = ["sum", "ballot", "first", "mix"] + ["if", "if", "else", "for"] * (depth > 0)
        kinds += ["continue", "break"] * in_loop
        kind = str(self.rng.choice(kinds))
        if kind == "if":
            return kind, self.condition(), self.block(depth - 1, in_loop)
        if kind == "else":
            blocks = self.block(depth - 1, in_loop), self.block(depth - 1, in_loop)
            return kind, self.condition(), *blocks
        if kind == "for":
            self.loops += 1
            number = self.loops
            return kind, self.condition(), number, self.block(depth - 1, True)
        if kind in ("continue", "break"):
            return kind, self.condition()
        return (kind, int(self.rng.integers(1, 1000)))

    def text(self):
        def condition(c):
            return f"(lane * {c[2]} + uint(x) + {c[1]}) % {c[0]} == 0"

        def lines(block):
            return " ".join(line(*statement) for statement in block)

        def line(kind, what, *rest):
            if kind == "sum":
                return f"x = x * 3 + simd_sum(x & 1023) + {what};\n"
            if kind == "ballot":
                return f"x ^= uint(ulong(simd_vote::vote_t(simd_ballot(x & 1)))) + {what};\n"
            if kind == "first":
                return f"x += simd_broadcast_first(x) * {what} + (simd_is_first() ? 1 : 0);\n"
            if kind == "mix":
                return f"x = x * 5 + lane * {what};\n"
            if kind == "if":
                return f"if ({condition(what)}) {{ {lines(rest[0])} }}\n"
            if kind == "else":
                return (
                    f"if ({condition(what)}) {{ {lines(rest[0])} }} else {{ {lines(rest[1])} }}\n"
                )
            if kind == "for":
                k = f"k{rest[0]}"
                most = f"uint(n) + (lane + {what[1]}) % {what[0]}"
                return f"for (uint {k} = 0; {k} < {most}; {k}++) {{ {lines(rest[1])} }}\n"
            return f"if ({condition(what)}) {kind};\n"

        return (
            f"kernel void {self.name}(device uint* out [[buffer(0)]], constant int& n "
            f"[[buffer(1)]], {LANES}) {{\nuint x = lane * 77 + 5;\n{lines(self.body)}"
            "out[lane] = x; out[32 + lane] = simd_sum(1u); }\n"
        )

    def run(self, n):
        x = LANE.astype(np.uint32) * np.uint32(77) + np.uint32(5)
        u = np.uint32

        def condition(c):
            return (LANE.astype(u) * u(c[2]) + x + u(c[1])) % u(c[0]) == 0

        def execute(block, mask):
            """Lanes that reach the end of the block, and those that broke out of the loop."""
            nonlocal x
            broke = np.zeros(32, bool)
            skipped = np.zeros(32, bool)
            for kind, what, *rest in block:
                if not mask.any():
                    break
                if kind == "sum":
                    x = np.where(mask, x * u(3) + (x[mask] & u(1023)).sum(dtype=u) + u(what), x)
                elif kind == "ballot":
                    votes = sum(1 << int(i) for i in LANE[mask & (x % 2 == 1)])
                    x = np.where(mask, x ^ u((votes + what) & 0xFFFFFFFF), x)
                elif kind == "first":
                    first = LANE[mask][0]
                    x = np.where(mask, x + x[first] * u(what) + (first == LANE).astype(u), x)
                elif kind == "mix":
                    x = np.where(mask, x * u(5) + LANE.astype(u) * u(what), x)
                elif kind in ("if", "else"):
                    taken = condition(what)
                    ends = np.zeros(32, bool)
                    for part, lanes in zip(rest, (mask & taken, mask & ~taken), strict=False):
                        end, b, s = execute(part, lanes)
                        ends, broke, skipped = ends | end, broke | b, skipped | s
                    mask = ends | (mask & ~taken if kind == "if" else ends)
                elif kind == "for":
                    most = n + (LANE + what[1]) % what[0]
                    inside, turn = mask & (most > 0), 0
                    while inside.any():
                        end, b, s = execute(rest[1], inside)
                        turn += 1
                        inside = (end | s) & (most > turn)
                else:
                    leave = mask & condition(what)
                    if kind == "break":
                        broke |= leave
                    else:
                        skipped |= leave
                    mask = mask & ~leave
            return mask, broke, skipped

        with np.errstate(over="ignore"):
            execute(self.body, np.ones(32, bool))
        return x


DIVERGENT = {seed: Divergent(seed) for seed in range(40)}


@pytest.fixture(scope="module")
def divergent(device):
    return device.library(HEAD + "".join(p.text() for p in DIVERGENT.values()))


@pytest.mark.parametrize("seed", DIVERGENT)
def test_a_random_program_that_diverges_runs_as_in_lockstep(device, divergent, seed):
    for n in (0, 2):
        found = integers(device, divergent, f"divergent_{seed}", 2, n)
        np.testing.assert_array_equal(found[0].view(np.uint32), DIVERGENT[seed].run(n))
        assert (found[1] == 32).all()
