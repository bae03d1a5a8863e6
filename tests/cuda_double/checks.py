"""The cuda device over a double of NVIDIA's driver; each check runs in a process of its own.

tests/test_cuda_double.py starts them: a process opens one driver, and a fault stays with it.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

import numpy as np
import pytest
from attnproto import Dispatch, _core
from attnproto.device.device import Device
from attnproto.errors import (
    DeviceLost,
    DeviceUnavailable,
    DispatchError,
    GpuOutOfMemory,
    GpuPageFault,
    GpuTimeout,
    KernelCompileError,
)
from attnproto.prototypes import rust_crates

# Loaded before the device asks for it: the name libcuda.so.1 is then the double's.
DOUBLE = ctypes.CDLL(os.environ["ATTNPROTO_CUDA_DOUBLE"])
DOUBLE.double_number.restype = ctypes.POINTER(ctypes.c_long)


def number(name: str) -> int:
    return DOUBLE.double_number(name.encode())[0]


def let(name: str, value: int) -> None:
    DOUBLE.double_number(name.encode())[0] = value


class FrontEnd(_core.FrontEnd):
    """Takes the driver's own lines for a kernel's text: buffers 0 to 2, and a table at 3."""

    def __init__(self, alignment: int):
        super().__init__()
        self.alignment = alignment

    def functions(self, text):
        return ["run"]

    def compile(self, text, descriptor):
        kinds = _core.ArgumentKind
        read = {int(k) for k in re.findall(r"copy (\d)", text)} - {3}
        written = {int(k) for k in re.findall(r"(?:scale|copy \d) (\d)", text)}
        arguments = [
            _core.KernelArgument(kinds.BUFFER, k, 4, f"b{k}", k in written)
            for k in sorted(read | written)
        ]
        if "table" in text:
            arguments.append(_core.KernelArgument(kinds.FUNCTION_TABLE, 3, 8, "table"))
        names = [(name, place) for place, name in enumerate(descriptor.linked_functions)]
        code = text.replace("ALIGNMENT", str(self.alignment)).encode()
        return _core.KernelImage(arguments, 0, 1024, 0, code, names, 1.0, 0.0, False)


@pytest.fixture
def device() -> Device:
    return Device(_core.open_cuda(lambda architecture, alignment: FrontEnd(alignment)))


def kernel(device: Device, steps: str, **options):
    return device.library(f"attn_launch_0 {steps}\n").pipeline("run", **options)


def run(device: Device, steps: str, buffers) -> None:
    device.run(kernel(device, steps), threadgroups=1, threads=32, buffers=buffers)


def numbers(count: int = 64) -> np.ndarray:
    return np.arange(count, dtype=np.float32)


def test_the_callers_memory_goes_there_and_back_once(device):
    x, y = numbers(), np.zeros(64, np.float32)
    run(device, "scale 0 64 3; copy 0 1 256", {0: x, 1: y})
    np.testing.assert_array_equal(x, 3 * numbers())
    np.testing.assert_array_equal(y, x)
    assert (number("to_device"), number("to_host")) == (2, 2)
    assert device._core.allocated_bytes() == 0


def test_memory_bound_twice_is_one_copy(device):
    x = numbers()
    run(device, "scale 0 64 3; scale 1 64 2", {0: x, 1: x})
    np.testing.assert_array_equal(x, 6 * numbers())
    assert (number("to_device"), number("to_host")) == (1, 1)


def test_a_buffer_is_copied_only_when_the_other_side_changed_it(device):
    buffer = device.buffer(numbers())
    for _ in range(3):
        run(device, "scale 0 64 2", {0: buffer})
    assert (number("to_device"), number("to_host")) == (1, 0)
    np.testing.assert_array_equal(buffer.numpy(np.float32, (64,)), 8 * numbers())
    assert number("to_host") == 1


def test_bytes_are_those_of_their_binding_and_cross_together(device):
    out = [device.buffer(16) for _ in range(3)]
    pipeline, dispatches = kernel(device, "copy 0 1 4"), []
    value = np.zeros(1, np.uint32)
    for k, buffer in enumerate(out):
        value[0] = 7 + k
        dispatch = _core.Dispatch(pipeline._core, (1, 1, 1), (32, 1, 1), None)
        dispatch.bind_bytes(0, value.tobytes())
        dispatch.bind_buffer(1, buffer._core, 0)
        dispatches.append(dispatch)
    value[0] = 0
    device._core.submit(dispatches)
    assert [buffer.numpy(np.uint32, (4,))[0] for buffer in out] == [7, 8, 9]
    assert number("to_device") == 1 + len(out)  # the buffers' own zeros


def test_bytes_begin_where_wide_reads_may(device):
    text = "attn_launch_0 copy 0 1 4; copy 2 1 4; scale 1 1 ALIGNMENT\n"
    out, one = device.buffer(16), np.float32(1)
    pipeline = device.library(text).pipeline("run")
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: one, 1: out, 2: one})
    assert out.numpy(np.float32, (4,))[0] == 16


@pytest.mark.parametrize(("offset", "alignment"), [(16, 16), (4, 1)])
def test_a_buffer_between_words_takes_code_that_assumes_nothing(device, offset, alignment):
    # The driver finds the function only in the code for the other alignment's number.
    pipeline = device.library("attn_launch_0 scale 0 1 ALIGNMENT\n").pipeline("run")
    buffer = device.buffer(np.ones(16, np.float32))
    dispatch = _core.Dispatch(pipeline._core, (1, 1, 1), (32, 1, 1), None)
    dispatch.bind_buffer(0, buffer._core, offset)
    device._core.submit([dispatch])
    assert buffer.numpy(np.float32, (16,))[offset // 4] == alignment


@pytest.mark.parametrize("codes", [("_full", "_over"), ("_over",), ("_full",), ()])
@pytest.mark.parametrize(
    ("threadgroups", "threads", "crowded"),
    [
        (4, 224, ""), (4, 128, ""), (12, 64, ""),
        (3, 256, "_full"), (5, 128, "_full"), (13, 33, "_full"),
        (1, 257, "_over"), (9, 96, "_over"), (1, 1024, "_over"),
    ],
)  # fmt: skip
def test_a_launch_of_many_warps_takes_its_own_code(device, threadgroups, threads, crowded, codes):
    # The double has 4 multiprocessors; 8 warps may have all registers of one.
    factors = {"": 2, "_full": 3, "_over": 5}
    text = "".join(f"attn_launch_0{code} scale 0 1 {factors[code]}\n" for code in ("", *codes))
    buffer = device.buffer(np.ones(1, np.float32))
    pipeline = device.library(text).pipeline("run")
    device.run(pipeline, threadgroups=threadgroups, threads=threads, buffers={0: buffer})
    taken = crowded if crowded in codes else ""
    assert buffer.numpy(np.float32, (1,))[0] == factors[taken]


def test_memory_kept_for_later_is_given_up_before_there_is_none(device):
    let("memory_bytes", 1 << 20)
    run(device, "scale 0 64 2", {0: np.zeros(150_000, np.float32)})
    assert number("allocated_bytes") >= 600_000
    run(device, "scale 0 64 2", {0: np.zeros(200_000, np.float32)})
    with pytest.raises(GpuOutOfMemory, match=r"run\] found CUDA_ERROR_OUT_OF_MEMORY \(2\)"):
        run(device, "scale 0 64 2", {0: np.zeros(300_000, np.float32)})
    x = numbers()
    run(device, "scale 0 64 2", {0: x})
    np.testing.assert_array_equal(x, 2 * numbers())
    assert device._core.allocated_bytes() == 0


def test_after_a_fault_the_device_opens_again(device):
    kept, lost = device.buffer(numbers()), device.buffer(numbers())
    pipeline = device.library("attn_launch_0 copy 3 0 8\ntable 2\n").pipeline("run", linked=["f"])
    table = pipeline.function_table(["f"])
    run(device, "scale 0 64 2", {0: lost})
    with pytest.raises(GpuPageFault, match=r"dispatch run.*ILLEGAL_ADDRESS.*opened again"):
        run(device, "scale 0 64 2; fault 700", {0: kept})
    # The host still has what one buffer held; the other's was on the GPU alone.
    with pytest.raises(DispatchError, match="contents a fault destroyed"):
        lost.numpy(np.float32, (64,))
    buffers = {0: device.buffer(16), 3: table}
    with pytest.raises(DispatchError, match="table that a fault destroyed"):
        device.run(pipeline, threadgroups=1, threads=32, buffers=buffers)
    # Memory of the context that is gone must not be handed out again.
    del lost, kept, table, buffers
    x = numbers()
    run(device, "scale 0 64 2", {0: x})
    np.testing.assert_array_equal(x, 2 * numbers())


def test_a_buffer_that_the_host_wrote_outlives_a_fault(device):
    buffer = device.buffer(numbers())
    run(device, "copy 0 1 256", {0: buffer, 1: device.buffer(256)})
    buffer.numpy(np.float32, (64,))[:] = 5
    with pytest.raises(GpuPageFault):
        run(device, "fault 700", {})
    run(device, "scale 0 64 2", {0: buffer})
    np.testing.assert_array_equal(buffer.numpy(np.float32, (64,)), 10)


def repeat(device: Device, steps: list[str], buffer, times: int, ahead: int = 0) -> None:
    """Run dispatches of one buffer in rounds."""
    dispatches = [Dispatch(kernel(device, one), 1, 32, {0: buffer}) for one in steps]
    device.submit_repeated(dispatches, times, ahead=ahead)


def test_few_launches_are_given_to_the_driver_one_by_one(device):
    buffer = device.buffer(numbers())
    repeat(device, ["scale 0 64 2", "scale 0 64 3"], buffer, 3)
    assert (number("launches"), number("graph_launches"), number("kernels")) == (6, 0, 6)
    np.testing.assert_array_equal(buffer.numpy(np.float32, (64,)), 6**3 * numbers())


def test_many_launches_are_a_graph_in_their_order(device):
    x, y = device.buffer(np.ones(1, np.float32)), device.buffer(4)
    double, store = kernel(device, "scale 0 1 2"), kernel(device, "copy 0 1 4")
    dispatches = [Dispatch(double, 1, 32, {0: x}), Dispatch(store, 1, 32, {0: x, 1: y})]
    # In another order y would lag behind x.
    device.submit_repeated(dispatches, 20, ahead=4)
    assert (number("launches"), number("graph_launches"), number("kernels")) == (0, 2, 48)
    assert x.numpy(np.float32, (1,))[0] == y.numpy(np.float32, (1,))[0] == 2**24
    assert number("graphs") == 0


def test_rounds_beyond_a_graph_are_further_ones(device):
    for times, graphs, launches in [(512, 1, 0), (1027, 2, 3), (1100, 3, 0)]:
        for name in ("graph_launches", "launches", "kernels"):
            let(name, 0)
        repeat(device, ["scale 0 64 1"], device.buffer(numbers()), times)
        assert (number("graph_launches"), number("launches")) == (graphs, launches)
        assert number("kernels") == times
        assert number("graphs") == 0


def test_a_fault_in_a_graph_is_one(device):
    with pytest.raises(GpuPageFault, match=r"dispatch run.*ILLEGAL_ADDRESS.*opened again"):
        repeat(device, ["scale 0 64 2", "fault 700"], device.buffer(numbers()), 10)
    x = numbers()
    run(device, "scale 0 64 2", {0: x})
    np.testing.assert_array_equal(x, 2 * numbers())


def test_where_no_other_context_opens_the_device_is_lost(device):
    let("renewals", 0)
    with pytest.raises(DeviceLost, match=r"dispatch run.*this process can use the GPU no more"):
        run(device, "fault 700", {})


def test_a_timeout_is_one(device):
    with pytest.raises(GpuTimeout, match=r"CUDA_ERROR_LAUNCH_TIMEOUT \(702\)"):
        run(device, "fault 702", {})


def test_a_driver_without_a_gpu_is_no_device():
    let("gpus", 0)
    with pytest.raises(DeviceUnavailable, match="found a driver but no GPU"):
        _core.open_cuda(lambda architecture, alignment: FrontEnd(alignment))


def test_what_the_driver_refuses_is_explained(device):
    with pytest.raises(KernelCompileError, match=r"refused PTX: .*\(218\).*line 1: refuse this"):
        device.library("refuse this").pipeline("run")


def test_a_table_holds_the_addresses_that_were_asked_for(device):
    text = "attn_launch_0 copy 3 0 24\ntable 3\n"
    pipeline = device.library(text).pipeline("run", linked=["f", "g", "h"])
    table, out = pipeline.function_table(["h", "f"]), device.buffer(24)
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: out, 3: table})
    assert list(out.numpy(np.uint64, (3,))) == [2, 1002, 1000]
    with pytest.raises(KernelCompileError, match="other which is not linked"):
        pipeline.function_table(["other"])


def test_more_threadgroups_than_an_axis_has_are_refused(device):
    with pytest.raises(DispatchError, match="more than 65535 threadgroups on axis y or z"):
        device.run(kernel(device, "fault 1"), threadgroups=(1, 65536, 1), threads=32, buffers={})


def test_modules_go_with_their_pipelines(device):
    pipeline = kernel(device, "scale 0 64 2")
    assert number("modules") == 1
    del pipeline
    assert number("modules") == 0


class _Binding(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("kind", ctypes.c_int32),
        ("buffer", ctypes.c_void_p),
        ("offset", ctypes.c_uint64),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
    )


class _Dispatch(ctypes.Structure):
    _fields_ = (
        ("threadgroups", ctypes.c_uint32 * 3),
        ("threads", ctypes.c_uint32 * 3),
        ("bindings", ctypes.POINTER(_Binding)),
        ("binding_count", ctypes.c_size_t),
    )


EXPORTED = """\
// attnproto 1
// function run 0 0 1024
// buffer 0 4 x

