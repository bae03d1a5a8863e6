"""MLX's kernels as Apple compiled them run, and give what their texts give (support/witness.py)."""

from __future__ import annotations

import attnproto
import pytest
from attnproto.compiler.air.container import Metallib
from attnproto.compiler.air.module import read
from attnproto.compiler.frontend import compiled_kernel
from attnproto.compiler.target import host_target
from support import mlx, witness
from support.mlx_checks import TYPES
from support.third_party import MLX


@pytest.fixture(scope="module")
def both():
    MLX.need()
    return witness.witness(attnproto.open_device("cpu"))


@pytest.mark.parametrize("case", witness.cases_in_short(), ids=lambda case: case.compiled)
def test_text_and_compiled_kernel_give_the_same(both, case):
    text, compiled = both.dispatches(case)
    for one in (text, compiled):
        both.device.submit([one])
    judged = witness.judge(case, text, compiled)
    assert judged.equal == 1 or case.explained
    _, atol, rtol = TYPES[case.type_name]
    bound = atol + rtol * judged.largest
    assert judged.error_of_text <= bound
    assert judged.error_of_compiled <= bound


def test_the_choice_has_every_family():
    chosen = {case.family.split(" ")[0] for case in witness.cases_in_short()}
    assert len(witness.cases_in_short()) == 40
    assert chosen == {case.family.split(" ")[0] for case in witness.cases()}


def test_every_case_is_in_the_metallib_and_one_kernel_of_each_kind_of_name_lifts():
    MLX.need()
    container = Metallib(mlx.metallib())
    assert {case.compiled for case in witness.cases()} <= set(container.kernels())
    kinds = {name.split("_")[0]: name for name in container.kernels()}
    assert len(kinds) > 50
    for name in list(kinds.values())[::6]:
        lifted = compiled_kernel.to_ir(read(container.bitcode(name)), host_target())
        assert "define dso_local void @attn_entry_0(ptr noundef %lane)" in lifted
