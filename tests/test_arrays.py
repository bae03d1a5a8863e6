"""Arrays go in and out of kernels where they lie, whoever made them."""

from __future__ import annotations

import array
import ctypes
import gc
import weakref

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto import _core
from attnproto.device.device import _encode as encode
from attnproto.errors import DispatchError, UnsupportedProblem

TEXT = """
#include <metal_stdlib>
using namespace metal;
kernel void doubled(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                    uint i [[thread_position_in_grid]]) { y[i] = 2 * x[i]; }
kernel void doubled_bfloat(device const bfloat* x [[buffer(0)]], device bfloat* y [[buffer(1)]],
                           uint i [[thread_position_in_grid]]) { y[i] = 2 * x[i]; }
kernel void first(device int* y [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  if (i == 0) y[0] = 7;
}
kernel void first_float(device float* y [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  if (i == 0) y[0] = 7;
}
"""
X = np.arange(16, dtype=np.float32)


class Exported:
    """An array of a library that exports by DLPack as it was before capsules had versions."""

    def __init__(self, of: np.ndarray):
        self.of = of

    def __dlpack__(self, **_: object) -> object:
        return self.of.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def run(device, library, buffers, name="doubled", threads=16, **options):
    return device.run(
        library.pipeline(name), threadgroups=1, threads=threads, buffers=buffers, **options
    )


@pytest.mark.parametrize(
    "wrapped",
    [Exported, lambda x: array.array("f", x), lambda x: (ctypes.c_float * 16)(*x)],
    ids=["dlpack", "array", "ctypes"],
)
def test_an_array_of_another_library_is_read_where_it_lies(device, library, wrapped):
    out = run(device, library, {0: wrapped(X.copy())}, out={1: 16}).out[1]
    np.testing.assert_array_equal(out, 2 * X)


def test_an_array_of_another_library_is_written_where_it_lies(device, library):
    theirs = np.full(16, np.nan, np.float32)
    run(device, library, {0: X, 1: Exported(theirs)})
    np.testing.assert_array_equal(theirs, 2 * X)
    for plain in (array.array("f", [0] * 16), (ctypes.c_float * 16)()):
        run(device, library, {0: X, 1: plain})
        assert list(plain) == (2 * X).tolist()


@pytest.mark.parametrize("gone", [bytes(64), np.float32(0)], ids=["bytes", "a number"])
def test_what_nobody_gets_back_is_no_output(device, library, gone):
    with pytest.raises(DispatchError, match=r"bytes or a number bound to buffer 1 \(y\)"):
        run(device, library, {0: X, 1: gone}, threads=1)


def test_an_array_that_must_not_be_written_is_no_output(device, library):
    class ReadOnly(Exported):
        def __dlpack__(self, **_: object) -> object:
            return self.of.__dlpack__(max_version=(1, 0))

    theirs = np.zeros(16, np.float32)
    theirs.setflags(write=False)
    with pytest.raises(DispatchError, match="read-only array bound to buffer 1"):
        run(device, library, {0: X, 1: ReadOnly(theirs)})


def test_memory_of_a_temporary_export_lives_as_long_as_the_dispatch(library):
    exported = []

    class Temporary(Exported):
        def __dlpack__(self, **_: object) -> object:
            array = self.of + 100
            exported.append(weakref.ref(array))
            return array.__dlpack__()

    dispatch = attnproto.Dispatch(
        library.pipeline("doubled"), 1, 16, {0: Temporary(X), 1: X.copy()}
    )
    encoded = encode(dispatch, "submit")
    gc.collect()
    assert exported[-1]() is not None
    del encoded
    gc.collect()
    assert all(one() is None for one in exported)


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (X.reshape(4, 4).T, "of shape (4, 4) for buffer 0, whose elements do not lie"),
        (X.astype(np.int32), "found int32 for buffer 0 (x), needs float32"),
    ],
    ids=["transposed", "integers"],
)
def test_an_export_that_no_kernel_could_read_is_refused(device, library, of, said):
    with pytest.raises(DispatchError) as raised:
        run(device, library, {0: Exported(of)}, out={1: 16})
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("exported", "said"),
    [
        ((None, 2, 32, 1, (16,), 2, True), "in memory of another device for buffer 0, needs"),
        ((X.view(np.uint8), 12, 8, 1, (64,), 1, True), "(DLPack 12, 8 bits) for buffer 0, needs"),
    ],
    ids=["a GPU's", "float8"],
)
def test_an_export_that_the_host_cannot_read_is_refused(
    device, library, monkeypatch, exported, said
):
    monkeypatch.setattr(_core, "host_array", lambda value: exported)
    with pytest.raises(DispatchError) as raised:
        run(device, library, {0: object()}, out={1: 16})
    assert said in str(raised.value)


