"""Buffers that overlap and buffers that do not: code relies on the latter only where it is so."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest
from attnproto import Dispatch, _core
from attnproto.compiler.pass_manager import PassManager
from attnproto.compiler.targets.driver import Driver
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.compiler.targets.shared_object import shared_object
from attnproto.device import archive
from attnproto.device.device import Device
from attnproto.device.library import Constants, describe
from support import metallibs
from support.metallibs import Entry

TEXT = (Path(__file__).parent / "msl" / "overlap.metal").read_text()
REREAD = ("read_twice", "read_reference_twice")


class Asked(NativeFrontEnd):
    """Remembers for which pipelines it was asked, and whether buffers were said to be distinct."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked: list[tuple[str, bool]] = []

    def compile(self, text, descriptor):
        self.asked.append((descriptor.function, descriptor.distinct_buffers))
        return super().compile(text, descriptor)


@pytest.fixture(params=["lockstep", "fibers"])
def front_end(request) -> Asked:
    return Asked(engine=request.param)


@pytest.fixture
def device(front_end) -> Device:
    return Device(_core.open_cpu(front_end, 2))


def run(device: Device, name: str, buffers, threadgroups: int = 1, threads: int = 1) -> None:
    device.run(
        device.library(TEXT).pipeline(name),
        threadgroups=threadgroups,
        threads=threads,
        buffers=dict(enumerate(buffers)),
    )


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


# ---- what is bound


def of_one_array(device):
    x = numbers(1, 2)
    return x, x


def of_views_of_one_array(device):
    x = numbers(5, 1, 2)
    return x[1:], x[:2][1:]


def of_views_that_share_a_part(device):
    x = numbers(1, 2, 3)
    return x[:2], x


def of_a_view_that_must_not_be_written(device):
    x = numbers(1, 2)
    read = x.view()
    read.flags.writeable = False
    return read, x


def of_one_buffer(device):
    buffer = device.buffer(numbers(1, 2))
    return buffer, buffer


def of_one_buffer_at_an_offset(device):
    buffer = device.buffer(numbers(*range(8), 1, 2))
    return buffer.at(32), buffer.at(32)


OVERLAPS = [
    of_one_array, of_views_of_one_array, of_views_that_share_a_part,
    of_a_view_that_must_not_be_written, of_one_buffer, of_one_buffer_at_an_offset,
]  # fmt: skip


@pytest.mark.parametrize("bound", OVERLAPS)
def test_what_one_argument_wrote_another_reads(device, front_end, bound):
    z = numbers(0, 0)
    run(device, "read_twice", (*bound(device), z))
    np.testing.assert_array_equal(z, [1, 8])
    assert front_end.asked == [("read_twice", True), ("read_twice", False)]


def test_of_memory_apart_nothing_is_read_again_and_no_other_code_is_asked_for(device, front_end):
    z, whole = numbers(0, 0), numbers(1, 2, 3)
    for x, y in ((numbers(1), numbers(0)), (whole[:1], whole[1:])):
        run(device, "read_twice", (x, y, z))
        np.testing.assert_array_equal(z, [1, 1])
    assert front_end.asked == [("read_twice", True)] * 2


def test_what_no_kernel_writes_may_overlap(device, front_end):
    x, out = numbers(1, 2), numbers(0)
    run(device, "sum", (x, x, out))
    assert (out, front_end.asked) == (2, [("sum", True)])
    run(device, "sum", (x, out, out))  # and where one is written, that counts
    assert (out, front_end.asked[-1]) == (3, ("sum", False))


def test_a_constant_overlaps_too_and_functions_see_it(device):
    x, z = numbers(1), numbers(0)
    run(device, "read_reference_twice", (x, x, z))
    assert (x, z) == (4, 4)
    x, y = numbers(1), numbers(0)
    run(device, "read_reference_twice", (x, y, z))
    assert (x, y, z) == (1, 2, 1)


def test_other_code_is_compiled_once_however_dispatches_are_submitted(device, front_end):
    """Encoded once and repeated, in one submission with others, by several threads."""
    pipeline = device.library(TEXT).pipeline("read_twice")

    def one(x, y, z):
        return Dispatch(pipeline, 1, 1, {0: x, 1: y, 2: z})

    x, near, far = numbers(1), numbers(0, 0), numbers(0, 0)
    apart = one(numbers(1), numbers(0), far)
    device.submit_repeated([apart, one(x, x, near), apart], 3)
    np.testing.assert_array_equal(near, [15, 22])
    np.testing.assert_array_equal(far, [1, 1])
    results = [numbers(0, 0) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda z=z: device.submit([one(x := numbers(3), x, z)]))
        for z in results
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results, [[3, 10]] * 4)
    assert front_end.asked == [("read_twice", True), ("read_twice", False)]


def test_pointers_in_memory_lead_anywhere(device, front_end):
    y, z = numbers(1), numbers(0, 0)
    place = np.array([y.ctypes.data], np.uint64)
    run(device, "read_pointed", (place, y, z))
    np.testing.assert_array_equal(z, [1, 8])
    assert front_end.asked == [("read_pointed", True)]


# ---- what other lanes and threadgroups write


@pytest.mark.parametrize(
    ("name", "threads"),
    [("pass_on_in_threadgroup", 128), ("pass_on_in_simdgroup", 32)],
    ids=["threadgroup", "simdgroup"],
)
def test_after_a_barrier_a_number_is_read_again(device, front_end, name, threads):
    x, out = np.arange(threads + 1, dtype=np.float32), np.zeros(threads, np.float32)
    run(device, name, (x, out), threads=threads)
    np.testing.assert_array_equal(out, [0, *range(100, 99 + threads)])
    assert front_end.asked == [(name, True)]


