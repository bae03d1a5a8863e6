"""What LLVM's pipelines make of texts that are long, or that its time grows fast with."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
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


def nest(depth: int) -> str:
    """Loops in one another, each of as many rounds as the lane's number says."""
    inner = "s += 1;"
    for n in range(depth):
        inner = f"for (int a{n} = 0; a{n} < rounds[i + {n}]; ++a{n}) {{ {inner} }}"
    return inner


DEEP = {
    "200 loops in one another": (nest(200), "1500 loops, by their depths"),
    "1,200 ifs, each else of the last": (
        "else ".join(f"if (rounds[i + {n}] > 1) s += x[{n}];" for n in range(1200)),
        "2000 blocks that only some lanes run",
    ),
    "a switch of 1,200 cases": (
        "".join(f"case {n}: s += x[{n}]; break;" for n in range(1200)).join(
            ("switch (rounds[i + 7] + 6) {", "}")
        ),
        "2000 blocks that only some lanes run",
    ),
}
# Of nine lanes that all have one round but where rounds[14] is two: in the first, lanes from 0 on
# have it in their nest; in the second, as the 14 - i-th question; in the third, lane 7 has case 8.
DEEP_SUMS = ([2] * 9, [14 - i for i in range(9)], [7] * 7 + [8, 7])


@pytest.mark.parametrize(("name", "sums"), [*zip(DEEP, DEEP_SUMS, strict=True)], ids=DEEP)
def test_what_llvm_takes_the_square_or_cube_of_runs_on_fibers(name, sums):
    code, reason = DEEP[name]
    text = f"""{HEAD}kernel void k(device int* out [[buffer(0)]],
      device const int* rounds [[buffer(1)]], device const int* x [[buffer(2)]],
      uint i [[thread_position_in_grid]]) {{ int s = 0; {code} out[i] = s; }}"""
    device = attnproto.open_device("cpu", validate=False)
    pipeline = device.library(text).pipeline("k")
    assert pipeline.engine == "fibers"
    assert reason in pipeline.engine_reason
    rounds, out = np.ones(1300, np.int32), np.full(9, -1, np.int32)
    rounds[14] = 2
    buffers = {0: out, 1: rounds, 2: np.arange(1200, dtype=np.int32)}
    device.run(pipeline, threadgroups=1, threads=9, buffers=buffers)
    assert out.tolist() == sums