def test_what_a_library_does_not_export_is_refused_with_its_reason(device, library):
    class Tracked(Exported):
        def __dlpack__(self, **_: object) -> object:
            raise BufferError("a gradient is wanted, use detach().\nMore of it")

    with pytest.raises(DispatchError) as raised:
        run(device, library, {0: Tracked(X)}, out={1: 16})
    assert "Tracked for buffer 0, whose library gives no access to its memory (a gradient" in str(
        raised.value
    )
    assert "use detach()), needs" in str(raised.value)
    with pytest.raises(DispatchError, match=r"for q, whose library .* use detach\(\)"):
        attnproto.flash_attention(*[Tracked(X.reshape(1, 1, 2, 8))] * 3, device="cpu")


def test_arrays_of_mlx_go_in_and_out_bfloat_too(device, library):
    mx = pytest.importorskip("mlx.core")
    y = mx.zeros((16,))
    mx.eval(y)
    run(device, library, {0: mx.array(X), 1: y})
    np.testing.assert_array_equal(np.array(y), 2 * X)
    halves = mx.array(X).astype(mx.bfloat16)
    out = run(device, library, {0: halves}, "doubled_bfloat", out={1: 16}).out[1]
    assert out.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(out.astype(np.float32), 2 * X)


def test_tensors_of_torch_go_in_and_out_where_they_lie(device, library):
    torch = pytest.importorskip("torch")
    y = torch.full((4, 4), float("nan"))
    run(device, library, {0: torch.from_numpy(X), 1: y})
    np.testing.assert_array_equal(y.numpy().ravel(), 2 * X)
    halves = torch.from_numpy(X).to(torch.bfloat16)
    twice = torch.zeros(16, dtype=torch.bfloat16)
    run(device, library, {0: halves, 1: twice}, "doubled_bfloat")
    np.testing.assert_array_equal(twice.float().numpy(), 2 * X)
    buffer = device.buffer(torch.from_numpy(X))
    seen = torch.from_dlpack(buffer)
    buffer.numpy(np.float32)[0] = 5
    assert seen.view(torch.float32)[0] == 5  # the same memory
    q = torch.randn(1, 2, 9, 32)
    ours = attnproto.flash_attention(q, q, q, device="cpu")
    theirs = torch.nn.functional.scaled_dot_product_attention(q.double(), q.double(), q.double())
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_a_tensor_of_torch_that_no_kernel_could_read_is_refused(device, library):
    torch = pytest.importorskip("torch")
    refused = [
        (torch.from_numpy(X.reshape(4, 4)).T, "torch's Tensor of shape (4, 4)"),
        (torch.from_numpy(X)[::2], "torch's Tensor of shape (8,)"),
        (torch.zeros(16, requires_grad=True), "detach"),
        (torch.zeros(16, device="meta"), "buffer 0"),
        (torch.zeros(16, dtype=torch.complex64).conj(), "buffer 0"),
        (torch.zeros(16).to_sparse(), "buffer 0"),
    ]
    if torch.cuda.is_available():
        refused.append((torch.zeros(16, device="cuda"), "memory of another device for buffer 0"))
    for tensor, said in refused:
        with pytest.raises(DispatchError) as raised:
            run(device, library, {0: tensor}, out={1: 16})
        assert said in str(raised.value)


def test_attention_takes_tensors_of_another_library():
    q = np.random.default_rng(0).standard_normal((1, 2, 9, 32)).astype(np.float16)
    ours = attnproto.flash_attention(q, q, q, device="cpu")
    theirs = attnproto.flash_attention(*[Exported(q)] * 3, device="cpu")
    np.testing.assert_array_equal(ours, theirs)
    chunks = attnproto.linear_attention(*[Exported(q)] * 3, device="cpu")
    np.testing.assert_array_equal(chunks, attnproto.linear_attention(q, q, q, device="cpu"))
    pages = q.reshape(1, 2, 9, 32)[:, :, :8]
    table, lengths = np.zeros((1, 1), np.int32), np.array([8], np.int32)
    arguments = (q[:, :, :8].copy(), pages.copy(), pages.copy(), table, lengths)
    np.testing.assert_array_equal(
        attnproto.paged_attention(*map(Exported, arguments), device="cpu"),
        attnproto.paged_attention(*arguments, device="cpu"),
    )


