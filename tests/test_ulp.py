import ml_dtypes
import numpy as np
import pytest
from attnproto.errors import UnsupportedProblem
from attnproto.reference.ulp import ulp_error, ulp_size

NUMPY = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32}


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("f16", 1.0, 2.0**-10),
        ("f16", 1.9, 2.0**-10),
        ("f16", 2.0, 2.0**-9),
        ("f16", -0.75, 2.0**-11),
        ("f16", 2.0**-20, 2.0**-24),  # subnormal: the gap stays that of 2^-14
        ("f16", 0.0, 2.0**-24),
        ("bf16", 1.0, 2.0**-7),
        ("f32", 1.0, 2.0**-23),
        ("f32", 0.0, 2.0**-149),
    ],
)
def test_ulp_size_is_the_gap_between_neighbours(dtype, value, expected):
    assert ulp_size(np.array([value]), dtype)[0] == expected


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_rounding_a_value_errs_by_at_most_half(dtype):
    truth = np.random.default_rng(0).normal(size=10_000)
    error = ulp_error(truth.astype(NUMPY[dtype]), truth, dtype)
    assert 0.49 < error.max_ulp <= 0.5
    # Rounding errors are uniform on [0, 0.5]: their median is 0.25.
    assert error.median_ulp == pytest.approx(0.25, abs=0.01)


def test_a_neighbour_is_one_ulp_away():
    one = np.float16(1.0)
    next_up = np.nextafter(one, np.float16(2.0))
    assert ulp_error(np.array([next_up]), np.array([1.0]), "f16").max_ulp == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_is_infinitely_wrong(bad):
    error = ulp_error(np.array([1.0, bad], np.float32), np.array([1.0, 1.0]), "f32")
    assert error.max_ulp == np.inf
    assert error.median_ulp in (0.0, np.inf)


def test_no_elements_have_no_error():
    assert ulp_error(np.empty(0, np.float32), np.empty(0), "f32").max_ulp == 0.0


def test_an_unknown_dtype_gets_a_sentence():
    with pytest.raises(UnsupportedProblem, match="f8"):
        ulp_size(np.zeros(1), "f8")


def test_an_element_near_zero_counts_in_its_own_and_in_its_rows_units():
    # 2^-20 off at 2^-10 in f32: ulp(2^-10) = 2^-33, so 2^13; the row's largest is 1,
    # ulp(1) = 2^-23, so 2^3.
    truth = np.array([[1.0, 2.0**-10]])
    error = ulp_error(np.array([[1.0, 2.0**-10 + 2.0**-20]], np.float32), truth, "f32")
    assert error.max_ulp == 2.0**13
    assert error.max_row_ulp == 2.0**3
