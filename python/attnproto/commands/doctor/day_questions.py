"""What the first day on a Mac asks beside Q and G: kernels (K), time (T), language (F).

Each has an expected answer and what follows from another: ``EXPECTED``, which docs/mac-day.md
repeats. A question is a function from the device to what was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from attnproto import reference
from attnproto.device.device import Device, Dispatch
from attnproto.device.recording import watch
from attnproto.dtypes import BY_NAME
from attnproto.errors import AttnprotoError
from attnproto.kernels import flash, gqa, linear, paged, rope, score_dispatch, score_mod
from attnproto.kernels.flash_tile import KEY_PATHS, FlashTile
from attnproto.kernels.flash_variant import Rope, Variant
from attnproto.problem import AttentionProblem
from attnproto.prototypes.constants.cold_compile import wake_compiler

from .metal_questions import CONSTANTS, HEADER, SCORE

_D, _N, _M = 64, 37, 70


def _numbers(*shape: int, dtype: type | np.dtype = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def _compiled(device: Device, run: Callable[[Device], str]) -> str:
    """Run on a tiny problem; what came out, and what Metal says of each pipeline."""
    watched = watch(device)
    try:
        verdict = run(watched)
    except AttnprotoError as error:
        return str(error)
    pipelines = {id(one.pipeline): one.pipeline for one in watched.dispatches}.values()
    said = [
        f"{one.compile_us / 1e3:.1f} ms, {one.max_threads} threads, "
        f"{one.static_threadgroup_bytes} bytes"
        for one in pipelines
    ]
    return "; ".join([verdict, *said])


def _judged(actual: np.ndarray, expected: np.ndarray, dtype: str, allowed: object) -> str:
    judged = reference.judge(actual, expected, dtype, allowed)
    return "right" if judged.passed else f"wrong: {judged.reason}"


def _flash(device: Device, dtype: str, keys: str) -> str:
    problem = AttentionProblem(1, 2, 1, _N, _M, _D, dtype, True)
    q, k, v = problem.inputs(0)
    output = np.full(q.shape, np.nan, q.dtype)
    tile = FlashTile(16, 64, _D, BY_NAME[dtype].numpy, keys=keys)
    flash.launch(q, k, v, output, device=device, tile=tile, variant=Variant(causal=True))
    expected = reference.softmax_attention(q, k, v, causal=True)
    return _judged(output, expected, dtype, reference.tolerance(problem, q, k, v))


def flash_kernels(device: Device) -> str:
    """K1: flash attention in every element type and way of reading keys."""
    wake_compiler(device)
    return "\n".join(
        f"{dtype} {keys}: {_compiled(device, partial(_flash, dtype=dtype, keys=keys))}"
        for dtype in BY_NAME
        for keys in KEY_PATHS
    )


def _near(actual: np.ndarray, expected: np.ndarray, allowed: float) -> str:
    worst = float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max())
    return "right" if worst <= allowed else f"wrong by {worst:.3g}"


def other_kernels(device: Device) -> str:
    """K2: the other kernel families, each against what it must give."""
    wake_compiler(device)
    return "\n".join(
        f"{dtype} {name}: {_compiled(device, run)}"
        for dtype in BY_NAME
        for name, run in _families(dtype).items()
    )


def _families(dtype: str) -> dict[str, Callable[[Device], str]]:
    """Each family's tiny problem in an element type, judged as it runs."""
    kind = BY_NAME[dtype].dtype
    unit = BY_NAME[dtype].unit_roundoff
    x, scores = _numbers(1, 2, _N, _D, dtype=kind), _numbers(1, 2, 9, 33, dtype=kind)
    # Keys of two partitions in three pages.
    k, v = _numbers(3, 1, 64, _D, dtype=kind), _numbers(3, 1, 64, _D, dtype=kind)
    keys = 150
    table, lengths = np.array([[2, 0, 1]], np.int32), np.array([keys], np.int32)
    contiguous = [
        np.concatenate([pages[i] for i in table[0]], axis=1)[None, :, :keys] for pages in (k, v)
    ]
    # Of results near 1, but for linear attention's, whose sums grow with the tokens.
    allowed = 1e-4 + 8 * unit
    return {
        "linear": lambda on: _near(
            linear.linear_attention(x, x, x, device=on),
            reference.linear_attention_recurrent(x, x, x)[0], 1e-2 + 64 * unit,
        ),
        "paged": lambda on: _near(
            paged.paged_attention(x[:, :, :1], k, v, table, lengths, partition=128, device=on),
            reference.softmax_attention(x[:, :, :1], *contiguous), allowed,
        ),
        "rope": lambda on: _near(
            rope.apply_rope(x, Rope(), device=on), reference.rope(x), allowed
        ),
        "gqa": lambda on: _near(gqa.expand_heads(x, 6, device=on), np.repeat(x, 3, axis=1), 0.0),
        "scores": lambda on: _near(
            score_mod.shape_scores(scores, Variant(softcap=5.0), device=on),
            5.0 * np.tanh(scores.astype(np.float64) / 5.0), allowed,
        ),
    }  # fmt: skip


