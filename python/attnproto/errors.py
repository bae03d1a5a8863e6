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


class WrongResult(AttnprotoError):
    """A kernel's output missed its tolerance against the FP64 reference."""


class UnstableMeasurement(AttnprotoError):
    """A time varied too much to be reported."""


class ArchiveRefused(KernelCompileError):
    """An archive is damaged, or was built for another device, system or compiler."""
