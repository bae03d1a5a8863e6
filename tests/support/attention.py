"""Attention in FP64 and its inputs, and the checks of flash attention and its variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attnproto
import ml_dtypes
import numpy as np
from attnproto.kernels import flash
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Rope, Variant, alibi_slopes
from attnproto.kernels.score_mod import shape_scores

TYPES = {"f16": np.float16, "f32": np.float32, "bf16": ml_dtypes.bfloat16}
# (atol, rtol). A bfloat16 weight and a bfloat16 output are each off by up to 2^-9 of themselves;
# with values to about 4 that is 8e-3 before any sum, and 2e-2 leaves room for the worst of 10^4.
TOLERANCE = {"float16": (5e-3, 1e-2), "float32": (1e-5, 1e-4), "bfloat16": (2e-2, 2e-2)}
_FRONT, _BACK = 64, 512  # elements around an output that must stay NaN


def random_qkv(
    dtype: type,
    nq: int,
    nkv: int,
    d: int,
    *,
    b: int = 1,
    hq: int = 1,
    hkv: int = 1,
    seed: int = 0,
    spread: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal q [B, Hq, Nq, D], k and v [B, Hkv, Nkv, D]; ``spread`` multiplies q."""
    rng = np.random.default_rng(seed)
    shapes = [(b, hq, nq, d), (b, hkv, nkv, d), (b, hkv, nkv, d)]
    q, k, v = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return (q * dtype(spread)).astype(dtype), k, v


def rotate_fp64(x: np.ndarray, rope: Rope, position: int = 0) -> np.ndarray:
    """Rotate [..., N, D] by complex numbers: another road than the kernel's."""
    d = x.shape[-1]
    x = x.astype(np.float64)
    pairs = x[..., 0::2] + 1j * x[..., 1::2]
    if not rope.interleaved:
        pairs = x[..., : d // 2] + 1j * x[..., d // 2 :]
    places = np.arange(x.shape[-2]) + position + rope.offset
    pairs = pairs * np.exp(1j * places[:, None] * rope.theta ** (-2.0 * np.arange(d // 2) / d))
    if not rope.interleaved:
        return np.concatenate([pairs.real, pairs.imag], axis=-1)
    return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape)


def shape_scores_fp64(scores: np.ndarray, variant: Variant) -> np.ndarray:
    """Cap, bias and masks of scores [..., H, Nq, Nkv], as sentences of the definition."""
    heads, nq, nkv = scores.shape[-3:]
    place = np.arange(nq)[:, None] + nkv - nq
    key = np.arange(nkv)[None, :]
    if variant.softcap is not None:
        scores = variant.softcap * np.tanh(scores / variant.softcap)
    if variant.alibi:
        scores = scores + alibi_slopes(heads)[:, None, None] * (key - place)
    if variant.causal:
        scores = np.where(key <= place, scores, -np.inf)
    if variant.window is not None:
        scores = np.where(key > place - variant.window, scores, -np.inf)
    return scores


def attention_fp64(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    variant: Variant | None = None,
    *,
    scale: float | None = None,
) -> np.ndarray:
    """softmax(scale Q K^T + mask) V of [..., H, N, D]; a row that sees no key is 0."""
    variant = variant or Variant()
    group = q.shape[-3] // k.shape[-3]
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    if variant.rope is not None:
        q = rotate_fp64(q, variant.rope, k.shape[-2] - q.shape[-2])
        k = rotate_fp64(k, variant.rope)
    k, v = np.repeat(k, group, axis=-3), np.repeat(v, group, axis=-3)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = shape_scores_fp64(q @ k.swapaxes(-1, -2) * scale, variant)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isneginf(largest), 0.0, largest))
    total = weights.sum(axis=-1, keepdims=True)
    return weights @ v / np.where(total == 0.0, 1.0, total)


def worst_ratio(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest error over its tolerance: at most 1 passes; a NaN gives NaN, which does not."""
    atol, rtol = TOLERANCE[actual.dtype.name]
    error = np.abs(actual.astype(np.float64) - expected)
    return float((error / (atol + rtol * np.abs(expected))).max())


def assert_within_tolerance(
    actual: np.ndarray,
    expected: np.ndarray,
    tolerances: Mapping[str, tuple[float, float]] = TOLERANCE,
) -> None:
    """By the (atol, rtol) of found's type; NaN where NaN is expected."""
    atol, rtol = tolerances[actual.dtype.name]
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol, atol)


def assert_kernels_agree(
    device: attnproto.Device,
    one: np.ndarray,
    other: np.ndarray,
    answer: Callable[[str, object], None],
) -> None:
    """Two kernels of the same float32 arithmetic agree, to the bit where our compiler is the last.

    A GPU's own compiler may fuse products and sums in one kernel and not in the other: whether it
    did is an answer, which is recorded, and what is asserted is that nothing else differs.
    """
    answer("same_bits", one.tobytes() == other.tobytes())
    if device.tier == "emulated":
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, other, rtol=0, atol=5e-6)


