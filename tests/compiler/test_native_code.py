"""What LLVM's pipelines make of texts that are long, or that its time grows fast with."""

from __future__ import annotations

import attnproto
import numpy as np
from attnproto.compiler.codegen import native_code
from attnproto.compiler.ir import llvm
from attnproto.compiler.target import host_target
from support.msl import HEAD

LOOP = """
define float @sum(ptr %x, i32 %n) {
entry:
  br label %loop
loop:
  %i = phi i32 [0, %entry], [%next, %loop]
  %s = phi float [0.0, %entry], [%t, %loop]
  %p = getelementptr float, ptr %x, i32 %i
  %v = load float, ptr %p
  %t = fadd float %s, %v
  %next = add nuw i32 %i, 1
  %more = icmp ult i32 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret float %t
}
"""


def test_loops_are_unrolled_once():
    unrolled = llvm.optimise(LOOP)
    assert unrolled.count(" fadd ") > LOOP.count(" fadd ")
    cleaned = native_code.clean_up(unrolled, host_target())
    assert cleaned.count(" fadd ") == unrolled.count(" fadd ")


def test_loops_in_a_row_run_in_lockstep():
    loops = "".join(f"for (int j = 0; j < n; ++j) s += x[j + {k}];\n" for k in range(200))
    text = f"""{HEAD}kernel void k(device float* out [[buffer(0)]], constant int& n [[buffer(1)]],
      device const float* x [[buffer(2)]]) {{ float s = 0; {loops} out[0] = s; }}"""
    device = attnproto.open_device("cpu", validate=False)
    pipeline = device.library(text).pipeline("k")
    assert pipeline.engine == "lockstep"
    x, out = np.arange(210, dtype=np.float32), np.full(1, np.nan, np.float32)
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: out, 1: np.int32(3), 2: x})
    assert out[0] == sum(x[k : k + 3].sum(dtype=np.float64) for k in range(200))
