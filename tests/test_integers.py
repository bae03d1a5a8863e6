"""The library's functions of integers, of every type, against unbounded integers."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from support.msl import HEAD_WITH_SAME, launch_over, read_text, repeat_to_threadgroups

DTYPES = {
    "char": np.int8, "uchar": np.uint8, "short": np.int16, "ushort": np.uint16,
    "int": np.int32, "uint": np.uint32, "long": np.int64, "ulong": np.uint64,
}  # fmt: skip


def numbers(dtype) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a type with each other, and random pairs."""
    info = np.iinfo(dtype)
    corners = [0, 1, 2, 3, 5, info.max, info.max - 1, info.min, info.min + 1, info.max // 2]
    corners += [-1 % (info.max + 1), *([-1, -2, -3] if info.min else [])]
    x, y = (g.ravel() for g in np.meshgrid(*[np.array(corners, dtype)] * 2))
    rng = np.random.default_rng(4)
    random = rng.integers(info.min, info.max, (2, 512), dtype, endpoint=True)
    return repeat_to_threadgroups(np.concatenate([x, random[0]])), repeat_to_threadgroups(
        np.concatenate([y, random[1]])
    )


def rows(info, x: int, y: int, z: int, i: int):
    """What the kernel writes, in its order."""
    width, mask = info.bits, 2**info.bits - 1

    def wrapped(n: int) -> int:
        n &= mask
        return n - 2**width if n > info.max else n

    def held(n: int) -> int:
        return min(max(n, info.min), info.max)

    u, v = x & mask, y & mask
    text, by = f"{u:0{width}b}", v % width
    yield wrapped(abs(x))
    yield width - u.bit_length()
    yield (u & -u).bit_length() - 1 if u else width
    yield text.count("1")
    yield wrapped(int(text[::-1], 2))
    yield wrapped(abs(x - y))
    yield held(x + y)
    yield x + y >> 1
    yield max(x, y)
    yield min(x, y)
    yield x * y >> width
    yield x + y + 1 >> 1
    yield wrapped(u << by | u >> (width - by))
    yield held(x - y)
    yield min(max(x, y), z)
    yield wrapped((x * y >> width) + z)
    yield held(x * y + z)
    yield max(x, y, z)
    yield sorted((x, y, z))[1]
    yield min(x, y, z)
    offset = i % (width + 1)
    bits = i // 7 % (width + 1 - offset)
    field = u >> offset & 2**bits - 1
    yield field - 2**bits if info.min and bits and field >> (bits - 1) else field
    ones = 2**bits - 1
    yield wrapped(u & ~(ones << offset) | (v & ones) << offset)
    yield (x & 63) * (y & 1)
    yield (x & 63) * (y & 1) + 3


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(HEAD_WITH_SAME + read_text("integers.metal"))


@pytest.mark.parametrize("name", DTYPES)
def test_a_function_of_integers_is_exact(device, library, name):
    info = np.iinfo(DTYPES[name])
    x, y = numbers(DTYPES[name])
    out, differ = np.zeros((x.size, 24), x.dtype), np.ones(x.size, np.uint32)
    launch_over(device, library, f"integers_{name}", x, y, out, differ)
    values = zip(x.tolist(), y.tolist(), x[np.arange(x.size) // 2].tolist(), strict=True)
    expected = np.array([list(rows(info, *v, i)) for i, v in enumerate(values)], x.dtype)
    for k in range(expected.shape[1]):
        np.testing.assert_array_equal(out[:, k], expected[:, k], err_msg=f"row {k}")
    np.testing.assert_array_equal(differ, 0)