def flash_in_nan_field(
    device: attnproto.Device,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    scale: float | None = None,
    tile: FlashTile | None = None,
    **variant,
) -> np.ndarray:
    """Launch into the middle of a field of NaN and check that nothing around it was touched."""
    field = np.full(_FRONT + q.size + _BACK, np.nan, q.dtype)
    chosen = Variant(**variant)
    flash.launch(q, k, v, field[_FRONT:], device=device, scale=scale, tile=tile, variant=chosen)
    around = np.concatenate([field[:_FRONT], field[_FRONT + q.size :]])
    assert np.isnan(around.astype(np.float32)).all(), "written outside the output"
    return field[_FRONT : _FRONT + q.size].reshape(q.shape)


def check_flash(
    device: attnproto.Device,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    causal: bool = False,
    scale: float | None = None,
    tile: FlashTile | None = None,
) -> None:
    """Flash attention agrees with FP64 and writes its output alone."""
    output = flash_in_nan_field(device, q, k, v, causal=causal, scale=scale, tile=tile)
    expected = attention_fp64(q, k, v, Variant(causal=causal), scale=scale)
    assert worst_ratio(output, expected) <= 1.0


def check_fused(
    device: attnproto.Device,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    tile: FlashTile | None = None,
    **switches,
) -> None:
    """A variant fused into flash attention agrees with FP64."""
    output = flash.flash_attention(q, k, v, device=device, tile=tile, **switches)
    assert_within_tolerance(output, attention_fp64(q, k, v, Variant(**switches)))


def check_scores_of_ten_thousand(device: attnproto.Device) -> None:
    """Scores of 10^4 keep their digits."""
    # Multiples of 1/64 about 10^4: every product and FP32 sum is exact, so only the softmax errs.
    # Scaling before the subtraction would lose 1e-3 of an exponent, ten times the tolerance.
    rng = np.random.default_rng(3)
    q = (rng.integers(-4, 5, (1, 1, 32, 64)) / 8).astype(np.float32)
    k = (rng.integers(-4, 5, (1, 1, 200, 64)) / 8).astype(np.float32)
    q[..., 0], k[..., 0] = 1.0, 1e4
    _, _, v = random_qkv(np.float32, 1, 200, 64)
    check_flash(device, q, k, v, scale=1.0)


def check_one_large_score(device: attnproto.Device, place: int) -> None:
    """The key 32 + ``place`` outweighs the others of its step."""
    # 300 above the others: taken for no maximum, its exponential is infinite.
    q, k = np.zeros((1, 1, 16, 64), np.float32), np.zeros((1, 1, 64, 64), np.float32)
    q[..., 0] = 1.0
    k[..., 32 + place, 0] = 300.0
    v = random_qkv(np.float32, 1, 64, 64)[2]
    check_flash(device, q, k, v, scale=1.0, tile=FlashTile(16, 32, 64, "float32"))


def check_scores_far_below_zero(device: attnproto.Device, nkv: int) -> None:
    """Scores near -400 are weighed against each other."""
    # The exponential of any of them alone is zero. Multiples of 1/64, so that sums are exact.
    rng = np.random.default_rng(4)
    q = (rng.integers(-4, 5, (1, 1, 16, 64)) / 8).astype(np.float32)
    k = (rng.integers(-4, 5, (1, 1, nkv, 64)) / 8).astype(np.float32)
    q[..., 0], k[..., 0] = 1.0, -400.0
    v = random_qkv(np.float32, 1, nkv, 64)[2]
    check_flash(device, q, k, v, scale=1.0, tile=FlashTile(16, 32, 64, "float32"))


def check_nan_reaches_its_rows(device: attnproto.Device, place: str) -> None:
    """A NaN in "q", "k" or "v" makes NaN what FP64 makes NaN, and nothing else."""
    q, k, v = random_qkv(np.float32, 40, 100, 64, hq=2, hkv=2)
    spoiled = {"q": q, "k": k, "v": v}[place]
    spoiled[0, 1, 7, 3] = np.nan
    output = flash_in_nan_field(device, q, k, v)
    expected = attention_fp64(q, k, v)
    assert np.isnan(expected).any()
    assert (np.isnan(output) == np.isnan(expected)).all()


def check_separate_scores(device: attnproto.Device, variant: Variant, nkv: int) -> None:
    """The kernel that shapes stored scores agrees with FP64, and masks the same ones."""
    scores = np.random.default_rng(nkv).standard_normal((2, 3, 77, nkv)).astype(np.float32) * 4
    expected = shape_scores_fp64(scores.astype(np.float64), variant)
    shaped = shape_scores(scores, variant, device=device)
    seen = ~np.isneginf(expected)
    np.testing.assert_array_equal(shaped[~seen], -np.inf)
    np.testing.assert_allclose(shaped[seen], expected[seen], rtol=1e-5, atol=1e-5)
