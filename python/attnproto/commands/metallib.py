"""What a metallib holds, and how a kernel of it is launched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attnproto.compiler.air import module
from attnproto.compiler.air.container import Function, Metallib


def listing(file: Path) -> Iterator[str]:
    """A line for each function: name, kind, versions, bytes of bitcode, function constants.

    Raises:
        KernelCompileError: the file is no whole metallib.
    """
    container = Metallib(file)
    yield f"{len(container.functions)} functions in {container.name}"
    for name, one in container.functions.items():
        constants = [f"{c.name}={c.type}({c.index})" for c in container.constants(name)]
        yield "  ".join([name, *_about(one), *constants])


def signature(file: Path, kernel: str) -> Iterator[str]:
    """How one kernel is launched: its arguments, constants, limits and memory.

    Raises:
        KernelCompileError: the file is no whole metallib, or has no such kernel that can be read.
    """
    container = Metallib(file)
    module_read = module.read(container.bitcode(kernel))
    yield "  ".join([kernel, *_about(container.function(kernel))])
    for one in module_read.arguments:
        size = f"  // {one.nbytes} bytes or more" if one.nbytes else ""
        yield f"  {one.declaration}{size}"
    for constant in module_read.constants.values():
        yield f"  constant {constant.type} {constant.name} [[function_constant({constant.index})]]"
    yield f"  threads in a threadgroup: {module_read.max_threads or 'as many as the device allows'}"
    # Each begins at a multiple of 16, as where it is placed.
    nbytes = sum(-(-size // 16) * 16 for size in module_read.threadgroup_bytes.values())
    yield f"  threadgroup variables: {nbytes} bytes at most"
    flushed = (
        "flushed to zero on Apple's GPU, kept here" if module_read.flushes_denormals else "kept"
    )
    yield f"  denormal numbers: {flushed}"
    yield f"  compiled with: {', '.join(module_read.options) or 'no options'}"


def _about(one: Function) -> tuple[str, ...]:
    versions = f"AIR {one.air[0]}.{one.air[1]}", f"MSL {one.language[0]}.{one.language[1]}"
    return one.kind, *versions, f"{one.nbytes} bytes"
