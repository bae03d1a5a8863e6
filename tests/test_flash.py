import re
from itertools import product

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto.device.pipelines import pipeline
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import flash
from attnproto.kernels.flash import flash_attention, launch
from attnproto.kernels.flash_tile import FlashTile, default_tile
from attnproto.kernels.flash_variant import Variant
from attnproto.kernels.text import metal_root
from support.attention import (
    TYPES,
    attention_fp64,
    check_flash,
    check_nan_reaches_its_rows,
    check_one_large_score,
    check_scores_far_below_zero,
    check_scores_of_ten_thousand,
    flash_in_nan_field,
    random_qkv,
    worst_ratio,
)


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


def short(dtype):
    return next(name for name, kind in TYPES.items() if np.dtype(kind) == np.dtype(dtype))


SIZES = [(1, 1), (1, 1000), (63, 63), (100, 100), (63, 100), (1000, 1000), (1024, 1024)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32], ids=short)
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize(("nq", "nkv"), SIZES, ids=[f"Nq{a}-Nkv{b}" for a, b in SIZES])
def test_every_length_agrees_with_fp64(device, nq, nkv, causal, dtype):
    tile = FlashTile(32, 64, 64, np.dtype(dtype).name)
    check_flash(device, *random_qkv(dtype, nq, nkv, 64), causal=causal, tile=tile)


GEOMETRIES = list(product((16, 32, 64), (64, 80, 128), (64, 128, 256)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32], ids=short)
@pytest.mark.parametrize(
    ("br", "bc", "d"), GEOMETRIES, ids=[f"Br{a}-Bc{b}-D{c}" for a, b, c in GEOMETRIES]
)
def test_every_geometry_agrees_with_fp64(device, br, bc, d, dtype):
    tile = FlashTile(br, bc, d, np.dtype(dtype).name)
    assert tile.threadgroup_bytes <= 32768
    # Ragged on both sides, grouped heads, and a diagonal that no tile is aligned with.
    q, k, v = random_qkv(dtype, 77, 131, d, hq=2, hkv=1, seed=br + bc + d)
    check_flash(device, q, k, v, causal=True, tile=tile)


@pytest.mark.parametrize("d", [64, 128, 256])
def test_a_full_mask_at_each_head_dimension_agrees_with_fp64(device, d):
    check_flash(device, *random_qkv(np.float32, 40, 131, d), tile=FlashTile(16, 64, d, "float32"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32], ids=short)
@pytest.mark.parametrize("d", [8, 40, 72, 80, 96, 192])
def test_head_dimensions_that_are_not_whole_groups_agree_with_fp64(device, d, dtype):
    check_flash(device, *random_qkv(dtype, 19, 77, d, hq=2), causal=True)


AXES = [
    {"rows": 16},
    {"rows": 16, "query": "registers"},
    {"keys": "matrix"},
    {"keys": "matrix", "query": "registers"},
    {"keys": "staged8"},
    {"keys": "staged32"},
    {"keys": "staged16", "rows": 16, "query": "device"},
    {"keys": "ahead16"},
    {"keys": "ahead64", "rows": 16, "query": "registers"},
    {"query": "registers"},
    {"query": "device"},
    {"rescale": "always"},
    {"rescale": "threshold"},
    {"rescale": "threshold", "rows": 16},
]


@pytest.mark.parametrize("axes", AXES, ids=["-".join(map(str, a.values())) for a in AXES])
@pytest.mark.parametrize("d", [64, 72])
def test_every_axis_agrees_with_fp64(device, axes, d):
    q, k, v = random_qkv(np.float32, 77, 131, d, hq=2, seed=5)
    check_flash(device, q, k, v, causal=True, tile=FlashTile(32, 64, d, "float32", **axes))


@pytest.mark.parametrize("hkv", [1, 2, 6])
def test_query_heads_read_the_kv_head_of_their_group(device, hkv):
    check_flash(device, *random_qkv(np.float16, 33, 70, 64, b=3, hq=6, hkv=hkv))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_bfloat16_agrees_with_fp64(device, causal):
    q, k, v = random_qkv(ml_dtypes.bfloat16, 77, 131, 128, hq=4, hkv=2)
    check_flash(device, q, k, v, causal=causal)


