"""Loops are counted by their depths, from the text alone."""

from __future__ import annotations

import pytest
from attnproto.compiler.ir.loop_nests import nested_loops


def loop(name: str, body: str = "") -> str:
    """A loop as clang writes it; what is in it has blocks of its own."""
    return (
        f"  br label %{name}.cond\n{name}.cond:\n"
        f"  br i1 %c, label %{name}.body, label %{name}.end\n"
        f"{name}.body:\n{body}  br label %{name}.cond, !llvm.loop !3\n{name}.end:\n"
    )


def function(name: str, body: str) -> str:
    return f"define void @{name}(i1 %c) {{\nentry:\n{body}  ret void\n}}\n"


CALL = "  call void @inner(i1 %c)\n"
INNER = function("inner", loop("x", loop("y")))
TEXTS = {
    "none": (function("f", "  br label %a\na:\n"), 0),
    "in a row": (function("f", loop("a") + loop("b") + loop("c")), 3),
    "three deep": (function("f", loop("a", loop("b", loop("c")))), 1 + 2 + 3),
    "two ways back": (
        function("f", "  br label %a\na:\n  br i1 %c, label %a, label %b\nb:\n"
                 "  br i1 %c, label %a, label %e\ne:\n"), 1,
    ),
    # Depths 1 and 2 of inner, behind the loop and two deep in another: 1; 1, 2; 1, 2, 3 and 4.
    "called": (
        function("f", loop("a") + CALL + loop("b", loop("c", CALL))) + INNER,
        1 + (1 + 2) + (1 + 2 + 3 + 4),
    ),
    "the largest function": (function("f", loop("a")) + INNER, 1 + 2),
    "called first": (INNER + function("f", loop("a", CALL)), 1 + 2 + 3),
    "beside one of a line": (
        "define internal ptr @here() alwaysinline { ret ptr null }\n" + INNER, 1 + 2
    ),
    "of itself": (function("inner", loop("a", CALL)), 1),
    "names in quotes": (
        function("f", '  br label %"a b"\n"a b":\n  switch i32 0, label %e [\n'
                 '    i32 1, label %"a b"\n  ]\ne:\n'), 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_each_loop_counts_for_itself_and_for_those_around_it(text, expected):
    assert nested_loops(text) == expected
