"""Static counts: the same text counts the same, and what is not here is said."""

from __future__ import annotations

import shutil

import pytest
from attnproto.errors import DeviceUnavailable
from attnproto.kernels.flash_tile import default_tile
from attnproto.kernels.flash_variant import Variant
from attnproto.measure import static_counts
from support.msl import read_text

TEXT = read_text("static_code.metal")


@pytest.mark.parametrize("twice", [False, True])
def test_matrix_operations_and_barriers_of_the_chosen_variant_are_counted(twice) -> None:
    counts = static_counts.clang_counts(TEXT, "product", {"twice": twice})
    assert counts["ir_matrix_operations"] == 1 + twice
    assert counts["ir_threadgroup_barriers"] == 1
    assert counts["ir_simdgroup_barriers"] == 0
    assert counts["ir_instructions"] > 10


def test_constants_written_into_a_text_give_the_code_of_constants_given() -> None:
    tile = default_tile(1024, 64, "float16")
    constants = {**Variant(causal=True).constants, "aligned_queries": True, "aligned_keys": True}
    given = static_counts.clang_counts(tile.source.text, tile.source.name, constants)
    written = static_counts.with_constants(tile.source.text, constants)
    assert "constant bool causal = true;" in written
    counts = static_counts.clang_counts(written, tile.source.name)
    assert counts.pop("ir_instructions") == pytest.approx(given.pop("ir_instructions"), rel=0.01)
    assert counts == given


def test_a_compiler_that_is_not_here_is_named_and_the_others_still_count(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(static_counts.importlib.util, "find_spec", lambda name: None)
    static_counts.nvidia_tool.cache_clear()
    counts = static_counts.counts(TEXT, "product", {"twice": False})
    static_counts.nvidia_tool.cache_clear()
    assert counts["ir_instructions"] > 0
    assert [why.split("]")[0] for why in counts["not_counted"]] == [
        "[static.nvidia", "[static.air", "[static.agx"
    ]  # fmt: skip


def test_ptxas_tells_registers_and_instructions_where_it_is() -> None:
    try:
        once, twice = (
            static_counts.nvidia_counts(TEXT, "product", {"twice": twice})
            for twice in (False, True)
        )
    except DeviceUnavailable as error:
        pytest.skip(str(error))
    assert once["ptx_registers"] > 0
    assert once["ptx_spill_bytes"] == 0
    assert 0 < once["sass_matrix_operations"] < twice["sass_matrix_operations"]
    assert once["sass_instructions"] < twice["sass_instructions"]
    assert once["sass_barriers"] == 1
