"""A prototype of one's own: a question, its points, a verdict on each, and what follows from them.

docs/adding-a-prototype.md explains the parts. From a shell, in this folder:
PYTHONPATH=. attnproto run --only 12_own_prototype:PROTOTYPE --quick
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from attnproto.commands.run import run_plan
from attnproto.device.pipelines import KernelSource, pipeline
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype
from attnproto.prototypes.rows import concluding, keys, right, several, worst
from attnproto.results.findings import Effect, Evidence
from attnproto.sweep.plan import make_plan

SOURCE = KernelSource("powers", """
#include <metal_stdlib>
using namespace metal;
kernel void powers(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                   constant bool& fast [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = fast ? fast::exp2(x[i]) : precise::exp2(x[i]);
}
""")  # fmt: skip


def points(mode):
    """List what is tried: two functions."""
    return [{"kind": "powers", "fast": fast} for fast in (False, True)]


def run(point, device, mode):
    """Judge one function over 4096 numbers against FP64."""
    x = np.linspace(-20, 0, 4096, dtype=np.float32)
    y = np.full_like(x, np.nan)
    buffers = {0: x, 1: y, 2: np.bool_(point["fast"])}
    device.run(pipeline(device, SOURCE), threadgroups=16, threads=256, buffers=buffers)
    error = float(np.abs(y / np.exp2(x.astype(np.float64)) - 1).max())
    reason = "" if error < 1e-5 else f"off by {error:.1e}"
    return Outcome(WRONG if reason else OK, reason, {"max_abs_error": error})


def accuracy(case):
    """The finding: the larger of both errors."""
    rows = case.of("powers")
    if not right(rows):
        return []
    error = worst(rows, "max_abs_error")
    evidence = Evidence(
        kind="accuracy", compared="exp2 of a kernel with FP64", regime=several(rows, "fast"),
        overturned_by="a number between -20 and 0 with a larger error", rows=keys(rows),
        n=len(rows), effect=Effect(name="largest relative error", value=error, unit=""),
    )  # fmt: skip
    return [
        case.finding(
            domain="msl-kernels", topic="exp2", tags=["exp2"], evidence=evidence,
            title=f"Powers of two are within {error:.1e} of FP64, fast or precise",
            content="What a softmax needs, by the two functions that MSL has for it.",
        )
    ]  # fmt: skip


PROTOTYPE = Prototype("12_own_prototype:PROTOTYPE", points, run, concluding(accuracy))


if __name__ == "__main__":
    here = str(Path(__file__).parent)
    sys.path.insert(0, here)
    os.environ["PYTHONPATH"] = here  # workers are processes of their own
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        plan = make_plan(mode="quick", device="cpu", only=(PROTOTYPE.name,), out=out)
        done = run_plan(plan)
        assert (done.rows, done.not_ok, len(done.findings)) == (2, 0, 1)
        print(sorted(path.name for path in out.iterdir()))
