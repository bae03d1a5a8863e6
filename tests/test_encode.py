import attnproto
import numpy as np
import pytest
from attnproto.device.encode import alloc_buffer, dispatch_1d, dispatch_2d, read_buffer_slice
from attnproto.errors import DispatchError

TEXT = """
#include <metal_stdlib>
using namespace metal;
kernel void line(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] = float(i) + 1.0f;
}
kernel void plane(device float* y [[buffer(0)]], uint2 at [[thread_position_in_grid]],
                  uint2 size [[threads_per_grid]]) {
  y[at.y * size.x + at.x] = float(at.x * 100 + at.y);
}
"""


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


@pytest.mark.parametrize("n", [1, 255, 256, 257])
def test_a_line_of_threads_has_exactly_n(device, n):
    y = np.full(n + 300, np.nan, np.float32)
    dispatch_1d(device, device.library(TEXT).pipeline("line"), n, {0: y})
    np.testing.assert_array_equal(y[:n], np.arange(1, n + 1))
    assert np.isnan(y[n:]).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (17, 3), (33, 31)])
def test_a_plane_of_threads_has_exactly_its_extents(device, width, height):
    buffer = alloc_buffer(device, (height, width), np.float32)
    dispatch_2d(device, device.library(TEXT).pipeline("plane"), width, height, {0: buffer})
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    np.testing.assert_array_equal(buffer.numpy(np.float32, (height, width)), x * 100 + y)


def test_a_slice_is_a_copy_and_stays_inside(device):
    buffer = device.buffer(np.arange(8, dtype=np.int16))
    part = read_buffer_slice(buffer, 6, 2, np.int16)
    part[:] = 0
    np.testing.assert_array_equal(read_buffer_slice(buffer, 6, 2, np.int16), [6, 7])
    for start, count in ((7, 2), (-1, 1), (0, 9)):
        with pytest.raises(DispatchError, match="8 in the buffer"):
            read_buffer_slice(buffer, start, count, np.int16)


@pytest.mark.parametrize("n", [0, -1])
def test_an_empty_line_is_refused(device, n):
    with pytest.raises(DispatchError, match="at least one"):
        dispatch_1d(device, device.library(TEXT).pipeline("line"), n, {0: np.ones(1, np.float32)})
