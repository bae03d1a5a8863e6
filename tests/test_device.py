"""The contract of a device, on the cpu device."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import textwrap
import time

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto import Dispatch, DispatchError, KernelCompileError
from support.msl import read_text

TEXT = read_text("device.metal")
CONSTANTS = {0: 3, "kDouble": True}


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def params(n: int, scale: float) -> bytes:
    return np.uint32(n).tobytes() + np.float32(scale).tobytes()


def run_affine(device, pipeline, n=100, **changes):
    x = np.arange(n, dtype=np.float32)
    y = np.full(n, np.nan, np.float32)
    buffers = {0: x, 1: y, 2: params(n, 0.5)} | changes.pop("buffers", {})
    arguments = {"threadgroups": (4,), "threads": (32,), "buffers": buffers} | changes
    return y, device.run(pipeline, **arguments)


def test_a_kernel_runs_with_constants_by_index_and_by_name(device, library):
    y, timing = run_affine(device, library.pipeline("affine", constants=CONSTANTS))
    np.testing.assert_array_equal(y, np.arange(100) * 0.5 * 2 + 3)
    assert timing.gpu_us > 0
    assert timing.gpu_us == timing.gpu_end_us - timing.gpu_start_us


def test_the_library_names_its_kernels(library):
    assert library.functions() == ["affine", "increment", "halve", "stage", "greedy"]


def test_a_pipeline_reports_itself(library):
    pipeline = library.pipeline("stage")
    assert pipeline.static_threadgroup_bytes == 1024
    assert pipeline.max_threads == 1024
    assert pipeline.simd_width == 32
    assert pipeline.compile_us > 0


def test_the_second_pipeline_of_a_text_comes_from_the_cache(library):
    library.pipeline("increment")
    assert library.pipeline("increment").cached


def test_bfloat16_arrays_bind(device, library):
    x = np.array([1, 3, -5], ml_dtypes.bfloat16)
    y = np.zeros(3, ml_dtypes.bfloat16)
    device.run(library.pipeline("halve"), threadgroups=1, threads=3, buffers={0: x, 1: y})
    np.testing.assert_array_equal(y.astype(np.float32), [0.5, 1.5, -2.5])


def test_a_device_buffer_is_kept_and_several_dispatches_go_in_one_submission(device, library):
    buffer = device.buffer(np.arange(64, dtype=np.float32))
    dispatch = Dispatch(library.pipeline("increment"), 2, 32, {0: buffer})
    device.submit([dispatch, dispatch, dispatch])
    np.testing.assert_array_equal(buffer.numpy(np.float32), np.arange(64) + 3)


def test_rounds_follow_one_another_and_those_ahead_are_run_and_not_timed(device):
    text = "kernel void step(device uint* y [[buffer(0)]]) { y[0] = 3 * y[0] + y[1]; }"
    pipeline = device.library(text).pipeline("step")
    y = np.array([0, 1], np.uint32)
    one = attnproto.Dispatch(pipeline, 1, 1, {0: y})
    timing = device.submit_repeated([one], 3, ahead=2)
    # 0, 1, 4, 13, 40, 121: five steps.
    assert y[0] == 121
    assert timing.gpu_start_us > 0
    assert timing.gpu_us >= 0
    other = attnproto.Dispatch(pipeline, 1, 1, {0: np.array([1, 0], np.uint32)})
    device.submit_repeated([one, other], 2)
    assert y[0] == 9 * 121 + 4
    assert other.buffers[0][0] == 9


@pytest.mark.parametrize(("times", "ahead"), [(0, 0), (-1, 0), (True, 0), (1.5, 0), (1, -1)])
def test_a_number_of_rounds_that_is_none_is_refused(device, library, times, ahead):
    with pytest.raises(DispatchError, match="needs a whole number from"):
        device.submit_repeated([], times, ahead=ahead)


@pytest.mark.parametrize(("call", "arguments"), [("submit", {}), ("submit_repeated", {"times": 2})])
def test_what_is_no_dispatch_is_an_error_of_the_call_that_was_made(device, call, arguments):
    for wrong, needs in ((iter([]), "needs a list of dispatches"), ([7], "needs a Dispatch")):
        with pytest.raises(DispatchError, match=rf"^\[{call}\] found .*, {needs}"):
            getattr(device, call)(wrong, **arguments)


def test_only_metal_tells_of_heat_and_power(device):
    assert device.conditions() == {}


def test_a_view_of_a_buffer_outlives_the_buffer(device):
    view = device.buffer(np.arange(1000, dtype=np.float32)).numpy(np.float32)
    device.buffer(4096)
    np.testing.assert_array_equal(view, np.arange(1000))


def test_dynamic_threadgroup_memory_lies_beside_the_static(device, library):
    y = np.zeros(64, np.float32)
    device.run(
        library.pipeline("stage"),
        threadgroups=1,
        threads=64,
        buffers={0: y},
        threadgroup_bytes={0: 256},
    )
    np.testing.assert_array_equal(y, 63 - np.arange(64) + 1)


def test_read_only_arrays_are_inputs_and_stay_as_they_are(device, library):
    x = np.arange(100, dtype=np.float32)
    x.flags.writeable = False
    y, _ = run_affine(device, library.pipeline("affine", constants=CONSTANTS), buffers={0: x})
    np.testing.assert_array_equal(y, np.arange(100) + 3)


REFUSED = {
    "too many threads": ({"threads": (32, 32, 2)}, "2048 threads .* 1 to 1024"),
    "no threads": ({"threads": (0,)}, "0 threads"),
    "no threadgroups": ({"threadgroups": (0,)}, "empty grid"),
    "a Python number": ({"buffers": {2: 7}}, r"int for buffer 2.*numpy.int32"),
    "a Python number for a float": ({"buffers": {0: 2.5}}, r"float for buffer 0.*numpy.float32"),
    "too few bytes": (
        {"buffers": {2: b"1234"}},
        r"4 bytes bound to buffer 2 \(p\), needs at least 8",
    ),
    "an array with gaps": ({"buffers": {0: np.zeros((8, 8), np.float32)[:, ::2]}}, "contiguous"),
    "an index too high": ({"buffers": {31: b"1"}}, "index below 31"),
    "too many inline bytes": ({"buffers": {2: bytes(5000)}}, "at most 4096"),
    "odd threadgroup memory": ({"threadgroup_bytes": {0: 10}}, "multiple of 16"),
    "too much threadgroup memory": ({"threadgroup_bytes": {0: 32784}}, "at most 32768"),
    "a negative index": ({"buffers": {-1: b"1"}}, "index below 31"),
    "an index that is a name": ({"buffers": {"x": b"1"}}, "index below 31"),
    "Python objects": ({"buffers": {0: np.array([None])}}, "Python objects for buffer 0"),
    "a fraction of a thread": ({"threads": (4.5,)}, "whole numbers"),
    "negative threadgroup memory": ({"threadgroup_bytes": {0: -16}}, "found -16 bytes"),
    "four axes": ({"threadgroups": (1, 1, 1, 1)}, "one to three"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_dispatch_is_refused_and_changes_nothing(device, library, changes, message):
    pipeline = library.pipeline("affine", constants=CONSTANTS)
    output = np.full(100, 7, np.float32)
    buffers = {1: output} | changes.get("buffers", {})
    with pytest.raises(DispatchError, match=message):
        run_affine(device, pipeline, **(changes | {"buffers": buffers}))
    assert (output == 7).all()


def test_a_missing_buffer_is_named(device, library):
    with pytest.raises(DispatchError, match=r"nothing bound to buffer 1 \(y\); pass it in buffers"):
        device.run(
            library.pipeline("affine", constants=CONSTANTS),
            threadgroups=1,
            threads=1,
            buffers={0: np.zeros(1, np.float32), 2: params(1, 1)},
        )


def test_a_missing_threadgroup_argument_is_named(device, library):
    with pytest.raises(DispatchError, match=r"threadgroup memory 0 \(shared\)"):
        device.run(
            library.pipeline("stage"),
            threadgroups=1,
            threads=1,
            buffers={0: np.zeros(1, np.float32)},
        )


def test_a_pipeline_that_no_dispatch_could_run_is_refused_when_it_is_made(device, library):
    with pytest.raises(KernelCompileError, match=r"greedy\] found 32772 bytes .* 32768"):
        library.pipeline("greedy")
    crowd = "[[max_total_threads_per_threadgroup(2048)]] kernel void crowd() {}"
    with pytest.raises(KernelCompileError, match=r"crowd\] found 2048 threads .* 1024"):
        device.library(crowd).pipeline("crowd")


def test_a_read_only_array_is_not_bound_where_the_kernel_may_write(device, library):
    # The bytes of a Python object, which nothing may change.
    kept = np.frombuffer(bytes(400), np.float32)
    with pytest.raises(DispatchError, match=r"read-only array bound to buffer 1 \(y\)"):
        run_affine(device, library.pipeline("affine", constants=CONSTANTS), buffers={1: kept})
    assert not kept.any()


def test_what_is_no_pipeline_or_no_text_is_refused(device):
    with pytest.raises(DispatchError, match="found 'affine', needs a pipeline"):
        device.run("affine", threadgroups=1, threads=1, buffers={})
    with pytest.raises(KernelCompileError, match="found bytes, needs MSL text"):
        device.library(b"kernel void k() {}")


BAD_PIPELINES = {
    "unknown kernel": ("nothing", {}, "no kernel 'nothing' .* affine, increment"),
    "unknown constant": ("affine", {9: 1, **CONSTANTS}, r"constant 9.*kAdd \(0\), kDouble \(1\)"),
    "unknown name": ("affine", {"kNo": 1, **CONSTANTS}, "constant 'kNo'"),
    "missing constant": ("affine", {0: 1}, r"no value for function constant 'kDouble' \(index 1"),
    "out of range": ("affine", {0: 2**31, 1: True}, r"'kAdd' \(int\) found 2147483648"),
    "not whole": ("affine", {0: 1.5, 1: True}, r"'kAdd' \(int\) found 1.5"),
    "a constant that is text": ("affine", {0: "1", 1: True}, "found '1' .* constant 0"),
    "a negative index": ("affine", {-1: 1}, "found -1 as a function constant"),
    "no mapping": ("affine", [1], r"found constants=\[1\]"),
    "the same by name": ("affine", {0: 1, "kAdd": 2, 1: True}, "two values .*'kAdd'"),
    "no name": (7, {}, "found 7 as the kernel's name"),
    "not a bool": ("affine", {0: 1, 1: 7}, r"'kDouble' \(bool\) found 7"),
}


@pytest.mark.parametrize(
    ("name", "constants", "message"), BAD_PIPELINES.values(), ids=BAD_PIPELINES
)
def test_a_bad_pipeline_is_refused(library, name, constants, message):
    with pytest.raises(KernelCompileError, match=message):
        library.pipeline(name, constants=constants)


def test_a_syntax_error_names_the_line_of_the_text(device):
    text = TEXT.replace("y[i] += 1.0f;", "y[i] += wrong;")
    line = text[: text.index("wrong")].count("\n") + 1
    with pytest.raises(
        KernelCompileError, match=rf"line {line}, column \d+: use of undeclared identifier 'wrong'"
    ):
        device.library(text)


def test_threads_that_open_a_device_at_once_get_the_same_one(monkeypatch):
    created = []

    def slow():
        time.sleep(0.05)
        created.append(object())
        return created[-1]

    monkeypatch.setitem(attnproto.device.discovery._OPEN, "slow", slow)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        opened = set(pool.map(lambda _: attnproto.device.discovery._opened("slow"), range(4)))
    assert opened == {created[0]}


def test_macros_are_defined_before_a_text_whose_lines_keep_their_numbers(device):
    text = "kernel void fill(device float* y [[buffer(0)]]) { y[0] = VALUE * (SIGN 1); }"
    for value in ("3.0f", "4.0f"):
        pipeline = device.library(text, macros={"VALUE": value, "SIGN": "-"}).pipeline("fill")
        timing = device.run(
            pipeline, threadgroups=1, threads=1, buffers={}, out={0: (1, np.float32)}
        )
        assert timing.out[0] == -float(value[:-1])
    if device.kind == "cpu":
        with pytest.raises(KernelCompileError, match=r"line 2, .*undeclared identifier 'x'"):
            device.library(f"// {text}\nkernel void k() {{ x = N; }}", macros={"N": "1"}).pipeline(
                "k"
            )


@pytest.mark.parametrize(
    ("macros", "said"),
    [
        (["N"], r"found macros=\['N'\], needs values by name"),
        ({"N M": "1"}, "found a macro of the name 'N M', needs letters, digits and _"),
        ({"N": 1}, "found int as the value of macro N, needs a string"),
        ({"N": "1\n#error"}, "for macro N, needs one line"),
        ({"N": "1\\"}, "for macro N, needs one line"),
    ],
)
def test_macros_that_are_none_are_refused(device, macros, said):
    with pytest.raises(KernelCompileError, match=said):
        device.library("kernel void k() {}", macros=macros)


def test_fast_math_is_a_permission_that_the_cpu_device_does_not_need():
    text = """
    kernel void k(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
      y[i] = metal::exp(x[i]) / (x[i] + 1e20f) + (x[i] - x[i] + metal::rsqrt(x[i]));
    }"""
    cpu = attnproto.open_device("cpu")
    x = np.array([0.0, 1.0, 2.5, np.inf], np.float32)
    fast, safe = (
        cpu.run(
            cpu.library(text, fast_math=fast).pipeline("k"),
            threadgroups=1, threads=4, buffers={0: x}, out={1: (4, np.float32)},
        ).out[1].tobytes()
        for fast in (True, False)
    )  # fmt: skip
    assert fast == safe


def test_nothing_is_said_at_exit_of_what_lived_as_long_as_the_process():
    code = """
