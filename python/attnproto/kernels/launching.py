"""What every launcher does: open a device, keep its pipelines, hand it tensors it can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.binding import host_array
from attnproto.device.device import Timing
from attnproto.errors import UnsupportedProblem

if TYPE_CHECKING:
    from attnproto.device.device import Device, Dispatch


def as_arrays(**tensors: object) -> list:
    """Return tensors by name as numpy's, other libraries' where they lie; None as it is.

    Raises:
        UnsupportedProblem: an array has a mask, which conversions would drop without a word.
        DispatchError: an array is another library's, and the host cannot read it.
    """
    for name, tensor in tensors.items():
        if isinstance(tensor, np.ma.MaskedArray):
            raise UnsupportedProblem(
                f"[launch] found a masked array as {name}, whose mask no kernel sees, needs a "
                f"plain one; pass {name}.filled(value)"
            )
    return [
        tensor if isinstance(tensor, np.ndarray) else host_array(tensor, name)
        for name, tensor in tensors.items()
    ]


def as_input(tensor: np.ndarray) -> np.ndarray:
    """Return a read-only tensor the kernels can read: contiguous, and aligned for vector loads."""
    fit = np.require(tensor, requirements="C")
    if fit.ctypes.data % 16:
        fit = fit.copy()
    fit = fit.view()
    fit.flags.writeable = False
    return fit


def submit_in_turn(device: Device, work: Sequence[tuple[Dispatch, float]], budget: float) -> Timing:
    """Submit dispatches in order, in as few submissions as stay within a budget each.

    Kernels that only move tensors need no such care: what fits an M4's memory passes through them
    in less than half a second.

    Args:
        device: an open device.
        work: dispatches with what each costs.
        budget: largest cost of a submission of several dispatches, in the same unit.

    Returns:
        The Timing from the start of the first to the end of the last.
    """
    groups: list[list[Dispatch]] = []
    spent = 0.0
    for dispatch, cost in work:
        if not groups or spent + cost > budget:
            groups.append([])
            spent = 0.0
        groups[-1].append(dispatch)
        spent += cost
    timings = [device.submit(group) for group in groups]
    return Timing(timings[0].gpu_start_us, timings[-1].gpu_end_us)
