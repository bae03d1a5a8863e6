"""A device for tests of tuning: kernels run, and what they take is a function of their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np
from attnproto import _core
from attnproto.device import discovery
from attnproto.device.device import Device, Dispatch, Timing
from attnproto.errors import KernelCompileError
from attnproto.measure import peaks, protocol

OPENER = "support.tuned_device:open_device"
_SYNTHETIC = {
    "keys_lane": 1.0, "keys_matrix": 0.9, "keys_staged8": 1.3, "keys_staged16": 1.2,
    "keys_staged32": 1.1, "keys_ahead": 1.25,
    "query_threadgroup": 1.0, "query_registers": 0.95, "query_device": 1.1,
    "rescale_always": 1.2, "rescale_grown": 1.0, "rescale_threshold": 1.01,
}  # fmt: skip


def synthetic_us(name: str) -> float:
    """What a tile takes: least with 16 rows, 64 keys, keys_matrix and query_registers."""
    br, bc, rows = (int(re.search(f"{axis}(\\d+)_", name)[1]) for axis in ("br", "bc", "rows"))
    blocks = (1 + 0.1 * abs(np.log2(br / 16))) * (1 + 0.1 * abs(np.log2(bc / 64)))
    factors = [factor for label, factor in _SYNTHETIC.items() if label in name]
    return float(100.0 * blocks * (1.05 if rows == 16 else 1.0) * np.prod(factors))


class TunedDevice(Device):
    """The Metal double where there is one, else the cpu device, with synthetic times.

    A kernel whose name holds ATTNPROTO_TEST_WRONG writes zeros, and one that holds
    ATTNPROTO_TEST_REFUSED does not compile.
    """

    tier = "measured"
    driver = "synthetic 1"

    def __init__(self, core: _core.Device) -> None:
        super().__init__(core)
        self._noise = np.random.default_rng(1)

    def library(self, text: str, **options: object) -> object:
        """Compile a text, unless it is to be refused."""
        refused = os.environ.get("ATTNPROTO_TEST_REFUSED")
        if refused and refused in text:
            raise KernelCompileError(f"[test] found {refused}, needs another")
        return super().library(text, **options)

    def submit(self, dispatches: Sequence[Dispatch], **options: object) -> Timing:
        """Run dispatches; outputs of a kernel that is to be wrong are zeroed."""
        timing = super().submit(dispatches, **options)
        wrong = os.environ.get("ATTNPROTO_TEST_WRONG")
        for dispatch in dispatches:
            output = dispatch.buffers[3]
            if wrong and wrong in dispatch.pipeline.name and isinstance(output, np.ndarray):
                output[:] = 0
        return timing

    def submit_repeated(
        self, dispatches: Sequence[Dispatch], times: int, *, ahead: int = 0
    ) -> Timing:
        """Run one round, and give what so many would take."""
        names = [dispatch.pipeline.name for dispatch in dispatches]
        super().submit(dispatches)
        noise = 1 + 0.002 * self._noise.standard_normal()
        return Timing(0.0, times * noise * sum(map(synthetic_us, names)))


def open_device(kind: str) -> TunedDevice:
    """Open one, with peaks out of reach and a warm-up of nothing."""
    from attnproto.compiler.targets.host import NativeFrontEnd

    if hasattr(_core, "metal_double"):
        _core.metal_double.use(_core.open_cpu(NativeFrontEnd(), 1))
        kind = "metal"
    else:
        kind = "cpu"
    device = TunedDevice(discovery.open_device(kind)._core)
    peaks._peaks[device] = protocol.Peaks(1e18, 1e18, 1e-9)
    return device
