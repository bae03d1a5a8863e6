"""PTX for an NVIDIA GPU, made and assembled where there is none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto import _core
from attnproto.compiler.targets import nvptx
from attnproto.device.device import Device, Timing
from attnproto.errors import DeviceUnavailable, KernelCompileError
from attnproto.kernels import flash, score_dispatch
from attnproto.kernels.flash import FlashTile
from attnproto.kernels.flash_variant import Rope
from attnproto.kernels.gqa import expand_heads
from attnproto.kernels.rope import apply_rope
from attnproto.measure import static_counts
from support import mlx
from support.function_table import BINARY, UNARY
from support.msl import HEAD_WITH_SAME, read_text, text_of_functions

SM = "sm_90"
TABLE = """
[[visible]] float twice(float x) { return 2.0f * x; }
kernel void through(device float* x [[buffer(0)]],
                    metal::visible_function_table<float(float)> table [[buffer(1)]]) {
  x[0] = table[0](x[0]);
}
"""


class Recorder(nvptx.PtxFrontEnd):
    """Keeps the code of every kernel it compiles."""

    def __init__(self, alignment: int = 16):
        super().__init__(SM, alignment)
        self.codes: list[tuple[str, str]] = []  # names and PTX

    def compile(self, text, descriptor):
        image = super().compile(text, descriptor)
        name = f"{descriptor.function} {[c.value for c in descriptor.constants]}"
        self.codes.append((name, image.code.decode()))
        return image


class CompilingDevice(Device):
    """Compiles for the GPU and runs nothing."""

    def __init__(self, alignment: int = 16):
        self.front_end = Recorder(alignment)
        super().__init__(_core.open_cpu(self.front_end, 1))

    def submit(self, dispatches):
        return Timing(0.0, 0.0)


@pytest.fixture
def device():
    return CompilingDevice()


def code_of(text: str, function: str, constants=None, alignment: int = 16) -> str:
    device = CompilingDevice(alignment)
    device.library(text).pipeline(function, constants or {})
    return device.front_end.codes[0][1]


def count(code: str, instruction: str) -> int:
    return len(re.findall(rf"^\s+(?:@%p\d+ )?{re.escape(instruction)}", code, re.M))


def additions(code: str) -> int:
    return len(re.findall(r"^\s+add\.(?:rn\.)?f32 .*$", code, re.M))


def flash_code(d: int, dtype: str, alignment: int = 16, **tile) -> str:
    shape = (1, 2, 256, d)
    tensors = [np.zeros(shape, dtype)] * 3
    plan = flash.plan(flash.problem_of(*tensors), FlashTile(d=d, dtype=dtype, **tile))
    return code_of(plan.source.text, plan.source.name, plan.constants, alignment)


@pytest.fixture(scope="session")
def ptxas():
    try:
        return static_counts.nvidia_tool("ptxas")
    except DeviceUnavailable as missing:
        pytest.skip(str(missing))


def assembled(ptxas: Path, code: str, folder: Path) -> tuple[int, int, int]:
    """The most registers, bytes spilled and bytes of shared memory of a kernel, of all its code."""
    source = folder / "kernel.ptx"
    source.write_text(code)
    command = [ptxas, "-v", f"-arch={SM}", source, "-o", folder / "kernel.cubin"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr))
    shared = re.search(r"(\d+) bytes smem", done.stderr)
    return (
        max(int(n) for n in re.findall(r"Used (\d+) registers", done.stderr)),
        spilled,
        int(shared[1]) if shared else 0,
    )


def tensors(n: int, d: int, dtype, hq: int = 4, hkv: int = 2):
    return [np.ones((1, heads, n, d), dtype) for heads in (hq, hkv, hkv)]


def run_flash(device, dtype, d, **options):
    attnproto.flash_attention(*tensors(77, d, dtype), device=device, **options)


def run_paged(device, dtype):
    pages = np.ones((20, 2, 16, 64), dtype)
    table, lengths = np.arange(20, dtype=np.int32).reshape(1, 20), np.array([300], np.int32)
    for n in (1, 32):
        q = np.ones((1, 4, n, 64), dtype)
        attnproto.paged_attention(q, pages, pages, table, lengths, partition=128, device=device)


def run_linear(device, dtype):
    q = np.ones((1, 2, 200, 64), dtype)
    for decay in (None, np.full((1, 2, 200), 0.9, np.float32)):
        attnproto.linear_attention(q, q, q, chunk=64, decay=decay, device=device)


def run_variants(device, dtype):
    q, k, v = tensors(77, 64, dtype)
    attnproto.flash_attention(
        q, k, v, rope=Rope(interleaved=True), alibi=True, softcap=30.0, window=40, causal=True,
        device=device,
    )  # fmt: skip
    apply_rope(q, Rope(interleaved=True), device=device)
    expand_heads(k, 4, device=device)


# Bytes that ptxas spills of kernels that may have all 255 registers: it reads far ahead, and puts
# away what it cannot keep. A change that spills more, or elsewhere, is seen. All variants at once
# take 128 keys a step, and their masked steps look at V before its product. Half at D = 256 has a
# second code of 128 registers.
_AXES = "query_threadgroup_rescale_grown"
SPILLED = {
    "all variants": 640,
    f"flash_half_br32_bc128_d64_rows8_keys_lane_{_AXES}": 124,
    f"flash_bfloat_br32_bc128_d64_rows8_keys_lane_{_AXES}": 72,
    f"flash_half_br32_bc64_d128_rows8_keys_lane_{_AXES}": 704,
    f"flash_half_br32_bc64_d256_rows8_keys_lane_{_AXES}": 4064,
    f"flash_float_br32_bc64_d128_rows8_keys_lane_{_AXES}": 1612,
    f"flash_float_br16_bc64_d256_rows8_keys_lane_{_AXES}": 2996,
    f"attend_pages_half_br32_bc128_d64_rows8_page16_{_AXES}": 296,
}

CASES = {
    **{
        f"flash-D{d}-{np.dtype(t).name}{'-causal' if causal else ''}": (run_flash, t, d, causal)
        for d in (64, 128, 256)
        for t in (np.float16, np.float32)
        for causal in (False, True)
    },
    **{
        f"{run.__name__[4:]}-{np.dtype(t).name}": (run, t)
        for run in (run_paged, run_linear, run_variants)
        for t in (np.float16, np.float32)
    },
    "flash-D64-bfloat16": (run_flash, ml_dtypes.bfloat16, 64, False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kernels_keep_to_registers_and_shared_memory(device, ptxas, tmp_path, case):
    run, dtype, *rest = case
    options = {"d": rest[0], "causal": rest[1]} if rest else {}
    run(device, dtype, **options)
    assert device.front_end.codes
    for name, code in device.front_end.codes:
        registers, spilled, shared = assembled(ptxas, code, tmp_path)
        assert registers <= 255, name
        known = "all variants" if run is run_variants else name.split()[0]
        assert spilled <= SPILLED.get(known, 0), name
        assert shared <= 32768, name


def test_two_products_on_one_accumulator_are_one_instruction():
    code = flash_code(64, "float16", br=16, bc=64)
    # Of 8 rows: 8 x 8 fragments for Q K^T and as many for P V, two by two.
    assert count(code, "mma.sync.aligned.m16n8k16.row.col.f32.f16") == 64
    assert count(code, "mma.sync.aligned.m16n8k8.row.col.f32.f16") == 0


@pytest.mark.parametrize(("rows", "products", "instructions"), [(8, 128, 256), (16, 256, 384)])
def test_products_of_floats_take_two_instructions_or_three_for_two(rows, products, instructions):
    code = flash_code(64, "float32", br=16, bc=64, rows=rows)
    assert instructions == products * (2 if rows == 8 else 1.5)
    assert count(code, "mma.sync.aligned.m16n8k16.row.col.f32.bf16") == instructions
    assert count(code, "mma.sync") == instructions  # none of tf32, which is too short for a float


def test_what_products_of_floats_carry_is_added_once_a_chain():
    # S and O take 8 fragments each of 8 products: pairs of them add once to each of 2 elements,
    # and chains add their two rows of carried sums, and then that.
    code = flash_code(64, "float32", br=16, bc=64)
    assert 0 <= additions(code) - 2 * 8 * 2 * (4 + 1 + 1) < 32  # those of softmax


def test_products_of_halves_are_added_once_a_chain():
    # S begins at zero and takes no addition; O takes one for each of 2 elements of its 2 times 8
    # fragments, where eight products follow one another.
    code = flash_code(64, "float16", br=16, bc=64, rows=16, query="registers")
    assert 0 <= additions(code) - 2 * 8 * 2 < 48  # those of softmax


def test_fragments_that_are_rows_of_memory_are_read_whole():
    tile = {"br": 64, "bc": 64, "rows": 16, "query": "registers"}
    by_lane, staged = (flash_code(64, "float16", **tile, keys=k) for k in ("lane", "ahead64"))
    # K needs none. A word of V is put together of two keys: 2 of each of 32 right operands.
    assert count(by_lane, "prmt") == 2 * 32
    assert count(staged, "prmt") == 0
    # 64 fragments of K and of V, four a read.
    assert count(staged, "ldmatrix.sync.aligned.m8n8.x4.shared") == 16
    assert count(staged, "ldmatrix.sync.aligned.m8n8.x4.trans") == 16


def test_lanes_do_not_wait_again_where_a_barrier_has_ordered_a_tile():
    code = flash_code(64, "float16", br=64, bc=64, rows=16, keys="ahead64")
    assert count(code, "bar.warp.sync") == 0
    assert count(code, "bar.sync") == 4


def test_two_blocks_of_rows_share_an_instruction():
    one = flash_code(64, "float16", br=16, bc=64, rows=8)
    two = flash_code(64, "float16", br=16, bc=64, rows=16)
    name = "mma.sync.aligned.m16n8k16.row.col.f32.f16"
    assert count(two, name) == count(one, name) == 64  # for twice the rows


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_right_operands_are_read_where_they_lie(dtype):
    code = flash_code(64, dtype, br=16, bc=64)
    assert count(code, "movmatrix") == 0


def test_buffers_that_may_lie_anywhere_are_transposed_by_the_hardware():
    code = flash_code(64, "float16", alignment=1, br=16, bc=64)
    assert count(code, "movmatrix") == 128  # one a fragment of K and of V


def test_right_operands_in_threadgroup_memory_are_read_by_matrices():
    kernel = mlx.SteelAttention("half", 64)
    constants = {200: True, 201: True, 300: False, 301: False, 302: False, 303: False}
    code = code_of(kernel.text, "steel", constants)
    assert count(code, "movmatrix") == 0
    # 4 x 8 fragments of K^T and of V in a step of 32 keys, four a read.
    assert count(code, "ldmatrix.sync.aligned.m8n8.x4.trans") == 16
    # Its element by element copies are tried 16 bytes at a time.
    assert count(code, "ld.global.v4.b32") >= 6


ODD_ROOT = read_text("address_unknown.metal")


def test_an_address_of_which_nothing_is_known_is_left_alone():
    code = code_of(ODD_ROOT, "odd")
    assert count(code, "movmatrix") == 1


DIVERGED = read_text("address_diverged.metal")


def test_an_address_that_lanes_reach_on_ways_of_their_own_is_left_alone():
    assert count(code_of(DIVERGED, "diverged"), "movmatrix") == 1


def test_every_way_to_dispatch_compiles(device):
    problem = flash.problem_of(*[np.zeros((1, 1, 16, 64), np.float32)] * 3)
    tile = FlashTile(br=16, bc=64, d=64, dtype="float32")
    modification = score_dispatch.Modification("custom")
    for way in score_dispatch.WAYS:
        score_dispatch.prepare(device, problem, tile, way, modification)
    tables = [code for _, code in device.front_end.codes if "attn_table" in code]
    assert len(tables) == 1


def test_an_exported_kernel_says_what_its_host_must_know():
    text = """
