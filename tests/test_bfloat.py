"""bfloat on the cpu device, which has no such number: the same bits on every processor."""

from __future__ import annotations

import platform

import ml_dtypes
import numpy as np
import pytest
from attnproto import _core
from attnproto.compiler.ir.types import Unreadable
from attnproto.compiler.passes import lower_bfloat
from attnproto.compiler.target import Target, fuses, host_target, processor_target
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from support.msl import read_text

BFLOAT = ml_dtypes.bfloat16
X86 = platform.machine() in ("x86_64", "AMD64")
TEXT = read_text("bfloat.metal")


def inputs() -> np.ndarray:
    """Numbers of every size: ties between two bfloats, denormal ones, infinities and a NaN."""
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 128, np.uint32)
    bits[:32] = bits[:32] & 0xFFFF0000 | 0x8000
    bits[32:48] = bits[32:48] & 0x807FFFFF
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3.3895e38, 1.0, 1e-40], np.float32)
    plain = random.standard_normal(120).astype(np.float32)
    return np.concatenate([bits.view(np.float32), special, plain])


def target_of(processor: str) -> Target:
    if not processor:
        return host_target()
    return processor_target("x86_64", "unknown-linux-gnu", processor)


def device(engine: str, processor: str) -> Device:
    front_end = NativeFrontEnd(engine=engine, target=target_of(processor))
    return Device(_core.open_cpu(front_end, 1))


def multiplied_and_added(a: np.ndarray, b: np.ndarray, fused: bool) -> np.ndarray:
    """a b + 1 of one expression: fused it is a float's, and rounded once more at the end."""
    if not fused:
        return a * b + BFLOAT(1)
    exact = a.astype(np.float64) * b.astype(np.float64) + 1
    return exact.astype(np.float32).astype(BFLOAT)


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("processor", ["", *(["x86-64-v3"] if X86 else [])])
def test_every_operation_rounds_to_nearest_even(engine, processor):
    x = inputs()
    on = device(engine, processor)
    pipeline = on.library(TEXT).pipeline("every")
    assert (pipeline.engine, pipeline.engine_reason) == (engine, "")
    out, converted = np.zeros((256, 12), BFLOAT), np.zeros(256, np.int32)
    on.run(pipeline, threadgroups=2, threads=128, buffers={0: x, 1: out, 2: converted})
    a, n = x.astype(BFLOAT), np.arange(256)
    b = np.roll(a, -7)
    with np.errstate(all="ignore"):
        wanted = [
            a, a + b, a - b, a * b, a / b, -a, np.where(a < b, a, b),
            (n * 1000 - 70000).astype(np.float32).astype(BFLOAT),
            (n * 1000).astype(np.float32).astype(BFLOAT), np.abs(a),
        ]  # fmt: skip
        wanted += [multiplied_and_added(x, b, fuses(target_of(processor))) for x in (a, b)]
        converted_wanted = np.where(np.abs(a.astype(np.float32)) < 1e6, a.astype(np.float32), 0)
    for number, column in enumerate(wanted):
        computed = out[:, number]
        nan = np.isnan(column)
        np.testing.assert_array_equal(np.isnan(computed), nan, str(number))
        np.testing.assert_array_equal(
            computed[~nan].view(np.uint16), column[~nan].view(np.uint16), str(number)
        )
    np.testing.assert_array_equal(converted, converted_wanted.astype(np.int32))


def test_a_module_without_the_type_stays_as_it_is():
    text = "define void @attn_to_bfloat_like(ptr %bfloat) {\n  ret void\n}\n"
    assert lower_bfloat.lower(text) is text


def test_an_intrinsic_is_computed_in_float():
    text = (
        "declare <2 x bfloat> @llvm.fabs.v2bf16(<2 x bfloat>)\n"
        "define <2 x bfloat> @f(<2 x bfloat> %0) {\n"
        "  %2 = tail call <2 x bfloat> @llvm.fabs.v2bf16(<2 x bfloat> %0)\n"
        "  ret <2 x bfloat> %2\n}\n"
    )
    lowered = lower_bfloat.lower(text)
    assert "bf16" not in lowered
    assert "bfloat>" not in lowered
    assert "declare <2 x float> @llvm.fabs.v2f32(<2 x float>)" in lowered
    assert "ret <2 x i16> %2" in lowered


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        ("%y = call i1 @llvm.is.fpclass.bf16(bfloat %x, i32 3)", "a function of bfloat"),
        ("%y = atomicrmw fadd ptr %p, bfloat %x monotonic", "an operation on bfloat"),
        ("%y = call bfloat @llvm.ldexp.bf16.i32(bfloat %x, i32 3)", "a function of bfloat"),
    ],
)
def test_an_operation_that_has_no_form_in_float_is_an_error(operation, sentence):
    text = f"define void @f(bfloat %x, ptr %p) {{\n  {operation}\n  ret void\n}}\n"
    with pytest.raises(Unreadable, match=sentence):
        lower_bfloat.lower(text)


def test_a_symbol_may_be_called_like_the_type():
    text = """#include <metal_stdlib>
using namespace metal;
constant bfloat bfloat_s[4] = {1, 2, 3, 4};
constant float bfloats[24] = {5, 6, 7, 8};
kernel void named(device float* out [[buffer(0)]], device bfloat* bfloat_o [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  constant float* bfloat_p = i > 1 ? bfloats : bfloats + 1;
  for (int k = 0; k < 24; k++) out[k] = bfloats[k];
  bfloat_o[i] = bfloat_s[i] * bfloat(*bfloat_p);
}
"""
    device = Device(_core.open_cpu(NativeFrontEnd(), 1))
    out, products = np.zeros(24, np.float32), np.zeros(4, ml_dtypes.bfloat16)
    pipeline = device.library(text).pipeline("named")
    device.run(pipeline, threadgroups=1, threads=4, buffers={0: out, 1: products})
    assert out.tolist() == [5, 6, 7, 8, *[0] * 20]
    assert products.tolist() == [6, 12, 15, 20]
