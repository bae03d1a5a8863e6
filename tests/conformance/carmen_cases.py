"""carmen-kernels against FP64: rows of odd lengths, products with no full tile."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import attnproto
import numpy as np
from scipy import special

from .carmen import OPERATIONS, TG, texts
from .case import ELEMENTS, Case, assert_close, launch

_ROWS, _COLUMNS, _QUERIES, _KEYS, _WIDTH, _EPS = 5, 211, 7, 19, 24, 1e-5
_M, _N, _K = 37, 29, 53
_OUTPUTS, _INNER = 31, 128  # of the two layers whose weights have 4 bits


def _inputs(name: str, dtype: type) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(len(name))
    shapes = {
        "x": (_ROWS, _COLUMNS), "mask": (_ROWS, _COLUMNS), "res": (_ROWS, _COLUMNS),
        "w": (_COLUMNS,), "b": (_COLUMNS,), "a": (_M, _K), "q": (_QUERIES, _WIDTH),
        "k": (_KEYS, _WIDTH), "v": (_KEYS, _WIDTH), "act": (_ROWS, _INNER),
    }  # fmt: skip
    if name == "matmul":
        shapes["b"] = (_K, _N)
    if name == "mlp_up":
        shapes |= {"x": (_ROWS, _INNER), "res": (_ROWS, _INNER), "w": (_INNER,)}
    if name == "mlp_down":
        shapes |= {"x": (_ROWS, _OUTPUTS), "res": (_ROWS, _OUTPUTS)}
    values: dict[str, np.ndarray] = {}
    for one in OPERATIONS[name].inputs:
        if one == "eps":
            values[one] = np.array([_EPS], np.float32)
        elif one == "scale":
            values[one] = np.array([0.75], np.float32)
        elif one in ("gq", "uq", "dq"):
            values[one] = rng.integers(0, 2**32, (_OUTPUTS, _INNER // 8), np.uint32)
        elif one in ("gs", "gb", "us", "ub", "ds", "db"):
            values[one] = (rng.standard_normal((_OUTPUTS, _INNER // 64)) / 16).astype(dtype)
        else:
            values[one] = rng.standard_normal(shapes[one]).astype(dtype)
    return values


def _weights(q: np.ndarray, scale: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Words of eight 4-bit numbers, with a scale and a lowest number for each 64."""
    numbers = q.astype(np.uint32)[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15
    numbers = numbers.reshape(len(q), -1, 64)
    return (numbers * scale[..., None] + low[..., None]).reshape(len(q), -1)


def _rms(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + _EPS) * w


def _wanted(name: str, v: Mapping[str, np.ndarray]) -> np.ndarray:
    if name == "softmax":
        return special.softmax(v["x"], -1)
    if name == "masked_softmax":
        return special.softmax(v["x"] * v["scale"] + v["mask"], -1)
    if name == "rmsnorm":
        return _rms(v["x"], v["w"])
    if name == "layernorm":
        centred = v["x"] - v["x"].mean(-1, keepdims=True)
        return _rms(centred, v["w"]) + v["b"]
    if name == "add_rmsnorm":
        return _rms(v["x"] + v["res"], v["w"])
    if name == "residual_rmsnorm":
        both = v["x"] + v["res"]
        return np.stack((both, _rms(both, v["w"])))
    if name == "matmul":
        return v["a"] @ v["b"]
    if name == "attention":
        scores = v["q"] @ v["k"].T / np.sqrt(_WIDTH)
        visible = np.tri(_QUERIES, _KEYS, _KEYS - _QUERIES, dtype=bool)
        return special.softmax(np.where(visible, scores, -np.inf), -1) @ v["v"]
    if name == "mlp_up":
        x = _rms(v["x"] + v["res"], v["w"])
        gate = x @ _weights(v["gq"], v["gs"], v["gb"]).T
        return gate * special.expit(gate) * (x @ _weights(v["uq"], v["us"], v["ub"]).T)
    return v["x"] + v["res"] + v["act"] @ _weights(v["dq"], v["ds"], v["db"]).T


def _threadgroups(name: str) -> tuple[int, int, int]:
    sizes = dict(OPERATIONS[name].sizes)
    if name == "matmul":
        return (-(-_N // sizes["BN"]), -(-_M // sizes["BM"]), 1)
    if name == "attention":
        return (-(-_QUERIES // sizes["BQ"]), 1, 1)
    if name.startswith("mlp"):
        return (-(-_OUTPUTS // sizes["BN"]), _ROWS, 1)
    return (_ROWS, 1, 1)


def _check(name: str, element: str, device: attnproto.Device) -> None:
    dtype, rtol = ELEMENTS[element]
    (text,) = (one for one in texts() if one.name == name)
    inputs = _inputs(name, dtype)
    wide = {k: x if x.dtype == np.uint32 else x.astype(np.float64) for k, x in inputs.items()}
    wanted = _wanted(name, wide)
    out = np.full(wanted.shape, np.nan, dtype)
    bound: list[np.ndarray] = []
    for one, x in inputs.items():
        bound.append(x)
        if f"{one}_shape" in text.text:
            bound.append(np.array(x.shape, np.int32))
    launch(
        device, text, f"{name}_{element}", dict(enumerate([*bound, out])),
        threadgroups=_threadgroups(name), threads=(TG, 1, 1),
    )  # fmt: skip
    assert_close(out, wanted, rtol, max(1, np.abs(wanted).max() / 4))


def cases() -> Iterator[Case]:
    """Every operation in float, and three in the shorter types."""
    for name in OPERATIONS:
        yield Case("carmen", f"{name}_float", functools.partial(_check, name, "float"))
    for name, element in (("softmax", "half"), ("attention", "bfloat"), ("mlp_up", "half")):
        yield Case("carmen", f"{name}_{element}", functools.partial(_check, name, element))