import threading, time, attnproto
library = attnproto.open_device("cpu").library("kernel void k(device int* x [[buffer(0)]]) {}")
threading.Thread(target=lambda: time.sleep(60), daemon=True).start()  # still runs at the end
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_loop_that_stays_as_it_is_though_a_pragma_asks_is_no_message(device, capfd):
    text = """
    kernel void k(device float* y [[buffer(0)]], constant uint& n [[buffer(1)]]) {
      #pragma clang loop unroll(full)
      for (uint i = 0; i < n; ++i) { y[0] += i; if (y[0] > 9) break; }
      #pragma clang loop vectorize(enable)
      for (uint i = 0; i < n; ++i) { y[0] *= 2; if (y[0] > 99) break; }
    }"""
    pipeline = device.library(text).pipeline("k")
    y = np.zeros(1, np.float32)
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: y, 1: np.uint32(4)})
    assert y[0] == 6 * 2**4
    assert capfd.readouterr().err == ""


def test_an_unknown_kind_is_refused():
    with pytest.raises(attnproto.DeviceUnavailable, match="'gpu', needs one of auto, metal"):
        attnproto.open_device("gpu")


def test_devices_says_what_there_is_and_what_not():
    summaries = {summary.kind: summary for summary in attnproto.devices()}
    assert list(summaries) == ["metal", "cuda", "cpu"]
    assert summaries["cpu"].available
    assert summaries["cpu"].tier == "emulated"
    assert all(s.available or s.reason for s in summaries.values())


