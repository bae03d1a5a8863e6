import attnproto
import numpy as np
import pytest
from attnproto.device.pipelines import pipeline
from attnproto.device.recording import Watched
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import flash, paged
from attnproto.kernels.flash import flash_attention
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.paged import KeyCache, attend_source, launch_paged, paged_attention
from support.attention import assert_kernels_agree
from support.paged import Sequences, check_largest_score_in_the_last_partition


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


@pytest.mark.parametrize("page", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("nq", [1, 40], ids=["decode", "prefill"])
def test_every_page_size_gives_the_bits_of_flash(device, page, nq, record_property):
    sequences = Sequences([131, 70, 200], nq=nq, page=page, hq=4, hkv=2)
    tile = FlashTile(32, 64, 64, "float32")
    output = sequences.paged(device, tile=tile)
    sequences.check(output)
    for s, context in enumerate(sequences.contexts):
        one = slice(s, s + 1)
        keys = sequences.k[one, :, :context], sequences.v[one, :, :context]
        contiguous = flash_attention(sequences.q[one], *keys, causal=True, tile=tile, device=device)
        assert_kernels_agree(device, output[one], contiguous, record_property)


@pytest.mark.parametrize("partition", [64, 512])
def test_heads_decoded_together_give_the_bits_of_heads_alone(device, partition, record_property):
    together = Sequences([131, 70], hq=24, hkv=2)
    output = together.paged(device, partition=partition)
    together.check(output)
    alone = Sequences([131, 70], hq=24, hkv=2)
    for head in range(24):
        kv = slice(head // 12, head // 12 + 1)
        cache = KeyCache(
            np.ascontiguousarray(alone.k[:, kv]),
            np.ascontiguousarray(alone.v[:, kv]),
            alone.contexts,
        )
        one = np.empty((2, 1, 1, 64), np.float32)
        q = alone.q[:, head : head + 1]
        launch_paged(q, cache, one, device=device, partition=partition)
        assert_kernels_agree(device, one, output[:, head : head + 1], record_property)


@pytest.mark.parametrize("page", [8, 128])
@pytest.mark.parametrize("partition", [64, 128, 512])
def test_divided_keys_give_the_bits_of_the_contiguous_twin(
    device, page, partition, record_property
):
    sequences = Sequences([1000, 3, 517], nq=3, page=page, hq=4, hkv=2)
    output = sequences.paged(device, partition=partition)
    sequences.check(output)
    twin = sequences.contiguous(device, partition=partition)
    assert_kernels_agree(device, output, twin, record_property)


@pytest.mark.parametrize("partitions", [1, 2, 33, 128])
def test_any_number_of_partitions_joins_to_the_same_result(device, partitions):
    sequences = Sequences([64 * partitions - 7, 5], page=32)
    sequences.check(sequences.paged(device, partition=64))


def test_the_largest_score_may_lie_in_the_last_of_many_partitions(device):
    check_largest_score_in_the_last_partition(device)


@pytest.mark.parametrize("bc", [64, 80, 128])
@pytest.mark.parametrize("page", [16, 64])
def test_steps_that_pages_do_not_divide_agree_with_fp64(device, bc, page):
    sequences = Sequences([300, 80], nq=20, page=page)
    tile = FlashTile(16, bc, 64, "float32")
    sequences.check(sequences.paged(device, tile=tile, partition=2 * bc))


@pytest.mark.parametrize(("d", "dtype"), [(128, np.float16), (256, np.float16), (72, np.float32)])
def test_other_dimensions_and_types_agree_with_fp64(device, d, dtype):
    sequences = Sequences([140, 77], nq=9, d=d, hq=6, hkv=2, dtype=dtype)
    sequences.check(sequences.paged(device, partition=128))


def test_sixteen_rows_a_simdgroup_agree_with_fp64(device):
    sequences = Sequences([140, 77], nq=40)
    tile = FlashTile(32, 64, 64, "float32", rows=16, query="registers", rescale="threshold")
    sequences.check(sequences.paged(device, tile=tile, partition=64))


def test_without_causal_every_query_sees_every_key(device):
    sequences = Sequences([140, 77], nq=9)
    sequences.check(sequences.paged(device, causal=False, partition=64), causal=False)


@pytest.mark.parametrize("partition", [64, 512])
def test_an_empty_context_gives_zero_and_disturbs_no_other(device, partition):
    sequences = Sequences([0, 131], nq=2)
    output = sequences.paged(device, partition=partition)
    assert (output[0] == 0.0).all()
    sequences.check(output)


@pytest.mark.parametrize("partition", [64, 512])
def test_queries_before_the_first_key_are_zero(device, partition):
    sequences = Sequences([5, 131], nq=9)
    output = sequences.paged(device, partition=partition)
    assert (output[0, :, :4] == 0.0).all()
    sequences.check(output)


def test_sequences_may_share_pages(device):
    sequences = Sequences([96, 96], nq=1, page=32)
    sequences.table[1, :2] = sequences.table[0, :2]
    sequences.k[1, :, :64], sequences.v[1, :, :64] = sequences.k[0, :, :64], sequences.v[0, :, :64]
    sequences.check(sequences.paged(device))


@pytest.mark.parametrize("partition", [64, 512])
@pytest.mark.parametrize("nq", [1, 40], ids=["decode", "prefill"])
def test_long_work_goes_out_in_pieces_that_change_no_bit(device, nq, partition, monkeypatch):
    sequences = Sequences([300, 77], nq=nq, hq=4, hkv=2)
    tile = FlashTile(8, 64, 64, "float32")
    undivided = Watched(device)
    expected = sequences.paged(undivided, tile=tile, partition=partition)
    assert len(undivided.submissions) == 1
    # A budget of two tiles of 8 rows with up to 300 keys: reading 8 bytes a key and dimension
    # counts for more than computing.
    heads = 2 if nq == 1 else 4
    budget = 2 * 2 * heads * min(partition, 300) * 64 * max(4 * 8, 10 * 8)
    monkeypatch.setattr(flash, "DISPATCH_FLOPS", budget)
    pieces = Watched(device)
    np.testing.assert_array_equal(sequences.paged(pieces, tile=tile, partition=partition), expected)
    slices = -(-(2 if nq == 1 else nq) // 8) * -(-300 // partition)
    attends = [d for d in pieces.dispatches if 5 in d.buffers]
    assert [d.threadgroups[0] for d in attends] == [2] * (slices // 2) + [1] * (slices % 2)
    assert len(pieces.submissions) >= len(attends)


def test_a_partition_too_long_for_one_dispatch_is_refused(device, monkeypatch):
    sequences = Sequences([300, 77], hq=2, hkv=1)
    monkeypatch.setattr(flash, "DISPATCH_FLOPS", 2 * 128 * 64 * 80)
    with pytest.raises(UnsupportedProblem, match=r"partition=320, too long .* needs at most 128"):
        sequences.paged(device)
    sequences.check(sequences.paged(device, partition=128))


def test_no_dispatch_is_estimated_above_half_a_second_on_the_target():
    # The longest that a partition of 512 allows: one tile and partition of every head.
    problem = flash.FlashProblem(64, 32, 32, 4096, 0, 256, "float16", 1.0)
    tile = FlashTile(32, 64, 256, "float16")
    pieces = paged.slices(problem, tile, 16, 512, np.array([8192], np.int32))
    assert sum(count for _, count, _ in pieces) == 128 * 16
    assert [first for first, _, _ in pieces] == list(range(0, 2048, pieces[0][1]))
    assert max(flops for _, _, flops in pieces) <= 0.5e12


@pytest.mark.parametrize("d", [64, 128])
def test_threadgroup_bytes_do_not_depend_on_the_page(device, d):
    tile = FlashTile(16, 64, d, "float16")
    switches = ("causal", "sliding_window", "softcap", "alibi", "rope", "rope_interleaved")
    constants = dict.fromkeys((*switches, "aligned_queries", "aligned_keys", "split_keys"), False)
    by_page = {
        page: pipeline(device, attend_source(tile, page), constants).static_threadgroup_bytes
        for page in (0, 8, 16, 32, 64, 128)
    }
    assert set(by_page.values()) == {tile.threadgroup_bytes}


def good():
    sequences = Sequences([20, 30], page=16)
    return {
        "q": sequences.q,
        "k_pages": sequences.k_pages,
        "v_pages": sequences.v_pages,
        "block_table": sequences.table,
        "context_lens": sequences.contexts,
    }


GOOD = good()
REFUSED = {
    "a query of rank 3": (dict(q=GOOD["q"][0]), "found q of shape"),
    "a table of rank 1": (dict(block_table=GOOD["block_table"][0]), "found block_table of shape"),
    "no table": (dict(block_table=np.zeros((2, 0), np.int32)), "no empty dimension"),
    "a table of int64": (dict(block_table=GOOD["block_table"].astype(np.int64)), "needs int32"),
    "lengths of float": (dict(context_lens=np.array([20.0, 30.0])), "needs int32"),
    "lengths as a list": (dict(context_lens=[20, 30]), "found context_lens of shape list"),
    "a negative length": (dict(context_lens=np.array([20, -1], np.int32)), "context of -1 tokens"),
    "a length too long": (dict(context_lens=np.array([33, 20], np.int32)), "context of 33 tokens"),
    "one length for two": (dict(context_lens=np.array([20], np.int32)), "1 in context_lens"),
    "pages of 12": (
        {name: GOOD[name][:, :, :12] for name in ("k_pages", "v_pages")},
        "found pages of 12 tokens",
    ),
    "mixed types": (dict(v_pages=GOOD["v_pages"].astype(np.float16)), "needs one type"),
    "a page past the last": (
        dict(block_table=np.array([[0, 1], [2, 7]], np.int32)),
        "found page 7 in block_table, needs 0 to 6",
    ),
    "a negative page": (dict(block_table=np.array([[0, -2], [2, 3]], np.int32)), "found page -2"),
    "three heads on two": (
        dict(
            q=np.zeros((2, 3, 1, 64), np.float32),
            k_pages=np.zeros((7, 2, 16, 64), np.float32),
            v_pages=np.zeros((7, 2, 16, 64), np.float32),
        ),
        "found Hq=3 and Hkv=2",
    ),
    "a partition of 100": (dict(partition=100), "needs a multiple of Bc=64"),
    "a partition of 0": (dict(partition=0), "found partition=0"),
    "half a partition": (dict(partition=64.5), "found partition=64.5"),
    "staged keys": (dict(tile=FlashTile(16, 64, 64, "float32", keys="staged16")), "keys='lane'"),
    "a scale of NaN": (dict(scale=float("nan")), "found scale=nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_kernel_cannot_read_is_refused_in_one_sentence(device, name):
    change, reason = REFUSED[name]
    with pytest.raises(UnsupportedProblem, match=r"^\[\w+\.\w+\] found .*, needs .*; .*") as caught:
        paged_attention(**(GOOD | change), device=device)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