def test_a_scale_of_the_caller_is_used(device):
    check_flash(device, *random_qkv(np.float32, 20, 70, 64), scale=0.5)


def test_scores_of_ten_thousand_keep_their_digits(device):
    check_scores_of_ten_thousand(device)


@pytest.mark.parametrize("rescale", ["always", "grown", "threshold"])
def test_scores_of_ten_thousand_stay_finite_in_half(device, rescale):
    q, k, v = random_qkv(np.float16, 40, 100, 64)
    q[...], k[...] = q * np.float16(40.0), k * np.float16(40.0)
    output = flash_in_nan_field(
        device, q, k, v, scale=1.0, tile=FlashTile(16, 64, 64, "float16", rescale=rescale)
    )
    assert np.isfinite(output.astype(np.float32)).all()


def test_a_maximum_that_grows_with_every_step_is_followed(device):
    # Keys ever closer to the query: each step of 64 raises the maximum by about 64.
    q = np.zeros((1, 1, 16, 64), np.float32)
    q[..., 0] = 1.0
    k = np.zeros((1, 1, 300, 64), np.float32)
    k[..., 0] = np.arange(300)
    _, _, v = random_qkv(np.float32, 1, 300, 64)
    for rescale in ("always", "grown", "threshold"):
        tile = FlashTile(16, 64, 64, "float32", rescale=rescale)
        check_flash(device, q, k, v, scale=1.0, tile=tile)


@pytest.mark.parametrize("place", range(0, 9))
def test_one_large_score_anywhere_in_a_step_is_the_maximum(device, place):
    check_one_large_score(device, place)


@pytest.mark.parametrize("nkv", [64, 77])
def test_scores_far_below_zero_are_weighed_against_each_other(device, nkv):
    check_scores_far_below_zero(device, nkv)


@pytest.mark.parametrize("keys", ["lane", "matrix", "staged16", "ahead16"])
def test_rows_that_see_no_key_are_zero(device, keys):
    q, k, v = random_qkv(np.float32, 131, 77, 64, hq=2)
    tile = FlashTile(32, 64, 64, "float32", keys=keys)
    output = flash_in_nan_field(device, q, k, v, causal=True, tile=tile)
    assert (output[:, :, : 131 - 77] == 0.0).all()
    assert worst_ratio(output, attention_fp64(q, k, v, Variant(causal=True))) <= 1.0


@pytest.mark.parametrize("place", ["q", "k", "v"])
def test_nan_reaches_the_rows_it_should_and_no_other(device, place):
    check_nan_reaches_its_rows(device, place)


def test_tensors_that_are_not_contiguous_are_copied(device):
    q, k, v = (np.asfortranarray(x) for x in random_qkv(np.float32, 20, 70, 64, hq=2))
    expected = attention_fp64(q, k, v)
    assert worst_ratio(flash_attention(q, k, v, device=device), expected) <= 1.0


def test_inputs_are_left_unchanged(device):
    q, k, v = random_qkv(np.float32, 20, 70, 64)
    before = [x.copy() for x in (q, k, v)]
    flash_attention(q, k, v, device=device)
    assert all((x == y).all() for x, y in zip((q, k, v), before, strict=True))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("budget", [1e6, 4e6])
def test_long_work_goes_out_in_pieces_that_change_no_bit(device, causal, budget, monkeypatch):
    q, k, v = random_qkv(np.float32, 131, 131, 64, b=2, hq=2, hkv=1)
    options = {"causal": causal, "tile": FlashTile(16, 64, 64, "float32")}
    undivided = flash_in_nan_field(device, q, k, v, **options)
    monkeypatch.setattr(flash, "DISPATCH_FLOPS", budget)
    problem = flash.problem_of(q, k, v)
    pieces = flash.in_pieces(flash.plan(problem, options["tile"]), problem)
    # 4 x 2 x 2 x 131 x 131 x 64 = 17.6 MFLOP over 9 tiles is 1.95 a tile.
    assert [p.threadgroups[0] for p in pieces] == ([1] * 9 if budget < 4e6 else [2, 2, 2, 2, 1])
    np.testing.assert_array_equal(flash_in_nan_field(device, q, k, v, **options), undivided)


