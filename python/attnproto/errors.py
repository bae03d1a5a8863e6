"""The errors attnproto raises on purpose.

Every message reads ``[where] found X, needs Y; cure``.
"""

from __future__ import annotations


class AttnprotoError(Exception):
    """Base of every error below."""


class UnsupportedProblem(AttnprotoError, ValueError):
    """The inputs or the geometry are not something this kernel can compute."""


class KernelCompileError(AttnprotoError):
    """The kernel text, its name or its function constants were refused."""


class DispatchError(AttnprotoError):
    """A dispatch broke a rule of the device, or the kernel faulted while running."""


class DeviceUnavailable(AttnprotoError):
    """The device asked for is not on this machine."""


class GpuFault(DispatchError):
    """Kernels that were submitted did not complete; the next dispatch may.

    Attributes:
        code: Metal's command buffer error code.
        kernels: the kernel at fault where Metal names it, else all that were submitted.
    """

    code: int = 0
    kernels: str = ""


class GpuTimeout(GpuFault):
    """The GPU's watchdog ended a kernel that took too long."""


class GpuPageFault(GpuFault):
    """A kernel touched memory outside its buffers."""


class GpuOutOfMemory(GpuFault):
    """There was no memory for what the kernels use."""


class DeviceLost(GpuFault, DeviceUnavailable):
    """The GPU went away while kernels ran; only a new process can open it again."""


# Which class a command buffer error code has; every other is a plain GpuFault.
FAULTS = {2: GpuTimeout, 3: GpuPageFault, 8: GpuOutOfMemory, 11: DeviceLost}


class WrongResult(AttnprotoError):
    """A kernel's output missed its tolerance against the FP64 reference."""


class UnstableMeasurement(AttnprotoError):
    """A time varied too much to be reported."""


class ArchiveRefused(KernelCompileError):
    """An archive is damaged, or was built for another device, system or compiler."""
