"""Operations of tinygrad, from its own schedule and its generated MSL to numbers, against FP64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import attnproto
import numpy as np
from scipy import special
from support import third_party

from . import tinygrad_device
from .case import Case
from .texts import Text

_ROWS, _COLUMNS = 37, 53


@dataclass(frozen=True)
class Operation:
    """What tinygrad computes, and the same in FP64.

    Args:
        run: of tinygrad's module and its tensors.
        wanted: of the same arrays, widened.
        make: the arrays; None: one of normal numbers.
        rtol: with a hundredth of it as atol: float sums err by their length.
    """

    run: Callable
    wanted: Callable
    make: Callable[[np.random.Generator], tuple[np.ndarray, ...]] | None = None
    rtol: float = 1e-5


def _one(rng: np.random.Generator) -> tuple[np.ndarray]:
    return (rng.standard_normal((_ROWS, _COLUMNS)).astype(np.float32),)


def _two(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return _one(rng) + _one(rng)


def _positive(rng: np.random.Generator) -> tuple[np.ndarray]:
    return (np.abs(_one(rng)[0]) + np.float32(0.25),)


def _factors(*shapes: tuple[int, ...], dtype: type = np.float32) -> Callable:
    def make(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)

    return make


def _integers(low: int, high: int, dtype: type = np.int32, count: int = 2) -> Callable:
    def make(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return tuple(rng.integers(low, high, (_ROWS, _COLUMNS), dtype) for _ in range(count))

    return make


def _softmax(x: np.ndarray) -> np.ndarray:
    return special.softmax(x, -1)


def _attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    visible = np.tri(q.shape[-2], k.shape[-2], dtype=bool)
    return _softmax(np.where(visible, scores, -np.inf)) @ v


def _convolution(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, w)


def _pooled(x: np.ndarray, reduce: Callable) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2]
    return reduce(windows, axis=(-1, -2))


def _normalised(x: np.ndarray) -> np.ndarray:
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / spread


def _indexed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return (*_one(rng), rng.integers(0, _COLUMNS, (_ROWS, 11), np.int32))


_IMAGE = _factors((2, 3, 13, 17))

OPERATIONS: dict[str, Operation] = {
    "exp": Operation(lambda x: x.exp(), np.exp),
    "log": Operation(lambda x: x.log(), np.log, _positive),
    "sqrt": Operation(lambda x: x.sqrt(), np.sqrt, _positive),
    "rsqrt": Operation(lambda x: x.rsqrt(), lambda x: 1 / np.sqrt(x), _positive),
    "sin": Operation(lambda x: (x * 9).sin(), lambda x: np.sin(9 * x), rtol=1e-4),
    "cos": Operation(lambda x: x.cos(), np.cos, rtol=1e-4),
    "tanh": Operation(lambda x: x.tanh(), np.tanh),
    "sigmoid": Operation(lambda x: x.sigmoid(), special.expit),
    "gelu": Operation(
        lambda x: x.gelu(),
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        rtol=1e-4,
    ),
    "silu": Operation(lambda x: x.silu(), lambda x: x * special.expit(x)),
    "erf": Operation(lambda x: x.erf(), special.erf),
    "round": Operation(lambda x: (x * 4).round(), lambda x: np.round(4 * x)),
    "floor": Operation(lambda x: (x * 4).floor(), lambda x: np.floor(4 * x)),
    "add": Operation(lambda a, b: a + b, np.add, _two),
    "divide": Operation(lambda a, b: a / b, np.divide, _two),
    "maximum": Operation(lambda a, b: a.maximum(b), np.maximum, _two),
    "power": Operation(lambda a: a**1.7, lambda a: a**1.7, _positive),
    "where": Operation(
        lambda a, b: (a > b).where(a, b * 2), lambda a, b: np.where(a > b, a, 2 * b), _two
    ),
    "sum": Operation(lambda x: x.sum(0), lambda x: x.sum(0), rtol=1e-4),
    "mean": Operation(lambda x: x.mean(1), lambda x: x.mean(1), rtol=1e-4),
    "max": Operation(lambda x: x.max(1), lambda x: x.max(1)),
    "argmax": Operation(lambda x: x.argmax(1), lambda x: x.argmax(1)),
    "prod": Operation(lambda x: (x / 8 + 1).prod(1), lambda x: (x / 8 + 1).prod(1), rtol=1e-4),
    "variance": Operation(lambda x: x.var(1), lambda x: x.var(1, ddof=1), rtol=1e-4),
    "logsumexp": Operation(lambda x: x.logsumexp(1), lambda x: special.logsumexp(x, 1)),
    "cumsum": Operation(lambda x: x.cumsum(1), lambda x: x.cumsum(1), rtol=1e-4),
    "softmax": Operation(lambda x: x.softmax(), _softmax),
    "log_softmax": Operation(lambda x: x.log_softmax(), lambda x: special.log_softmax(x, -1)),
    "layernorm": Operation(lambda x: x.layernorm(), _normalised, rtol=1e-4),
    "matmul": Operation(lambda a, b: a @ b, np.matmul, _factors((37, 53), (53, 41)), 1e-4),
    "matmul on matrix units": Operation(
        lambda a, b: a @ b, np.matmul, _factors((64, 96), (96, 72)), 1e-4
    ),
    "half matmul": Operation(
        lambda a, b: a @ b, np.matmul, _factors((64, 64), (64, 64), dtype=np.float16), 1e-2
    ),
    "matrix by vector": Operation(lambda a, b: a @ b, np.matmul, _factors((37, 53), (53,)), 1e-4),
    "convolution": Operation(
        lambda x, w: x.conv2d(w), _convolution, _factors((2, 3, 13, 17), (5, 3, 3, 3)), 1e-4
    ),
    "max pooling": Operation(
        lambda x: x.max_pool2d((3, 3), stride=2), lambda x: _pooled(x, np.max), _IMAGE
    ),
    "average pooling": Operation(
        lambda x: x.avg_pool2d((3, 3), stride=2), lambda x: _pooled(x, np.mean), _IMAGE, 1e-4
    ),
    "attention": Operation(
        lambda q, k, v: q.scaled_dot_product_attention(k, v, is_causal=True),
        _attention, _factors(*[(1, 2, 13, 16)] * 3), 1e-4,
    ),
    "gather": Operation(
        lambda x, i: x.gather(1, i),
        lambda x, i: np.take_along_axis(x, i.astype(int), 1), _indexed,
    ),
    "transpose": Operation(lambda x: x.T.contiguous(), np.transpose),
    "pad and flip": Operation(
        lambda x: x.pad(((1, 2), (3, 0))).flip(1), lambda x: np.pad(x, ((1, 2), (3, 0)))[:, ::-1]
    ),
    "concatenate": Operation(
        lambda a, b: a.cat(b, dim=1), lambda a, b: np.concatenate((a, b), 1), _two
    ),
    "lower triangle": Operation(lambda x: x.tril(), np.tril),
    "sort": Operation(lambda x: x[:3, :19].sort(1)[0], lambda x: np.sort(x[:3, :19], 1)),
    "integer division": Operation(
        lambda a, b: a // b, np.floor_divide, _integers(1, 1000), 0
    ),
    "bits": Operation(
        lambda a, b: (a ^ b) & 255 | (a << 3),
        lambda a, b: (a.astype(int) ^ b.astype(int)) & 255 | (a.astype(int) << 3),
        _integers(0, 4096), 0,
    ),
    "bytes to half": Operation(
        lambda a: a.half() * 0.5, lambda a: a * 0.5, _integers(-128, 127, np.int8, 1), 1e-3
    ),
    "bfloat": Operation(
        lambda x: (x.bfloat16() * 3).float(), lambda x: 3 * x, rtol=1.6e-2
    ),
}  # fmt: skip


@functools.cache
def _tinygrad() -> tuple[ModuleType, tinygrad_device.Launches]:
    launches = tinygrad_device.Launches(attnproto.open_device("cpu"))
    return tinygrad_device.install(third_party.TINYGRAD.unpack(), launches), launches


def _check(name: str, device: attnproto.Device) -> None:
    tinygrad, launches = _tinygrad()
    launches.device = device
    operation = OPERATIONS[name]
    arrays = (operation.make or _one)(np.random.default_rng(len(name)))
    result = operation.run(*(tinygrad.Tensor(one) for one in arrays)).numpy()
    wanted = operation.wanted(*(one.astype(np.float64) for one in arrays))
    np.testing.assert_allclose(
        result.astype(np.float64), wanted, rtol=operation.rtol, atol=operation.rtol / 10
    )


def cases() -> Iterator[Case]:
    """A case an operation; each launches one generated kernel or several."""
    for name in OPERATIONS:
        yield Case("tinygrad", name, functools.partial(_check, name))


def texts() -> Iterator[Text]:
    """What tinygrad generates for the operations, each kernel once."""
    device = attnproto.open_device("cpu")
    for name in OPERATIONS:
        _, launches = _tinygrad()
        before = set(launches.texts)
        _check(name, device)
        for text in sorted(set(launches.texts) - before):
            yield Text("tinygrad", f"{name}: {launches.texts[text]}", text)
