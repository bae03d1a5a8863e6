"""What code is made for: a processor, and how clang is told."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass

import llvmlite.binding as llvm

from attnproto.compiler.llvm_lock import alone


@dataclass(frozen=True)
class Target:
    """What the code is for: a triple, and the options that choose the processor.

    ``processor`` is its name in LLVM; empty: this machine's, with what else it has. ``linked``
    code goes into a file that a linker makes; other code is loaded into this process.
    """

    triple: str
    options: tuple[str, ...]
    processor: str = ""
    linked: bool = False


def host_target() -> Target:
    """This machine's processor."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    system = "apple-macosx" if platform.system() == "Darwin" else "unknown-linux-gnu"
    return processor_target(machine, system)


def processor_target(machine: str, system: str, processor: str = "") -> Target:
    """A processor by LLVM's names: ``x86_64`` or ``aarch64``, and of which kind."""
    option = "-mcpu=" if machine == "aarch64" else "-march="
    option += processor or "native"
    # Distinct address spaces in the IR, which processors do not have: device, constant and
    # threadgroup memory do not alias, and an access can be told from another.
    extra = ("-Xclang", "-ffake-address-space-map")
    if machine == "aarch64":
        # Its back end lists no OpenCL features of its own. Double is for the library's own steps.
        extensions = (
            "+__opencl_c_generic_address_space,+cl_khr_fp16,+cl_khr_fp64,+__opencl_c_fp64,"
            "+__cl_clang_function_pointers"
        )
        extra += ("-Xclang", f"-cl-ext={extensions}")
    return Target(f"{machine}-{system}", (option, *extra), processor)


def processor_name(target: Target) -> str:
    """Name of the processor that code is for, part of what compiled code depends on."""
    return target.processor or _processor_here()[0]


def fuses(target: Target) -> bool:
    """Whether the processor multiplies and adds in one operation; one with a name is taken to."""
    arm = target.triple.startswith("aarch64")
    return arm or bool(target.processor) or _processor_here()[1]


@functools.cache
@alone
def _processor_here() -> tuple[str, bool]:
    """Name of this machine's processor, and whether it fuses."""
    return llvm.get_host_cpu_name(), bool(llvm.get_host_cpu_features().get("fma", False))
