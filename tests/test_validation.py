"""What a validating device finds, and what it leaves alone."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto.errors import DispatchError, ValidationError
from support import mlx_checks, third_party
from support import seeded_faults as seeded
from support.msl import read_text

GROUPS, THREADS = 2, 64
N = GROUPS * THREADS


@pytest.fixture(scope="module")
def memory():
    device = attnproto.open_device("cpu", validate=True)
    return device, device.library(seeded.TEXT)


@pytest.fixture(scope="module")
def arithmetic():
    device = attnproto.open_device("cpu", validate="nan")
    return device, device.library(seeded.TEXT)


def readonly(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def launch(on, kernel: str, **bound: np.ndarray) -> np.ndarray:
    device, library = on
    out = bound.get("out", np.full(N, np.nan, np.float32))
    tail = bound.get("tail", np.full(100, np.nan, np.float32))
    device.run(
        library.pipeline(kernel),
        threadgroups=GROUPS,
        threads=THREADS,
        buffers={
            0: out,
            1: readonly(np.arange(N, dtype=np.float32)),
            2: np.uint32(100),
            3: np.zeros(4, np.uint32),
            4: readonly(np.arange(N, dtype=np.int32)),
            5: readonly(np.ones(N, np.float16)),
            6: readonly(np.ones(8, np.float32)),
            7: tail,
        },
        threadgroup_bytes={0: THREADS * 4},
    )
    return out


POINTERS = """#include <metal_stdlib>
using namespace metal;
constant int small[] = {3, 5}, large[] = {7, 11, 13};
struct Own { int value; int read() { return value; } };
template <typename P> int sum(P p) { return p[0] + p[1]; }
kernel void own(device int* out [[buffer(0)]], constant int& at [[buffer(1)]],
                uint i [[thread_position_in_grid]]) {
  constant int* table = at ? small : large;
  int own[2] = {int(i), at};
  Own held = {4};
  out[i] = table[at] + sum(own) + sum(&table[1]) + held.read();
}
kernel void foreign(device int* out [[buffer(0)]], constant ulong* address [[buffer(1)]]) {
  out[0] =
      *(device int*)address[0];
}
"""


def test_an_address_of_the_hosts_is_found_though_it_is_mapped(memory):
    device, _ = memory
    others = np.full(64, 5, np.int32)
    library = device.library(POINTERS)
    buffers = {0: np.zeros(64, np.int32), 1: np.array([others.ctypes.data], np.uint64)}
    with pytest.raises(ValidationError) as raised:
        device.run(library.pipeline("foreign"), threadgroups=1, threads=1, buffers=buffers)
    assert (raised.value.kind, raised.value.parties[0].line) == ("foreign-pointer", 15)


def test_addresses_of_a_kernels_own_memory_are_not_the_hosts(memory):
    device, _ = memory
    library = device.library(POINTERS)
    out = np.zeros(64, np.int32)
    buffers = {0: out, 1: np.int32(0)}
    device.run(library.pipeline("own"), threadgroups=2, threads=32, buffers=buffers)
    assert out.tolist() == [7 + i + 11 + 13 + 4 for i in range(64)]


PARTS = """#include <metal_stdlib>
using namespace metal;
kernel void parts(device float4* out [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  threadgroup float4 rows[32];
  rows[i].xy = float2(i, 1);
  rows[i].zw = out[i].xy;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = rows[31 - i];
}
kernel void whole(device float4* out [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  threadgroup float4 rows[32];
  out[i] = rows[31 - i];
  rows[i].xy = float2(i, 1);
}
"""


def test_elements_of_a_vector_may_be_set_before_the_others(memory):
    device, _ = memory
    library = device.library(PARTS)
    out = np.full((32, 4), 2, np.float32)
    device.run(library.pipeline("parts"), threadgroups=1, threads=32, buffers={0: out})
    assert out.tolist() == [[31 - i, 1, 2, 2] for i in range(32)]
    with pytest.raises(ValidationError, match=r"found uninitialised .* in line 12") as raised:
        device.run(library.pipeline("whole"), threadgroups=1, threads=32, buffers={0: out})
    assert raised.value.kind == "uninitialised"


@pytest.mark.parametrize("fault", seeded.ALWAYS, ids=lambda f: f.name)
def test_a_seeded_fault_is_found_and_its_correction_passes(memory, fault):
    with pytest.raises(ValidationError) as raised:
        launch(memory, fault.name)
    error = raised.value
    assert error.kind == fault.kind
    assert error.kernel == fault.name
    begins = seeded.TEXT[: seeded.TEXT.index(f"kernel void {fault.name}(")].count("\n") + 1
    assert begins < error.parties[0].line <= begins + fault.kernel(True).count("\n")
    launch(memory, f"{fault.name}_corrected")


@pytest.mark.parametrize("fault", seeded.ALIASES, ids=lambda f: f.name)
def test_overlapping_arguments_are_found_where_one_is_written(memory, fault):
    out = np.zeros(N, np.float32)
    with pytest.raises(ValidationError) as raised:
        launch(memory, fault.name, out=out, tail=out[:100])
    assert raised.value.kind == "alias"
    launch(memory, fault.name)
    # Behind each other in one allocation they do not overlap.
    allocation = np.zeros(N + 100, np.float32)
    launch(memory, fault.name, out=allocation[:N], tail=allocation[N:])


@pytest.mark.parametrize("fault", seeded.NANS, ids=lambda f: f.name)
def test_an_instruction_that_makes_a_nan_is_found_on_request(memory, arithmetic, fault):
    with pytest.raises(ValidationError) as raised:
        launch(arithmetic, fault.name)
    assert raised.value.kind == "nan"
    launch(arithmetic, f"{fault.name}_corrected")
    launch(memory, fault.name)


DIVISION = """kernel void divide(device int* x [[buffer(0)]]) { x[2] = x[0] / x[1]; }"""


@pytest.mark.parametrize("fault", seeded.ALWAYS, ids=lambda f: f.name)
def test_a_fault_is_found_where_lanes_never_returned_from_another(memory, fault):
    device, _ = memory
    divide = device.library(DIVISION).pipeline("divide")
    with pytest.raises(ValidationError, match="division"):
        device.run(divide, threadgroups=1, threads=1, buffers={0: np.zeros(3, np.int32)})
    with pytest.raises(ValidationError) as raised:
        launch(memory, fault.name)
    assert raised.value.kind == fault.kind


VECTOR_OF_ONES = """#include <metal_stdlib>
using namespace metal;
kernel void vector_of_ones(device float4* out [[buffer(0)]], device const float4* in [[buffer(1)]],
                           uint t [[thread_position_in_grid]]) {
  float4 x = float4(1) + in[t];
  out[t] = x - x * in[t];
}
"""


def test_vectors_are_judged_beside_constants_and_name_the_line(arithmetic):
    device, _ = arithmetic
    pipeline = device.library(VECTOR_OF_ONES).pipeline("vector_of_ones")
    out, x = np.zeros((32, 4), np.float32), np.ones((32, 4), np.float32)
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: out, 1: x})
    assert (out == 0).all()
    x[3, 2] = np.inf
    with pytest.raises(ValidationError) as raised:
        device.run(pipeline, threadgroups=1, threads=32, buffers={0: out, 1: x})
    assert (raised.value.kind, raised.value.parties[0].line) == ("nan", 6)


TWO_LINES = read_text("race_of_two_lines.metal")


def test_a_finding_names_kernel_line_threadgroup_threads_and_both_accesses(memory):
    device, _ = memory
    pipeline = device.library(TWO_LINES).pipeline("reverse")
    with pytest.raises(ValidationError) as raised:
        device.run(pipeline, threadgroups=2, threads=64, buffers={0: np.zeros(64, np.float32)})
    error = raised.value
    reader, writer = error.parties
    assert (error.kernel, error.kind, error.offset, error.nbytes) == ("reverse", "race", 12, 4)
    assert error.memory_bytes == 256
    assert "line 9 `threadgroup float tile[64];`" in error.memory
    assert (reader.line, reader.source, reader.callers) == (
        13, "if (group == 1 && t == 41) out[t] = tile[3];", (),
    )  # fmt: skip
    assert (reader.thread, reader.simdgroup, reader.lane) == (41, 1, 9)
    assert (writer.line, writer.source, writer.callers) == (4, "*to = x;", (12,))
    assert (writer.thread, writer.threadgroup) == (40, (1, 0, 0))
    assert str(error) == (
        "[validate reverse] found race at byte 12 of the threadgroup memory of line 9 "
        "`threadgroup float tile[64];` (256 bytes): thread 41 (simdgroup 1, lane 9) of threadgroup "
        "(1, 0, 0) reads in line 13 `if (group == 1 && t == 41) out[t] = tile[3];`; thread 40 "
        "(simdgroup 1, lane 8) of threadgroup (1, 0, 0) wrote in line 4 `*to = x;` (called from "
        "line 12); needs a barrier between them that orders this memory for both threads, or "
        "atomics"
    )


SAME_VALUE = """#include <metal_stdlib>
using namespace metal;
kernel void same(device float* out [[buffer(0)]], constant float& differ [[buffer(1)]],
                 uint g [[thread_position_in_grid]]) {
  out[0] = 3.0f + g * differ;
}
"""


def test_writes_of_one_value_pass_and_of_two_values_do_not(memory):
    device, _ = memory
    pipeline = device.library(SAME_VALUE).pipeline("same")
    out = np.zeros(1, np.float32)
    device.run(pipeline, threadgroups=2, threads=64, buffers={0: out, 1: np.float32(0)})
    assert out[0] == 3
    for threadgroups, threads in ((1, 2), (2, 1)):
        with pytest.raises(ValidationError, match="race"):
            device.run(
                pipeline, threadgroups=threadgroups, threads=threads,
                buffers={0: out, 1: np.float32(1)},
            )  # fmt: skip


def test_dispatches_of_one_submission_are_ordered(memory):
    device, library = memory
    out, buffers = np.zeros(N, np.float32), {}
    kernel = "stencil_in_place_corrected"
    for _ in range(2):
        launch(memory, kernel, out=out)
    buffers = {0: out, 1: out.copy(), 2: np.uint32(1), 3: np.zeros(4, np.uint32)}
    buffers |= {4: np.zeros(N, np.int32), 5: np.ones(N, np.float16), 6: np.ones(8, np.float32)}
    dispatch = attnproto.Dispatch(
        library.pipeline(kernel), GROUPS, THREADS, buffers | {7: np.zeros(100, np.float32)},
        {0: 256},
    )  # fmt: skip
    swapped = attnproto.Dispatch(
        dispatch.pipeline, GROUPS, THREADS,
        dispatch.buffers | {0: buffers[1], 1: buffers[0]}, {0: 256},
    )  # fmt: skip
    device.submit([dispatch, swapped, dispatch])


def test_results_are_those_of_the_plain_device(memory):
    plain = attnproto.open_device("cpu", validate=False)
    output = launch(memory, "double_buffer_not_swapped_corrected")
    wanted = launch((plain, plain.library(seeded.TEXT)), "double_buffer_not_swapped_corrected")
    np.testing.assert_array_equal(output, wanted)


def test_a_device_refuses_a_pipeline_compiled_for_the_other_mode(memory):
    device, _ = memory
    plain = attnproto.open_device("cpu", validate=False)
    for ours, theirs in ((device, plain.library(SAME_VALUE)), (plain, device.library(SAME_VALUE))):
        with pytest.raises(DispatchError, match="needs one of this device"):
            ours.run(
                theirs.pipeline("same"), threadgroups=1, threads=1,
                buffers={0: np.zeros(1, np.float32), 1: np.float32(0)},
            )  # fmt: skip


def test_the_environment_validates_where_the_caller_says_nothing(monkeypatch):
    monkeypatch.setenv("ATTNPROTO_VALIDATE", "1")
    watching = attnproto.open_device("cpu")
    assert watching is attnproto.open_device("cpu", validate=True)
    assert watching is not attnproto.open_device("cpu", validate=False)
    monkeypatch.setenv("ATTNPROTO_VALIDATE", "nan")
    assert attnproto.open_device("cpu") is attnproto.open_device("cpu", validate="nan")
    monkeypatch.setenv("ATTNPROTO_VALIDATE", "yes")
    with pytest.raises(attnproto.DeviceUnavailable, match="found validate='yes'"):
        attnproto.open_device("cpu")
    with pytest.raises(attnproto.DeviceUnavailable, match="needs the cpu device"):
        attnproto.open_device("cuda", validate=True)


COPIED = """#include <metal_stdlib>
using namespace metal;
struct Two { half4 a, b; };
kernel void copied(device const Two* in [[buffer(0)]], device float* out [[buffer(1)]],
                   uint t [[thread_position_in_threadgroup]]) {
  threadgroup Two tile[64];
  tile[t] = in[t];
  BARRIER
  out[t] = ((threadgroup half*)tile)[8 * (63 - t) + 5];
}
"""


def test_a_struct_copied_through_a_generic_pointer_is_written_where_it_is(memory):
    # Device memory is read in words, threadgroup memory in halves: their histories differ in grain.
    device, _ = memory
    values = np.arange(512, dtype=np.float16)
    out = np.zeros(64, np.float32)
    barrier = "threadgroup_barrier(mem_flags::mem_threadgroup);"
    right = device.library(COPIED.replace("BARRIER", barrier)).pipeline("copied")
    device.run(right, threadgroups=1, threads=64, buffers={0: readonly(values), 1: out})
    np.testing.assert_array_equal(out, values.reshape(64, 8)[::-1, 5])
    wrong = device.library(COPIED.replace("BARRIER", "")).pipeline("copied")
    with pytest.raises(ValidationError) as raised:
        device.run(wrong, threadgroups=1, threads=64, buffers={0: values, 1: out})
    assert (raised.value.kind, raised.value.parties[0].line) == ("uninitialised", 9)


LOCAL = """#include <metal_stdlib>
using namespace metal;
struct Held {
  int a[8];
  int get(int n) const { return a[n]; }
};
kernel void local(device int* x [[buffer(0)]], constant int& n [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  int a[8];
  Held held;
  for (int j = 0; j < 8; j++) a[j] = held.a[j] = x[i] + j;
  ACCESS
}
"""


@pytest.mark.parametrize("n", [-1, 8, -100000000])
@pytest.mark.parametrize(
    ("access", "line", "action"),
    [
        ("x[i] = a[n];", 12, "reads"),
        ("a[n] = 7; x[i] = a[x[i] & 7];", 12, "writes"),
        ("x[i] = held.get(n);", 5, "reads"),
    ],
)
def test_a_local_array_is_bounded(memory, access, line, action, n):
    device, _ = memory
    pipeline = device.library(LOCAL.replace("ACCESS", access)).pipeline("local")
    x = np.zeros(4, np.int32)
    with pytest.raises(ValidationError) as raised:
        device.run(pipeline, threadgroups=1, threads=4, buffers={0: x, 1: np.int32(n)})
    error = raised.value
    assert (error.kind, error.memory, error.memory_bytes) == ("local-array", "a local variable", 32)
    assert (error.offset, error.nbytes) == (4 * n, 4)
    assert (error.parties[0].line, error.parties[0].action) == (line, action)
    device.run(pipeline, threadgroups=1, threads=4, buffers={0: x, 1: np.int32(7)})
    assert (x == (0 if "7;" in access else 7)).all()


def run_wrong_access(device: attnproto.Device, kernel: str) -> dict[int, np.ndarray]:
    """Run a kernel of accesses.metal; its buffers."""
    buffers = {i: np.zeros(4096, np.float32) for i in (0, 2, 3, 4)}
    pipeline = device.library(read_text("accesses.metal")).pipeline(kernel)
    buffers[1] = np.int32(0)
    device.run(pipeline, threadgroups=1, threads=64, buffers=buffers, view=(3, 4))
    return buffers


def marked_line(kernel: str) -> int:
    """The line of accesses.metal that is marked in a kernel."""
    before, text = read_text("accesses.metal").split(f"kernel void {kernel}(")
    return 1 + before.count("\n") + text.split("// HERE")[0].count("\n")


@pytest.mark.parametrize(
    ("kernel", "kind", "action", "offset", "nbytes"),
    [
        ("copies_past_a_local_array", "local-array", "writes", 0, 36),
        ("fills_past_a_local_array", "local-array", "writes", 0, 48),
        ("walks_past_a_local_array", "local-array", "reads", 32, 4),
        ("walks_below_a_local_array", "local-array", "reads", -4, 4),
        ("copies_from_below_a_local_array", "local-array", "reads", -32, 32),
        ("copies_from_past_a_table", "out-of-bounds", "reads", 64, 32),
        ("copies_from_below_a_table", "out-of-bounds", "reads", -4, 24),
        ("copies_a_struct_of_nothing", "uninitialised", "reads", 0, 8),
    ],
)
def test_what_copies_and_loops_access_is_judged(memory, kernel, kind, action, offset, nbytes):
    with pytest.raises(ValidationError) as raised:
        run_wrong_access(memory[0], kernel)
    error, party = raised.value, raised.value.parties[0]
    assert (error.kind, party.action, error.offset, error.nbytes) == (kind, action, offset, nbytes)
    assert party.line == marked_line(kernel)
    assert "a constant table" in error.memory or kind != "out-of-bounds"


@pytest.mark.parametrize(
    ("kernel", "written", "read"),
    [
        ("reads_in_both_branches", ["a[t] ="], ["a[(t + 1) & 63]"]),
        ("writes_in_both_branches", ["a[t] ="], ["float x = a[(t + 1) & 63]"]),
    ],
)
def test_a_race_of_branches_that_become_one_is_blamed_on_an_access(memory, kernel, written, read):
    with pytest.raises(ValidationError) as raised:
        run_wrong_access(memory[0], kernel)
    assert raised.value.kind == "race"
    writer, reader = raised.value.parties
    assert (writer.action, reader.action) == ("writes", "read")
    assert all(text in writer.source for text in written), writer.source
    assert all(text in reader.source for text in read), reader.source


def test_a_struct_with_gaps_may_be_copied(memory):
    buffers = run_wrong_access(memory[0], "copies_structs_with_gaps")
    small = buffers[3].view(np.uint8)[: 64 * 8].reshape(64, 8)
    assert (small[:, 0] == 1).all()
    np.testing.assert_array_equal(buffers[3][1:128:2], np.arange(64)[::-1])
    np.testing.assert_array_equal(buffers[4][: 64 * 8 : 8], np.arange(64)[::-1])


@pytest.mark.parametrize(
    "way", [{"validate": True}, {"engine": "lockstep"}, {"engine": "fibers"}], ids=str
)
def test_threads_may_set_one_number_each_of_a_vector(way):
    device = attnproto.open_device("cpu", **{"validate": False, **way})
    pipeline = device.library(read_text("accesses.metal")).pipeline("sets_numbers_of_one_vector")
    x = np.zeros(64, np.float32)
    device.run(pipeline, threadgroups=1, threads=64, buffers={0: x})
    np.testing.assert_array_equal(x, np.arange(64))


UNASSIGNED = """#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
kernel void unassigned(device float* out [[buffer(0)]], uint t [[thread_position_in_grid]]) {
  simdgroup_float8x8 sum;
  float last[4];
  if (t > 99) last[0] = last[1] = 1;
  out[t] = sum.thread_elements()[0];
  out[32 + t] = last[t % 4];
}
"""


def test_variables_that_nothing_was_assigned_to_hold_nans(memory):
    device, _ = memory
    out = np.zeros(64, np.float32)
    pipeline = device.library(UNASSIGNED).pipeline("unassigned")
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: out})
    assert np.isnan(out).all()


@pytest.fixture
def published(memory):
    """A validating device, where MLX's kernels can be had."""
    third_party.MLX.need()
    return memory[0]


def test_published_kernels_pass(published):
    mlx_checks.check_steel_attention(published, "float", 64, 77, 77, True)
    mlx_checks.check_steel_attention(published, "half", 64, 100, 131, False)
    mlx_checks.check_sdpa_vector(published, "float", 64, True)
    mlx_checks.check_softmax(published, "half")
    mlx_checks.check_logsumexp(published, "float")
    mlx_checks.check_gemv(published, "float", 1)


def test_a_barrier_of_mlx_that_one_lane_in_32_comes_by_is_found(published):
    # gemv.h, where simdgroups share a row: the barrier stands inside `if (thrN == 0)`.
    with pytest.raises(ValidationError) as raised:
        mlx_checks.check_gemv(published, "float", 4)
    assert raised.value.kind == "divergent-barrier"
    assert raised.value.parties[0].source == "threadgroup_barrier(mem_flags::mem_none);"


def test_the_quoted_line_is_the_texts_own_after_an_include(memory):
    device, _ = memory
    text = (
        '#include <metal_stdlib>\n#include "sizes.h"\n'
        "kernel void far(device int* x [[buffer(0)]]) {\n  x[SIZE] = 1;\n}\n"
    )
    library = device.library(text, include={"sizes.h": "#define SIZE 4\n\n\n\n#define MORE 5"})
    with pytest.raises(ValidationError) as raised:
        device.run(
            library.pipeline("far"), threadgroups=1, threads=1, buffers={0: np.zeros(4, np.int32)}
        )
    party = raised.value.parties[0]
    assert (party.line, party.source) == (4, "x[SIZE] = 1;")


# What an included kernel does in its line 4, and the report of it.
INCLUDED = {
    "out-of-bounds": "y[i + 1] = 1;",
    "uninitialised": "y[i] = t[i % 64];",
    "race": "t[0] = i; t[i % 2 + 1] = t[0];",
    "divergent-barrier": "if (i % 2) threadgroup_barrier(mem_flags::mem_threadgroup); t[i] = 0;",
    "misaligned": "*(device float2*)(y + 1) = 0;",
    "division": "y[i] = int(y[i]) / int(i);",
}


@pytest.mark.parametrize("kind", INCLUDED)
def test_a_kernel_of_an_included_text_is_judged_as_one_of_the_text_itself(memory, kind):
    device, _ = memory
    kernel = f"""template <typename T>
kernel void f(device T* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {{
  threadgroup T t[64]; simdgroup_barrier(mem_flags::mem_threadgroup);
  {INCLUDED[kind]}
}}"""
    own = (
        "#include <metal_stdlib>\nusing namespace metal;\n{0}\n"
        'template [[host_name("k")]] kernel decltype(f<float>) f<float>;\n'
    )
    reports = []
    for text, include in (
        (own.format('#include "f.h"'), {"f.h": kernel}),
        (own.format(kernel), {}),
    ):
        pipeline = device.library(text, include=include).pipeline("k")
        with pytest.raises(ValidationError) as raised:
            device.run(pipeline, threadgroups=1, threads=64, buffers={0: np.zeros(64, np.float32)})
        reports.append(raised.value)
    included, alone = reports
    assert included.kind == alone.kind == kind
    party, other = included.parties[0], alone.parties[0]
    assert (party.line, party.source) == (4, f"f.h: {other.source}")
    assert other.line == 6
