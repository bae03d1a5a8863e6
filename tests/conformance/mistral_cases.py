"""mistral.rs' paged kernels against FP64: contexts that end within a page, pages in any order."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import attnproto
import numpy as np
from scipy import special

from . import texts
from .case import ELEMENTS, Case, Finding, assert_close, launch
from .texts import Text

_OFF = {"use_partitioning": False, "use_alibi": False, "use_fp8_scales": False, "use_sinks": False}
_COPIES_BEYOND = Finding(
    "out-of-bounds",
    "each thread takes its place in the grid for the number of a pair of blocks, where its "
    "threadgroup's is meant; the mapping has one pair a threadgroup, so that it is read beyond",
    unsafe=True,
)


@functools.cache
def _texts() -> dict[str, Text]:
    return {one.name: one for one in texts.mistral()}


def _attention(element: str, width: int, page: int, device: attnproto.Device) -> None:
    """4 heads on 2; contexts of 37 and 50 keys, their pages dealt at random."""
    dtype, rtol = ELEMENTS[element]
    rng = np.random.default_rng(5)
    heads, kv_heads, lengths = 4, 2, (37, 50)
    pages = -(-max(lengths) // page)
    order = rng.permutation(2 * pages).reshape(2, pages).astype(np.uint32)
    q = rng.standard_normal((2, heads, width)).astype(dtype)
    k, v = (rng.standard_normal((2, pages * page, kv_heads, width)).astype(dtype) for _ in "kv")
    part = 16 // q.itemsize
    k_cache = np.full((2 * pages, kv_heads, width // part, page, part), np.nan, dtype)
    v_cache = np.full((2 * pages, kv_heads, width, page), np.nan, dtype)
    for i in range(2):
        for j in range(pages):
            keys, values = (x[i, j * page : (j + 1) * page] for x in (k, v))
            parts = keys.reshape(page, kv_heads, width // part, part)
            k_cache[order[i, j]] = parts.transpose(1, 2, 0, 3)
            v_cache[order[i, j]] = values.transpose(1, 2, 0)
    out = np.full_like(q, np.nan)
    name = {"bfloat": "bfloat16_t"}.get(element, element)
    launch(
        device, _texts()["pagedattention.metal"],
        f"paged_attention_{name}_cache_{name}_hs{width}_bs{page}_nt256_nsl32_ps0",
        {
            2: out, 3: q, 4: k_cache, 5: v_cache, 8: np.int32(kv_heads),
            9: np.float32(width**-0.5), 10: np.float32(1), 11: order,
            12: np.array(lengths, np.uint32), 13: np.int32(pages), 15: np.int32(heads * width),
            16: np.int32(k_cache[0].size), 17: np.int32(k_cache[0, 0].size),
        },
        threadgroups=(heads, 2, 1), threads=(256, 1, 1), constants=_OFF,
        threadgroup_bytes={0: max(pages * page, 4 * width) * 4},
    )  # fmt: skip
    for i, n in enumerate(lengths):
        for head in range(heads):
            keys, values = (x[i, :n, head // 2].astype(np.float64) for x in (k, v))
            weights = special.softmax(keys @ q[i, head].astype(np.float64) / np.sqrt(width))
            assert_close(out[i, head], weights @ values, rtol)


def _reshape_and_cache(element: str, device: attnproto.Device) -> None:
    """Tokens go to slots of pages, one of them nowhere; no number changes."""
    dtype = ELEMENTS[element][0]
    tokens, heads, width, page, part = 5, 3, 40, 8, 8
    rng = np.random.default_rng(6)
    key, value = (rng.standard_normal((tokens, heads, width)).astype(dtype) for _ in "kv")
    slots = np.array([17, 3, -1, 8, 23])
    k_cache = np.zeros((3, heads, width // part, page, part), dtype)
    v_cache = np.zeros((3, heads, width, page), dtype)
    row = np.int32(heads * width)
    launch(
        device, _texts()["reshape_and_cache.metal"],
        f"reshape_and_cache_kv_{element}_cache_{element}",
        {
            0: key, 1: value, 2: k_cache, 3: v_cache, 4: slots, 7: row, 8: row,
            9: np.int32(heads), 10: np.int32(width), 11: np.int32(page), 12: np.int32(part),
        },
        threadgroups=tokens, threads=96, constants={"use_fp8_scales": False},
    )  # fmt: skip
    wanted_k, wanted_v = np.zeros_like(k_cache), np.zeros_like(v_cache)
    for token, slot in enumerate(slots):
        if slot >= 0:
            at = slot // page, slot % page
            wanted_k[at[0], :, :, at[1]] = key[token].reshape(heads, width // part, part)
            wanted_v[at[0], :, :, at[1]] = value[token]
    np.testing.assert_array_equal(k_cache, wanted_k)
    np.testing.assert_array_equal(v_cache, wanted_v)


def _scales(device: attnproto.Device) -> None:
    """The largest of 2011 numbers, by an atomic maximum among two threadgroups."""
    k, v = (np.random.default_rng(seed).standard_normal(2011).astype(np.float32) for seed in (7, 8))
    scales = np.zeros((2, 1), np.float32)
    launch(
        device, _texts()["kv_scale_update.metal"], "kv_scale_update_float",
        {0: k, 1: v, 2: scales[0], 3: scales[1], 4: np.int64(k.size)},
        threadgroups=2, threads=512, threadgroup_bytes={0: 2048, 1: 2048},
    )  # fmt: skip
    assert_close(scales[:, 0], np.array([np.abs(k).max(), np.abs(v).max()]) / 240, 1e-6)


def _copy_blocks(device: attnproto.Device) -> None:
    """Block 2 becomes 0, with a threadgroup for the pair as mistral.rs' host dispatches it."""
    key, value = (np.random.default_rng(seed).random((3, 40)).astype(np.float32) for seed in (1, 2))
    wanted = key[2].copy()
    launch(
        device, _texts()["copy_blocks.metal"], "copy_blocks_float",
        {0: key, 1: value, 2: np.array([[2, 0]]), 3: np.int32(40), 4: np.int32(40)},
        threadgroups=1, threads=40,
    )  # fmt: skip
    np.testing.assert_array_equal(key[0], wanted)


def cases() -> Iterator[Case]:
    """Every kernel that is compared."""
    for element, width, page in (("float", 64, 16), ("half", 96, 8), ("bfloat", 64, 32)):
        check = functools.partial(_attention, element, width, page)
        yield Case("mistral.rs", f"paged_attention_{element}_hs{width}_bs{page}", check)
    for element in ("float", "half"):
        check = functools.partial(_reshape_and_cache, element)
        yield Case("mistral.rs", f"reshape_and_cache_{element}", check)
    yield Case("mistral.rs", "kv_scale_update_float", _scales)
    yield Case("mistral.rs", "copy_blocks_float", _copy_blocks, _COPIES_BEYOND)