def score_ways(device: Device) -> str:
    """K3: the six ways to choose what is done to scores, a table in a struct among them."""
    wake_compiler(device)
    problem = AttentionProblem(1, 2, 1, _N, _M, _D, "f32")
    return "\n".join(
        f"{way}: {_compiled(device, partial(_score_way, problem=problem, way=way))}"
        for way in score_dispatch.WAYS
    )


def _score_way(device: Device, problem: AttentionProblem, way: str) -> str:
    q, k, v = problem.inputs(0)
    softcap = score_dispatch.Modification("softcap")
    tile = FlashTile(16, 64, _D, np.float32)
    ready = score_dispatch.prepare(device, flash.problem_of(q, k, v), tile, way, softcap)
    output, _ = score_dispatch.run(device, ready, q, k, v)
    return _near(output, score_dispatch.reference(q, k, v, softcap), 1e-4)


def _plain(device: Device) -> Dispatch:
    pipeline = device.library(CONSTANTS).pipeline("plain")
    return Dispatch(pipeline, 32, 32, {0: device.buffer(np.zeros(1024, np.float32))})


def _best_us(device: Device, dispatches: list[Dispatch], rounds: int = 200) -> float:
    took = (device.submit_repeated(dispatches, rounds, ahead=rounds // 4) for _ in range(5))
    return min(timing.gpu_us for timing in took) / rounds / len(dispatches)


def encoder_boundary(device: Device) -> str:
    """T1: what the boundary between two encoders costs."""
    one = _plain(device)
    apart = min(device.submit([one] * 200, time_each=True).gpu_us for _ in range(5)) / 200
    together = _best_us(device, [one])
    return f"{apart:.2f} us a dispatch with encoders of their own, {together:.2f} us in one"


def idle_gaps(device: Device) -> str:
    """T2: time of the same work after the GPU has idled."""
    one, seen = _plain(device), []
    for gap_ms in (0, 1, 10, 100):
        _best_us(device, [one])
        time.sleep(gap_ms / 1e3)
        seen.append(f"{device.submit_repeated([one], 200).gpu_us / 200:.2f} us after {gap_ms} ms")
    return ", ".join(seen)


def spans_and_whole(device: Device) -> str:
    """T3: the spans of dispatches against their command buffer's time."""
    timing = device.submit([_plain(device)] * 50, time_each=True)
    if not timing.each:
        return f"no spans: {timing.each_refused}"
    total = sum(end - start for start, end in timing.each)
    return f"{total:.1f} us in 50 spans, {timing.gpu_us:.1f} us in all"


def error_option(device: Device) -> str:
    """T4: what it costs to let Metal know which encoder is at fault."""
    one, took = _plain(device), {}
    for explain in (False, True):
        runs = (device.submit_repeated([one], 200, explain_faults=explain) for _ in range(5))
        took[explain] = min(timing.gpu_us for timing in runs) / 200
    return f"{took[True]:.2f} us a dispatch with the error option, {took[False]:.2f} us without"


def elements_type(device: Device) -> str:
    """F1: size and type of thread_elements(), and whether the first two are the lane's."""
    text = (
        HEADER
        + """
template <typename T> uint members(thread T&) { return 0; }
template <typename T, int N> uint members(thread vec<T, N>&) { return N; }
kernel void sizes(device uint* y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8, 8>(3.0f);
  if (lane == 0) {
    y[0] = sizeof(m.thread_elements());
    y[1] = m.thread_elements()[0] == 3.0f && m.thread_elements()[1] == 3.0f;
    y[2] = members(m.thread_elements());
  }
}
"""
    )
    y = np.zeros(3, np.uint32)
    pipeline = device.library(text).pipeline("sizes")
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: y})
    kind = f"vec<float, {y[2]}>" if y[2] else "no vec"
    return f"{y[0]} bytes, {kind}, {'readable' if y[1] else 'not readable'} as [0] and [1]"


