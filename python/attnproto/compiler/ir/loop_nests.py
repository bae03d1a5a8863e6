"""How much there is of loops in loops, before anything is spent on them.

Read from the text alone, as clang and LLVM write it: a loop is what lies between a block and the
last branch back to it.
"""

from __future__ import annotations

import re

from .module import callees_first, calls_of, split

_LABEL = r'(?:"[^"]*"|[-\w.$]+)'
# Where a loop or a call begins and ends in the text, and how many loops it is, with their depths.
_Part = tuple[int, int, tuple[int, int]]
_FLOW = re.compile(rf"^({_LABEL}):|label %({_LABEL})|(@{_LABEL})\(", re.M)


def nested_loops(text: str) -> int:
    """How many loops a module's largest function has with those of what it calls, by their depths.

    Each counts once for itself and once for every loop around it.
    """
    module = split(text)
    counted: dict[str, tuple[int, int]] = {}  # loops of a function, and the sum of their depths
    for symbol in callees_first(calls_of(module), *module.functions):
        count = depths = 0
        around: list[int] = []
        for begin, end, (inner, inner_depths) in _loops_and_calls(
            module.functions[symbol], counted
        ):
            while around and around[-1] < begin:
                around.pop()
            count, depths = count + inner, depths + inner_depths + inner * len(around)
            if end > begin:
                around.append(end)
        counted[symbol] = count, depths
    return max((depths for _, depths in counted.values()), default=0)


def _loops_and_calls(body: str, counted: dict[str, tuple[int, int]]) -> list[_Part]:
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    calls = []
    for one in _FLOW.finditer(body.partition("\n")[2]):
        label, target, callee = one.groups()
        if label:
            labels[label] = one.start()
        elif target in labels:
            ends[labels[target]] = one.start()
        elif callee in counted:
            calls.append((one.start(), one.start(), counted[callee]))
    return sorted([*((begin, end, (1, 1)) for begin, end in ends.items()), *calls])
