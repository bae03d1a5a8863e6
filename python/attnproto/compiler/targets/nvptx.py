"""From IR to PTX, the text that NVIDIA's driver compiles."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

import llvmlite.binding as llvm

from attnproto import _core
from attnproto.compiler.frontend.program import arguments, check_no_table
from attnproto.compiler.frontend.request import Request
from attnproto.compiler.ir.llvm import initialise, run_pipeline
from attnproto.compiler.ir.runtime_calls import launch_name
from attnproto.compiler.llvm_lock import alone
from attnproto.compiler.pass_manager import Kernel, Pass, PassManager, on_text, reported
from attnproto.compiler.passes import limit_registers, widen_loads
from attnproto.compiler.passes.place_threadgroup_memory import place_in_shared_memory
from attnproto.compiler.passes.specialize import present_parameters, specialised
from attnproto.compiler.target import Target
from attnproto.compiler.tensor_core import select_products

from .driver import Code, Driver

_HEAD_BYTES = 16  # static threadgroup memory; and which parameters there are
_TRIPLE = "nvptx64-nvidia-cuda"
Registers = Literal["rule"] | int | None
_CONSTANT_SPACE = re.compile(r"addrspace\(4\)")


def gpu_target(architecture: str) -> Target:
    """The target of ``sm_90`` and its like."""
    options = ("-Xclang", "-target-cpu", "-Xclang", architecture,
               "-Xclang", "-target-feature", "-Xclang", "+ptx80",
               "-Xclang", "-cl-ext=+cl_khr_fp16,+cl_khr_fp64,+__opencl_c_fp64")  # fmt: skip
    return Target(_TRIPLE, options)


@functools.cache
def _machine(architecture: str) -> llvm.TargetMachine:
    initialise()  # its options hold for all targets, whichever is asked first
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(_TRIPLE).create_target_machine(
        cpu=architecture, features="+ptx80", opt=3
    )


@alone
def _assembly(text: str, architecture: str) -> str:
    return _machine(architecture).emit_assembly(llvm.parse_assembly(text))


@dataclass(frozen=True)
class NvptxOptions:
    """What decides a kernel's PTX besides the request.

    Attributes:
        architecture: the GPU's.
        buffer_alignment: bytes that divide the address of every buffer it will be given.
        registers: the most that a thread may have: a number, by the ``rule`` of
            passes/limit_registers.py, or None: what NVIDIA's assembler chooses.
    """

    architecture: str
    buffer_alignment: int = 1
    registers: Registers = "rule"


@alone
def _optimize(kernel: Kernel) -> str:
    return str(run_pipeline(kernel.text, _machine(kernel.request.options.architecture), 3))


def _add_function_table(kernel: Kernel) -> str:
    """A module that tells the host where functions are (cpp/cuda/library.cpp)."""
    symbols = kernel.request.table.values()
    addresses = ", ".join(f"ptr @{symbol}" for symbol in symbols)
    table = f"@attn_table = addrspace(1) constant [{len(symbols)} x ptr] [{addresses}]"
    return f"{kernel.text}\n{table}\n"


def constants_in_device_memory(text: str) -> str:
    """Put memory of the constant address space among ordinary memory.

    Buffers of it are too large for the hardware's constant bank. What stands in quotes is a name
    or a string and stays.
    """

    def replaced(space: re.Match[str]) -> str:
        line = text.rfind("\n", 0, space.start()) + 1
        quoted = text.count('"', line, space.start()) % 2
        return space[0] if quoted else "addrspace(1)"

    return _CONSTANT_SPACE.sub(replaced, text)


def _select_products(kernel: Kernel) -> str:
    alignment = kernel.request.options.buffer_alignment
    return select_products.lower_products(kernel.text, alignment)


def _place_shared_memory(kernel: Kernel) -> str:
    text, kernel.static_bytes = place_in_shared_memory(kernel.text)
    return text


def _limit_registers(kernel: Kernel) -> str:
    most, text = kernel.request.options.registers, kernel.text
    if most == "rule":
        limits = limit_registers.by_rule(text, kernel.request.instance.max_threads)
    else:
        limits = limit_registers.Limits(most)
    return limit_registers.limit_registers(text, limits)


# Each of our passes leaves work behind, and finds more after LLVM did it.
NVPTX = [
    Pass("specialize", lambda k: specialised(k.request, launch_name)),
    Pass("add_function_table", _add_function_table, when=lambda k: bool(k.request.table)),
    Pass("constants_in_device_memory", on_text(constants_in_device_memory)),
    Pass("optimize", _optimize),
    Pass("select_products", _select_products),
    Pass("place_shared_memory", _place_shared_memory),
    Pass("optimize_products", _optimize),
    Pass("widen_loads", on_text(widen_loads.widen_reads)),
    Pass("limit_registers", _limit_registers),
    Pass("optimize_loads", _optimize),
]


class PtxFrontEnd(Driver):
    """Compiles kernels to PTX.

    Args:
        architecture: the GPU's, such as ``sm_90``.
        buffer_alignment: bytes that divide the address of every buffer its kernels are given.
        registers: as in ``NvptxOptions``.
    """

    device = "cuda"
    lists = (NVPTX,)

    def __init__(self, architecture: str, buffer_alignment: int = 1, registers: Registers = "rule"):
        options = NvptxOptions(architecture, buffer_alignment, registers)
        super().__init__(gpu_target(architecture), options)

    def lower(self, request: Request, passes: PassManager) -> Kernel:
        """Take a kernel through all passes."""
        kernel = Kernel(request)
        passes.run(NVPTX, kernel)
        return kernel

    def assembly(self, kernel: Kernel) -> str:
        """The PTX of a kernel that has gone through all passes."""
        with reported("codegen", kernel.request.function):
            return _assembly(kernel.text, self.options.architecture)

    def build(self, request: Request, passes: PassManager) -> bytes:
        """PTX, behind bytes of static threadgroup memory and which parameters there are."""
        kernel = self.lower(request, passes)
        code = self.assembly(kernel)
        with reported("codegen", request.function):
            present = present_parameters(request)
        numbers = b"".join(n.to_bytes(8, "little") for n in (kernel.static_bytes, present))
        return numbers + code.encode()

    def image(self, request: Request, code: Code) -> _core.KernelImage:
        """The kernel's PTX or machine code, as the driver is given it."""
        content = code.content
        static_bytes, present = (int.from_bytes(content[at : at + 8], "little") for at in (0, 8))
        return _core.KernelImage(
            arguments(request.head, request.function, present),
            static_bytes,
            request.instance.max_threads or _core.MAX_THREADS,
            request.number,
            content[_HEAD_BYTES:],
            [(name, place) for place, name in enumerate(request.table)],
            *code.spent(),
        )

    def stored(self, contents: list[tuple[Request, bytes]]) -> dict[str, bytes]:
        """Machine code; raises KernelCompileError where the driver refuses the PTX."""
        codes = _core.assemble_ptx([content[_HEAD_BYTES:].decode() for _, content in contents])
        return {
            request.key: content[:_HEAD_BYTES] + code
            for (request, content), code in zip(contents, codes, strict=True)
        }


