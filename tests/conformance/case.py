"""A kernel, run and compared with FP64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import attnproto
import ml_dtypes
import numpy as np

from .compilation import constants_of
from .texts import Text


@dataclass(frozen=True)
class Finding:
    """A report of validation that is right.

    Args:
        kind: as the report has it.
        reason: what the kernel does, and why that is wrong.
        unsafe: whether the kernel may harm the process for it, or is ended, and so is run under
            validation only.
    """

    kind: str
    reason: str
    unsafe: bool = False


# The commonest: on Apple's GPUs it seems to hold, and the specification does not promise it.
UNFENCED = Finding(
    "race",
    "threads hand over threadgroup memory at a threadgroup_barrier(mem_flags::mem_none), which "
    "orders execution and no memory; mem_threadgroup would (specification, 6.9.1)",
)
UNWRITTEN = Finding(
    "uninitialised",
    "a simdgroup scans 32 sums where fewer simdgroups wrote one each; what nobody wrote follows "
    "what is used, and changes none of it",
)


@dataclass(frozen=True)
class Case:
    """What a device can be asked to run.

    Args:
        project: whose kernel it is.
        name: of the kernel, with what tells it from others of its kind.
        check: runs it on a device; raises AssertionError where it disagrees with FP64.
        finding: what validation rightly reports; None: nothing.
    """

    project: str
    name: str
    check: Callable[[attnproto.Device], None]
    finding: Finding | None = None


def launch(
    device: attnproto.Device,
    text: Text,
    kernel: str,
    buffers: Mapping[int, object],
    *,
    threadgroups: object,
    threads: object,
    constants: Mapping[str, bool | int | float] | None = None,
    threadgroup_bytes: Mapping[int, int] | None = None,
    grid: object = None,
) -> None:
    """Run a kernel of a text; arrays are bound bit by bit, whatever type the kernel reads.

    Args:
        device: where it runs.
        text: holds the kernel.
        kernel: its name.
        buffers: as for ``Device.run``.
        threadgroups: how many, along up to three axes.
        threads: of each.
        constants: function constants that differ from the text's.
        threadgroup_bytes: as for ``Device.run``.
        grid: threads in all, where the last threadgroups are not full.
    """
    values = constants_of(text) | dict(constants or {})
    device.run(
        device.library(text.text).pipeline(kernel, values),
        threadgroups=threadgroups,
        threads=threads,
        buffers=buffers,
        threadgroup_bytes=threadgroup_bytes,
        grid=grid,
        view=[i for i, one in buffers.items() if isinstance(one, np.ndarray)],
    )


def assert_close(actual: np.ndarray, wanted: np.ndarray, rtol: float, scale: float = 1.0) -> None:
    """Compare with FP64; ``scale`` is the size of what was summed, for the absolute part."""
    np.testing.assert_allclose(
        actual.astype(np.float64),
        np.broadcast_to(wanted, actual.shape),
        rtol=rtol,
        atol=rtol * scale,
    )


# Of an element, by what MSL calls it: numpy's type, and a tolerance for a few roundings.
ELEMENTS = {
    "float": (np.float32, 1e-5),
    "half": (np.float16, 4e-3),
    "bfloat": (ml_dtypes.bfloat16, 3e-2),
}