attn_launch_0 scale 0 64 3
"""


@pytest.fixture
def library() -> ctypes.CDLL:
    path = rust_crates.library_path()
    if path is None:
        pytest.skip("no libattnproto here: a cross or sanitized build has none")
    opened = ctypes.CDLL(str(path))
    for name in ("open", "load"):
        getattr(opened, f"attnproto_{name}").restype = ctypes.c_void_p
    opened.attnproto_last_error.restype = ctypes.c_char_p
    return opened


def test_an_exported_kernel_runs_through_the_c_abi(library, tmp_path: Path):
    (tmp_path / "kernel.ptx").write_text(EXPORTED)
    device = ctypes.c_void_p(library.attnproto_open(b"cuda", 0))
    loaded = library.attnproto_load(device, str(tmp_path / "kernel.ptx").encode())
    assert loaded, library.attnproto_last_error()
    x = numbers()
    binding = _Binding(0, 2, None, 0, x.ctypes.data, x.nbytes)
    dispatch = _Dispatch((1, 1, 1), (32, 1, 1), ctypes.pointer(binding), 1)
    gpu_us = ctypes.c_double()
    done = library.attnproto_run(
        device, ctypes.c_void_p(loaded), ctypes.byref(dispatch), ctypes.byref(gpu_us)
    )
    assert done == 0, library.attnproto_last_error()
    assert gpu_us.value == 250.0
    np.testing.assert_array_equal(x, 3 * numbers())
    library.attnproto_release_kernel(ctypes.c_void_p(loaded))
    library.attnproto_close(device)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("attnproto 1", "attnproto 9"), b"of version 9, needs a kernel of version 1"),
        (("// attnproto 1\n", ""), b"of version 0"),
        (("run 0 0 1024", "run 0 0"), b"with a damaged head"),
        (("// buffer 0 4 x", "// buffer 0 4 x y"), b"with a damaged head"),
        (("// buffer", "// table"), b"with a damaged head"),
        (("\n\nattn_launch_0 scale 0 64 3\n", ""), b"cut short"),
        (("attn_launch_0", "attn_launch_1"), b"(500)"),
    ],
)
def test_a_file_that_is_no_exported_kernel_is_refused(library, tmp_path: Path, change, message):
    assert EXPORTED.count(change[0]) == 1
    (tmp_path / "kernel.ptx").write_text(EXPORTED.replace(*change))
    device = ctypes.c_void_p(library.attnproto_open(b"cuda", 0))
    assert not library.attnproto_load(device, str(tmp_path / "kernel.ptx").encode())
    assert message in library.attnproto_last_error()
    library.attnproto_close(device)
