"""One modification of scores, chosen in six ways: equal results, and code that really differs."""

from __future__ import annotations

import re

import attnproto
import numpy as np
import pytest
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.library import describe
from attnproto.errors import KernelCompileError, UnsupportedProblem
from attnproto.kernels import flash, score_dispatch
from attnproto.kernels.score_dispatch import MODIFICATIONS, WAYS, Modification

# D = 40: slopes over an irrational scale, so that a fused multiplication rounds otherwise.
TILE = flash.FlashTile(16, 32, 40, "float32")


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def tensors():
    random = np.random.default_rng(6)
    shapes = ((1, 2, 37, 40), (1, 1, 70, 40), (1, 1, 70, 40))
    return tuple(random.standard_normal(s).astype(np.float32) for s in shapes)


def attention(device, tensors, way, name, contract):
    ready = score_dispatch.prepare(
        device, flash.problem_of(*tensors), TILE, way, Modification(name), contract=contract
    )
    return score_dispatch.run(device, ready, *tensors)[0]


def code(way, modification):
    """The optimised IR of a way."""
    device = attnproto.open_device("cpu")
    problem = flash.FlashProblem(1, 2, 1, 37, 70, 40, "float32", 40**-0.5)
    ready = score_dispatch.prepare(device, problem, TILE, way, modification)
    described = describe(TILE.source.name, ready.constants, **ready.linked)
    text = score_dispatch.source(TILE, way, modification).text
    return NativeFrontEnd().optimised_ir(text, described)


@pytest.mark.parametrize("name", MODIFICATIONS)
def test_every_way_is_right_and_the_same_to_the_bit_without_contraction(device, tensors, name):
    expected = score_dispatch.reference(*tensors, Modification(name))
    first = attention(device, tensors, "inline", name, contract=False)
    for way in WAYS:
        got = attention(device, tensors, way, name, contract=False)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(got, first)


@pytest.mark.parametrize("way", WAYS)
def test_with_contraction_the_ways_stay_within_four_ulp(device, tensors, way):
    inline = attention(device, tensors, "inline", "custom", contract=True)
    got = attention(device, tensors, way, "custom", contract=True)
    ulp = np.abs(got - inline) / np.spacing(np.abs(inline).max(axis=-1, keepdims=True))
    assert ulp.max() <= 4


def test_contraction_changes_results_so_that_switching_it_off_means_something(device, tensors):
    fused = attention(device, tensors, "inline", "custom", contract=True)
    assert (fused != attention(device, tensors, "inline", "custom", contract=False)).any()


def test_modifications_differ_from_each_other(device, tensors):
    results = [attention(device, tensors, "table", name, contract=True) for name in MODIFICATIONS]
    for i, one in enumerate(results):
        for other in results[:i]:
            assert np.abs(one - other).max() > 1e-3


def body(text):
    """Instructions alone: names of values and metadata say nothing."""
    text = "\n".join(re.findall(r"(?ms)^define .*?^}", text))
    return re.sub(r"%[\w.]+|![\w.]+|#\d+|@attn_entry_\d+|@_Z\w+", "", text)


def test_constant_and_stitched_leave_the_very_code_of_inline():
    custom = Modification("custom")
    inline = body(code("inline", custom))
    assert body(code("constant", custom)) == inline
    assert body(code("stitched", custom)) == inline
    assert body(code("argument", custom)) != inline


def test_noinline_and_table_leave_calls_in_the_loop():
    custom = Modification("custom")
    assert "@_Z12called_score" not in code("inline", custom)
    assert re.search(r"call .*@_Z12called_score", code("noinline", custom))
    indirect = r"call .*addrspace\(4\) <2 x float> %|call .* %\w+\("
    assert re.search(indirect, code("table", custom))
    assert not re.search(indirect, code("inline", custom))


def test_a_kernel_without_its_stitched_function_is_refused(device):
    text = score_dispatch.source(TILE, "stitched", Modification("alibi"))
    problem = flash.FlashProblem(1, 2, 1, 37, 70, 40, "float32", 40**-0.5)
    with pytest.raises(KernelCompileError, match="no function 'modify_score'"):
        device.library(text.text).pipeline(text.name, flash.plan(problem, TILE).constants)


def test_unknown_ways_and_modifications_are_refused():
    with pytest.raises(UnsupportedProblem, match="way='magic'"):
        score_dispatch.source(TILE, "magic", Modification("alibi"))
    with pytest.raises(UnsupportedProblem, match="modification='magic'"):
        Modification("magic")
