"""ggml's attention for few queries against FP64: grouped heads, a mask, quantised keys."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import attnproto
import ml_dtypes
import numpy as np

from .case import Case, Finding, assert_close, launch
from .ggml_blocks import BLOCKS
from .ggml_cases import arguments, text_named

_QUERIES, _HEADS, _KEY_HEADS, _KEYS = 3, 4, 2, 96
_SWITCHES = ("mask", "sinks", "bias", "scap", "kvpad", "sparse")
# Numbers of ALiBi for 4 heads, as ggml's host works them out of max_bias 8.
_ALIBI = {"m0": 0.25, "m1": 0.5, "n_head_log2": 4, "max_bias": 8.0}
_CAP = 5.0
_RACE = Finding(
    "race",
    "a lane writes scores of the next keys where others may still read those before: between "
    "multiplying by the values and the next round no barrier orders threadgroup memory",
)
_BEYOND = Finding(
    "out-of-bounds",
    "all lanes of a simdgroup set sums to zero where a quarter of them has sums: those of the last "
    "one's others lie behind the threadgroup memory that ggml's host asks for",
    unsafe=True,
)


def _keys(kind: str, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys or values of all heads: their bytes [heads * keys, bytes], their numbers [h, k, d]."""
    rows = _KEY_HEADS * _KEYS
    if kind in BLOCKS:
        packed, wide = BLOCKS[kind].random(rows, d, seed)
    else:
        x = np.random.default_rng(seed).standard_normal((rows, d))
        narrow = x.astype(ml_dtypes.bfloat16 if kind == "bf16" else np.float16)
        packed, wide = narrow.view(np.uint8), narrow.astype(np.float64)
    return packed, wide.reshape(_KEY_HEADS, _KEYS, d)


def _attention(
    kind: str,
    d: int,
    on: tuple[str, ...],
    simdgroups: int,
    spare: int,
    device: attnproto.Device,
) -> None:
    """Compare; with so many bytes of threadgroup memory besides what ggml's host asks for."""
    rng = np.random.default_rng(7)
    q = rng.standard_normal((_HEADS, _QUERIES, d)).astype(np.float32)
    (k, wide_k), (v, wide_v) = _keys(kind, d, 1), _keys(kind, d, 2)
    mask = rng.uniform(-1, 0, (_QUERIES, _KEYS)).astype(np.float16)
    mask[0, 40:], mask[1, 64:], mask[2, :32] = -np.inf, -np.inf, -np.inf
    sinks = rng.standard_normal(_HEADS).astype(np.float32)
    out = np.full((_QUERIES, _HEADS, d), np.nan, np.float32)
    scale = 1 / np.sqrt(d)
    row = k.strides[0]
    words = {
        "ne01": _QUERIES, "ne02": _HEADS, "ne03": 1, "nb01": 4 * d, "nb02": 4 * d * _QUERIES,
        "nb03": q.nbytes, "ne11": _KEYS, "ne_12_2": _KEY_HEADS, "ne_12_3": 1, "ns10": d,
        "ns20": d, "ne31": _QUERIES, "ne32": 1, "ne33": 1, "nb31": mask.strides[0],
        "nb32": mask.nbytes, "nb33": mask.nbytes, "ne1": _HEADS, "ne2": _QUERIES, "ne3": 1,
        "scale": scale / _CAP if "scap" in on else scale, "logit_softcap": _CAP, **_ALIBI,
    }  # fmt: skip
    for n in (1, 2):
        words |= {f"nb{n}1": row, f"nb{n}2": row * _KEYS, f"nb{n}3": k.nbytes}
    padded = -(-d // 128) * 128
    switches = {f"FC_flash_attn_ext_vec_has_{one}": one in on for one in _SWITCHES}
    launch(
        device, text_named(f"fa_vec_{'f16' if kind == 'bf16' else kind}.metal"),
        f"kernel_flash_attn_ext_vec_{kind}_dk{d}_dv{d}",
        {0: arguments("flash_attn_ext_vec", **words), 1: q, 2: k, 3: v, 4: mask, 5: sinks, 6: k,
         7: out, 8: mask},
        threadgroups=(_QUERIES, _HEADS, 1), threads=(32, simdgroups, 1),
        # In halves: queries, scores, and sums in float.
        threadgroup_bytes={0: 2 * simdgroups * (padded + 4 * 32 + 2 * padded) + spare},
        constants=switches | {
            "FC_flash_attn_ext_vec_ns10": d, "FC_flash_attn_ext_vec_ns20": d,
            "FC_flash_attn_ext_vec_nsg": simdgroups, "FC_flash_attn_ext_vec_nwg": 1,
        },
    )  # fmt: skip
    wanted = _expected(q.astype(np.float16), wide_k, wide_v, mask, sinks, on)
    assert_close(out, wanted, 2e-3, np.abs(wide_v).max())


def _expected(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray,
    sinks: np.ndarray,
    on: tuple[str, ...],
) -> np.ndarray:
    """[queries, heads, d] in FP64."""
    k, v = (x.repeat(_HEADS // _KEY_HEADS, axis=0) for x in (k, v))
    scores = np.einsum("hqd,hkd->hqk", q.astype(np.float64), k) / np.sqrt(q.shape[-1])
    if "scap" in on:
        scores = _CAP * np.tanh(scores / _CAP)
    slope = _ALIBI["m0"] ** np.arange(1, _HEADS + 1)[:, None, None] if "bias" in on else 1
    if "mask" in on:
        scores = scores + slope * mask.astype(np.float64)
    most = scores.max(-1, keepdims=True)
    weights = np.exp(scores - most)
    total = weights.sum(-1, keepdims=True)
    if "sinks" in on:
        total = total + np.exp(sinks[:, None, None] - most)
    return np.einsum("hqk,hkd->qhd", weights / total, v)


def cases() -> Iterator[Case]:
    """Each kernel by its name and its switches."""
    for kind, d, on, simdgroups in (
        ("f16", 64, (), 1),
        ("f16", 64, ("mask",), 2),
        ("f16", 128, ("mask", "bias", "scap"), 2),
        ("bf16", 64, ("mask", "sinks"), 1),
        ("q8_0", 64, ("mask",), 1),
        ("q8_0", 128, ("mask", "scap"), 2),
        ("q4_0", 128, ("mask",), 1),
        ("q5_1", 96, ("mask",), 2),
    ):
        name = f"kernel_flash_attn_ext_vec_{kind}_dk{d}_dv{d}"
        said = "".join(f", {one}" for one in (*on, f"simdgroups: {simdgroups}"))
        check = functools.partial(_attention, kind, d, on, simdgroups, 512)
        yield Case("ggml", name + said, check, _RACE)
    check = functools.partial(_attention, "f16", 96, (), 1, 0)
    yield Case("ggml", "kernel_flash_attn_ext_vec_f16_dk96_dv96, the host's memory", check, _BEYOND)
