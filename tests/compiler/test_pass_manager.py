"""What runs passes: their order, what is shown, and what becomes of their errors."""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import attnproto
import numpy as np
import pytest
from attnproto.compiler.codegen import object_archive
from attnproto.compiler.ir.types import Unsupported
from attnproto.compiler.pass_manager import Kernel, Pass, PassManager, on_text
from attnproto.compiler.targets import driver, host
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd, constants_in_device_memory
from attnproto.device.library import describe
from attnproto.errors import InternalError, KernelCompileError

TEXT = """#include <metal_stdlib>
constant float factor [[function_constant(0)]];
kernel void scale(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i] *= factor;
}
"""


def kernel(text=""):
    return Kernel(SimpleNamespace(function="scale"), text)


def adding(letter, **options):
    return Pass(letter, on_text(lambda text: text + letter), **options)


def raising(error, **options):
    def run(_):
        raise error

    return Pass("bad", run, **options)


def test_passes_run_in_order_and_only_where_their_condition_holds():
    one = kernel()
    passes = PassManager()
    passes.run([adding("a"), adding("b", when=lambda k: k.text != "a"), adding("c")], one)
    passes.run([adding("d")], one)
    assert one.text == "acd"
    assert list(passes.seconds) == ["a", "c", "d"]


def test_what_a_pass_made_is_shown_and_none_runs_after_the_last():
    shown = []
    passes = PassManager(("a", "b"), "b", lambda name, text: shown.append((name, text)))
    one = kernel()
    passes.run([adding("a"), adding("b"), adding("c")], one)
    passes.run([adding("d")], one)
    assert shown == [("a", "a"), ("b", "ab")]
    assert one.text == "ab"


@pytest.mark.parametrize(
    "error",
    [AssertionError("x"), KeyError("x"), ValueError("x"), RuntimeError("x"), TypeError("x")],
)
def test_a_bug_of_a_pass_names_the_pass_and_the_kernel(error):
    with pytest.raises(
        InternalError, match=r"^\[compiler.bad\] found an internal error in scale: "
    ):
        PassManager().run([raising(error, declines=True)], kernel())


def test_only_a_pass_that_is_listed_so_may_decline_a_kernel():
    with pytest.raises(Unsupported):
        PassManager().run([raising(Unsupported("x"), declines=True)], kernel())
    with pytest.raises(InternalError, match="Unsupported: x; report it"):
        PassManager().run([raising(Unsupported("x"))], kernel())


def test_a_sentence_for_the_user_stays_as_it_is():
    with pytest.raises(KernelCompileError, match=r"^\[msl\] y$"):
        PassManager().run([raising(KernelCompileError("[msl] y"))], kernel())


def compiled(engine="lockstep"):
    device = attnproto.open_device("cpu", engine=engine)
    return device.library(TEXT + f"// {np.random.default_rng().integers(1 << 62)}").pipeline(
        "scale", {0: 2.0}
    )


@pytest.mark.parametrize("error", [AssertionError, IndexError, ValueError])
def test_a_bug_of_vectorize_is_no_silent_fall_back_to_fibers(monkeypatch, error):
    def broken(*_):
        raise error("planted")

    monkeypatch.setattr(host.vectorize, "vectorise", broken)
    with pytest.raises(InternalError, match=r"^\[compiler.vectorize\] .* in scale: .*planted"):
        compiled()
    assert compiled("fibers").engine == "fibers"


def test_code_of_vectorize_that_llvm_refuses_is_an_internal_error(monkeypatch):
    monkeypatch.setattr(host.vectorize, "vectorise", lambda *_: "define nonsense")
    with pytest.raises(InternalError, match=r"^\[compiler.simplify_vectors\] .* in scale: "):
        compiled()


def test_what_vectorize_declines_runs_on_fibers_and_says_why(monkeypatch):
    def declining(*_):
        raise Unsupported("planted")

    monkeypatch.setattr(host.vectorize, "vectorise", declining)
    pipeline = compiled()
    assert (pipeline.engine, pipeline.engine_reason) == ("fibers", "planted")


@pytest.mark.parametrize("driver", [NativeFrontEnd, PtxFrontEnd])
def test_a_name_is_one_pass(driver):
    names = driver.pass_names()
    assert len(names) == len(set(names))
    assert names[0] == "specialize"


def test_a_key_depends_on_all_that_decides_the_code():
    def key(front_end=None, text=TEXT, value=2.0, name="scale", apart=False):
        described = describe(name, {0: value}, distinct_buffers=apart)
        return (front_end or NativeFrontEnd()).request(text, described).key

    keys = [
        key(), key(value=3.0), key(text=TEXT + "//"), key(NativeFrontEnd(engine="fibers")),
        key(NativeFrontEnd(counting=True)), key(NativeFrontEnd(validate="memory")),
        key(NativeFrontEnd(validate="nan")), key(PtxFrontEnd("sm_90")), key(PtxFrontEnd("sm_80")),
        key(PtxFrontEnd("sm_90", 16)), key(apart=True),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_an_archive_that_must_have_the_code_must_have_that_of_a_lane_too(tmp_path):
    front_end, path = NativeFrontEnd(), str(tmp_path / "archive")
    request = front_end.request(TEXT, describe("scale", {0: 2.0}))
    object_archive.write(path, {}, {request.key: front_end.make(request)})
    for required in (False, True):
        described = describe("scale", {0: 2.0}, archive=path, fail_on_miss=required)
        image = front_end.compile(TEXT, described)
        assert image.engine == "lockstep"
        if required:
            with pytest.raises(KernelCompileError, match="found no scale with these constants"):
                image.lane_entry()
        else:
            assert image.lane_entry() > 0


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_kernel_that_compiles_for_long_is_named_while_it_does(seconds, monkeypatch, caplog):
    class Slow(NativeFrontEnd):
        def build(self, request, passes):
            end = time.monotonic() + seconds
            while time.monotonic() < end and not caplog.messages:
                time.sleep(0.001)
            return super().build(request, passes)

    monkeypatch.setattr(driver, "SLOW_S", 30 if seconds == 0 else 0.01)
    front_end = Slow(engine="fibers")
    front_end.make(front_end.request(f"// {uuid.uuid4()}\n{TEXT}", describe("scale", {0: 2.0})))
    said = [one for one in caplog.messages if one.startswith("[compile scale] found a kernel that")]
    assert len(said) == (seconds > 0)


def test_constant_memory_moves_but_no_name_and_no_string_does():
    text = (
        '@s = addrspace(4) constant [14 x i8] c"addrspace(4)\\0A\\00"\n'
        'define ptr addrspace(4) @"f addrspace(4)"(ptr addrspace(4) %p, ptr addrspace(40) %q)\n'
    )
    assert constants_in_device_memory(text) == (
        '@s = addrspace(1) constant [14 x i8] c"addrspace(4)\\0A\\00"\n'
        'define ptr addrspace(1) @"f addrspace(4)"(ptr addrspace(1) %p, ptr addrspace(40) %q)\n'
    )
