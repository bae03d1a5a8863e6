"""The cpu device on arm64: compiled here, and run where `make arm64-test` has an emulator.

What it gives is compared with this machine's engine, bit for bit; other tests hold that to FP64.
"""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from arm64.device import Arm64Device, tools
from attnproto import _core
from attnproto.compiler.ir import symbols
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.shared_object import shared_object
from support import mlx
from support.msl import HEAD, read_text
from support.project_kernels import PROJECT_KERNELS
from support.random_kernels import kernel

MAGIC = {"apple-macosx": b"\xcf\xfa\xed\xfe", "unknown-linux-gnu": b"\x7fELF"}
TEXT = read_text("arm64.metal")


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize("system", MAGIC)
def test_kernels_compile_to_arm64_code(system, engine):
    target = processor_target("aarch64", system, "apple-m1")
    # Both of one device: LLVM then numbers the second's types, as it does on an arm64 host.
    front_end = NativeFrontEnd(engine=engine, target=target)
    for name in ("once", "loop"):
        code = front_end.object_code(TEXT, _core.PipelineDescriptor(name, []))
        assert code.engine == engine
        assert code.object_file.startswith(MAGIC[system])


def test_an_exported_kernel_for_a_mac_leaves_the_engine_to_be_found_at_load():
    target = processor_target("aarch64", "apple-macosx", "apple-m1")
    kernel = shared_object(TEXT, _core.PipelineDescriptor("loop", []), target)
    assert kernel.startswith(MAGIC["apple-macosx"])
    open_names = symbols.undefined(kernel)
    assert any(name.startswith("attn_") for name in open_names)
    assert {*open_names} - symbols.offered() == {"dyld_stub_binder"}


@pytest.fixture(params=CPU_ENGINES)
def pair(request):
    """This machine's engine, and the same on arm64."""
    if tools() is None:
        pytest.skip("no emulator of arm64: run `make arm64-test`")
    here = attnproto.open_device("cpu", engine=request.param)
    return here, Arm64Device(tools(), request.param)


def same(here: np.ndarray, there: np.ndarray) -> None:
    assert np.isfinite(here.astype(np.float32)).all()
    np.testing.assert_array_equal(here.view(np.uint8), there.view(np.uint8))


# The C library's tanh, which rounds otherwise on another processor.
ROUNDED = {"scores": 1, "way-stitched": 1}


# The C ABI, through which arm64 is reached, binds no function tables.
@pytest.mark.parametrize("name", [name for name in PROJECT_KERNELS if name != "way-table"])
def test_the_kernels_of_the_project_give_the_same_bits_on_arm64(pair, name):
    here, there = (PROJECT_KERNELS[name](device) for device in pair)
    assert pair[1].runs
    if name in ROUNDED:
        np.testing.assert_array_max_ulp(here, there, ROUNDED[name])
    else:
        same(here, there)


@pytest.mark.parametrize("seed", range(6))
def test_random_kernels_give_the_same_bits_on_arm64(pair, seed):
    inputs = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    outputs = []
    for device in pair:
        out, total = np.zeros((192, 14), np.float32), np.zeros(16, np.int32)
        pipeline = device.library(HEAD + kernel(seed)).pipeline(f"random_{seed}")
        buffers = {0: inputs, 1: out, 2: total, 3: np.int32(3)}
        device.run(pipeline, threadgroups=3, threads=64, buffers=buffers)
        outputs.append((out, total))
    np.testing.assert_array_equal(*(out.view(np.uint32) for out, _ in outputs))
    np.testing.assert_array_equal(*(total for _, total in outputs))
    assert outputs[0][0].any()


# 320 threads are whole simdgroups; 300 are not, and run on fibers.
@pytest.mark.parametrize("threads", [320, 300])
def test_functions_threadgroup_memory_and_atomics_give_the_same_bits_on_arm64(pair, threads):
    inputs = np.random.default_rng(1).standard_normal(2 * threads).astype(np.float32)
    outputs = []
    for device in pair:
        out, count = np.zeros((2 * threads, 6), np.float32), np.zeros(1, np.int32)
        device.run(
            device.library(TEXT).pipeline("functions"), threadgroups=2, threads=threads,
            buffers={0: inputs, 1: out, 2: count}, threadgroup_bytes={0: 4 * 320},
        )  # fmt: skip
        outputs.append(out)
        assert count == np.sum(inputs > 0)
    same(*outputs)


@pytest.mark.parametrize("name", ["float", "half"])
def test_a_third_party_kernel_gives_the_same_bits_on_arm64(pair, name):
    dtype = {"float": np.float32, "half": np.float16}[name]
    random = np.random.default_rng(2)
    q, k, v = (random.standard_normal((1, 2, 70, 64)).astype(dtype) for _ in range(3))
    outputs = []
    for device in pair:
        out = np.zeros_like(q)
        attention = mlx.SteelAttention(name, 64)
        device.submit([attention.dispatch(device, [q, k, v, out], causal=True)])
        outputs.append(out)
    same(*outputs)
