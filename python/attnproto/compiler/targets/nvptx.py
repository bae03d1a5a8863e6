"""From IR to PTX, the text that NVIDIA's driver compiles."""

from __future__ import annotations

import functools
import json
import threading
import time

import llvmlite.binding as llvm

from attnproto import _core
from attnproto.compiler import object_cache
from attnproto.compiler.codegen import object_archive
from attnproto.compiler.frontend import clang
from attnproto.compiler.frontend.program import (
    arguments,
    check_no_table,
    library_head,
    own_sources,
    ship_heads,
    text_key,
)
from attnproto.compiler.ir.runtime_calls import launch_name
from attnproto.compiler.passes import widen_loads
from attnproto.compiler.passes.place_threadgroup_memory import place_in_shared_memory
from attnproto.compiler.passes.specialize import present_parameters, specialised, table_symbols
from attnproto.compiler.target import Target
from attnproto.compiler.tensor_core import select_products
from attnproto.errors import KernelCompileError

_EXPORTED_VERSION = 1  # kVersion of cpp/cuda/exported.cpp
_HEAD_BYTES = 16  # static threadgroup memory; and which parameters there are
_lock = threading.Lock()
_TRIPLE = "nvptx64-nvidia-cuda"


def gpu_target(architecture: str) -> Target:
    """The target of ``sm_90`` and its like."""
    options = ("-Xclang", "-target-cpu", "-Xclang", architecture,
               "-Xclang", "-target-feature", "-Xclang", "+ptx80",
               "-Xclang", "-cl-ext=+cl_khr_fp16,+cl_khr_fp64,+__opencl_c_fp64")  # fmt: skip
    return Target(_TRIPLE, options)


@functools.cache
def _machine(architecture: str) -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(_TRIPLE).create_target_machine(
        cpu=architecture, features="+ptx80", opt=3
    )


