"""What an Apple or Arm machine would compile, compiled here as far as machine code."""

from __future__ import annotations

import platform
import re

import llvmlite.binding as llvm
import pytest
from attnproto import _core
from attnproto.msl import batch, clang, ir, linking, meetings, native

TEXT = """#include <metal_stdlib>
using namespace metal;
typedef simdgroup_float8x8 M;
kernel void once(device const half* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  simdgroup_half8x8 a, b;
  M c(1.0f);
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_multiply_accumulate(c, b, a, c);
  simdgroup_store(c, out);
}
kernel void loop(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                 constant int& n [[buffer(2)]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float shared[32];
  M a, sum(0.0f);
  for (int i = 0; i < n; i++) {
    simdgroup_load(a, in + 64 * i);
    simdgroup_multiply_accumulate(sum, a, a, sum);
    if (sum.thread_elements().x > 0) shared[lane] = simd_sum(sum.thread_elements().y);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  simdgroup_store(sum, out);
  out[64 + lane] = shared[lane ^ 1];
}
"""


@pytest.mark.parametrize("system", ["Darwin", "Linux"])
def test_kernels_compile_to_arm64_code(monkeypatch, system):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "system", lambda: system)
    host = clang.host_target()
    options = ("-mcpu=apple-m1" if o == "-mcpu=native" else o for o in host.options)
    target = clang.Target(host.triple, tuple(options))
    assert target.triple.startswith("aarch64-")
    native._initialise()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        backend = llvm.Target.from_triple(target.triple)
    except RuntimeError:
        pytest.skip("this llvmlite has no arm64 back end")
    machine = backend.create_target_machine(cpu="apple-m1", opt=2, reloc="pic")
    # Both in one process: LLVM then numbers the second's types, as it does on an arm64 host.
    kept = []
    for name in ("once", "loop"):
        module = linking.specialised(TEXT, _core.PipelineDescriptor(name, []), target)
        text, _ = ir.place_threadgroup_variables(native._optimise(module, machine, 2))
        kept.append(llvm.parse_assembly(text))
        entry = re.search(r"@(attn_entry_\d+)\(", text)[1]
        text = native.gathered(text, machine)
        assert batch.FUNCTION not in text
        assert machine.emit_object(native.lockstep_module(text, entry, machine))
        text = meetings.number_places(text)
        assert "@attn_matrix_batch(i32 " in text
        kept.append(llvm.parse_assembly(text))
        assert machine.emit_object(kept[-1])
