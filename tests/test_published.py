import pytest
from attnproto.results.published import mark_to_reach, published_marks, reached
from support.rows import published_problem_row


def test_every_mark_names_its_source_and_chip():
    marks = published_marks()
    assert len(marks) == 37
    assert all(mark.source and mark.chip == "M4" for mark in marks)


def test_instructions_become_flops_by_the_factor_of_the_source():
    # 1697 GINSTRS at D = 64: 1697 x 256 / 133 / 1000 = 3.266 TFLOP/s.
    mark = mark_to_reach("f16", 64, 4096)
    assert mark.value == 1697
    assert mark.tflops == pytest.approx(3.266, abs=1e-3)


def test_a_time_becomes_flops_by_its_work():
    # 32 heads, N = 2048, D = 64 in 204600 us: 4 x 32 x 2048^2 x 64 / 0.2046 s = 0.168 TFLOP/s.
    mark = next(m for m in published_marks() if m.unit == "us" and m.heads == 32)
    assert mark.tflops == pytest.approx(0.168, abs=1e-3)


def test_what_is_no_rate_gets_none():
    assert next(m for m in published_marks() if m.unit == "GB/s").tflops is None
    assert next(m for m in published_marks() if m.kernel.startswith("paged")).tflops is None


def test_a_problem_nobody_published_has_no_mark():
    assert mark_to_reach("f16", 72, 4096) is None
    assert mark_to_reach("bf16", 64, 4096) is None


def test_an_m4s_fastest_tile_is_compared_with_the_published_rate():
    # 2e12 FLOP in 0.8 s are 2.5 TFLOP/s, of 3.266 published 0.765.
    (fastest,) = reached(
        [
            published_problem_row(),
            published_problem_row(time_us=0.8e6),
            published_problem_row(time_us=0.9e6),
        ]
    )
    assert (fastest.row, fastest.tflops) == ("800000", 2.5)
    assert fastest.ratio == pytest.approx(0.765, abs=1e-3)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "Apple M4 Max"},
        {"name": "NVIDIA H200", "kind": "cuda"},
        {"tier": "emulated"},
        {"status": "wrong"},
        {"causal": True},
        {"Hq": 8},
        {"Nq": 1},
        {"D": 72},
    ],
)
def test_no_other_device_or_problem_is_compared(other):
    assert reached([published_problem_row(**other)]) == []
