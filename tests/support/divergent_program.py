"""A random kernel whose lanes diverge, and what lockstep makes of it."""

from __future__ import annotations

from collections import Counter

import numpy as np

LANE = np.arange(32)
LANES = "uint lane [[thread_index_in_simdgroup]]"


class Divergent:
    """A random kernel of branches and loops that lanes take differently, and its lockstep run.

    The interpreter does what a SIMD machine does: a statement is executed for a mask of lanes,
    a branch for either part of it, a loop until none of its lanes are left.
    """

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.name = f"divergent_{seed}"
        self.loops = 0
        self.body = self.block(3, in_loop=False)

    def block(self, depth, in_loop):
        return [self.statement(depth, in_loop) for _ in range(self.rng.integers(1, 4))]

    def condition(self):
        m = int(self.rng.integers(2, 6))
        return m, int(self.rng.integers(0, m)), int(self.rng.integers(0, 3))

    def statement(self, depth, in_loop):
        kinds = ["sum", "ballot", "first", "mix"] + ["if", "if", "else", "for"] * (depth > 0)
        kinds += ["continue", "break"] * in_loop
        kind = str(self.rng.choice(kinds))
        if kind == "if":
            return kind, self.condition(), self.block(depth - 1, in_loop)
        if kind == "else":
            blocks = self.block(depth - 1, in_loop), self.block(depth - 1, in_loop)
            return kind, self.condition(), *blocks
        if kind == "for":
            self.loops += 1
            number = self.loops
            return kind, self.condition(), number, self.block(depth - 1, True)
        if kind in ("continue", "break"):
            return kind, self.condition()
        return (kind, int(self.rng.integers(1, 1000)))

    def text(self) -> str:
        """The kernel, as MSL."""

        def condition(c):
            return f"(lane * {c[2]} + uint(x) + {c[1]}) % {c[0]} == 0"

        def lines(block):
            return " ".join(line(*statement) for statement in block)

        def line(kind, what, *rest):
            if kind == "sum":
                return f"x = x * 3 + simd_sum(x & 1023) + {what};\n"
            if kind == "ballot":
                return f"x ^= uint(ulong(simd_vote::vote_t(simd_ballot(x & 1)))) + {what};\n"
            if kind == "first":
                return f"x += simd_broadcast_first(x) * {what} + (simd_is_first() ? 1 : 0);\n"
            if kind == "mix":
                return f"x = x * 5 + lane * {what};\n"
            if kind == "if":
                return f"if ({condition(what)}) {{ {lines(rest[0])} }}\n"
            if kind == "else":
                return (
                    f"if ({condition(what)}) {{ {lines(rest[0])} }} else {{ {lines(rest[1])} }}\n"
                )
            if kind == "for":
                k = f"k{rest[0]}"
                most = f"uint(n) + (lane + {what[1]}) % {what[0]}"
                return f"for (uint {k} = 0; {k} < {most}; {k}++) {{ {lines(rest[1])} }}\n"
            return f"if ({condition(what)}) {kind};\n"

        return (
            f"kernel void {self.name}(device uint* out [[buffer(0)]], constant int& n "
            f"[[buffer(1)]], {LANES}) {{\nuint x = lane * 77 + 5;\n{lines(self.body)}"
            "out[lane] = x; out[32 + lane] = simd_sum(1u); }\n"
        )

    def run(self, n: int) -> np.ndarray:
        """What each lane holds at the end; `executed` counts lanes by kind of statement."""
        self.executed = Counter()
        x = LANE.astype(np.uint32) * np.uint32(77) + np.uint32(5)
        u = np.uint32

        def condition(c):
            return (LANE.astype(u) * u(c[2]) + x + u(c[1])) % u(c[0]) == 0

        def execute(block, mask):
            """Lanes that reach the end of the block, and those that broke out of the loop."""
            nonlocal x
            broke = np.zeros(32, bool)
            skipped = np.zeros(32, bool)
            for kind, what, *rest in block:
                if not mask.any():
                    break
                self.executed[kind] += int(mask.sum())
                if kind == "sum":
                    x = np.where(mask, x * u(3) + (x[mask] & u(1023)).sum(dtype=u) + u(what), x)
                elif kind == "ballot":
                    votes = sum(1 << int(i) for i in LANE[mask & (x % 2 == 1)])
                    x = np.where(mask, x ^ u((votes + what) & 0xFFFFFFFF), x)
                elif kind == "first":
                    first = LANE[mask][0]
                    x = np.where(mask, x + x[first] * u(what) + (first == LANE).astype(u), x)
                elif kind == "mix":
                    x = np.where(mask, x * u(5) + LANE.astype(u) * u(what), x)
                elif kind in ("if", "else"):
                    taken = condition(what)
                    ends = np.zeros(32, bool)
                    for part, lanes in zip(rest, (mask & taken, mask & ~taken), strict=False):
                        end, b, s = execute(part, lanes)
                        ends, broke, skipped = ends | end, broke | b, skipped | s
                    mask = ends | (mask & ~taken if kind == "if" else ends)
                elif kind == "for":
                    most = n + (LANE + what[1]) % what[0]
                    inside, turn = mask & (most > 0), 0
                    while inside.any():
                        end, b, s = execute(rest[1], inside)
                        turn += 1
                        inside = (end | s) & (most > turn)
                else:
                    leave = mask & condition(what)
                    if kind == "break":
                        broke |= leave
                    else:
                        skipped |= leave
                    mask = mask & ~leave
            return mask, broke, skipped

        with np.errstate(over="ignore"):
            execute(self.body, np.ones(32, bool))
        return x
