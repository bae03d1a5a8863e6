"""What is refused before it runs, and what ends a kernel that would not."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto.errors import AttnprotoError, DispatchError, ValidationError
from support.msl import HEAD

TEXT = f"""{HEAD}
struct P {{ float a; int b; }};
kernel void add(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {{ x[i] += 1; }}
kernel void words(device uint* x [[buffer(0)]]) {{ x[0] += 1; }}
kernel void brain(device bfloat4* x [[buffer(0)]]) {{ x[0] = x[0]; }}
kernel void narrow(device const half& x [[buffer(0)]], device bool* y [[buffer(1)]]) {{
  y[0] = x > 1.0h;
}}
kernel void whatever(device P* p [[buffer(0)]], device void* q [[buffer(1)]]) {{ p[0].b = 1; }}
kernel void endless(device int* x [[buffer(0)]]) {{ while (true) {{ x[0] += 1; }} }}
"""


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu", validate=False)


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def run(device, pipeline, x, **changes):
    arguments = {"threadgroups": 1, "threads": 4, "buffers": {0: x}} | changes
    return device.run(pipeline, **arguments)


GRIDS = {
    "an axis of 2^32 threads": ({"threadgroups": 2**22, "threads": 1024}, "4294967296 threads on"),
    "one more": ({"threadgroups": 2**22 + 1, "threads": 1024}, "4294968320 threads on an axis"),
    "2^64 + 4 in all": ({"threadgroups": (2**32 - 1,) * 3, "threads": 1}, "more threadgroups"),
    "2^32 threadgroups": ({"threadgroups": (2**16, 2**16), "threads": 1}, r"at most 2\^32 - 1"),
    "threads past 2^64": ({"threads": (2**31, 2**31, 4)}, "a threadgroup, needs 1 to 1024"),
    "a grid of fewer": ({"grid": 4, "threadgroups": 2}, r"needs the \(1, 1, 1\) that cover it"),
    "a grid of more": ({"grid": (5, 2)}, r"needs the \(2, 2, 1\) that cover it"),
}


@pytest.mark.parametrize(("changes", "message"), GRIDS.values(), ids=GRIDS)
def test_a_grid_that_cannot_be_counted_or_disagrees_is_refused(device, library, changes, message):
    x = np.zeros(4, np.float32)
    with pytest.raises(DispatchError, match=message):
        run(device, library.pipeline("add"), x, **changes)
    assert not x.any()


def test_a_grid_with_the_threadgroups_that_cover_it_runs(device, library):
    x = np.zeros(8, np.float32)
    run(device, library.pipeline("add"), x, grid=5, threadgroups=2)
    assert x.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


class Copying(np.ndarray):
    """Its reshape gives a copy."""

    def reshape(self, *shape, **options):
        return np.array(self).reshape(*shape, **options)


def outputs():
    return {
        "0-d": np.zeros((), np.float32),
        "subclass": np.zeros(4, np.float32).view(Copying),
        "matrix": np.asmatrix(np.zeros(4, np.float32)),
        "bytearray": bytearray(16),
        "memoryview": memoryview(bytearray(16)),
    }


@pytest.mark.parametrize("name", outputs())
def test_every_writable_output_receives(device, library, name):
    x = outputs()[name]
    run(device, library.pipeline("add"), x, threads=1)
    assert np.frombuffer(memoryview(x).cast("B"), np.float32)[0] == 1


TYPES = {
    "float64": ("add", np.zeros(4), "found float64 .*needs float32"),
    "int32 for float": ("add", np.zeros(4, np.int32), "found int32"),
    "bool for float": ("add", np.zeros(16, bool), "found bool"),
    "bytes for float": ("add", np.zeros(16, np.uint8), "found uint8"),
    "a scalar": ("narrow", np.float32(2), "found float32 .*needs float16"),
    "foreign order": ("add", np.zeros(4, ">f4"), "this machine's byte order"),
    "foreign in a struct": ("whatever", np.zeros(4, [("a", "<f4"), ("b", ">i4")]), "byte order"),
    "objects in a struct": ("whatever", np.zeros(4, [("a", "<f4"), ("b", "O")]), "Python objects"),
    "dates": ("whatever", np.zeros(4, "M8[s]"), "found datetime64"),
    "text": ("whatever", np.zeros(4, "U4"), "needs numbers"),
    "float for uint": ("words", np.zeros(4, np.float32), "found float32 .*needs int32"),
    "long for uint": ("words", np.zeros(4, np.int64), "found int64 .*needs int32"),
    "half for bfloat": ("brain", np.zeros(4, np.float16), "needs ml_dtypes.bfloat16"),
    "a masked array": ("add", np.ma.masked_array(np.zeros(4, np.float32)), "masked array"),
}


@pytest.mark.parametrize(("kernel", "x", "message"), TYPES.values(), ids=TYPES)
def test_bits_of_another_type_are_refused(device, library, kernel, x, message):
    buffers = {0: x, 1: np.zeros(4, bool)}
    with pytest.raises(DispatchError, match=message):
        run(device, library.pipeline(kernel), x, buffers=buffers)


TAKEN = {
    "signed for unsigned": ("words", np.zeros(4, np.int32)),
    "words for bfloat": ("brain", np.zeros(4, np.uint16)),
    "bfloat": ("brain", np.zeros(4, ml_dtypes.bfloat16)),
    "complex for float": ("add", np.zeros(2, np.complex64)),
    "a struct of floats": ("add", np.zeros(2, [("a", "f4"), ("b", "f4")])),
    "anything for a struct": ("whatever", np.zeros(4)),
    "bytes": ("add", bytearray(16)),
}


@pytest.mark.parametrize(("kernel", "x"), TAKEN.values(), ids=TAKEN)
def test_bits_that_are_the_kernels_own_are_taken(device, library, kernel, x):
    run(device, library.pipeline(kernel), x, threads=1, buffers={0: x, 1: np.zeros(4, bool)})


def test_the_caller_may_have_the_bits_taken_as_they_are(device, library):
    x = np.zeros(2)
    run(device, library.pipeline("add"), x, view=[0], threads=1)
    assert x.view(np.float32).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("source", [-1, 1.5, "8", np.zeros(4, ">f4"), np.zeros(2, object)])
def test_a_buffer_of_what_no_kernel_reads_is_refused(device, source):
    with pytest.raises(DispatchError, match=r"found .*needs"):
        device.buffer(source)


def test_a_time_limit_ends_a_dispatch_and_the_device_works_on(device, library):
    with pytest.raises(attnproto.errors.GpuTimeout, match=r"endless.*0.2 s") as raised:
        run(device, library.pipeline("endless"), np.zeros(4, np.int32), time_limit_s=0.2)
    assert (raised.value.code, raised.value.kernels) == (2, "endless")
    x = np.zeros(4, np.float32)
    run(device, library.pipeline("add"), x, time_limit_s=5)
    assert (x == 1).all()


@pytest.mark.parametrize("threads", [1, 32])
@pytest.mark.parametrize("validate", [False, True])
def test_a_limit_ends_a_kernel_that_is_always_in_a_call_of_the_engine(validate, threads):
    text = f"""{HEAD}kernel void waits(device atomic_int* flag [[buffer(0)]]) {{
      while (atomic_load_explicit(flag, memory_order_relaxed) == 0); }}"""
    device = attnproto.open_device("cpu", validate=validate)
    pipeline = device.library(text).pipeline("waits")
    for _ in range(5):
        with pytest.raises(attnproto.errors.GpuTimeout, match="waits"):
            run(device, pipeline, np.zeros(1, np.int32), threads=threads, time_limit_s=0.1)


def test_a_device_has_a_limit_and_so_has_the_environment(device, library, monkeypatch):
    assert device.time_limit_s == 0
    limited = attnproto.open_device("cpu", validate=False, time_limit_s=0.25)
    assert limited is attnproto.open_device("cpu", validate=False, time_limit_s=0.25)
    monkeypatch.setenv("ATTNPROTO_TIME_LIMIT_S", "0.25")
    assert attnproto.open_device("cpu", validate=False) is limited
    with pytest.raises(attnproto.errors.GpuTimeout):
        run(limited, library.pipeline("endless"), np.zeros(4, np.int32))
    for wrong in ("soon", "-1", "nan"):
        monkeypatch.setenv("ATTNPROTO_TIME_LIMIT_S", wrong)
        with pytest.raises(attnproto.DeviceUnavailable, match="found ATTNPROTO_TIME_LIMIT_S="):
            attnproto.open_device("cpu")
    for wrong in (-1, float("nan"), "5", True):
        with pytest.raises(DispatchError, match=r"^\[run\] found .*, needs seconds"):
            run(device, library.pipeline("add"), np.zeros(4, np.float32), time_limit_s=wrong)


START = f"""
    import os, sys, threading, time
    import attnproto, numpy as np
    TEXT = {TEXT!r}
    device = attnproto.open_device("cpu", validate=len(sys.argv) > 1)
    def run(name, x, device=device):
        pipeline = device.library(TEXT).pipeline(name)
        device.run(pipeline, threadgroups=2, threads=4, buffers={{0: x}})
    run("add", np.zeros(8, np.float32))
    device.library(TEXT).pipeline("endless")
    def occupy():
        endless = "endless", np.zeros(4, np.int32)
        threading.Thread(target=run, args=endless, daemon=True).start()
        time.sleep(0.3)
"""


def start(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(START) + textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def interrupted(code: str, *arguments: str) -> tuple[str, str]:
    """What a process prints that Ctrl-C reaches after it has said "begin"."""
    process = start(code, *arguments)
    assert process.stdout.readline() == "begin\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=30)


@pytest.mark.parametrize("arguments", [[], ["validate"]], ids=["plain", "validate"])
def test_ctrl_c_ends_a_kernel_and_the_device_works_on(arguments):
    out, err = interrupted(
        """
        print("begin", flush=True)
        try:
            run("endless", np.zeros(4, np.int32))
        except KeyboardInterrupt:
            x = np.zeros(8, np.float32)
            run("add", x)
            print(x.sum())
        """,
        *arguments,
    )
    assert out == "8.0\n", err


def test_ctrl_c_ends_a_submission_of_dispatches_that_are_short():
    out, err = interrupted(
        """
        pipeline = device.library(TEXT).pipeline("add")
        x = np.zeros(8, np.float32)
        print("begin", flush=True)
        try:
            device.submit_repeated([attnproto.Dispatch(pipeline, 1, 8, {0: x})], times=10**8)
        except KeyboardInterrupt:
            run("add", x)
            print((x > 0).all())
        """
    )
    assert out == "True\n", err


def test_a_signal_handler_cannot_use_the_device_within_its_own_threads_dispatch():
    process = start(
        """
        import signal
        def handler(*_):
            try:
                run("add", np.zeros(8, np.float32))
            except attnproto.DispatchError as error:
                print(error)
        signal.signal(signal.SIGALRM, handler)
        pipeline = device.library(TEXT).pipeline("endless")
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            device.run(pipeline, threadgroups=1, threads=4, buffers={0: np.zeros(4, np.int32)},
                       time_limit_s=2)
        except attnproto.errors.GpuTimeout:
            x = np.zeros(8, np.float32)
            run("add", x)
            print(x.sum())
        """
    )
    out, err = process.communicate(timeout=30)
    assert "found a signal handler that uses the device within a dispatch" in out, err
    assert out.endswith("8.0\n"), err


def test_a_process_ends_while_a_thread_waits_for_a_kernel():
    process = start(
        """
        occupy()
        print("ends")
        """
    )
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "ends\n", "")


def test_ctrl_c_reaches_a_thread_that_waits_for_the_device():
    out, err = interrupted(
        """
        occupy()
        print("begin", flush=True)
        try:
            run("add", np.zeros(8, np.float32))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)
        """
    )
    assert out == "interrupted\n", err


def test_a_child_forked_during_a_dispatch_has_a_device_that_works():
    process = start(
        """
        occupy()
        child = os.fork()
        if child == 0:
            x = np.zeros(8, np.float32)
            run("add", x)
            os._exit(int(x.sum()))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        os._exit(0)
        """
    )
    out, err = process.communicate(timeout=30)
    assert out == "8\n", err


def test_a_child_forked_while_a_kernel_is_compiled_compiles_its_own():
    process = start(
        """
        sums = "".join(f"s += sin(s * {n}) * x[{n}];" for n in range(200))
        slow = TEXT + "kernel void slow(device float* x [[buffer(0)]]) { float s = 1; "
        slow += sums + f"s *= {time.time_ns()}.0f; x[0] = s; }}"
        threading.Thread(target=device.library(slow).pipeline, args=["slow"], daemon=True).start()
        codes = []
        for n in range(4):
            time.sleep(0.1)
            child = os.fork()
            if child == 0:
                own, x = f"add{os.getpid()}", np.zeros(8, np.float32)
                pipeline = device.library(TEXT.replace("add", own)).pipeline(own)
                device.run(pipeline, threadgroups=2, threads=4, buffers={0: x})
                os._exit(int(x.sum()))
            codes.append(child)
        print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in codes], flush=True)
        os._exit(0)
        """
    )
    out, err = process.communicate(timeout=60)
    assert out == "[8, 8, 8, 8]\n", err


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS holds on Linux")
def test_threads_that_the_system_will_not_start_are_done_without():
    # The first device has two threads by now, the second none; no stack of 256 MiB fits any more.
    code = """
        import resource
        fresh = attnproto.device.discovery._open_cpu()
        pipelines = [d.library(TEXT).pipeline("add") for d in (device, fresh)]
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))
        for one, pipeline in zip((device, fresh), pipelines):
            x = np.zeros(32, np.float32)
            try:
                one.run(pipeline, threadgroups=8, threads=4, buffers={0: x})
                print(x.sum())
            except attnproto.DispatchError as error:
                print(error)
    """
    # Stacks so large that none is kept for the next thread.
    environment = {**os.environ, "ATTNPROTO_CPU_THREADS": "8"}
    done = subprocess.run(
        ["sh", "-c", 'ulimit -s 262144; exec "$0" -c "$1"', sys.executable,
         textwrap.dedent(START) + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    ran, refused = done.stdout.splitlines() or ["", done.stderr]
    assert ran == "32.0", done.stderr
    assert "no thread that the system would start" in refused, done.stdout


def every_error() -> list[type[AttnprotoError]]:
    errors, todo = [], [AttnprotoError]
    while todo:
        errors.append(todo.pop())
        todo += errors[-1].__subclasses__()
    return errors


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_can_be_sent_to_another_process(kind):
    parties = [("reads", 3, "x[i]\n7", (1, 0, 0), 40)]
    given = ("k", "race", parties, "buffer 0", 4, 64, 4) if kind is ValidationError else ("why",)
    error = kind(*given)
    if issubclass(kind, attnproto.errors.GpuFault):
        error.code, error.kernels = 3, "k"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))
    assert {k: v for k, v in vars(again).items() if k != "__notes__"} == vars(error)


def _finds() -> None:
    device = attnproto.open_device("cpu", validate=True)
    pipeline = device.library(TEXT).pipeline("words")
    device.run(pipeline, threadgroups=1, threads=2, buffers={0: np.zeros(1, np.uint32)})


def test_a_finding_comes_back_from_a_pool():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pending = pool.apply_async(_finds)
        with pytest.raises(ValidationError, match="race"):
            pending.get(timeout=60)