def test_no_dispatch_is_estimated_above_its_budget():
    problem = flash.FlashProblem(1, 32, 8, 65536, 65536, 64, "float16", 0.125)
    pieces = flash.in_pieces(flash.plan(problem), problem)
    tiles = [p.threadgroups[0] for p in pieces]
    assert sum(tiles) == 65536 // 32
    # 4 x 32 heads x 65536^2 x 64: 35.2 TFLOP over 0.4 each is 88 dispatches of 23 tiles, or more.
    assert max(tiles) == 23
    assert len(pieces) == 90


def test_launch_returns_a_timing(device):
    q, k, v = random_qkv(np.float32, 20, 70, 64)
    assert launch(q, k, v, np.empty_like(q), device=device).gpu_us >= 0.0


def test_threadgroup_bytes_are_what_the_pipeline_declares(device):
    tiles = [
        FlashTile(32, 64, 64, "float32"),
        FlashTile(32, 64, 64, "float32", keys="staged32"),
        FlashTile(32, 64, 64, "float32", keys="ahead32"),
        FlashTile(32, 64, 64, "float32", query="registers"),
    ]
    for tile in tiles:
        problem = flash.FlashProblem(1, 1, 1, 32, 64, 64, tile.dtype, 0.125)
        todo = flash.plan(problem, tile)
        compiled = pipeline(device, todo.source, todo.constants)
        # Without a tile the kernel declares one vector, which a compiler may drop.
        declared = compiled.static_threadgroup_bytes if tile.threadgroup_bytes else 0
        assert declared == tile.threadgroup_bytes
        assert compiled.static_threadgroup_bytes <= max(tile.threadgroup_bytes, 16)


def test_params_are_packed_as_the_kernel_declares_them():
    text = (metal_root() / "flash" / "params.h").read_text()
    body = re.search(r"struct FlashParams \{(.*?)\};", text, re.DOTALL)[1]
    fields = re.findall(r"^\s*(int|float) \w+;", body, re.MULTILINE)
    order = "".join({"int": "i", "float": "f"}[kind] for kind in fields)
    spelled = re.sub(r"(\d+)(\w)", lambda m: m[2] * int(m[1]), flash._PARAMS.format[1:])
    assert order == spelled
    assert len(fields) * 4 == flash.PARAMS_BYTES


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("d", [8, 64, 72, 128, 192, 256])
@pytest.mark.parametrize("nq", [1, 16, 1000])
def test_the_default_tile_exists_for_every_problem(nq, d, dtype):
    tile = default_tile(nq, d, dtype)
    assert (tile.d, tile.dtype) == (d, dtype)
    assert tile.threadgroup_bytes <= 16384


Q, K, V = random_qkv(np.float32, 5, 7, 16, hq=4, hkv=2)
BAD_TENSORS = {
    "a query of rank 3": ((Q[0], K, V), r"found q of shape \(4, 5, 16\), needs .* rank 4"),
    "a list": (([1.0], K, V), "found q of type list"),
    "float64": (
        (Q.astype(np.float64), K.astype(np.float64), V.astype(np.float64)),
        "dtype float64",
    ),
    "foreign byte order": (tuple(x.astype(">f4") for x in (Q, K, V)), "foreign byte order"),
    "integers": (tuple(x.astype(np.int32) for x in (Q, K, V)), "dtype int32"),
    "mixed types": ((Q, K.astype(np.float16), V), "dtypes float32, float16, float32"),
    "k and v of other lengths": ((Q, K, V[:, :, :6]), "needs equal shapes"),
    "another batch": ((Q, np.repeat(K, 2, 0), np.repeat(V, 2, 0)), "needs one B and one D"),
    "another D": ((Q[..., :8], K, V), "needs one B and one D"),
    "D=12": (
        (Q[..., :12], K[..., :12], V[..., :12]),
        "found D=12, needs a multiple of 8; pass D=8",
    ),
    "D=4": ((Q[..., :4], K[..., :4], V[..., :4]), "found D=4, needs a multiple of 8; pass D=8"),
    "D=520": (random_qkv(np.float32, 2, 2, 520), "found D=520, needs at most 512"),
    "three query heads": ((Q[:, :3], K, V), "found Hq=3 and Hkv=2, needs .* pass Hq=4"),
    "fewer query heads": ((Q[:, :1], K, V), "found Hq=1 and Hkv=2"),
    "no query": ((Q[:, :, :0], K, V), "needs no empty dimension"),
    "no key": ((Q, K[:, :, :0], V[:, :, :0]), "needs no empty dimension"),
    "no batch": ((Q[:0], K[:0], V[:0]), "needs no empty dimension"),
    "no KV head": ((Q, K[:, :0], V[:, :0]), "needs no empty dimension"),
}


