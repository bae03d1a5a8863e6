"""Local arrays in lockstep, where they lie element by element: the bits of a lane's own."""

from __future__ import annotations

import re

import attnproto
import numpy as np
import pytest
from attnproto.compiler.pass_manager import PassManager
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.library import describe
from support.msl import HEAD

# Declarations, and what a kernel does with x[64], y[64] and its thread's number i below 64.
KERNELS = {
    "floats": ("", """float a[9];
      for (int k = 0; k < 9; k++) a[k] = x[(i + k) & 63] * k;
      for (int k = 0; k < n; k++) y[i] += a[(k * 5) % 9] - a[8 - k];"""),
    "by each lane's index": ("", """float a[9]; int b[9];
      for (int k = 0; k < 9; k++) { a[k] = x[(i * k) & 63]; b[k] = i * k; }
      for (int k = 0; k < n; k++) { a[(i + k) % 9] += k; b[(i * k) % 9] ^= k; }
      for (int k = 0; k < n; k++) y[i] += a[k] * b[(i + k) % 9];"""),
    "by some lanes": ("", """float a[9];
      for (int k = 0; k < 9; k++) a[k] = k;
      for (int k = 0; k < n; k++) if (x[(i + k) & 63] > 0) a[k] += x[i]; else a[8 - k] = a[k];
      for (int k = 0; k < n; k++) y[i] += a[k] * (k + 1);"""),
    "loops as long as each lane says": ("", """float a[9];
      for (int k = 0; k < 9; k++) a[k] = x[(i + k) & 63];
      for (uint k = 0; k < i % 9; k++) { a[k] *= 3; if (a[k] < -2) break; }
      for (int k = 0; k < n; k++) y[i] += a[k] * (k + 1);"""),
    "vectors and their elements": ("", """half4 a[5]; float2 b[5];
      for (int k = 0; k < 5; k++) { a[k] = half4(x[(i + k) & 63], 1, k, 2); b[k] = 0; }
      for (int k = 0; k < n; k++) { b[k % 5].y += a[k % 5][k % 4]; a[k % 5].zw = a[k % 5].xy; }
      for (int k = 0; k < 5; k++) y[i] += dot(b[k], float2(a[k].zw)) + a[k].y;"""),
    "vectors of three": ("", """float3 a[4]; packed_float3 b[4];
      for (int k = 0; k < 4; k++) { a[k] = float3(x[i], k, 2); b[k] = a[k].zxy * 2; }
      for (int k = 0; k < n; k++) a[k % 4] += float3(b[(k + 1) % 4]);
      for (int k = 0; k < 4; k++) y[i] += dot(a[k], float3(b[k]));"""),
    "where few lanes are": ("", """if (i % 5 == 2) {
        float a[6] = {}; half b[6]; ulong c[6]; half2 d[6];
        for (int k = 0; k < 6; k++) { b[k] = i + k; c[k] = ulong(i) << 33; d[k] = half2(k, i); }
        for (int k = 0; k < n; k++) {
          a[k % 6] += x[(i + k) & 63] * b[(k + 1) % 6];
          if (i > 30) { b[k % 6] -= k; c[k % 6] += c[(k + 3) % 6] >> 1; d[k % 6].y += d[1].x; }
        }
        for (int k = 0; k < 6; k++) y[i] += a[k] + b[k] * float(c[k] >> 32) + d[k].x * d[k].y;
      }"""),
    "structs": ("struct S { uchar c; half h[3]; float f; ulong l; bool b; };", """S s[4];
      for (int k = 0; k < 4; k++) {
        s[k].c = i + k; s[k].f = x[(i + k) & 63]; s[k].l = ulong(i) << (40 + k); s[k].b = k & 1;
        for (int m = 0; m < 3; m++) s[k].h[m] = k + m;
      }
      for (int k = 0; k < n; k++) { s[k % 4].h[k % 3] += s[(k + 1) % 4].f; s[k % 4].c *= 7; }
      for (int k = 0; k < 4; k++)
        y[i] += s[k].c + s[k].f + float(s[k].l >> 32) + (s[k].b ? float(s[k].h[2]) : 0.5f);"""),
    "structs as a whole": ("struct S { float4 v; int n[3]; };", """S s[4]; S t;
      for (int k = 0; k < 4; k++) s[k] = S{float4(x[i], k, 1, 2), {k, int(i), 3}};
      for (int k = 0; k < n; k++) { t = s[k % 4]; s[(k + 2) % 4] = t; s[k % 4].n[k % 3] = k; }
      for (int k = 0; k < 4; k++) y[i] += s[k].v.x + s[k].v.y + s[k].n[k % 3] + t.n[1];"""),
    "bits of other types": ("", """uint a[12]; ulong b[6];
      for (int k = 0; k < 12; k++) a[k] = as_type<uint>(k % 2 ? x[i] : k);
      for (int k = 0; k < n; k++) a[(k * 7) % 12] ^= 1u << k;
      for (int k = 0; k < 6; k++) b[k] = as_type<ulong>(uint2(a[k], a[k + 6]));
      for (int k = 0; k < n; k++) b[k % 6] ^= b[(k + 1) % 6] & 0x7ffff;
      for (int k = 0; k < 6; k++) y[i] += as_type<float2>(b[k]).x + as_type<float2>(b[k]).y;"""),
    "bytes": ("", """uchar a[16]; for (int k = 0; k < 16; k++) a[k] = i * k;
      for (int k = 0; k < n; k++) a[(k * 3) % 16] += a[k];
      for (int k = 0; k < 4; k++) y[i] += float(((thread uint*)a)[k] >> 8);"""),
    "filled": ("", """float a[12] = {}; half b[9] = {0}; int c[7]; uchar d[5];
      for (int k = 0; k < 7; k++) c[k] = -1;
      for (int k = 0; k < 5; k++) d[k] = 7;
      for (int k = 0; k < n; k++) { a[k % 8] += x[i]; b[k % 5] += k; c[k % 5] += i; d[k % 3]++; }
      for (int k = 0; k < 12; k++) y[i] += a[k] + b[k % 9] * c[k % 7] + d[k % 5];"""),
    "filled, too long": ("", """float a[90] = {}; for (int k = 0; k < n; k++) a[k * 7] += x[i];
      for (int k = 0; k < 90; k++) y[i] += a[k] * k;"""),
    "pointers": ("", """device const float* p[3];
      for (int k = 0; k < 3; k++) p[k] = x + (i * k & 31);
      for (int k = 0; k < n; k++) { p[k % 3] += 2; y[i] += *p[(k + 1) % 3]; }"""),
    "one of two arrays": ("", """float a[4], b[4];
      for (int k = 0; k < 4; k++) { a[k] = x[(i + k) & 63]; b[k] = k; }
      thread float* p = x[i] > 0 ? a : b;
      for (int k = 0; k < n; k++) p[k % 4] += 1;
      for (int k = 0; k < 4; k++) y[i] += a[k] * b[k];"""),
    "columns of a table": ("", """float a[5][3];
      for (int k = 0; k < 15; k++) a[k / 3][k % 3] = x[(i + k) & 63];
      for (int k = 0; k < n; k++) a[k % 5][1] += a[(k + 1) % 5][k % 3];
      for (int k = 0; k < 15; k++) y[i] += a[k % 5][k / 5] * (k + 1);"""),
    "matrices": ("", """simdgroup_float8x8 m[3];
      for (int k = 0; k < 3; k++) simdgroup_load(m[k], x, 8);
      for (int k = 0; k < n; k++) simdgroup_multiply(m[k % 3], m[k % 3], m[(k + 1) % 3]);
      for (int k = 0; k < 3; k++)
        y[i] += m[k].thread_elements()[0] - m[k].thread_elements()[1];"""),
    "a call's array": ("""__attribute__((noinline)) float last(thread float* a, int n) {
      for (int k = 1; k < n; k++) a[k] += a[k - 1]; return a[n - 1]; }""", """float a[9];
      for (int k = 0; k < 9; k++) a[k] = x[(i + k) & 63];
      y[i] = last(a, n) + a[n / 2];"""),
}  # fmt: skip
# Arrays whose address is chosen, given to a function or to LLVM's copies are a lane's as before.
KEPT = {"one of two arrays", "a call's array", "structs as a whole", "filled, too long"}