def exported(text: str, descriptor: _core.PipelineDescriptor, architecture: str) -> bytes:
    """Compile one kernel for ``attnproto_load`` on a cuda device.

    Comments in front of the PTX say what the host must know: the function, its number, bytes of
    static threadgroup memory and most threads; then each argument's index, least bytes and name.

    Args:
        text: MSL.
        descriptor: kernel, constants and privately linked functions.
        architecture: the GPU's, such as ``sm_90``; later ones run the code too.

    Returns:
        The file's content.

    Raises:
        KernelCompileError: the text is not valid, or the kernel calls through a function table.
        DeviceUnavailable: there is no compiler.
    """
    image = PtxFrontEnd(architecture, _core.CUDA_BUFFER_ALIGNMENT).compile(text, descriptor)
    check_no_table(descriptor.function, image.arguments)
    numbers = image.entry_address, image.static_threadgroup_bytes, image.max_threads
    lines = [("attnproto", _core.EXPORTED_PTX_VERSION), ("function", descriptor.function, *numbers)]
    for one in image.arguments:
        what = "buffer" if one.kind == _core.ArgumentKind.BUFFER else "threadgroup"
        lines.append((what, one.index, one.min_bytes, one.name))
    head = "".join(f"// {' '.join(map(str, fields))}\n" for fields in lines)
    return f"{head}\n".encode() + image.code
