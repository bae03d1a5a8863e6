"""Lambdas, which MSL has from 3.2 on: every form of capture, parameter and call."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto.errors import KernelCompileError
from support.msl import read_text

TEXT = read_text("lambdas.metal")
GIVEN = 40


def expected(i, n):
    return [
        i + 10, i + 1, 2 * i + 1, 7, i + 11, i + 11, i + 12, i + 10, 2.5, 3, 5, i + 11, 3, i + 10,
        i + 11, i + 2, i + 9, i + 3, i + 14, 10 * (i + 10) + 4, 2 * i + 21, 4, 1 + i % 4, 9,
        2 * (n - 1 - i), 2 + i % 4, 2 * i, i + 1, i + 2, i + 3, 6, 1.5, 3 * i + 3, i + 5, 5, 1.5,
        i + 3, 7, 6, 3 * i, i - 3, GIVEN + 3, i + 7, min(n, 32) - 1 if i < 32 else 0, 2 * i + 2,
        i + 4, 5, 3.5, i + 3, 6, 6, 7, 7, i + 4, i + 4, 3, 5, 6, GIVEN + 2, 5, 5,
    ]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 35])
def test_lambdas_compute_what_they_say(threads):
    device = attnproto.open_device("cpu")
    pipeline = device.library(TEXT).pipeline("lambdas", {0: GIVEN})
    assert pipeline.engine == "lockstep"
    rows = len(expected(0, 1))
    out = np.full((rows + 1, threads), -1, np.float32)
    device.run(pipeline, threadgroups=1, threads=threads, buffers={0: out})
    np.testing.assert_array_equal(
        out, np.float32([[*expected(i, threads), -1] for i in range(threads)]).T
    )


def test_lint_says_which_language_has_them():
    lints = attnproto.lint(TEXT)
    assert {(one.rule, one.severity, one.message) for one in lints} == {
        ("lambda", "error", "found a lambda, which needs MSL 3.2; write a function object")
    }
    assert len(lints) == 47


def test_a_template_of_a_variable_that_holds_a_lambda_is_refused_by_name():
    text = TEXT + "\ntemplate <typename T> constant auto of = [](T x) { return x; };\n"
    line = text.count("\n")
    with pytest.raises(
        KernelCompileError, match=f"line {line}.* a variable that holds a lambda; w"
    ):
        attnproto.open_device("cpu").library(text).functions()
