import numpy as np
import pytest
from attnproto.errors import UnsupportedProblem
from attnproto.problem import AttentionProblem


def test_flops_of_full_attention_count_two_products():
    # 2 products x 2 FLOP x N^2 x D x heads = 4 x 1024^2 x 64 x 8.
    assert AttentionProblem(1, 8, 8, 1024, 1024, 64).flops == 4 * 1024**2 * 64 * 8


@pytest.mark.parametrize(
    ("nq", "nkv", "pairs"),
    [
        (4, 4, 10),  # 1 + 2 + 3 + 4
        (2, 5, 9),  # query 0 sees keys 0..3, query 1 sees 0..4
        (5, 2, 3),  # queries 0, 1, 2 see nothing, 3 sees one, 4 sees two
        (1, 1, 1),
    ],
)
def test_a_causal_mask_counts_only_visible_pairs(nq, nkv, pairs):
    problem = AttentionProblem(1, 1, 1, nq, nkv, 8, causal=True)
    assert problem.visible_pairs == pairs
    assert problem.flops == 4 * pairs * 8


def test_least_traffic_reads_shared_heads_once():
    # Q and O: 2 x 4 heads x 3 rows; K and V: 2 x 2 heads x 5 rows; 8 elements of 2 bytes each.
    assert AttentionProblem(1, 4, 2, 3, 5, 8, "f16").bytes == (2 * 4 * 3 + 2 * 2 * 5) * 8 * 2


def test_inputs_repeat_for_a_seed_and_differ_between_seeds():
    problem = AttentionProblem(1, 2, 1, 3, 5, 8, "bf16")
    first, again, other = problem.inputs(1), problem.inputs(1), problem.inputs(2)
    assert [x.shape for x in first] == [(1, 2, 3, 8), (1, 1, 5, 8), (1, 1, 5, 8)]
    assert all(x.dtype == problem.element_type for x in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_large_inputs_give_scores_near_ten_thousand():
    problem = AttentionProblem(1, 1, 1, 257, 257, 64, "f32")
    q, k, _ = problem.inputs(0, "large")
    scores = q[0, 0].astype(np.float64) @ k[0, 0].astype(np.float64).T * problem.scale
    assert 5e3 < np.abs(scores).max() < 2e4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Nq": 0}, "Nq=0"),
        ({"B": True}, "B=True"),
        ({"D": 64.0}, "D=64.0"),
        ({"dtype": "f64"}, "f64"),
        ({"Hq": 3, "Hkv": 2}, "multiple of Hkv"),
    ],
)
def test_an_impossible_problem_gets_a_sentence(change, said):
    sizes = {"B": 1, "Hq": 2, "Hkv": 1, "Nq": 3, "Nkv": 5, "D": 8, **change}
    with pytest.raises(UnsupportedProblem, match=said):
        AttentionProblem(**sizes)


def test_an_unknown_input_class_gets_a_sentence():
    with pytest.raises(UnsupportedProblem, match="huge"):
        AttentionProblem(1, 1, 1, 1, 1, 8).inputs(0, "huge")
