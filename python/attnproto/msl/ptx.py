"""From IR to PTX, the text that NVIDIA's driver compiles."""

from __future__ import annotations

import functools
import json
import re
import threading
import time

import llvmlite.binding as llvm

from .. import _core
from ..errors import KernelCompileError
from . import cache, clang
from .entry import launch_name
from .front_end import arguments
from .library import library_head, own_sources
from .linking import present_parameters, specialised

_lock = threading.Lock()
_TRIPLE = "nvptx64-nvidia-cuda"
_VARIABLE = re.compile(r"@(_Z\d+attn_threadgroup_variableILi(\d+)ELm(\d+)ELm(\d+)EE\w*)\(")
_DYNAMIC = "@attn_dynamic"


def target(architecture: str) -> clang.Target:
    """The target of ``sm_90`` and its like."""
    options = ("-Xclang", "-target-cpu", "-Xclang", architecture,
               "-Xclang", "-target-feature", "-Xclang", "+ptx80",
               "-Xclang", "-cl-ext=+cl_khr_fp16,+cl_khr_fp64,+__opencl_c_fp64")  # fmt: skip
    return clang.Target(_TRIPLE, options)


@functools.cache
def _machine(architecture: str) -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(_TRIPLE).create_target_machine(
        cpu=architecture, features="+ptx80", opt=3
    )


def _in_shared_memory(text: str) -> tuple[str, int]:
    """Threadgroup variables become shared arrays of their own.

    Returns:
        The text, and the bytes of those that optimisation left.
    """
    lines = []
    sizes = {}
    for symbol, _, size, alignment in set(_VARIABLE.findall(text)):
        array = f"@attn_shared_{len(lines)}"
        sizes[symbol] = int(size)
        lines.append(
            f"{array} = internal addrspace(3) global [{size} x i8] undef, "
            f"align {max(16, int(alignment))}"
        )
        text = re.sub(rf"^declare [^\n]*@{symbol}\([^\n]*$", "", text, flags=re.M)
        lines.append(
            f"define internal ptr addrspace(3) @{symbol}() alwaysinline {{ "
            f"ret ptr addrspace(3) {array} }}"
        )
    if "@attn_threadgroup_memory(" in text:
        text = re.sub(r"^declare [^\n]*@attn_threadgroup_memory\([^\n]*$", "", text, flags=re.M)
        lines.append(f"{_DYNAMIC} = external addrspace(3) global [0 x i8], align 16")
        lines.append(
            "define internal ptr addrspace(3) @attn_threadgroup_memory() alwaysinline { "
            f"ret ptr addrspace(3) {_DYNAMIC} }}"
        )
    return text + "\n".join(lines) + "\n", sum(sizes.values())


_QUESTION = re.compile(
    r"= (?:tail )?call [^@\n]*@attn_was_(half|bfloat)\(float (?:noundef )?([^)\s]+)\)[^\n]*"
)
_DEFINITION = re.compile(r'^  (%(?:"[^"]+"|[-\w.$]+)) = (.*)$', re.M)
_WIDENED = re.compile(r"fpext (?:\w+ )*?(?:<\d+ x )?(half|bfloat)\b")


def _answer_widths(text: str) -> str:
    """Answer every ``attn_was_half(x)`` by how ``x`` is made."""

    def in_function(match: re.Match) -> str:
        body = match.group()
        made = dict(_DEFINITION.findall(body))

        def came_from(value: str, kind: str, depth: int = 0) -> bool:
            definition = made.get(value)
            if definition is None or depth > 8:
                return value == "0.000000e+00"
            widened = _WIDENED.match(definition)
            if widened:
                return widened.group(1) == kind
            element = re.match(r"extractelement <\d+ x float> (%\S+),", definition)
            return bool(element) and came_from(element.group(1), kind, depth + 1)

        def answer(question: re.Match) -> str:
            truth = came_from(question.group(2), question.group(1))
            return f"= or i1 {str(truth).lower()}, false"

        return _QUESTION.sub(answer, body)

    return re.sub(r"^define .*?^}", in_function, text, flags=re.M | re.S)


def _optimise(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def assemble(text: str, architecture: str) -> tuple[str, int]:
    """One kernel's IR to PTX.

    Returns:
        The PTX, and the bytes of static threadgroup memory.
    """
    # Buffers of the constant address space are ordinary memory here: too large for the
    # hardware's constant bank.
    text = text.replace("addrspace(4)", "addrspace(1)")
    with _lock:
        machine = _machine(architecture)
        optimised = _answer_widths(str(_optimise(text, machine)))
        optimised, static_bytes = _in_shared_memory(optimised)
        return machine.emit_assembly(_optimise(optimised, machine)), static_bytes


class PtxFrontEnd(_core.FrontEnd):
    """Compiles kernels to PTX.

    Args:
        architecture: the GPU's, such as ``sm_90``.
    """

    def __init__(self, architecture: str):
        super().__init__()
        self._architecture = architecture

    def functions(self, text: str) -> list[str]:
        """Names of the kernels in a text; raises KernelCompileError naming the line."""
        head = library_head(text, target(self._architecture))
        return [*head.instances, *head.visible]

    def compile(self, text: str, descriptor: _core.PipelineDescriptor) -> _core.KernelImage:
        """One kernel with its constants fixed."""
        begin = time.perf_counter()
        chosen = target(self._architecture)
        head = library_head(text, chosen)
        number, instance = head.instance(descriptor.function)
        values = head.values(descriptor.constants)
        if descriptor.linked_functions:
            raise KernelCompileError(
                "[cuda.link] found functions for a table, needs a device that calls indirectly; "
                "link them privately or branch on an argument"
            )
        private = [word for pair in descriptor.private_functions for word in pair]
        name = cache.key(
            "ptx", text, descriptor.function, json.dumps(values, sort_keys=True),
            *private, *chosen.options, clang.compiler_version(), own_sources(),
        )  # fmt: skip
        content = cache.read(name)
        cached = content is not None
        if content is None:
            module = specialised(text, descriptor, chosen, launch_name)
            code, static_bytes = assemble(module, self._architecture)
            content = static_bytes.to_bytes(8, "little") + code.encode()
            cache.write(name, content)
        return _core.KernelImage(
            arguments(head, descriptor.function, present_parameters(text, descriptor, chosen)),
            int.from_bytes(content[:8], "little"),
            instance.max_threads or 1024,
            number,
            content[8:].decode(),
            [],
            (time.perf_counter() - begin) * 1e6,
            0.0,
            cached,
        )