def text_of(kind: str) -> str:
    declared, body = KERNELS[kind]
    return f"""{HEAD}{declared}
    kernel void k(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  constant int& n [[buffer(2)]], uint i [[thread_position_in_grid]]) {{
      y[i] = 0;
      {body}
    }}"""


@pytest.mark.parametrize("kind", KERNELS)
def test_a_local_array_has_the_bits_of_a_lanes_own(kind):
    inputs = np.random.default_rng(3).standard_normal(64).astype(np.float32)
    outputs = []
    for engine in ("fibers", "lockstep"):
        device = attnproto.open_device("cpu", engine=engine)
        pipeline = device.library(text_of(kind)).pipeline("k")
        assert pipeline.engine == engine
        out = np.full(64, np.nan, np.float32)
        buffers = {0: inputs, 1: out, 2: np.int32(9)}
        device.run(pipeline, threadgroups=1, threads=64, buffers=buffers)
        outputs.append(out)
    assert np.isfinite(outputs[0]).all()
    assert len(np.unique(outputs[0])) > 3
    np.testing.assert_array_equal(outputs[0].view(np.uint32), outputs[1].view(np.uint32))


@pytest.mark.parametrize("kind", KERNELS)
def test_an_array_is_transposed_where_every_use_is_known(kind):
    front_end = NativeFrontEnd()
    request = front_end.request(text_of(kind), describe("k"))
    kernel = front_end.lower(request, PassManager(stop_after="transpose_locals"))
    of_lanes = re.findall(r"^  (?!%attn.transposed)\S+ = alloca ", kernel.text, re.M)
    assert bool(of_lanes) == (kind in KEPT)
    assert "attn.transposed" in kernel.text or of_lanes
