"""A random kernel of matrix products and element accesses, and the same in numpy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np


class Program:
    """A random kernel of matrix products and element accesses, and the same in numpy."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.name = f"random_{seed}"
        # In some, most products begin or continue one of many accumulators, in turns: more of
        # them on one level than there are slots.
        self.wide = seed % 5 == 4
        self.registers = 128 if self.wide else int(self.rng.choice([3, 8, 40]))
        length = int(self.rng.integers(5, 60)) + self.registers * 2
        self.steps = [self._step(i) for i in range(length)]
        # The steps from here on are run twice, in a loop the compiler cannot unroll.
        self.loop = int(self.rng.integers(0, 2 * length))

    def _step(self, number: int) -> tuple[str, int, int, int, int]:
        d, a, b, c = (int(n) for n in self.rng.integers(0, self.registers, 4))
        kinds = ["mma", "accumulate", "multiply", "scale", "negate", "mix", "swap", "turn", "load"]
        kind = str(self.rng.choice(kinds, p=[0.3, 0.4, 0.06, 0.04, 0.04, 0.04, 0.04, 0.04, 0.04]))
        if self.wide and self.rng.random() < 0.95:
            kind, d = "accumulate", number % self.registers
        return kind, d, a, b, c

    _MSL: ClassVar[dict[str, str]] = {
        "mma": "simdgroup_multiply_accumulate(r[{d}], x[{a8}], r[{b}], r[{c}]); halve(r[{d}]);",
        "accumulate": "simdgroup_multiply_accumulate(r[{d}], x[{a8}], x[{b8}], r[{d}]);",
        "multiply": "simdgroup_multiply(r[{d}], x[{a8}], r[{b}]);",
        "scale": "pair(r[{d}]) = 0.5f * pair(r[{a}]);",
        "negate": "r[{d}].thread_elements()[1] = -r[{a}].thread_elements()[0];",
        "mix": "pair(r[{d}]) -= 0.5f * pair(r[{a}]);",
        "swap": "pair(r[{d}]) = simd_shuffle_xor(pair(r[{a}]), 1);",
        "turn": "simdgroup_store(r[{a}], shared); simdgroup_barrier(mem_flags::mem_threadgroup); "
        "simdgroup_load(r[{d}], shared, 8, 0, true); "
        "simdgroup_barrier(mem_flags::mem_threadgroup);",
        "load": "simdgroup_load(r[{d}], in + 64 * {a8});",
    }

    def text(self) -> str:
        """The kernel, as MSL."""
        lines = []
        for number, (kind, d, a, b, c) in enumerate(self.steps):
            if number == self.loop:
                lines.append("for (int turn = 0; turn < turns; turn++) {")
            step = self._MSL[kind]
            lines.append(step.format(d=d, a=a, b=b, c=c, a8=a % 8, b8=b % 8))
        if self.loop < len(self.steps):
            lines.append("}")
        body = "\n  ".join(lines)
        count = self.registers
        return f"""
kernel void {self.name}(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                        constant int& turns [[buffer(2)]]) {{
  threadgroup float shared[64];
  M x[8], r[{count}];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) simdgroup_load(x[i], in + 64 * i);
#pragma clang loop unroll(full)
  for (int i = 0; i < {count}; i++) r[i] = x[i % 8];
  {body}
#pragma clang loop unroll(full)
  for (int i = 0; i < {count}; i++) simdgroup_store(r[i], out + 64 * i);
}}
"""

    def run(self, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values in FP64, and a bound of what rounding can move them by."""
        x = given.astype(np.float64)
        r = [x[i % 8].copy() for i in range(self.registers)]
        size = [np.abs(m) for m in r]
        steps = self.steps + self.steps[self.loop :]
        for kind, d, a, b, c in steps:
            left, right = x[a % 8], x[b % 8]
            if kind == "mma":
                r[d] = 0.5 * (left @ r[b] + r[c])
                size[d] = 0.5 * (np.abs(left) @ size[b] + size[c])
            elif kind == "accumulate":
                r[d] = left @ right + r[d]
                size[d] = np.abs(left) @ np.abs(right) + size[d]
            elif kind == "multiply":
                r[d], size[d] = left @ r[b], np.abs(left) @ size[b]
            elif kind == "scale":
                r[d], size[d] = 0.5 * r[a], 0.5 * size[a]
            elif kind == "negate":
                r[d], size[d] = r[d].copy(), size[d].copy()
                r[d][:, 1::2] = -r[a][:, ::2]
                size[d][:, 1::2] = size[a][:, ::2]
            elif kind == "mix":
                r[d], size[d] = r[d] - 0.5 * r[a], size[d] + 0.5 * size[a]
            elif kind == "swap":
                order = [2, 3, 0, 1, 6, 7, 4, 5]
                r[d], size[d] = r[a][:, order], size[a][:, order]
            elif kind == "turn":
                r[d], size[d] = r[a].T.copy(), size[a].T.copy()
            else:
                r[d], size[d] = left.copy(), np.abs(left)
        return np.array(r), np.array(size)