constant float shift [[function_constant(0)]];
[[max_total_threads_per_threadgroup(128)]]
kernel void add(device float* a [[buffer(1)]], constant ulong& n [[buffer(2)]],
                threadgroup float* shared [[threadgroup(0)]],
                uint i [[thread_index_in_threadgroup]]) {
  threadgroup float more[64];
  more[i % 64] = a[i];
  threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  a[i] = more[63 - i % 64] + shared[0] + shift + float(n);
}
"""
    described = _core.PipelineDescriptor("add", [_core.Constant("shift", 1.5)])
    head, _, code = nvptx.exported(text, described, SM).decode().partition("\n\n")
    assert head.splitlines() == [
        "// attnproto 1", "// function add 0 256 128", "// buffer 1 4 a", "// buffer 2 8 n",
        "// threadgroup 0 4 shared",
    ]  # fmt: skip
    assert ".visible .entry attn_launch_0" in code
    with pytest.raises(KernelCompileError, match="needs none: the C ABI binds no tables"):
        nvptx.exported(TABLE, _core.PipelineDescriptor("through", [], ["twice"]), SM)


FILES = ("constants", "conversions", "integers", "matrices", "names", "pack", "parts", "quads")


@pytest.mark.parametrize("file", FILES)
def test_the_library_s_names_assemble(device, ptxas, file, tmp_path):
    text = read_text(f"{file}.metal")
    text = text if "#include" in text else HEAD_WITH_SAME + text
    library = device.library(text)
    kernels = library.functions()
    for kernel in kernels:
        library.pipeline(kernel)
    assert len(device.front_end.codes) == len(kernels) > 0
    for _, code in device.front_end.codes:
        assembled(ptxas, code, tmp_path)


@pytest.mark.parametrize("table", ["unary", "binary"])
def test_every_function_of_numbers_assembles(device, ptxas, table, tmp_path):
    functions = {"unary": UNARY, "binary": BINARY}[table]
    library = device.library(text_of_functions(functions, f"{table}.metal"))
    for name in functions:
        library.pipeline(f"{name}_float")
    assert len(device.front_end.codes) == len(functions)
    for _, code in device.front_end.codes:
        assembled(ptxas, code, tmp_path)


def test_angles_are_reduced_by_a_constant_of_all_its_bits():
    """2 / pi in double; as a float it would lose thousands of turns."""
    text = "kernel void k(device float* x [[buffer(0)]]) { x[0] = metal::sin(x[0]); }"
    two_over_pi = np.float64(2 / np.pi).view(np.uint64)
    assert f"0d{two_over_pi:016X}" in code_of(text, "k")


def test_an_argument_that_a_derived_constant_brings_is_asked_for_on_another_processor_too():
    text = (
        "constant int n [[function_constant(0)]];\nconstant bool many = n > 3;\n"
        "kernel void f(device float* x [[buffer(0)]],\n"
        "              device float* y [[buffer(1), function_constant(many)]]) {\n"
        "  x[0] = many ? y[0] : 3;\n}\n"
    )
    for n, wanted in ((5, ["x", "y"]), (2, ["x"])):
        described = _core.PipelineDescriptor("f", [_core.Constant("n", n)])
        image = nvptx.PtxFrontEnd(SM).compile(text, described)
        assert [one.name for one in image.arguments] == wanted


@pytest.mark.parametrize(
    ("mark", "body", "most"),
    [
        ("", "", "255"),
        ("", "simdgroup_barrier(mem_flags::mem_threadgroup);", "255"),
        ("", "threadgroup_barrier(mem_flags::mem_threadgroup);", None),
        ("[[max_total_threads_per_threadgroup(1024)]]", "", "64"),
        ("[[max_total_threads_per_threadgroup(640)]]", "", "96"),
        ("[[max_total_threads_per_threadgroup(256)]]", "", "255"),
    ],
)
def test_a_kernel_without_threadgroup_barriers_may_have_all_registers(mark, body, most):
    """As many threads as a text promises can start: 65,536 registers are given out by eight."""
    text = f"""#include <metal_stdlib>
    using namespace metal;
    {mark} kernel void k(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]]) {{
      o[i] += 1;
      {body}
    }}"""
    assert re.findall(r"\.maxnreg (\d+)", code_of(text, "k")) == ([most] if most else [])
