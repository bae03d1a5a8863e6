"""ggml's blocks of quantised numbers: random ones, and what they stand for in FP64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Fields = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Blocks:
    """A format.

    Args:
        fields: of a block, as numpy's structured types have them; d, m and dmin are scales.
        size: numbers in a block.
        widen: from fields, each [blocks, ...], to FP64 numbers [blocks, size].
        rows: of a matrix that a threadgroup multiplies by a vector.
        simdgroups: that do it.
    """

    fields: tuple[tuple, ...]
    size: int
    widen: Callable[[Fields], np.ndarray]
    rows: int
    simdgroups: int

    @property
    def nbytes(self) -> int:
        """Bytes of a block."""
        return np.dtype(list(self.fields)).itemsize

    def random(self, rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """A random matrix: its bytes [rows, bytes], and its numbers in FP64 [rows, columns]."""
        rng = np.random.default_rng(seed)
        dtype = np.dtype(list(self.fields))
        blocks = np.zeros(rows * columns // self.size, dtype)
        for name in dtype.names:
            field = blocks[name]
            if name in ("d", "m", "dmin"):
                field[...] = rng.uniform(0.01, 0.05, field.shape)
            elif name == "e":
                field[...] = rng.integers(118, 124, field.shape)
            else:
                low = np.iinfo(field.dtype).min
                field[...] = rng.integers(low, np.iinfo(field.dtype).max + 1, field.shape)
        wide = self.widen({name: blocks[name] for name in dtype.names})
        return blocks.view(np.uint8).reshape(rows, -1), wide.reshape(rows, columns)


def _scale(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)[:, None]


def _nibbles(qs: np.ndarray) -> np.ndarray:
    """The low halves of all bytes, then the high ones."""
    return np.concatenate((qs & 15, qs >> 4), -1).astype(np.float64)


def _fifth_bits(qh: np.ndarray) -> np.ndarray:
    return 16.0 * np.unpackbits(qh, -1, bitorder="little")


_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
_E2M1 = np.concatenate((_E2M1, -_E2M1))


def _mxfp4(f: Fields) -> np.ndarray:
    return _E2M1[_nibbles(f["qs"]).astype(int)] * 2.0 ** (_scale(f["e"]) - 127)


def _q2_k(f: Fields) -> np.ndarray:
    """16 groups of 16; a byte holds a number of four groups that are 32 numbers apart."""
    quarters = f["qs"].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6])[:, None] & 3
    numbers = quarters.reshape(-1, 16, 16)
    scales, lows = (_scale(f["d"]) * (f["scales"] & 15), _scale(f["dmin"]) * (f["scales"] >> 4))
    return numbers * scales[..., None] - lows[..., None]


def _q4_k(f: Fields) -> np.ndarray:
    """8 groups of 32, whose scales and minima have 6 bits, spread over 12 bytes."""
    s = f["scales"].astype(int)
    low, middle, high = s[:, :4], s[:, 4:8], s[:, 8:]
    scales = np.concatenate((low & 63, high & 15 | low >> 6 << 4), -1)
    lows = np.concatenate((middle & 63, high >> 4 | middle >> 6 << 4), -1)
    numbers = _nibbles(f["qs"].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    return numbers * (_scale(f["d"]) * scales)[..., None] - (_scale(f["dmin"]) * lows)[..., None]


def _q6_k(f: Fields) -> np.ndarray:
    """16 groups of 16; two halves, in each of which four numbers 32 apart share a high byte."""
    low = _nibbles(f["ql"].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    high = f["qh"].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6])[:, None] & 3
    numbers = (low + 16.0 * high - 32).reshape(-1, 16, 16)
    return numbers * (_scale(f["d"]) * f["scales"])[..., None]


_D, _M, _DMIN = ("d", "f2"), ("m", "f2"), ("dmin", "f2")
BLOCKS: dict[str, Blocks] = {
    "q4_0": Blocks(
        (_D, ("qs", "u1", 16)), 32, lambda f: (_nibbles(f["qs"]) - 8) * _scale(f["d"]), 8, 2
    ),
    "q4_1": Blocks(
        (_D, _M, ("qs", "u1", 16)), 32,
        lambda f: _nibbles(f["qs"]) * _scale(f["d"]) + _scale(f["m"]), 8, 2,
    ),
    "q5_0": Blocks(
        (_D, ("qh", "u1", 4), ("qs", "u1", 16)), 32,
        lambda f: (_nibbles(f["qs"]) + _fifth_bits(f["qh"]) - 16) * _scale(f["d"]), 8, 2,
    ),
    "q5_1": Blocks(
        (_D, _M, ("qh", "u1", 4), ("qs", "u1", 16)), 32,
        lambda f: (_nibbles(f["qs"]) + _fifth_bits(f["qh"])) * _scale(f["d"]) + _scale(f["m"]),
        8, 2,
    ),
    "q8_0": Blocks((_D, ("qs", "i1", 32)), 32, lambda f: f["qs"] * _scale(f["d"]), 2, 4),
    "mxfp4": Blocks((("e", "u1"), ("qs", "u1", 16)), 32, _mxfp4, 4, 2),
    "q2_K": Blocks((("scales", "u1", 16), ("qs", "u1", 64), _D, _DMIN), 256, _q2_k, 8, 2),
    "q4_K": Blocks((_D, _DMIN, ("scales", "u1", 12), ("qs", "u1", 128)), 256, _q4_k, 4, 2),
    "q6_K": Blocks(
        (("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), _D), 256, _q6_k, 4, 2
    ),
}  # fmt: skip