def python(code: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_a_compiler_the_cure_is_named(tmp_path):
    code = """
        import importlib.util, attnproto
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name == "ziglang" else find(name)
        try:
            attnproto.open_device("cpu").library("kernel void f() {}")
        except attnproto.DeviceUnavailable as error:
            print(error)
    """
    process = python(code, PATH=str(tmp_path), ATTNPROTO_CACHE_DIR=str(tmp_path))
    out, err = process.communicate(timeout=60)
    assert "pip install ziglang" in out, err


def test_two_processes_compile_the_same_kernel_at_once(tmp_path):
    code = f"""
        import attnproto, numpy as np
        y = np.zeros(32, np.float32)
        device = attnproto.open_device("cpu")
        pipeline = device.library({TEXT!r}).pipeline("increment")
        device.run(pipeline, threadgroups=1, threads=32, buffers={{0: y}})
        print(y.sum())
    """
    both = [python(code, ATTNPROTO_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert out.strip() == "32.0", err
    assert not [f.name for f in tmp_path.iterdir() if f.name.startswith("new-")]


def test_a_damaged_cache_entry_is_compiled_again(device, tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNPROTO_CACHE_DIR", str(tmp_path))
    text = TEXT + "// damaged cache"
    device.library(text).pipeline("increment")
    for entry in tmp_path.iterdir():
        entry.write_bytes(entry.read_bytes()[:-5] + b"wrong")
    # Another device: the first one still has the pipeline in memory.
    other = attnproto.device.discovery._open_cpu()
    pipeline = other.library(text).pipeline("increment")
    assert not pipeline.cached
    y = np.zeros(32, np.float32)
    other.run(pipeline, threadgroups=1, threads=32, buffers={0: y})
    assert (y == 1).all()


def test_an_unwritable_cache_folder_costs_time_only(device, monkeypatch):
    monkeypatch.setenv("ATTNPROTO_CACHE_DIR", "/proc/none")
    pipeline = device.library(TEXT + "// unwritable cache").pipeline("increment")
    assert not pipeline.cached


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")
def test_a_thousand_dispatches_grow_memory_by_less_than_one_percent(device, library):
    pipeline = library.pipeline("affine", constants=CONSTANTS)
    for _ in range(200):
        run_affine(device, pipeline)
    # The address sanitizer keeps what is freed until its quarantine is full; a leak never ends.
    for _ in range(20 if "ASAN_OPTIONS" in os.environ else 1):
        before = resident_bytes()
        for _ in range(1000):
            run_affine(device, pipeline)
        growth = resident_bytes() / before - 1
        if growth < 0.01:
            break
    assert growth < 0.01
