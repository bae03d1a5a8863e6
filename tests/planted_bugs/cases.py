"""Checks of kernels on small shapes: those that tests run too, and the usual one of one input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attnproto
import numpy as np
from attnproto.kernels import flash, score_dispatch
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Rope, Variant
from attnproto.kernels.gqa import expand_heads
from attnproto.kernels.linear import linear_attention
from attnproto.kernels.rope import apply_rope
from attnproto.kernels.score_mod import shape_scores
from attnproto.kernels.text import TemplateArgument, instantiate
from support import attention_limits, linear
from support.attention import (
    TOLERANCE,
    assert_within_tolerance,
    attention_fp64,
    check_flash,
    check_fused,
    check_nan_reaches_its_rows,
    check_one_large_score,
    check_scores_far_below_zero,
    check_scores_of_ten_thousand,
    check_separate_scores,
    flash_in_nan_field,
    random_qkv,
    rotate_fp64,
    shape_scores_fp64,
    worst_ratio,
)
from support.paged import (
    Sequences,
    check_largest_score_in_the_last_partition,
    paged_attention_fp64,
)

Case = Callable[[attnproto.Device], None]


def usual(actual: np.ndarray, expected: np.ndarray) -> None:
    """The check of one input."""
    assert np.allclose(actual.astype(np.float64), expected, rtol=1e-3, atol=1e-3)


def tile(d: int = 64, dtype: str = "float32", br: int = 16, bc: int = 32, **axes) -> FlashTile:
    return FlashTile(br, bc, d, dtype, **axes)


def attention(nq, nkv, d=64, *, b=1, hq=1, hkv=1, dtype=np.float32, spread=1.0, **options) -> Case:
    """Flash attention of one shape against FP64."""
    axes = options.pop("axes", {})

    def case(device):
        tensors = random_qkv(dtype, nq, nkv, d, b=b, hq=hq, hkv=hkv, spread=spread)
        chosen = tile(d, np.dtype(dtype).name, **axes)
        check_flash(device, *tensors, tile=chosen, **options)

    return case


def one_attention(*, nkv=64, hq=2, hkv=2, dtype=np.float32, axes=(), **variant) -> Case:
    """The one-input check of attention: 64 queries, 64 keys."""

    def friendly(device):
        rng = np.random.default_rng(0)
        shapes = (1, hq, 64, 64), (1, hkv, nkv, 64), (1, hkv, nkv, 64)
        q, k, v = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
        chosen = tile(64, np.dtype(dtype).name, **dict(axes))
        output = flash.flash_attention(q, k, v, device=device, tile=chosen, **variant)
        usual(output, attention_fp64(q, k, v, Variant(**variant)))

    return friendly


def varied(nq, nkv, d=64, *, hq=2, hkv=1, axes=(), **variant) -> Case:
    """A fused variant of one shape against FP64."""

    def case(device):
        tensors = random_qkv(np.float32, nq, nkv, d, b=2, hq=hq, hkv=hkv)
        check_fused(device, *tensors, tile=tile(d, **dict(axes)), **variant)

    return case


def growing(rescale: str, step: float = 1.0) -> Case:
    """Keys that raise the maximum with every step, and then fall again."""

    def case(device):
        q = np.zeros((1, 1, 16, 64), np.float32)
        q[..., 0] = 1.0
        k = np.zeros((1, 1, 300, 64), np.float32)
        k[..., 0] = step * np.minimum(np.arange(300), 290 - np.arange(300) // 2)
        v = random_qkv(np.float32, 1, 300, 64)[2]
        check_flash(device, q, k, v, scale=1.0, tile=tile(rescale=rescale))

    return case


def exact_scores(device):
    check_scores_of_ten_thousand(device)


def nan_stays(place: str) -> Case:
    return lambda device: check_nan_reaches_its_rows(device, place)


def keyless_rows(device):
    q, k, v = random_qkv(np.float32, 75, 40, 64, hq=2)
    output = flash_in_nan_field(device, q, k, v, causal=True, tile=tile())
    assert (output[:, :, : 75 - 40] == 0.0).all()
    assert worst_ratio(output, attention_fp64(q, k, v, Variant(causal=True))) <= 1.0


def large_score(device):
    for place in (33, 36):
        check_one_large_score(device, place - 32)


def small_scores(device):
    check_scores_far_below_zero(device, 77)


def in_pieces(device):
    q, k, v = random_qkv(np.float32, 70, 70, 64, hq=2)
    budget, flash.DISPATCH_FLOPS = flash.DISPATCH_FLOPS, 1e6
    try:
        check_flash(device, q, k, v, causal=True, tile=tile())
    finally:
        flash.DISPATCH_FLOPS = budget


def paged(contexts, *, nq=1, page=16, d=64, hq=4, hkv=2, bc=32, **options) -> Case:
    def case(device):
        sequences = Sequences(contexts, nq=nq, page=page, d=d, hq=hq, hkv=hkv)
        chosen = tile(d, bc=bc)
        output = sequences.paged(device, tile=chosen, **options)
        sequences.check(output, causal=options.get("causal", True))
        twin = sequences.contiguous(device, tile=chosen, **options)
        np.testing.assert_array_equal(output, twin)

    return case


def late_maximum(device):
    check_largest_score_in_the_last_partition(device)


def one_paged(*, nq=1, partition=512, hq=2, hkv=2) -> Case:
    def friendly(device):
        sequences = Sequences([128], nq=nq, page=16, hq=hq, hkv=hkv)
        output = sequences.paged(device, tile=tile(), partition=partition)
        expected = paged_attention_fp64(sequences.q[0], sequences.k[0], sequences.v[0], 128)
        usual(output[0], expected)

    return friendly


def recurrent(n, d=64, *, decay="none", chunk=64, normalize=False, initial=False) -> Case:
    def case(device):
        q, k, v, logs = linear.random_inputs(n, d, decay=decay, positive=normalize)
        options = {"chunk": chunk, "normalize": normalize}
        if initial:
            rng = np.random.default_rng(1)
            options["initial_state"] = rng.standard_normal((2, 2, d, d)).astype(np.float32)
        linear.check_linear(device, q, k, v, logs, **options)

    return case


def forgetting(decay: str) -> Case:
    return lambda device: linear.check_decay_that_forgets_at_once(device, decay)


def one_recurrent(*, decay="none", normalize=False) -> Case:
    def friendly(device):
        q, k, v, logs = linear.random_inputs(64, 32, b=1, decay=decay, positive=normalize)
        output = linear_attention(q, k, v, decay=logs, chunk=64, normalize=normalize, device=device)
        usual(output, linear.recurrence_fp64(q, k, v, decay=logs, normalize=normalize)[0])

    return friendly


def rotated(n, d, *, interleaved, position=5) -> Case:
    def case(device):
        x = np.random.default_rng(n).standard_normal((2, 3, n, d)).astype(np.float32)
        rope = Rope(interleaved=interleaved, offset=100)
        rotated_x = apply_rope(x, rope, position=position, device=device)
        assert_within_tolerance(rotated_x, rotate_fp64(x, rope, position))

    return case


def one_rotated(interleaved: bool) -> Case:
    def friendly(device):
        x = np.random.default_rng(0).standard_normal((1, 1, 64, 64)).astype(np.float32)
        rope = Rope(interleaved=interleaved)
        usual(apply_rope(x, rope, device=device), rotate_fp64(x, rope))

    return friendly


def expanded(hkv, hq, dtype=np.float16, b=2, n=7, d=24) -> Case:
    def case(device):
        x = np.random.default_rng(0).standard_normal((b, hkv, n, d)).astype(dtype)
        repeated = expand_heads(x, hq, device=device)
        np.testing.assert_array_equal(repeated, np.repeat(x, hq // hkv, 1))

    return case


def scored(nkv, heads=3, nq=77, **variant) -> Case:
    return lambda device: check_separate_scores(device, Variant(**variant), nkv)


def one_scored(**variant) -> Case:
    def friendly(device):
        scores = np.random.default_rng(0).standard_normal((1, 4, 64, 64)).astype(np.float32)
        expected = shape_scores_fp64(scores.astype(np.float64), Variant(**variant))
        shaped = shape_scores(scores, Variant(**variant), device=device)
        usual(
            np.where(np.isneginf(expected), 0, shaped), np.where(np.isneginf(expected), 0, expected)
        )

    return friendly


def way(name: str, modification: str, nq=37, nkv=70, hq=2, hkv=1, close=(1e-5, 1e-4)) -> Case:
    """One modification of scores against FP64, by one way of choosing it."""

    def case(device):
        random = np.random.default_rng(6)
        shapes = ((1, hq, nq, 40), (1, hkv, nkv, 40), (1, hkv, nkv, 40))
        tensors = tuple(random.standard_normal(s).astype(np.float32) for s in shapes)
        chosen = score_dispatch.Modification(modification)
        ready = score_dispatch.prepare(
            device, flash.problem_of(*tensors), tile(40), name, chosen, contract=False
        )
        output = score_dispatch.run(device, ready, *tensors)[0]
        atol, rtol = close
        np.testing.assert_allclose(output, score_dispatch.reference(*tensors, chosen), rtol, atol)

    return case


def hidden(by: str, place: int) -> Case:
    """NaN and infinity behind a causal mask."""
    check = attention_limits.check_nan_behind_the_mask
    return lambda device: check(device, place, "f32", attention_limits.KERNELS[by])


def windowed_nan(device):
    attention_limits.check_nan_and_infinity_behind_the_mask(
        device, 77, 77, {"window": 20}, 64, dict(br=8, bc=32)
    )


def wide_window(device):
    for window in (2**31 - 1, 2**31):
        attention_limits.check_window_of_any_size(device, 4, 1, window)


def lowest_scores(device):
    for low in (-1e31, -float(np.finfo(np.float32).max)):
        attention_limits.check_lowest_scores(partial(attention_limits.by_flash, device), low)


def small_weights(device):
    kernel = partial(attention_limits.by_flash, device)
    attention_limits.check_many_small_weights(kernel, "f16", 17.5, 0)
    for rescale in ("grown", "threshold"):
        attention_limits.check_rescaling_keeps_small_weights(device, rescale)


def rounded_weights(device):
    attention_limits.check_sum_of_rounded_weights(device, "bf16")


def reset_gates(device):
    for size in (-1e3, -float(np.finfo(np.float32).max)):
        attention_limits.check_small_gates_beside_a_reset(device, "token", size, 256, 16)


def later_nan(device):
    for place in (5, 39):
        attention_limits.check_no_token_spoiled_by_a_later_one(device, "v", place, "none")


def products(n: int, d: int, columns: int, name: str = "float") -> Case:
    """The hand-written product of scores/ against FP64, beside a margin."""

    def case(device):
        labels = name, str(columns), str(n), str(d)
        source = instantiate(
            "scores/scores.metal", "scores", tuple(TemplateArgument(x, x) for x in labels)
        )
        dtype = {"float": np.float32, "half": np.float16}[name]
        rng = np.random.default_rng(n)
        q, k = (rng.standard_normal((n, d)).astype(dtype) for _ in range(2))
        q.flags.writeable = k.flags.writeable = False
        field = np.full(n * n + 64, np.nan, np.float32)
        device.run(
            device.library(source.text).pipeline(source.name),
            threadgroups=(n // columns, n // 8),
            threads=32,
            buffers={0: q, 1: k, 2: field},
        )
        assert np.isnan(field[n * n :]).all()
        expected = q.astype(np.float64) @ k.astype(np.float64).T
        atol, rtol = TOLERANCE[np.dtype(dtype).name]
        np.testing.assert_allclose(field[: n * n].reshape(n, n), expected, rtol, atol)

    return case
