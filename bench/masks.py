"""What keeping NaN behind a causal mask costs the flash kernel, in executed instructions.

The kernel is counted as it is and with its masked steps multiplying V as interior steps do,
which neither guards V nor leaves out what no row sees. Mark: at most 2 % more at N=1024.
Counts are derived evidence, the same on every device. Run: python bench/masks.py
"""

from __future__ import annotations

import sys

import numpy as np
from attnproto import Dispatch
from attnproto.device.device import Device
from attnproto.kernels import flash
from attnproto.kernels.flash_variant import Variant
from attnproto.measure import dynamic_counts

N, MOST = 1024, 0.02
CASES = ((64, "float16"), (128, "float16"), (64, "float32"), (128, "float32"))
GUARDED, PLAIN = "if (MASK && causal) {", "if (false) {"


def executed(device: Device, d: int, dtype: str, window: int | None, *, guarded: bool) -> int:
    """Instructions of one launch, summed over its threads."""
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((1, 1, N, d)).astype(dtype) for _ in range(3))
    problem = flash.problem_of(q, k, v, variant=Variant(causal=True, window=window))
    plan = flash.plan(problem)
    text = plan.source.text
    if text.count(GUARDED) != 2:
        sys.exit(f"[masks] found {text.count(GUARDED)} guards in the text, needs 2; name it anew")
    text = text if guarded else text.replace(GUARDED, PLAIN)
    pipeline = device.library(text).pipeline(plan.source.name, plan.constants)
    buffers = plan.buffers(q, k, v, np.empty_like(q))
    counts = dynamic_counts.count(
        device, [Dispatch(pipeline, plan.threadgroups, plan.threads, buffers)]
    )
    return counts.instructions


def main() -> int:
    """Print each case's cost; the exit status is the number of those above the mark."""
    device = dynamic_counts.counting_device()
    above = 0
    for window in (None, 256):
        for d, dtype in CASES:
            plain, guarded = (executed(device, d, dtype, window, guarded=g) for g in (False, True))
            above += guarded > plain * (1 + MOST)
            print(f"{dtype} D{d} window {window}: {plain} to {guarded}, {guarded / plain - 1:+.2%}")
    return above


if __name__ == "__main__":
    sys.exit(main())