def test_a_buffer_is_filled_from_any_array_and_read_by_any_library(device):
    buffer = device.buffer(Exported(X))
    np.testing.assert_array_equal(buffer.numpy(np.float32), X)
    seen = np.from_dlpack(buffer)
    buffer.numpy(np.float32)[0] = 5
    assert seen.view(np.float32)[0] == 5  # the same memory
    np.testing.assert_array_equal(np.asarray(buffer).view(np.float32)[1:], X[1:])


def test_a_buffer_is_bound_from_an_offset_on(device, library):
    buffer = device.buffer(np.arange(32, dtype=np.float32))
    out = run(device, library, {0: buffer.at(64)}, out={1: 16}).out[1]
    np.testing.assert_array_equal(out, 2 * np.arange(16, 32))
    assert buffer.at(64).nbytes == 64
    assert buffer.at(64).at(32).numpy(np.float32).tolist() == list(range(24, 32))
    run(device, library, {0: X, 1: buffer.at(64)})
    np.testing.assert_array_equal(buffer.numpy(np.float32)[:16], X)
    np.testing.assert_array_equal(buffer.numpy(np.float32)[16:], 2 * X)


@pytest.mark.parametrize("offset", [-4, 129, 1.5, True, "8"])
def test_an_offset_outside_a_buffer_is_refused(device, offset):
    with pytest.raises(DispatchError, match="needs a number of bytes from 0 to 128"):
        device.buffer(128).at(offset)


def test_an_access_past_the_end_of_an_offset_buffer_is_found():
    watching = attnproto.open_device("cpu", validate=True)
    pipeline = watching.library(TEXT).pipeline("doubled")
    buffer = watching.buffer(np.arange(32, dtype=np.float32))
    with pytest.raises(attnproto.ValidationError, match="out-of-bounds"):
        watching.run(pipeline, threadgroups=1, threads=32, buffers={0: buffer.at(64)}, out={1: 32})


def test_out_makes_arrays_of_the_kernels_type_that_show_what_was_left_out(device, library):
    out = run(device, library, {}, "first_float", out={1: (2, 3)}).out[1]
    assert out.shape == (2, 3)
    assert out.dtype == np.float32
    assert out[0, 0] == 7
    assert np.isnan(out.reshape(-1)[1:]).all()
    assert run(device, library, {}, "first", out={1: [3]}).out[1].tolist() == [7, 0, 0]
    typed = run(device, library, {}, "first", out={1: ((3,), np.uint32)}, view=[1]).out[1]
    assert typed.dtype == np.uint32
    assert run(device, library, {0: X, 1: X.copy()}).out == {}


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ([4], "found out=[4], needs a dict with indices as keys"),
        ({1: -4}, "found -4 for output 1, needs a shape"),
        ({1: (4, "rows")}, "found type 'rows' for output 1, needs one of numpy's"),
        ({0: 16}, "found index 0 in buffers and in out, needs it in one"),
        ({31: 4}, "found 31 in out, needs an index below 31"),
    ],
)
def test_an_out_that_describes_no_array_is_refused(device, library, out, said):
    with pytest.raises(DispatchError) as raised:
        run(device, library, {0: X}, out=out)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.asfortranarray(X.reshape(4, 4)), "in Fortran order"),
        (X[::-1], "read backwards"),
        (np.broadcast_to(np.float32(1), (16,)), "that repeats its elements"),
        (X.reshape(2, 4, 2).transpose(1, 0, 2), "with its axes in another order"),
        (np.zeros((4, 8), np.float32)[:, ::2], "with gaps"),
    ],
)
def test_a_refused_layout_is_called_by_its_name(device, library, given, said):
    with pytest.raises(DispatchError) as raised:
        run(device, library, {0: given}, out={1: 16})
    assert f"found an array {said} for buffer 0, needs elements one after" in str(raised.value)


def test_an_integer_tensor_of_foreign_byte_order_is_told_so():
    q = np.zeros((1, 1, 8, 32), np.float16)
    table, lengths = np.zeros((1, 1), np.int32), np.array([8], np.int32)
    foreign = np.dtype(np.int32).newbyteorder()
    for given in ((table.astype(foreign), lengths), (table, lengths.astype(foreign))):
        with pytest.raises(UnsupportedProblem, match="of int32 of foreign byte order, needs int32"):
            attnproto.paged_attention(q, q, q, *given, device="cpu")
    with pytest.raises(UnsupportedProblem, match="float16, float16 of foreign byte order, float16"):
        attnproto.flash_attention(q, q.astype(q.dtype.newbyteorder()), q, device="cpu")
