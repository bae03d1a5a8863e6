import math
import tracemalloc

import numpy as np
import pytest
from attnproto import reference
from attnproto.errors import UnsupportedProblem
from attnproto.problem import AttentionProblem

RNG = np.random.default_rng(7)


def plain_attention(q, k, v, hidden=None, scale=None):
    """Softmax attention written the shortest way, for one head."""
    scores = q @ k.T * (q.shape[1] ** -0.5 if scale is None else scale)
    if hidden is not None:
        scores = np.where(hidden, -np.inf, scores)
    weights = np.exp(scores)
    return weights @ v / weights.sum(axis=1, keepdims=True)


def draw(*shape):
    return RNG.normal(size=shape)


def test_two_equal_keys_average_their_values():
    q, k = np.ones((1, 1, 1, 2)), np.ones((1, 1, 2, 2))
    v = np.array([[[[1.0, 5.0], [3.0, 7.0]]]])
    assert np.allclose(reference.softmax_attention(q, k, v), [[[[2.0, 6.0]]]], atol=1e-15)


def test_weights_follow_the_scores():
    # Scores 0 and ln 3 give weights 1/4 and 3/4: 0.25 x 4 + 0.75 x 8 = 7.
    q = np.array([[[[math.log(3.0)]]]])
    k = np.array([[[[0.0], [1.0]]]])
    v = np.array([[[[4.0], [8.0]]]])
    out, lse = reference.softmax_attention(q, k, v, return_lse=True)
    assert out.item() == pytest.approx(7.0, abs=1e-14)
    assert lse.item() == pytest.approx(math.log(4.0), abs=1e-14)


