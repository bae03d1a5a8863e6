"""Passes one at a time: small IR in, the IR that was read and found right out.

A folder is a pass by its name in a target's list; ``<case>.in.ll`` begins with a comment that says
what the case shows, ``<case>.out.ll`` is what the pass makes of it. After a change that is meant to
change them, ``python tests/compiler/test_goldens.py`` writes the outcomes anew, to be read before
they are committed.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import llvmlite.binding as llvm
import pytest
from attnproto.compiler.pass_manager import Kernel, PassManager
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.in.ll"))
PASSES = {
    one.name: one for driver in (NativeFrontEnd, PtxFrontEnd) for row in driver.lists for one in row
}
# A processor that fuses, whatever the machine that runs the test.
TARGET = processor_target("x86_64", "unknown-linux-gnu", "x86-64-v3")


def outcome(case: Path) -> str:
    options = SimpleNamespace(buffer_alignment=16, registers="rule")
    instance = SimpleNamespace(max_threads=None)
    request = SimpleNamespace(function=case.stem, target=TARGET, options=options, instance=instance)
    kernel = Kernel(request, case.read_text())
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
    assert len(CASES) >= 9


if __name__ == "__main__":
    for one in CASES:
        expected(one).write_text(outcome(one))