def test_atomics_tell_threadgroups_of_memory_elsewhere(device):
    parts, arrived, out = np.zeros(50, np.float32), np.zeros(1, np.uint32), numbers(0, 0)
    run(device, "last_adds", (parts, arrived, out), threadgroups=50)
    np.testing.assert_array_equal(out, [50 * 51 / 2, 1])


# ---- the code


def code(
    driver: Driver, name: str, distinct: bool, text: str = TEXT, constants: Constants | None = None
) -> str:
    """A kernel's IR after the optimiser."""
    described = describe(name, constants, distinct_buffers=distinct)
    request = driver.request(text, described)
    return driver.lower(request, PassManager(stop_after="optimize")).text


def loads(code: str) -> int:
    """Of numbers from buffers."""
    return len(re.findall(r"= load float, ptr addrspace\([12]\)", code))


@pytest.mark.parametrize(
    ("name", "apart", "any_"),
    [
        ("read_twice", 1, 2),
        ("read_reference_twice", 2, 4),
        ("read_pointed", 2, 2),
        ("pass_on_in_threadgroup", 2, 2),
        ("pass_on_in_simdgroup", 2, 2),
    ],
)
def test_loads_are_repeated_where_memory_may_have_changed(name, apart, any_):
    driver = NativeFrontEnd()
    promised = code(driver, name, distinct=True)
    assert (loads(promised), loads(code(driver, name, distinct=False))) == (apart, any_)
    assert "attn_expose" not in promised
    assert not re.search(r"^define .*noalias", promised, re.M)


def test_a_kernel_of_apples_compiler_is_told_the_same(device, front_end):
    """x[i] is read again after y[i] is written; Apple promises to write no captured pointer."""
    text = metallibs.kernel("scale")
    end = "  store float %19, ptr addrspace(1) %20, align 4\n"
    again = (
        "  %21 = load float, ptr addrspace(1) %7, align 4\n"
        "  %22 = fadd float %19, %21\n"
        "  store float %22, ptr addrspace(1) %20, align 4\n"
    )
    assert text.count(end) == 1
    text = text.replace(end, end + again).replace(
        "ptr addrspace(1) noundef", "ptr addrspace(1) nocapture noundef readonly", 1
    )
    content = metallibs.metallib(
        {"scale": Entry(metallibs.bitcode(text), metallibs.SCALE_CONSTANTS)}
    )
    library = device.metallib(content)
    constants = {"shifted": False, "times": 1}
    pipeline = library.pipeline("scale", constants)
    lifted, driver = library.holder("scale").text, NativeFrontEnd()
    counted = [loads(code(driver, "scale", apart, lifted, constants)) for apart in (False, True)]
    assert counted == [3, 2]
    x, y, factor = np.zeros(32, np.float32), np.zeros(32, np.float32), numbers(2)
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: x, 1: y, 2: factor})
    np.testing.assert_array_equal(y, 2)
    device.run(pipeline, threadgroups=1, threads=32, buffers={0: x, 1: x, 2: factor})
    np.testing.assert_array_equal(x, 4)
    assert front_end.asked == [("scale", True), ("scale", False)]


# ---- who is promised nothing


@pytest.mark.parametrize("option", [{"validate": "memory"}, {"counting": True}], ids=str)
def test_code_that_checks_or_counts_accesses_is_promised_nothing(option):
    front_end = NativeFrontEnd(**option)
    described = describe("read_twice", distinct_buffers=True)
    request = front_end.request(TEXT, described)
    assert loads(front_end.lower(request, PassManager(stop_after="optimize")).text) == 2
    assert not front_end.compile(TEXT, described).distinct_buffers


def test_a_kernel_with_a_function_table_is_promised_nothing():
    text = "[[visible]] float twice(float x) { return 2 * x; }\n" + TEXT
    described = describe("read_twice", linked=["twice"], distinct_buffers=True)
    assert not NativeFrontEnd().request(text, described).distinct_buffers


def test_a_pipeline_of_an_archive_fits_all_that_may_be_bound(device, front_end, tmp_path):
    builder = archive.build(device)
    library = device.library(TEXT)
    builder.add(library, "read_twice")
    saved = builder.save(tmp_path / "archive")
    front_end.asked.clear()
    pipeline = library.pipeline("read_twice", archive=saved, fail_on_miss=True)
    x, z = numbers(1, 2), numbers(0, 0)
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: x, 1: x, 2: z})
    np.testing.assert_array_equal(z, [1, 8])
    assert front_end.asked == [("read_twice", False)]


def test_what_runs_without_python_is_promised_nothing(monkeypatch):
    requests = []
    make = Driver.make

    def noted(self, request, *rest):
        requests.append(request.distinct_buffers)
        return make(self, request, *rest)

    monkeypatch.setattr(Driver, "make", noted)
    shared_object(TEXT, describe("read_twice"))
    assert requests
    assert not any(requests)


def test_a_gpus_code_fits_any_binding():
    """What it would save of loads costs a kernel more in registers (compiler/README.md)."""
    codes = [
        PtxFrontEnd("sm_90").compile(TEXT, describe("read_twice", distinct_buffers=apart))
        for apart in (False, True)
    ]
    assert [one.code.count(b"ld.global") for one in codes] == [2, 2]
    assert not codes[1].distinct_buffers
