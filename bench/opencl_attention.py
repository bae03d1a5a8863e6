"""The flash algorithm in OpenCL C, one query row a work-item, on PoCL: a mark for the cpu device.

PoCL and pyopencl are no part of the project: `apt-get install pocl-opencl-icd`, `pip install
pyopencl`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

KEYS = 32  # of a step
SOURCE = """
#define D %(d)d
#define KEYS %(keys)d
__kernel void attention(__global const float* q, __global const float* k,
                        __global const float* v, __global float* out, int n, float scale) {
  int row = get_global_id(0);
  float query[D], sum[D], maximum = -INFINITY, total = 0.0f;
  for (int d = 0; d < D; d++) { query[d] = q[row * D + d]; sum[d] = 0.0f; }
  for (int begin = 0; begin < n; begin += KEYS) {
    float score[KEYS], now = maximum;
    for (int j = 0; j < KEYS; j++) {
      float s = 0.0f;
      for (int d = 0; d < D; d++) s = mad(query[d], k[(begin + j) * D + d], s);
      score[j] = s;
      now = fmax(now, s);
    }
    float shrink = native_exp2((maximum - now) * scale);
    maximum = now;
    total *= shrink;
    for (int d = 0; d < D; d++) sum[d] *= shrink;
    for (int j = 0; j < KEYS; j++) {
      float weight = native_exp2((score[j] - now) * scale);
      total += weight;
      for (int d = 0; d < D; d++) sum[d] = mad(weight, v[(begin + j) * D + d], sum[d]);
    }
  }
  for (int d = 0; d < D; d++) out[row * D + d] = sum[d] / total;
}
"""


class Missing(Exception):
    """There is no PoCL here; the text says what lacks."""


def prepare(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Callable[[], object]:
    """Return what computes one attention of float32 [N, D], after its result was checked.

    Raises:
        Missing: PoCL or pyopencl is not installed.
        AssertionError: the result is wrong.
    """
    try:
        import pyopencl
    except ImportError:
        raise Missing("pyopencl is not installed (pip install pyopencl)") from None
    try:
        platforms = pyopencl.get_platforms()
    except pyopencl.Error:
        platforms = []
    pocl = [p for p in platforms if "Portable Computing Language" in p.name]
    if not pocl:
        raise Missing("PoCL is not installed (apt-get install pocl-opencl-icd)")
    context = pyopencl.Context(pocl[0].get_devices())
    queue = pyopencl.CommandQueue(context)
    n, d = q.shape
    program = pyopencl.Program(context, SOURCE % {"d": d, "keys": KEYS}).build()
    flags = pyopencl.mem_flags
    buffers = [
        pyopencl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=x)
        for x in (q, k, v)
    ]
    out = np.empty_like(q)
    out_buffer = pyopencl.Buffer(context, flags.WRITE_ONLY, out.nbytes)
    scale = np.float32(d**-0.5 * np.log2(np.e))
    kernel = pyopencl.Kernel(program, "attention")

    def run() -> None:
        kernel(queue, (n,), (64,), *buffers, out_buffer, np.int32(n), scale)
        queue.finish()

    run()
    pyopencl.enqueue_copy(queue, out, out_buffer)
    weights = np.exp((q.astype(float) @ k.T.astype(float)) * d**-0.5)
    np.testing.assert_allclose(out, weights @ v / weights.sum(1, keepdims=True), atol=1e-4)
    return run
