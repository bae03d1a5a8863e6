"""Passes one at a time: small IR in, the IR that was read and found right out.

A folder is a pass by its name in a target's list; ``<case>.in.ll`` begins with a comment that says
what the case shows, ``<case>.out.ll`` is what the pass makes of it. After a change that is meant to
change them, ``python tests/compiler/test_goldens.py`` writes the outcomes anew, to be read before
they are committed.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import llvmlite.binding as llvm
import pytest
from attnproto.compiler.interface import FunctionConstant
from attnproto.compiler.ir import module as ir
from attnproto.compiler.pass_manager import PassManager
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.host import HostKernel, NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.in.ll"))
# Of a name that both targets have, the host's.
PASSES = {
    one.name: one for driver in (PtxFrontEnd, NativeFrontEnd) for row in driver.lists for one in row
}
# A processor that fuses, whatever the machine that runs the test.
TARGET = processor_target("x86_64", "unknown-linux-gnu", "x86-64-v3")
CONSTANTS = {"on": FunctionConstant("on", 0, "bool")}
# LLVM's own passes, whose outcome is LLVM's; and what is judged where blocks are long.
NO_GOLDENS = {
    "optimize", "clean_up", "regularize", "simplify_vectors", "optimize_products",
    "optimize_loads", "split_blocks", "unroll_products",
}  # fmt: skip


def request_for(case: Path, text: str) -> SimpleNamespace:
    """What a pass asks of a request, of a case's first kernel, its constant and its functions."""
    name = case.parent.name
    options = SimpleNamespace(
        buffer_alignment=16,
        registers="rule",
        counting=name == "count_operations",
        validate="memory" if name in ("drop_promises", "sanitize_accesses") else "",
    )
    head = SimpleNamespace(constants=CONSTANTS, declared={})
    return SimpleNamespace(
        function=case.stem, number=0, text="", texts=("",), target=TARGET, options=options,
        instance=SimpleNamespace(max_threads=None),
        values={"on": True}, private=(),
        table={symbol: symbol for symbol in re.findall(r"@(visible_\w+)\(", text)},
        library=lambda: SimpleNamespace(module=ir.split(text), head=head),
        distinct_buffers=True,
    )  # fmt: skip


def outcome(case: Path) -> str:
    text = case.read_text()
    kernel = HostKernel(request_for(case, text), text)
    PassManager().run([PASSES[case.parent.name]], kernel)
    return kernel.text


def expected(case: Path) -> Path:
    return case.with_name(case.name.replace(".in.", ".out."))


@pytest.mark.parametrize("case", CASES, ids=[f"{c.parent.name}-{c.stem[:-3]}" for c in CASES])
def test_a_pass_makes_of_a_case_what_stands_beside_it(case):
    assert outcome(case) == expected(case).read_text()


@pytest.mark.parametrize("case", CASES, ids=[f"{c.parent.name}-{c.stem[:-3]}" for c in CASES])
def test_cases_and_outcomes_are_valid_ir(case):
    for file in (case, expected(case)):
        llvm.parse_assembly(file.read_text()).verify()


def test_every_case_has_its_outcome_and_none_is_left_over():
    assert {expected(case) for case in CASES} == set(HERE.glob("*/*.out.ll"))


def test_every_pass_has_a_case_but_those_that_are_llvms():
    assert {case.parent.name for case in CASES} == PASSES.keys() - NO_GOLDENS


if __name__ == "__main__":
    for one in CASES:
        expected(one).write_text(outcome(one))
