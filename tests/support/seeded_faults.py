"""Small kernels with one mistake each, and their corrected twins (seeded_faults.txt).

A body holds the mistake and its correction as ``@[wrong@|right@]``: the twin differs in
nothing else. All are run by 2 threadgroups of 64 threads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HEAD = """#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
constant float table[8] = {1, 2, 4, 8, 16, 32, 64, 128};
"""
ARGUMENTS = """
    device float* out [[buffer(0)]], const device float* in [[buffer(1)]],
    constant uint& n [[buffer(2)]], device atomic_uint* count [[buffer(3)]],
    const device int* page [[buffer(4)]], const device half* narrow [[buffer(5)]],
    constant float* weights [[buffer(6)]], device float* tail [[buffer(7)]],
    threadgroup float* dynamic [[threadgroup(0)]],
    uint g [[thread_position_in_grid]], uint t [[thread_position_in_threadgroup]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]"""

_FAULT = re.compile(r"^//: (\w+) ([-\w]+)\n(.*?)(?=\n\n|\Z)", re.M | re.S)


@dataclass(frozen=True)
class Fault:
    """A mistake: its name, the kind of finding it is, and the kernel's body."""

    name: str
    kind: str
    body: str

    def kernel(self, wrong: bool) -> str:
        """The kernel's text."""
        body = re.sub(r"@\[(.*?)@\|(.*?)@\]", r"\1" if wrong else r"\2", self.body, flags=re.S)
        name = self.name + ("" if wrong else "_corrected")
        return f"kernel void {name}({ARGUMENTS}) {{\n{body}\n}}\n"


_TEXT = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
ALL = [Fault(*fields) for fields in _FAULT.findall(_TEXT)]
ALIASES = [fault for fault in ALL if fault.kind == "alias"]
NANS = [fault for fault in ALL if fault.kind == "nan"]
ALWAYS = [fault for fault in ALL if fault not in (*ALIASES, *NANS)]
TEXT = HEAD + "".join(fault.kernel(wrong) for fault in ALL for wrong in (True, False))