def _optimise(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def assemble(text: str, architecture: str, buffer_alignment: int = 1) -> tuple[str, int]:
    """One kernel's IR to PTX.

    Args:
        text: LLVM IR, not optimised.
        architecture: the GPU's, such as ``sm_90``.
        buffer_alignment: bytes that divide the address of every buffer it will be given.

    Returns:
        The PTX, and the bytes of static threadgroup memory.
    """
    # Buffers of the constant address space are ordinary memory here: too large for the
    # hardware's constant bank.
    text = text.replace("addrspace(4)", "addrspace(1)")
    with _lock:
        machine = _machine(architecture)
        optimised = select_products.lower_products(str(_optimise(text, machine)), buffer_alignment)
        optimised, static_bytes = place_in_shared_memory(optimised)
        optimised = str(_optimise(optimised, machine))
        module = _optimise(widen_loads.widen_reads(optimised), machine)
        return machine.emit_assembly(module), static_bytes


def _with_table(text: str, symbols: list[str]) -> str:
    """A module that tells the host where functions are (cpp/cuda/library.cpp)."""
    if not symbols:
        return text
    addresses = ", ".join(f"ptr @{symbol}" for symbol in symbols)
    return f"{text}\n@attn_table = addrspace(1) constant [{len(symbols)} x ptr] [{addresses}]\n"


class PtxFrontEnd(_core.FrontEnd):
    """Compiles kernels to PTX.

    Args:
        architecture: the GPU's, such as ``sm_90``.
        buffer_alignment: bytes that divide the address of every buffer its kernels are given.
    """

    def __init__(self, architecture: str, buffer_alignment: int = 1):
        super().__init__()
        self._architecture = architecture
        self._buffer_alignment = buffer_alignment

    def functions(self, text: str) -> list[str]:
        """Names of the kernels in a text; raises KernelCompileError naming the line."""
        head = library_head(text, gpu_target(self._architecture))
        return [*head.instances, *head.visible]

    def compile(self, text: str, descriptor: _core.PipelineDescriptor) -> _core.KernelImage:
        """One kernel with its constants fixed."""
        begin = time.perf_counter()
        archive = object_archive.read(descriptor.archive) if descriptor.archive else None
        chosen = gpu_target(self._architecture)
        if archive:
            ship_heads(archive.heads)
        head = library_head(text, chosen)
        number, instance = head.instance(descriptor.function)
        name = self._key(text, descriptor)
        content = archive.objects.get(name) if archive else None
        if content is None and archive and descriptor.fails_on_archive_miss:
            raise KernelCompileError(
                f"[cuda.archive] found no {descriptor.function} with these constants in "
                f"{descriptor.archive}, needs it there; add it and build the archive again"
            )
        if content is None:
            content = object_cache.read(name)
        cached = content is not None
        function_us = 0.0
        if content is None:
            content, function_us = self._build(text, descriptor, name)
        static_bytes, present = (int.from_bytes(content[at : at + 8], "little") for at in (0, 8))
        linked = [(name, place) for place, name in enumerate(descriptor.linked_functions)]
        return _core.KernelImage(
            arguments(head, descriptor.function, present),
            static_bytes,
            instance.max_threads or 1024,
            number,
            content[_HEAD_BYTES:],
            linked,
            (time.perf_counter() - begin) * 1e6,
            function_us,
            cached,
        )

    def save_archive(
        self, texts: list[str], descriptors: list[_core.PipelineDescriptor], path: str
    ) -> None:
        """Write pipelines to a file as machine code, one of each text.

        Raises:
            KernelCompileError: there is nothing to write, no place for it, or the driver refuses.
        """
        if not texts:
            raise KernelCompileError(
                "[cuda.archive] found no pipeline to store, needs at least one; add it first"
            )
        chosen = gpu_target(self._architecture)
        heads, objects = {}, {}
        for text, descriptor in zip(texts, descriptors, strict=True):
            name = self._key(text, descriptor)
            content = object_cache.read(name) or self._build(text, descriptor, name)[0]
            code = _core.assemble_ptx(content[_HEAD_BYTES:].decode())
            objects[name] = content[:_HEAD_BYTES] + code
            for one in (text, *(other for other, _ in descriptor.private_functions)):
                heads[text_key(one, chosen)] = library_head(one, chosen).pack()
        object_archive.write(path, heads, objects)

    def _key(self, text: str, descriptor: _core.PipelineDescriptor) -> str:
        chosen = gpu_target(self._architecture)
        values = library_head(text, chosen).values(descriptor.constants)
        linked = [*descriptor.linked_functions, "private"]
        for other, function in descriptor.private_functions:
            linked += [function, other]
            values |= library_head(other, chosen).values(descriptor.constants, strict=False)
        return object_cache.key(
            "ptx", text, descriptor.function, json.dumps(values, sort_keys=True),
            *linked, *chosen.options, clang.compiler_version(), own_sources(),
            str(self._buffer_alignment),
        )  # fmt: skip

    def _build(
        self, text: str, descriptor: _core.PipelineDescriptor, name: str
    ) -> tuple[bytes, float]:
        """PTX, and the microseconds that went into constants and linking."""
        begin = time.perf_counter()
        chosen = gpu_target(self._architecture)
        module = specialised(text, descriptor, chosen, launch_name)
        function_us = (time.perf_counter() - begin) * 1e6
        table = list(table_symbols(text, descriptor, chosen).values())
        code, static_bytes = assemble(
            _with_table(module, table), self._architecture, self._buffer_alignment
        )
        present = present_parameters(text, descriptor, chosen)
        numbers = b"".join(n.to_bytes(8, "little") for n in (static_bytes, present))
        content = numbers + code.encode()
        object_cache.write(name, content)
        return content, function_us


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
    lines = [("attnproto", _EXPORTED_VERSION), ("function", descriptor.function, *numbers)]
    for one in image.arguments:
        what = "buffer" if one.kind == _core.ArgumentKind.BUFFER else "threadgroup"
        lines.append((what, one.index, one.min_bytes, one.name))
    head = "".join(f"// {' '.join(map(str, fields))}\n" for fields in lines)
    return f"{head}\n".encode() + image.code
