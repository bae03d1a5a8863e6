"""How the kernels of a family are judged: a usual check of one input, and the tests' own.

The one-input check is what a kernel's author does first: a friendly shape, one
``allclose`` at 1e-3. The cases are the tests' own checks, with their tolerances, on odd
shapes small enough to be run for every planted bug.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from attnproto.kernels import score_dispatch
from attnproto.kernels.flash_variant import Rope

from .cases import (
    Case,
    attention,
    exact_scores,
    expanded,
    forgetting,
    growing,
    hidden,
    in_pieces,
    keyless_rows,
    large_score,
    late_maximum,
    later_nan,
    lowest_scores,
    nan_stays,
    one_attention,
    one_paged,
    one_recurrent,
    one_rotated,
    one_scored,
    paged,
    products,
    recurrent,
    reset_gates,
    rotated,
    rounded_weights,
    scored,
    small_scores,
    small_weights,
    varied,
    way,
    wide_window,
    windowed_nan,
)


@dataclass(frozen=True)
class Family:
    """``friendly``: the one-input check; ``cases``: those of the tests. Each raises on a miss."""

    friendly: Case
    cases: list[Case]


FLASH = [
    attention(63, 100, b=2, hq=4, hkv=2),
    attention(64, 128, hq=2, spread=4.0),
    attention(45, 77, hq=2, hkv=1, causal=True),
    attention(19, 77, 40, hq=2, hkv=2),
    growing("grown", 1.0),
    keyless_rows,
    attention(33, 70, dtype=np.float16, hq=2),
    exact_scores,
    large_score,
    small_scores,
    nan_stays("k"),
    nan_stays("v"),
    in_pieces,
]
HARD = {"causal": True, "window": 50, "softcap": 3.0, "alibi": True}


ROPE = [
    varied(37, 70, rope=Rope(theta=500.0, offset=7)),
    varied(37, 70, rope=Rope(interleaved=False)),
    varied(70, 37, causal=True, rope=Rope()),
    varied(20, 37, 40, rope=Rope()),
    varied(20, 37, 40, rope=Rope(interleaved=False)),
]

FAMILIES = {
    "flash": Family(one_attention(), FLASH),
    "half": Family(
        one_attention(dtype=np.float16),
        [
            attention(33, 70, dtype=np.float16, hq=2),
            attention(33, 70, dtype=np.float16, hq=2, spread=8.0),
            attention(19, 500, dtype=np.float16, causal=True),
        ],
    ),
    "heads": Family(one_attention(hq=4, hkv=2), [*FLASH[:3], attention(17, 40, b=3, hq=6, hkv=2)]),
    "causal": Family(
        one_attention(causal=True),
        [
            attention(45, 77, hq=2, causal=True),
            keyless_rows,
            attention(128, 128, hq=2, causal=True),
            attention(64, 128, causal=True),
            attention(1, 100, hq=2, causal=True),
            attention(33, 65, causal=True),
            attention(1, 1, causal=True),
            in_pieces,
        ],
    ),
    "window": Family(
        one_attention(causal=True, window=32),
        [
            varied(77, 131, causal=True, window=40),
            varied(77, 131, causal=True, window=1),
            varied(131, 77, causal=True, window=33),
            varied(128, 128, causal=True, window=50),
            varied(77, 131, causal=True, window=1000),
        ],
    ),
    "alibi": Family(
        one_attention(hq=4, hkv=4, alibi=True),
        [varied(37, 70, hq=6, hkv=2, alibi=True), varied(37, 70, causal=True, alibi=True)],
    ),
    "softcap": Family(
        one_attention(softcap=20.0),
        [varied(37, 70, softcap=1.5), varied(37, 70, hq=4, **HARD)],
    ),
    "rope": Family(one_attention(rope=Rope()), ROPE),
    "rope-halves": Family(one_attention(rope=Rope(interleaved=False)), ROPE),
    "rescale": Family(
        one_attention(axes={"rescale": "threshold"}),
        [
            growing("threshold"),
            growing("threshold", 4.0),
            attention(33, 70, hq=2, spread=8.0, axes={"rescale": "threshold"}),
            attention(33, 70, spread=8.0, axes={"rescale": "always"}),
        ],
    ),
    "staged": Family(
        one_attention(axes={"keys": "staged16"}),
        [
            attention(45, 77, hq=2, axes={"keys": "staged16"}),
            attention(45, 77, causal=True, axes={"keys": "staged8", "br": 32}),
            attention(19, 77, 40, axes={"keys": "staged16"}),
            attention(33, 70, dtype=np.float16, axes={"keys": "staged32"}),
            varied(37, 70, rope=Rope(), axes={"keys": "staged16"}),
            varied(128, 128, causal=True, window=50, axes={"keys": "staged16", "br": 32}),
        ],
    ),
    "ahead": Family(
        one_attention(axes={"keys": "ahead16"}),
        [
            attention(45, 77, hq=2, axes={"keys": "ahead16"}),
            attention(45, 77, 40, causal=True, axes={"keys": "ahead16", "br": 32}),
            attention(33, 128, dtype=np.float16, axes={"keys": "ahead32"}),
            varied(37, 70, rope=Rope(), axes={"keys": "ahead16"}),
            varied(128, 128, causal=True, window=50, axes={"keys": "ahead16", "br": 32}),
        ],
    ),
    "matrix": Family(
        one_attention(axes={"keys": "matrix"}),
        [
            attention(45, 77, hq=2, hkv=2, axes={"keys": "matrix"}),
            attention(45, 77, causal=True, axes={"keys": "matrix"}),
            varied(37, 70, rope=Rope(), axes={"keys": "matrix"}),
        ],
    ),
    "registers": Family(
        one_attention(axes={"query": "registers"}),
        [
            attention(45, 77, hq=2, axes={"query": "registers"}),
            attention(19, 77, 40, axes={"query": "registers"}),
            attention(45, 77, hq=2, axes={"query": "registers", "rows": 16}),
        ],
    ),
    "device queries": Family(
        one_attention(axes={"query": "device"}),
        [
            attention(45, 77, hq=2, axes={"query": "device"}),
            attention(19, 77, 40, hq=2, axes={"query": "device", "rows": 16}),
        ],
    ),
    "wide rows": Family(
        one_attention(axes={"rows": 16}),
        [
            attention(45, 77, hq=2, axes={"rows": 16, "br": 32}),
            attention(45, 77, causal=True, axes={"rows": 16}),
            attention(19, 77, 40, axes={"rows": 16}),
            varied(37, 70, hq=4, axes={"rows": 16}, **HARD),
        ],
    ),
    "paged": Family(
        one_paged(),
        [
            paged([131, 70, 200]),
            paged([70, 131], nq=40),
            paged([70, 33], page=8, nq=3, partition=32),
            paged([200, 5], page=64, d=40, nq=5),
            paged([0, 40], page=16),
            paged([65, 70], nq=20, causal=False),
            paged([200, 131], page=64, d=40, nq=3, bc=80, partition=480),
        ],
    ),
    "split": Family(
        one_paged(partition=32),
        [
            paged([131, 70, 200], partition=64),
            paged([100, 3, 70], nq=3, partition=32, page=8),
            paged([64 * 33 - 7, 5], page=32, partition=64),
            late_maximum,
            paged([200, 0], nq=2, d=40, partition=32),
            paged([97, 40], nq=19, partition=32),
        ],
    ),
    "linear": Family(
        one_recurrent(),
        [recurrent(63, chunk=32), recurrent(100, chunk=32, initial=True), recurrent(65)],
    ),
    "linear gates": Family(
        one_recurrent(decay="key"),
        [
            recurrent(77, 64, decay="key", chunk=32),
            recurrent(77, 64, decay="token", chunk=32),
            recurrent(100, 32, decay="key", chunk=32, initial=True),
            forgetting("key"),
        ],
    ),
    "linear token gates": Family(
        one_recurrent(decay="token"),
        [
            recurrent(77, 64, decay="token", chunk=32),
            recurrent(100, 32, decay="token", chunk=64, initial=True),
            forgetting("token"),
        ],
    ),
    "linear normalized": Family(
        one_recurrent(normalize=True),
        [
            recurrent(77, 64, normalize=True, chunk=32),
            recurrent(77, 64, decay="key", normalize=True, chunk=32),
            recurrent(77, 32, decay="token", normalize=True, chunk=32),
        ],
    ),
    "rotation": Family(
        one_rotated(True),
        [rotated(63, 40, interleaved=True), rotated(1, 40, interleaved=False)],
    ),
    "rotation halves": Family(
        one_rotated(False),
        [rotated(63, 40, interleaved=False), rotated(1, 64, interleaved=True)],
    ),
    "expansion": Family(
        lambda device: expanded(2, 4, np.float32, 1, 64, 64)(device),
        [expanded(3, 6), expanded(1, 5), expanded(2, 6, np.float32, n=5)],
    ),
    "stored scores": Family(
        one_scored(causal=True, softcap=20.0, alibi=True),
        [
            scored(131, causal=True, window=20, softcap=2.0, alibi=True),
            scored(1, causal=True),
            scored(300, softcap=2.0),
        ],
    ),
    "ways": Family(
        way("argument", "custom", 64, 64, close=(1e-3, 1e-3)),
        [way("argument", name) for name in score_dispatch.MODIFICATIONS] + [way("table", "alibi")],
    ),
    "limits": Family(
        one_attention(causal=True),
        [
            hidden("flash", 6),
            hidden("flash", 40),
            windowed_nan,
            wide_window,
            lowest_scores,
            small_weights,
            rounded_weights,
            reset_gates,
            later_nan,
        ],
    ),
    "products": Family(
        products(32, 32, 32),
        [products(64, 40, 8), products(96, 40, 32), products(64, 40, 32, "half")],
    ),
}  # fmt: skip