def refusal(call):
    with pytest.raises(UnsupportedProblem) as caught:
        call()
    message = str(caught.value)
    assert re.match(r"\[flash\.(launch|tile)\] found .*, needs .*; .*", message), message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_tensors_that_no_kernel_covers_are_refused_in_one_sentence(device, name):
    arguments, reason = BAD_TENSORS[name]
    assert re.search(reason, refusal(lambda: flash_attention(*arguments, device=device)))


@pytest.mark.parametrize(
    "scale", [0.0, -1.0, np.nan, np.inf, 1e-30, 1e30, 10**400, "big", "1", True]
)
def test_a_scale_out_of_range_is_refused(device, scale):
    assert "found scale=" in refusal(lambda: flash_attention(Q, K, V, scale=scale, device=device))


def test_what_is_no_device_is_refused():
    with pytest.raises(attnproto.DeviceUnavailable, match="found kind 3, needs one of auto"):
        flash_attention(Q, K, V, device=3)


BAD_TILES = {
    "Br 24": (dict(br=24), "found br=24, needs 8, 16, 32 or 64"),
    "Bc 72": (dict(bc=72), "found bc=72"),
    "D 60": (dict(d=60), "found D=60"),
    "a type": (dict(dtype="float64"), "found dtype float64"),
    "rows 4": (dict(rows=4), "found rows=4"),
    "Br 8 with 16 rows": (dict(br=8, rows=16), "needs whole simdgroups"),
    "an unknown key path": (dict(keys="cache"), "found keys='cache'"),
    "an unknown place": (dict(query="moon"), "found query='moon'"),
    "an unknown policy": (dict(rescale="never"), "found rescale='never'"),
    "a chunk that does not divide Bc": (dict(bc=80, keys="staged32"), "needs whole chunks"),
    "a chunk ahead that does not": (dict(bc=80, keys="ahead32"), "pass keys='ahead16'"),
    "too many bytes": (dict(br=64, d=256, query="threadgroup"), "found 65536 bytes"),
    "a chunk too many": (dict(br=64, d=128, query="threadgroup", keys="staged8"), "at most 32768"),
}


@pytest.mark.parametrize("name", BAD_TILES)
def test_a_tile_that_does_not_exist_is_refused(name):
    change, reason = BAD_TILES[name]
    geometry = dict(br=32, bc=64, d=64, dtype="float32") | change
    assert re.search(reason, refusal(lambda: FlashTile(**geometry)))


@pytest.mark.parametrize(
    ("tile", "cure"),
    [
        (FlashTile(32, 64, 64, "float32"), r"pass tile=\(32, 64\)"),
        (FlashTile(32, 64, 16, "float16"), r"pass tile=\(32, 64\)"),
        ("32x64", r"needs a FlashTile or \(Br, Bc\)"),
        ((32, 64, 16), r"needs a FlashTile or \(Br, Bc\)"),
        ((32, 48), "found bc=48"),
        ((32.0, 64), r"found br=32\.0"),
    ],
)
def test_what_is_no_tile_of_the_problem_is_refused(device, tile, cure):
    assert re.search(cure, refusal(lambda: flash_attention(Q, K, V, tile=tile, device=device)))


def test_two_numbers_are_the_tile_of_these_blocks(device, monkeypatch):
    tiles = []
    source = FlashTile.source
    monkeypatch.setattr(
        FlashTile, "source", property(lambda tile: tiles.append(tile) or source.fget(tile))
    )
    flash_attention(Q, K, V, tile=(8, 32), device=device)
    assert tiles == [FlashTile(8, 32, Q.shape[-1], Q.dtype.name)]


@pytest.mark.parametrize(
    "output", [np.empty(Q.size - 1, Q.dtype), np.empty(Q.shape, np.float16), np.empty(Q.shape).T]
)
def test_an_output_that_does_not_fit_is_refused_and_left_alone(device, output):
    output[...] = 7.0
    refusal(lambda: launch(Q, K, V, output, device=device))
    assert (output == 7.0).all()
