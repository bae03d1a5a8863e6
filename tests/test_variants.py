"""RoPE, ALiBi, caps, windows and grouped heads: alone, fused, and all at once."""

from types import SimpleNamespace

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto.errors import UnsupportedProblem
from attnproto.kernels.flash import flash_attention
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Rope, Variant, alibi_slopes
from attnproto.kernels.gqa import expand_heads
from attnproto.kernels.rope import apply_rope
from attnproto.kernels.score_mod import shape_scores
from support.attention import (
    assert_kernels_agree,
    assert_within_tolerance,
    check_fused,
    check_separate_scores,
    random_qkv,
    rotate_fp64,
)


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


FUSED = {
    "rope interleaved": dict(rope=Rope()),
    "rope half-split": dict(rope=Rope(interleaved=False), causal=True),
    "rope with offset and theta": dict(rope=Rope(theta=500.0, offset=70000)),
    "half-split rope with offset and theta": dict(
        rope=Rope(theta=1e6, interleaved=False, offset=3000), causal=True
    ),
    "alibi": dict(alibi=True),
    "alibi causal": dict(alibi=True, causal=True),
    "softcap": dict(softcap=1.5),
    "window of 1": dict(window=1, causal=True),
    "window of 40": dict(window=40, causal=True),
    "window of 1000": dict(window=1000, causal=True),
    "all at once": dict(
        causal=True, window=50, softcap=3.0, alibi=True, rope=Rope(interleaved=False)
    ),
}


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize(
    ("nq", "nkv"), [(77, 131), (131, 77), (1, 100)], ids=["short", "long", "decode"]
)
def test_a_fused_variant_agrees_with_fp64(device, name, nq, nkv):
    check_fused(device, *random_qkv(np.float32, nq, nkv, 64, b=2, hq=6, hkv=2), **FUSED[name])


@pytest.mark.parametrize(
    "axes",
    [
        dict(keys="matrix"),
        dict(keys="staged16"),
        dict(query="registers"),
        dict(query="device", rows=16),
        dict(rescale="threshold"),
    ],
    ids=lambda axes: "-".join(map(str, axes.values())),
)
@pytest.mark.parametrize("interleaved", [True, False], ids=["interleaved", "half-split"])
def test_all_variants_at_once_agree_on_every_axis(device, axes, interleaved):
    switches = FUSED["all at once"] | dict(rope=Rope(interleaved=interleaved))
    tile = FlashTile(32, 64, 72, "float32", **axes)
    check_fused(device, *random_qkv(np.float32, 77, 131, 72, b=2, hq=2), tile=tile, **switches)


@pytest.mark.parametrize("d", [8, 40, 96])
@pytest.mark.parametrize("interleaved", [True, False], ids=["interleaved", "half-split"])
def test_fused_rope_covers_dimensions_that_are_not_whole_groups(device, d, interleaved):
    check_fused(
        device, *random_qkv(np.float32, 20, 77, d, b=2, hq=2), rope=Rope(interleaved=interleaved)
    )


def test_all_variants_at_once_agree_in_half(device):
    q, k, v = random_qkv(np.float16, 77, 131, 128, b=2, hq=4)
    check_fused(device, q, k, v, **FUSED["all at once"])


def test_fused_and_separate_rope_agree(device, record_property):
    q, k, v = random_qkv(np.float32, 77, 131, 64, b=2, hq=2)
    rope = Rope(interleaved=False)
    separate = flash_attention(
        apply_rope(q, rope, position=131 - 77, device=device),
        apply_rope(k, rope, device=device),
        v,
        device=device,
    )
    fused = flash_attention(q, k, v, rope=rope, device=device)
    assert_kernels_agree(device, separate, fused, record_property)


def test_kernels_may_differ_by_rounding_where_another_compiler_is_the_last():
    one = np.linspace(0.5, 1, 64, dtype=np.float32)
    other, further = np.nextafter(one, np.float32(2)), one + np.float32(1e-5)
    said = {}
    m4, cpu = SimpleNamespace(tier="measured"), SimpleNamespace(tier="emulated")
    assert_kernels_agree(m4, one, other, said.__setitem__)
    assert said == {"same_bits": False}
    assert_kernels_agree(cpu, one, one.copy(), said.__setitem__)
    assert said == {"same_bits": True}
    for device, unlike in ((m4, further), (cpu, other)):
        with pytest.raises(AssertionError, match=r"(?i)not (almost )?equal"):
            assert_kernels_agree(device, one, unlike, said.__setitem__)