def products(device: Device) -> str:
    """F2: products of matrices of mixed types, and of bfloat."""
    said = []
    for a, b in (("half", "half"), ("half", "float"), ("bfloat", "bfloat"), ("bfloat", "half")):
        text = (
            HEADER
            + f"""
kernel void product(device float* y [[buffer(0)]]) {{
  simdgroup_matrix<{a}, 8, 8> x = make_filled_simdgroup_matrix<{a}, 8, 8>({a}(2.0f));
  simdgroup_matrix<{b}, 8, 8> z = make_filled_simdgroup_matrix<{b}, 8, 8>({b}(3.0f));
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
  simdgroup_multiply_accumulate(sum, x, z, sum);
  simdgroup_store(sum, y, 8);
}}
"""
        )
        y = np.zeros(64, np.float32)
        try:
            pipeline = device.library(text).pipeline("product")
            device.run(pipeline, threadgroups=1, threads=32, buffers={0: y})
            said.append(f"{a} x {b}: {'right' if (y == 49).all() else f'wrong, {y[0]:g}'}")
        except AttnprotoError as error:
            said.append(f"{a} x {b}: {error}")
    return "\n".join(said)


def stitchable_in_its_text(device: Device) -> str:
    """F3: a stitchable function is called by a kernel of its own text."""
    text = HEADER + SCORE + "kernel void f(device float* y [[buffer(0)]]) { y[0] = score(y[0]); }"
    y = np.ones(1, np.float32)
    try:
        pipeline = device.library(text).pipeline("f")
        device.run(pipeline, threadgroups=1, threads=1, buffers={0: y})
    except AttnprotoError as error:
        return str(error)
    return f"1 became {y[0]:g}, expected 1.5001"


def table_in_a_struct(device: Device) -> str:
    """F4: a function table is a member of a struct that functions take."""
    text = (
        HEADER
        + """
[[visible]] float once(float x) { return x + 1; }
[[visible]] float twice(float x) { return x + 2; }
struct Rule {
  visible_function_table<float(float)> functions;
  float of(float x, uint at) const { return functions[at](x); }
};
float applied(Rule rule, float x, uint at) { return rule.of(x, at); }
kernel void chosen(device float* y [[buffer(0)]],
                   visible_function_table<float(float)> t [[buffer(1)]],
                   uint i [[thread_position_in_grid]]) {
  y[i] = applied(Rule{t}, y[i], i % 2);
}
"""
    )
    y = np.zeros(4, np.float32)
    try:
        pipeline = device.library(text).pipeline("chosen", linked=["once", "twice"])
        table = pipeline.function_table(["twice", "once"])
        device.run(pipeline, threadgroups=1, threads=4, buffers={0: y, 1: table})
    except AttnprotoError as error:
        return str(error)
    return f"{y.tolist()}, expected [2.0, 1.0, 2.0, 1.0]"


DAY: dict[str, Callable[[Device], str]] = {
    "K1": flash_kernels,
    "K2": other_kernels,
    "K3": score_ways,
    "T1": encoder_boundary,
    "T2": idle_gaps,
    "T3": spans_and_whole,
    "T4": error_option,
    "F1": elements_type,
    "F2": products,
    "F3": stitchable_in_its_text,
    "F4": table_in_a_struct,
}
# What is expected, and what follows if it is not so.
EXPECTED: dict[str, tuple[str, str]] = {
    "K1": (
        "right, below 100 ms, 1024 threads",
        "fewer threads mean registers are short: the tile is left out of the default; a text that "
        "is refused is mended and its rule goes into the lint",
    ),
    "K2": ("right everywhere", "as for K1"),
    "K3": (
        "right everywhere",
        "a way that is refused is left out of prototype 2 on Metal, and its finding says so",
    ),
    "T1": (
        "a few us between encoders",
        "where there is no difference, spans may be taken with every measurement",
    ),
    "T2": (
        "the same time up to 1 ms, slower after 10",
        "where 1 ms costs, more rounds run ahead of the timed ones",
    ),
    "T3": ("spans that sum to a little less than the whole", "times of dispatches are left out"),
    "T4": (
        "the same time",
        "where there is no difference, the option stays on and every fault names its kernel",
    ),
    "F1": (
        "256 bytes, vec<float, 64>, readable as [0] and [1]",
        "metal/common/fragment.h reads fragments through threadgroup memory",
    ),
    "F2": ("right everywhere", "the pair of types is converted before the product"),
    "F3": ("1.5001", "the stitched way keeps a plain function beside the stitchable one"),
    "F4": (
        "[2.0, 1.0, 2.0, 1.0]",
        "way 5 hands its table on as an argument, not in metal/score_mod/ways.h's struct",
    ),
}
