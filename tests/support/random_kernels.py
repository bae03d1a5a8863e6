"""Kernels made at random, of what lanes can do apart and together.

A lane reads no other lane's value but by operations on the active lanes, so what a kernel
computes does not depend on how lanes are run.
"""

from __future__ import annotations

import random

FLOATS, WHOLES = ("f0", "f1", "f2"), ("i0", "i1", "i2")


class Maker:
    """Writes one kernel's body."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self._loops = 0

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def real(self) -> str:
        a, b = self._pick(*FLOATS), self._pick(*FLOATS)
        return self._pick(
            f"{a} * 0.5f + {b}", f"fma({a}, 0.25f, {b})", f"min({a}, {b})", f"abs({a}) - {b}",
            f"select({a}, {b}, {self.test()})", f"float({self._pick(*WHOLES)} & 31)",
            f"in[({self._pick(*WHOLES)} + lane) & 63]", "float(half(f0) * half(0.5h))",
            f"float4({a}, {b}, 1.0f, 2.0f)[{self._pick(*WHOLES)} & 3]",
            f"table[{self._pick(*WHOLES)} & 7]", f"{a} / (1.0f + {b} * {b})", "sqrt(abs(f1))",
        )  # fmt: skip

    def integer(self) -> str:
        a, b = self._pick(*WHOLES), self._pick(*WHOLES)
        return self._pick(
            f"{a} * 3 + {b}", f"{a} ^ ({b} << 1)", f"{a} % 7 + lane", f"{a} / 3",
            f"popcount({a})", f"int(clamp({self._pick(*FLOATS)}, -99.0f, 99.0f))",
            f"max({a}, {b})", f"int(ushort({a}) >> 2)", f"clz({a}) + int(char({b}))",
        )  # fmt: skip

    def together(self) -> str:
        """What the active lanes compute together."""
        f, i = self._pick(*FLOATS), self._pick(*WHOLES)
        return self._pick(
            f"{f} = simd_sum({f}) * 0.03f;", f"{f} = simd_max({f});",
            f"{i} = simd_prefix_inclusive_sum({i});", f"{i} = simd_prefix_exclusive_sum({i} & 15);",
            f"{i} = int(ulong(simd_ballot({self.test()})) & 0xffff);",
            f"{f} = simd_broadcast_first({f});", f"{i} += simd_all({self.test()}) ? 1 : 2;",
            f"{i} = simd_xor({i});", f"{f} = simd_min({f}) + {f};",
            f"atomic_fetch_add_explicit(&total[{i} & 7], {i} & 255, memory_order_relaxed);",
            f"atomic_fetch_max_explicit(&total[8 + ({i} & 7)], {i} & 255, memory_order_relaxed);",
        )  # fmt: skip

    def test(self) -> str:
        return self._pick(
            f"{self._pick(*FLOATS)} > 0.3f", f"({self._pick(*WHOLES)} & 3) == 1", "lane < 11",
            f"{self._pick(*WHOLES)} > {self._pick(*WHOLES)}", "n > 2", "(lane & 5) != 0",
        )  # fmt: skip

    def statements(self, depth: int, in_loop: bool = False) -> str:
        return "".join(self.statement(depth, in_loop) for _ in range(self._random.randint(2, 4)))

    def statement(self, depth: int, in_loop: bool) -> str:
        kind = self._random.randint(0, 11 if depth else 6)
        if kind < 2:
            return f"{self._pick(*FLOATS)} = {self.real()};\n"
        if kind < 4:
            return f"{self._pick(*WHOLES)} = {self.integer()};\n"
        if kind == 4:
            return f"table[{self._pick(*WHOLES)} & 7] = {self.real()};\n"
        if kind < 7:
            return self.together() + "\n"
        inside = self.statements(depth - 1, in_loop)
        if kind == 7:
            return f"if ({self.test()}) {{\n{inside}}}\n"
        if kind == 8:
            return f"if ({self.test()}) {{\n{inside}}} else {{\n{self.statements(depth - 1)}}}\n"
        if kind == 9:
            cases = "".join(
                f"case {k}: {self.statements(depth - 1)}{self._pick('break;', '')}\n"
                for k in range(3)
            )
            return f"switch ({self._pick(*WHOLES)} & 3) {{\n{cases}default: {inside}}}\n"
        if kind == 10 and self._random.random() < 0.3:
            return f"if ({self.test()} && (lane & 8)) {{ {inside} write(); return; }}\n"
        self._loops += 1
        count = self._pick("n", "n + int(lane & 3)", "(i0 & 3) + 1", "int(lane) % 5")
        out = self._pick("break", "continue")
        leave = f"if ({self.test()}) {out};\n" if self._random.random() < 0.5 else ""
        k = f"k{self._loops}"
        return f"for (int {k} = 0; {k} < {count}; {k}++) {{\n{inside}{leave}f0 += 0.5f;\n}}\n"


def kernel(seed: int) -> str:
    """A kernel ``random_<seed>`` of float in[64], out[threads][14], int total[16] and n."""
    body = Maker(seed).statements(3).replace("write();", WRITE)
    return (
        f"kernel void random_{seed}(device const float* in [[buffer(0)]],\n"
        "    device float* out [[buffer(1)]], device atomic_int* total [[buffer(2)]],\n"
        "    constant int& n [[buffer(3)]], uint lane [[thread_index_in_simdgroup]],\n"
        "    uint at [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]],\n"
        "    uint size [[threads_per_threadgroup]]) {\n"
        "  threadgroup float shared[128];\n"
        "  float f0 = in[at & 63], f1 = in[(at * 7) & 63], f2 = float(lane) * 0.1f;\n"
        "  int i0 = int(at), i1 = int(lane * lane) & 63, i2 = n;\n"
        "  float table[8];\n"
        "  for (int k = 0; k < 8; k++) table[k] = f0 * float(k);\n"
        "  shared[t] = f0;\n"
        "  threadgroup_barrier(mem_flags::mem_threadgroup);\n"
        "  f1 += shared[(t + 9) % size] + simd_shuffle_xor(f0, 5);\n"
        "  f1 += simd_shuffle(f2, ushort(i1 & 7));\n"
        f"{body}{WRITE}}}\n"
    )


WRITE = (
    "out[at * 14] = f0; out[at * 14 + 1] = f1; out[at * 14 + 2] = f2;\n"
    "out[at * 14 + 3] = as_type<float>(i0); out[at * 14 + 4] = as_type<float>(i1);\n"
    "out[at * 14 + 5] = as_type<float>(i2);\n"
    "for (int k = 0; k < 8; k++) out[at * 14 + 6 + k] = table[k];\n"
)