def test_grouped_and_expanded_heads_agree_to_the_bit(device):
    q, k, v = random_qkv(np.float32, 77, 131, 64, b=2, hq=6, hkv=2)
    wide = [expand_heads(x, 6, device=device) for x in (k, v)]
    np.testing.assert_array_equal(
        flash_attention(q, k, v, device=device), flash_attention(q, *wide, device=device)
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("hkv", "hq"), [(1, 1), (1, 5), (3, 6)])
def test_expanded_heads_are_copies(device, hkv, hq, dtype):
    x = np.random.default_rng(0).standard_normal((2, hkv, 7, 24)).astype(dtype)
    np.testing.assert_array_equal(expand_heads(x, hq, device=device), np.repeat(x, hq // hkv, 1))


@pytest.mark.parametrize("interleaved", [True, False], ids=["interleaved", "half-split"])
@pytest.mark.parametrize("n", [1, 63, 100])
def test_separate_rope_agrees_with_fp64(device, n, interleaved):
    x = np.random.default_rng(n).standard_normal((2, 3, n, 40)).astype(np.float32)
    rope = Rope(interleaved=interleaved, offset=100000)
    rotated = apply_rope(x, rope, position=5, device=device)
    assert_within_tolerance(rotated, rotate_fp64(x, rope, 5))


def test_rope_leaves_lengths_and_depends_on_distance_only(device):
    rng = np.random.default_rng(1)
    x = np.repeat(rng.standard_normal((1, 1, 1, 64)), 50, axis=2).astype(np.float32)
    y = apply_rope(x, device=device).astype(np.float64)[0, 0]
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x[0, 0, 0]), rtol=1e-6)
    products = y @ y.T
    np.testing.assert_allclose(products[3, 13], products[30, 40], rtol=1e-5)


# 2^(-8/8 h) for eight heads by hand; for six, those of four (2^-2, 2^-4, 2^-6, 2^-8) and then the
# first and third of eight (2^-1, 2^-3).
@pytest.mark.parametrize(
    ("heads", "powers"), [(1, [8]), (8, [1, 2, 3, 4, 5, 6, 7, 8]), (6, [2, 4, 6, 8, 1, 3])]
)
def test_alibi_slopes_are_those_of_the_paper(heads, powers):
    np.testing.assert_array_equal(alibi_slopes(heads), [2.0**-p for p in powers])


@pytest.mark.parametrize("heads", [1, 6, 8, 12])
def test_the_kernel_computes_the_same_slopes(device, heads):
    scores = np.zeros((1, heads, 1, 3), np.float32)
    bias = shape_scores(scores, Variant(alibi=True), device=device)[0, :, 0]
    np.testing.assert_allclose(bias, alibi_slopes(heads)[:, None] * [-2.0, -1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("nkv", [1, 2, 131, 300])
@pytest.mark.parametrize(
    "variant",
    [
        Variant(causal=True),
        Variant(softcap=2.0),
        Variant(causal=True, window=20, softcap=2.0, alibi=True),
    ],
    ids=["causal", "softcap", "all"],
)
def test_separate_scores_agree_with_fp64(device, variant, nkv):
    check_separate_scores(device, variant, nkv)


REFUSED = {
    "a window without causal": lambda: Variant(window=5),
    "a window of 0": lambda: Variant(causal=True, window=0),
    "half a window": lambda: Variant(causal=True, window=2.5),
    "a cap of 0": lambda: Variant(softcap=0.0),
    "a cap of NaN": lambda: Variant(softcap=float("nan")),
    "a cap that is text": lambda: Variant(softcap="a"),
    "a cap that no float holds": lambda: Variant(softcap=10**400),
    "theta as text": lambda: Rope(theta="10000"),
    "theta that no float holds": lambda: Rope(theta=10**400),
    "causal as text": lambda: Variant(causal="no"),
    "alibi as a number": lambda: Variant(alibi=2),
    "a rope that is none": lambda: Variant(rope=10000.0),
    "theta 1": lambda: Rope(theta=1.0),
    "an infinite theta": lambda: Rope(theta=float("inf")),
    "a negative offset": lambda: Rope(offset=-1),
    "rope of rank 3": lambda: apply_rope(np.ones((2, 3, 8), np.float32), device="cpu"),
    "rope of D=12": lambda: apply_rope(np.ones((1, 1, 3, 12), np.float32), device="cpu"),
    "rope of integers": lambda: apply_rope(np.ones((1, 1, 3, 8), np.int32), device="cpu"),
    "rope of nothing": lambda: apply_rope(np.ones((1, 1, 0, 8), np.float32), device="cpu"),
    "scores of rank 2": lambda: shape_scores(np.ones((2, 3)), Variant(), device="cpu"),
    "scores in float64": lambda: shape_scores(np.ones((1, 1, 2, 3)), Variant(), device="cpu"),
    "five heads of two": lambda: expand_heads(np.ones((1, 2, 4, 8)), 5, device="cpu"),
    "heads of 12 bytes": lambda: expand_heads(np.ones((1, 1, 1, 3), np.float32), 2, device="cpu"),
    "heads of rank 3": lambda: expand_heads(np.ones((1, 4, 8), np.float32), 2, device="cpu"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [np.float16(30), np.array(30.0), 30, np.int8(30)])
def test_a_number_of_any_kind_is_taken(number):
    variant = Variant(softcap=number, rope=Rope(theta=number))
    assert {variant} == {Variant(softcap=30.0, rope=Rope(theta=30.0))}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_kernel_covers_is_refused_in_one_sentence(name):
    with pytest.raises(UnsupportedProblem, match=r"^\[\w+\.\w+\] found .*, needs .*; .*") as caught:
        REFUSED[name]()
    assert "\n" not in str(caught.value)
