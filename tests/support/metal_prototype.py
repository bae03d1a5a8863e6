"""A prototype on the Metal device, and the software double opened inside a runner's worker."""

from typing import Any

import numpy as np
from attnproto import _core
from attnproto.device import discovery
from attnproto.device.device import Device
from attnproto.prototypes.registry import Outcome, Prototype

TEXT = """
#include <metal_stdlib>
using namespace metal;
kernel void add_one(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] += 1;
}
"""


def open_device(kind: str) -> Device:
    """Open the device; a worker is a fresh process, so the double is given its executor here."""
    from attnproto.compiler.targets.host import NativeFrontEnd

    _core.metal_double.use(_core.open_cpu(NativeFrontEnd(), 1))
    return discovery.open_device(kind)


def run(point: dict[str, Any], device: Device, mode: str) -> Outcome:
    """Add one to 32 zeros, after injecting the point's fault or delay."""
    behaviour = _core.metal_double.behaviour()
    if "fault" in point:
        behaviour.fail_next = point["fault"]
    if point.get("hangs"):
        behaviour.delay_ms = 600_000
    y = np.zeros(32, np.float32)
    device.run(device.library(TEXT).pipeline("add_one"), threadgroups=1, threads=32, buffers={0: y})
    return Outcome("ok" if (y == 1).all() else "wrong", "", {"sum": float(y.sum())})


NAME = "support.metal_prototype:PROTOTYPE"
OPENER = "support.metal_prototype:open_device"
PROTOTYPE = Prototype(NAME, lambda mode: [], run, lambda rows: [], lambda point: "text")
