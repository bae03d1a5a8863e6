"""late-interaction-kernels against FP64: the best match of each of a query's tokens, summed."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import attnproto
import numpy as np

from .case import ELEMENTS, Case, Finding, assert_close, launch
from .texts import maxsim

_MASKS, _NORMALISED = 3, 4  # flags


def _check(
    element: str, together: int, normalised: bool, tokens: int, device: attnproto.Device
) -> None:
    """3 queries of 37 tokens by 5 documents, 40 numbers a token, some tokens masked."""
    dtype, rtol = ELEMENTS[element]
    rng = np.random.default_rng(3)
    q, d = (rng.standard_normal(shape).astype(dtype) for shape in ((3, 37, 40), (5, tokens, 40)))
    q_mask, d_mask = (rng.integers(0, 4, x.shape[:2]).astype(bool).astype(np.int8) for x in (q, d))
    scores = np.full((3, 5), np.nan, np.float32)
    flags = _MASKS | (_NORMALISED if normalised else 0)
    (text,) = maxsim()
    size = "small" if together == 1 else "big"
    launch(
        device, text, f"maxsim_{element}_{size}",
        {0: q, 1: d, 2: q_mask, 3: d_mask, 4: scores,
         5: np.array([3, 5, 37, tokens, 40, flags], np.uint32)},
        threadgroups=(3, -(-5 // together), 1), threads=(1, 1, 32),
    )  # fmt: skip
    wide = [x.astype(np.float64) for x in (q, d)]
    if normalised:
        wide = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in wide]
    products = np.einsum("isk,jtk->ijst", *wide)
    best = np.where(d_mask[None, :, None, :] > 0, products, -np.inf).max(-1)
    wanted = (best * q_mask[:, None]).sum(-1)
    assert_close(scores, wanted, rtol, 4)


_WHY = (
    "between two tiles, or two documents, a lane reads others' flags and no barrier orders that "
    "before they are written again; the text trusts a simdgroup to run in lockstep, which the "
    "specification does not promise (6.9.1 has simdgroup_barrier for it)"
)


def cases() -> Iterator[Case]:
    """Both element types, both ways to share a query's matrices; one tile a document, and two."""
    one = functools.partial(_check, "half", 1, False, 29)
    yield Case("late-interaction", "maxsim_half_small", one)
    several = functools.partial(_check, "bfloat", 8, True, 29)
    yield Case("late-interaction", "maxsim_bfloat_big", several, Finding("race", _WHY))
    tiles = functools.partial(_check, "half", 1, False, 45)
    name = "maxsim_half_small, documents of 45 tokens"
    yield Case("late-interaction", name, tiles, Finding("race", _WHY, unsafe=True))
