"""simdgroup and quad functions on the cpu device: values of every type through each."""

from __future__ import annotations

import numpy as np
import pytest
from support.conformance import conformance_device
from support.msl import HEAD

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
    text = f"{before}template <typename T> kernel void {name}({parameters}, {LANES}) {{ {body} }}\n"
    for t in types:
        text += f'template [[host_name("{name}_{t}")]] kernel decltype({name}<{t}>) {name}<{t}>;\n'
    return text


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
"""


@pytest.fixture(scope="module")
def device():
    return conformance_device()


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
    rows = launch(device, library, f"reduce_{name}", data, 8)
    wide = data.astype(np.float64 if data.dtype.kind == "f" else np.int64)
    one = np.ones_like(wide[:1])
    expected = [
        np.broadcast_to(f(wide, axis=0), wide.shape) for f in (np.sum, np.prod, np.min, np.max)
    ]
    sums, products = np.cumsum(wide, axis=0), np.cumprod(wide, axis=0)
    expected += [sums, sums - wide, products, np.concatenate([one, products[:-1]])]
    np.testing.assert_array_equal(rows, np.array(expected).astype(data.dtype))


@pytest.mark.parametrize("name", [t for t in TYPES if not t.startswith(("float", "half"))])
def test_bitwise_reductions_agree_with_numpy(device, library, name):
    data = values(name)
    rows = launch(device, library, f"bitwise_{name}", data, 3)
    for row, op in enumerate((np.bitwise_and, np.bitwise_or, np.bitwise_xor)):
        np.testing.assert_array_equal(
            rows[row], np.broadcast_to(op.reduce(data, axis=0), data.shape)
        )


@pytest.mark.parametrize("name", TYPES)
def test_shuffles_read_the_lane_they_name(device, library, name):
    data = values(name)
    rows = launch(device, library, f"shuffle_{name}", data, len(SHUFFLES) + len(EDGES))
    for row, source in zip(rows, SHUFFLES.values(), strict=False):
        np.testing.assert_array_equal(row, data[source])
    for row, source in zip(rows[len(SHUFFLES) :], EDGES.values(), strict=True):
        inside = (source >= 0) & (source < 32)  # beyond the edge the value is undefined
        np.testing.assert_array_equal(row[inside], data[source[inside]])


@pytest.mark.parametrize("name", TYPES)
def test_shuffle_and_fill_takes_what_is_missing_from_the_filler(device, library, name):
    data, fill = values(name), values(name, 1)
    rows = iter(launch(device, library, f"fill_{name}", data, 6, fill))
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
            np.testing.assert_array_equal(next(rows), expected)


@pytest.mark.parametrize("name", ["float", "half", "int", "uint", "short", "float2", "half4"])
def test_quad_functions_stay_within_four_lanes(device, library, name):
    data = values(name)
    rows = launch(device, library, f"quad_{name}", data, 11)
    quads = data.reshape(8, 4, *data.shape[1:]).astype(np.float64)
    reductions = [f(quads, axis=1, keepdims=True) for f in (np.sum, np.min, np.max)]
    reductions.append(quads[:, 2:3])
    expected = [np.broadcast_to(w, quads.shape) for w in reductions]
    expected += [quads[:, ::-1], quads[:, ::-1]]
    expected += [quads[:, [1, 2, 3, 3]], quads[:, [0, 0, 1, 2]]]
    expected.append(np.broadcast_to(quads.prod(axis=1, keepdims=True), quads.shape))
    sums = np.cumsum(quads, axis=1)
    expected += [sums, sums - quads]
    expected = np.array(expected).reshape(11, *data.shape).astype(data.dtype)
    np.testing.assert_array_equal(rows, expected)


def test_one_byte_values_move_and_reduce(device, library):
    rows = integers(device, library, "small", 6)
    np.testing.assert_array_equal(rows[0], (LANE ^ 1) - 16)
    np.testing.assert_array_equal(rows[1], 200 + (LANE ^ 2))
    assert (rows[2] == 1).all()
    assert (rows[3] == 15).all()
    assert (rows[4] == 8 * (0 + 1 + 2 + 3)).all()
    assert (rows[5] == -5).all()