@pytest.mark.parametrize("nq", [1, 63, 100])
def test_grouped_heads_read_the_head_of_their_group(nq):
    q, k, v = draw(2, 6, nq, 8), draw(2, 2, 77, 8), draw(2, 2, 77, 8)
    out = reference.softmax_attention(q, k, v)
    for b in range(2):
        for h in range(6):
            assert np.allclose(out[b, h], plain_attention(q[b, h], k[b, h // 3], v[b, h // 3]))


@pytest.mark.parametrize(("nq", "nkv"), [(5, 5), (3, 7), (1, 4)])
def test_the_last_query_sees_the_last_key(nq, nkv):
    q, k, v = draw(1, 1, nq, 8), draw(1, 1, nkv, 8), draw(1, 1, nkv, 8)
    hidden = np.array([[j > i + nkv - nq for j in range(nkv)] for i in range(nq)])
    out = reference.softmax_attention(q, k, v, causal=True)
    assert np.allclose(out[0, 0], plain_attention(q[0, 0], k[0, 0], v[0, 0], hidden))


def test_a_row_that_sees_nothing_is_zero():
    q, k, v = draw(1, 1, 5, 8), draw(1, 1, 2, 8), draw(1, 1, 2, 8)
    out, lse = reference.softmax_attention(q, k, v, causal=True, return_lse=True)
    assert np.all(out[0, 0, :3] == 0.0)
    assert np.all(np.isneginf(lse[0, 0, :3]))
    assert np.allclose(out[0, 0, 3], v[0, 0, 0])


def test_scores_of_ten_thousand_stay_finite():
    q, k, v = draw(1, 1, 4, 8) * 1e3, draw(1, 1, 9, 8) * 1e1, draw(1, 1, 9, 8)
    out = reference.softmax_attention(q, k, v)
    assert np.all(np.isfinite(out))
    assert np.all(out <= v.max(axis=2, keepdims=True) + 1e-12)


def test_a_window_hides_older_keys():
    q, k, v = draw(1, 1, 6, 8), draw(1, 1, 6, 8), draw(1, 1, 6, 8)
    hidden = np.array([[not 0 <= i - j < 3 for j in range(6)] for i in range(6)])
    out = reference.softmax_attention(q, k, v, causal=True, window=3)
    assert np.allclose(out[0, 0], plain_attention(q[0, 0], k[0, 0], v[0, 0], hidden))


def test_a_softcap_bends_the_scores():
    # Scores 0 and 10, capped at 2: 2 tanh(5) = 1.99982; weight of the second key is
    # e^1.99982 / (1 + e^1.99982) = 0.880778.
    q, k = np.array([[[[10.0]]]]), np.array([[[[0.0], [1.0]]]])
    v = np.array([[[[0.0], [1.0]]]])
    out = reference.softmax_attention(q, k, v, softcap=2.0)
    assert out.item() == pytest.approx(0.880778, abs=1e-6)


def test_eight_thousand_keys_never_need_a_square_of_scores():
    problem = AttentionProblem(1, 1, 1, 8192, 8192, 8, "f32")
    q, k, v = problem.inputs()
    tracemalloc.start()
    out = reference.softmax_attention(q, k, v)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out.shape == (1, 1, 8192, 8)
    assert peak_bytes < 8192 * 8192 * 8 / 4


@pytest.mark.parametrize("bad", [(1, 2, 8), (1, 1, 3, 16), (2, 1, 3, 8)])
def test_shapes_that_do_not_belong_together_get_a_sentence(bad):
    with pytest.raises(UnsupportedProblem, match="found"):
        reference.softmax_attention(draw(1, 1, 4, 8), draw(*bad), draw(*bad))


def test_rotation_keeps_scores_a_function_of_distance():
    q, k = draw(1, 16), draw(1, 16)
    at = lambda x, p: reference.rope(x, offset=p)  # noqa: E731
    near = at(q, 3) @ at(k, 1).T
    far = at(q, 103) @ at(k, 101).T
    assert np.allclose(near, far)
    assert not np.allclose(near, at(q, 4) @ at(k, 1).T)


def test_the_first_pair_turns_by_one_radian_a_position():
    x = np.zeros((2, 4))
    x[:, 0] = 1.0
    assert np.allclose(reference.rope(x)[1, :2], [math.cos(1.0), math.sin(1.0)])


def test_half_split_pairs_are_interleaved_pairs_reordered():
    x = draw(5, 8)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    split = reference.rope(x[:, order], interleaved=False)
    assert np.allclose(split, reference.rope(x)[:, order])


def test_an_odd_number_of_rotated_coordinates_gets_a_sentence():
    with pytest.raises(UnsupportedProblem, match="7"):
        reference.rope(draw(2, 7))


def test_slopes_of_eight_heads_are_the_papers():
    # Section 3 of the paper: 1/2, 1/4, ..., 1/256.
    assert np.allclose(reference.alibi_slopes(8), 2.0 ** -np.arange(1, 9))


def test_slopes_of_six_heads_fill_up_from_twelve():
    # Four heads give 2^-2, 2^-4, 2^-6, 2^-8; the two missing are the 1st and 3rd of eight.
    expected = [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]
    assert np.allclose(reference.alibi_slopes(6), expected)


def test_a_bias_lowers_far_keys_by_slope_times_distance():
    scores = np.zeros((1, 4))
    out = reference.alibi_bias(np.array([0.5]))(scores, 0, np.array([3]), np.arange(4))
    assert out.tolist() == [[-1.5, -1.0, -0.5, -0.0]]


def test_scattered_pages_give_what_contiguous_keys_give():
    k, v, q = draw(1, 2, 10, 8), draw(1, 2, 10, 8), draw(1, 4, 3, 8)
    pages_k, pages_v = np.full((6, 2, 4, 8), np.nan), np.full((6, 2, 4, 8), np.nan)
    table = np.array([[5, 0, 3]], np.int32)
    for slot, page in enumerate(table[0]):
        rows = slice(4 * slot, min(4 * slot + 4, 10))
        pages_k[page, :, : rows.stop - rows.start] = k[0, :, rows]
        pages_v[page, :, : rows.stop - rows.start] = v[0, :, rows]
    out = reference.paged_attention(q, pages_k, pages_v, table, np.array([10]))
    assert np.array_equal(out, reference.softmax_attention(q, k, v))


def test_an_empty_context_gives_zeros():
    pages = draw(2, 1, 4, 8)
    out = reference.paged_attention(draw(1, 1, 1, 8), pages, pages, np.array([[0]]), np.array([0]))
    assert np.all(out == 0.0)


@pytest.mark.parametrize(("table", "length"), [([[9]], 3), ([[-1]], 3), ([[0]], 5), ([[0]], -1)])
def test_a_table_that_points_outside_gets_a_sentence(table, length):
    pages = draw(2, 1, 4, 8)
    with pytest.raises(UnsupportedProblem, match="paged"):
        reference.paged_attention(
            draw(1, 1, 1, 8), pages, pages, np.array(table), np.array([length])
        )


@pytest.mark.parametrize("chunk", [1, 7, 16, 64])
@pytest.mark.parametrize("decay_shape", [None, (2,), (1, 2, 33), (1, 2, 33, 8)])
@pytest.mark.parametrize("normalize", [False, True])
def test_chunks_give_what_the_recurrence_gives(chunk, decay_shape, normalize):
    q, k, v = np.abs(draw(1, 2, 33, 8)), np.abs(draw(1, 2, 33, 8)), draw(1, 2, 33, 4)
    decay = None if decay_shape is None else -np.abs(draw(*decay_shape))
    state = None if normalize else draw(1, 2, 8, 4)
    options = {"decay": decay, "normalize": normalize, "initial_state": state}
    out, last = reference.linear_attention(q, k, v, chunk=chunk, **options)
    expected, expected_last = reference.linear_attention_recurrent(q, k, v, **options)
    assert np.allclose(out, expected, atol=1e-12)
    assert np.allclose(last, expected_last, atol=1e-12)


def test_no_token_of_linear_attention_sees_the_future():
    q, k, v = draw(1, 1, 20, 8), draw(1, 1, 20, 8), draw(1, 1, 20, 8)
    before, _ = reference.linear_attention(q, k, v, chunk=8)
    v[:, :, 13:] = 99.0
    after, _ = reference.linear_attention(q, k, v, chunk=8)
    assert np.array_equal(before[:, :, :13], after[:, :, :13])
    assert not np.array_equal(before[:, :, 13:], after[:, :, 13:])


def test_one_token_of_linear_attention_is_its_weighted_value():
    # scale (q . k) v = 4^-0.5 x (1 + 2 + 3 + 4) x 5 = 25.
    q, k = np.ones((1, 1, 1, 4)), np.arange(1.0, 5.0).reshape(1, 1, 1, 4)
    out, state = reference.linear_attention(q, k, np.full((1, 1, 1, 1), 5.0))
    assert out.item() == pytest.approx(25.0)
    assert state.ravel().tolist() == [5.0, 10.0, 15.0, 20.0]


def judged(actual, expected):
    return reference.judge(
        np.asarray(actual, np.float32), np.asarray(expected), "f32", reference.Tolerance(0.5, 0.1)
    )


def test_an_error_at_the_tolerance_passes_and_above_it_fails():
    # Allowed at 10 are 0.5 + 0.1 x 10 = 1.5.
    assert judged([11.5], [10.0]).passed
    assert judged([11.5], [10.0]).worst_ratio == pytest.approx(1.0)
    above = judged([11.6], [10.0])
    assert not above.passed
    assert "1.07" in above.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_never_passes(bad):
    result = judged([1.0, bad], [1.0, 1.0])
    assert not result.passed
    assert "1 of 2" in result.reason


def test_a_wrong_shape_never_passes():
    assert not judged([1.0, 1.0], [1.0]).passed


def test_ordinary_inputs_get_the_specified_tolerance():
    problem = AttentionProblem(1, 1, 1, 63, 63, 64, "f16")
    assert reference.tolerance(problem, *problem.inputs()) == reference.Tolerance(5e-3, 1e-2)


def test_large_scores_widen_the_tolerance_and_still_bound_single_precision():
    problem = AttentionProblem(1, 1, 1, 63, 63, 64, "f32")
    q, k, v = problem.inputs(0, "large")
    allowed = reference.tolerance(problem, q, k, v)
    scores = (q[0, 0] @ k[0, 0].T) * np.float32(problem.scale)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    single = weights @ v[0, 0] / weights.sum(axis=1, keepdims=True)
    expected = reference.softmax_attention(q, k, v)
    assert reference.judge(single[None, None], expected, "f32", allowed).passed
    assert 1e-5 < allowed.atol < 3.0
