"""What a kernel's text becomes in a compiler: static counts, by one compiler for all kernels.

clang's IR is counted everywhere. Where there is ptxas, so are registers and instructions for an
NVIDIA GPU; on a Mac with Xcode, Apple's AIR; there with the package metal-profiler, the machine
code of its GPU. A count says nothing about time.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attnproto.device.library import Constants, describe, plain
from attnproto.errors import DeviceUnavailable

NVIDIA_ARCHITECTURE = "sm_90"
_BODY = re.compile(r"^define [^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(r"^  +(?!;|!)\S", re.MULTILINE)
_SASS = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+([^;]*);", re.MULTILINE)
_USED = re.compile(r"Used (\d+) registers")
_SPILLED = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_CONSTANT = re.compile(r"\bconstant (\w+) (\w+) \[\[function_constant\((\d+)\)\]\];")
_CONDITION = re.compile(r",\s*function_constant\(\w+\)")


def counts(text: str, function: str, constants: Constants | None = None) -> dict[str, Any]:
    """Count a kernel's instructions in every compiler that this machine has.

    Args:
        text: MSL.
        function: The kernel.
        constants: Its function constants, by name.

    Returns:
        Counts by name: ``ir_`` clang's, ``ptx_`` and ``sass_`` NVIDIA's, ``air_`` and ``agx_``
        Apple's. ``not_counted`` says what is missing and why.

    Raises:
        KernelCompileError: The text is not valid MSL.
    """
    counted = clang_counts(text, function, constants)
    missing = []
    ways: tuple[Callable[..., Mapping[str, Any]], ...] = (nvidia_counts, air_counts, agx_counts)
    for way in ways:
        try:
            counted |= way(text, function, constants)
        except DeviceUnavailable as error:
            missing.append(str(error))
    return counted | {"not_counted": missing}


def clang_counts(text: str, function: str, constants: Constants | None = None) -> dict[str, int]:
    """Count in clang's optimised IR for this host, where a matrix operation is one call."""
    from attnproto.compiler.ir import llvm
    from attnproto.compiler.targets.host import NativeFrontEnd

    described = describe(function, constants, distinct_buffers=True)
    ir = NativeFrontEnd().optimised_ir(text, described)
    code = "\n".join(_BODY.findall(ir))
    return {
        "ir_instructions": len(_INSTRUCTION.findall(code)),
        "ir_matrix_operations": code.count("@attn_matrix_multiply_accumulate_"),
        "ir_threadgroup_barriers": code.count("@attn_threadgroup_barrier("),
        "ir_simdgroup_barriers": code.count("@attn_simdgroup_barrier("),
        # Local memory of a lane: what does not fit registers, or is indexed at run time.
        "ir_frame_bytes": llvm.frame_bytes(ir),
    }


def nvidia_counts(text: str, function: str, constants: Constants | None = None) -> dict[str, Any]:
    """Compile to PTX and count what ptxas makes of it.

    Raises:
        DeviceUnavailable: no ptxas, or no nvdisasm, or it refuses the code.
    """
    from attnproto.compiler.ir.runtime_calls import launch_name
    from attnproto.compiler.targets.nvptx import PtxFrontEnd

    ptxas, nvdisasm = nvidia_tool("ptxas"), nvidia_tool("nvdisasm")
    image = PtxFrontEnd(NVIDIA_ARCHITECTURE).compile(text, describe(function, constants))
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_bytes(image.code)
        # Not the kernel's second code, for launches that fill multiprocessors.
        entry = ["-e", launch_name(image.entry_address)]
        said = _run([ptxas, "-v", f"-arch={NVIDIA_ARCHITECTURE}", *entry, source, "-o", binary])
        listing = _run([nvdisasm, "-c", binary])
    instructions = [line.split() for line in _SASS.findall(listing)]
    # A predicate stands before its instruction.
    names = [words[1] if words[0].startswith("@") else words[0] for words in instructions]
    return {
        "ptx_registers": int(_USED.search(said)[1]),
        "ptx_spill_bytes": sum(map(int, _SPILLED.search(said).groups())),
        "sass_instructions": sum(name != "NOP" for name in names),
        "sass_matrix_operations": sum(name.startswith("HMMA") for name in names),
        "sass_barriers": sum(name.startswith("BAR") for name in names),
        "ptxas": _version(ptxas),
    }


def air_counts(text: str, function: str, constants: Constants | None = None) -> dict[str, Any]:
    """Compile with Apple's offline compiler and count in its AIR.

    Raises:
        DeviceUnavailable: no such compiler here, or it refuses the text.
    """
    xcrun = shutil.which("xcrun")
    if xcrun is None:
        raise DeviceUnavailable("[static.air] found no xcrun, needs Xcode on a Mac")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.metal"
        source.write_text(with_constants(text, constants))
        ir = _run([xcrun, "metal", "-std=metal3.1", "-O2", "-S", source, "-o", "-"])
    bodies = re.findall(
        rf"^define [^\n]*@{re.escape(function)}\([^\n]*\{{\n(.*?)^\}}", ir, re.M | re.S
    )
    if not bodies:
        raise DeviceUnavailable(f"[static.air] found no {function} in the AIR, needs it there")
    return {
        "air_instructions": len(_INSTRUCTION.findall(bodies[0])),
        "air_matrix_operations": bodies[0].count("simdgroup_matrix_8x8_multiply_accumulate"),
        "air_barriers": bodies[0].count("@air.wg.barrier("),
    }


def agx_counts(text: str, function: str, constants: Constants | None = None) -> dict[str, Any]:
    """Count in the machine code of this Mac's GPU, as metal-profiler disassembles it.

    Raises:
        DeviceUnavailable: the package is not there, or cannot read the code.
    """
    if shutil.which("xcrun") is None or importlib.util.find_spec("metal_profiler") is None:
        raise DeviceUnavailable(
            "[static.agx] found no metal-profiler or no xcrun, needs both on a Mac; "
            "pip install metal-profiler"
        )
    import metal_profiler

    try:
        source = with_constants(text, constants)
        _, listing = metal_profiler.profile_metal_source(source, function)
        result = metal_profiler.analyze(metal_profiler.parse_disassembly(listing))
    except Exception as error:
        raise DeviceUnavailable(f"[static.agx] found metal-profiler failing: {error}") from error
    return {
        "agx_instructions": int(result.total_instructions),
        "agx_live_registers": int(result.max_live_gprs),
        "agx_max_threads": int(result.max_threads),
    }


def with_constants(text: str, constants: Constants | None) -> str:
    """Write function constants into a text, for compilers that cannot be given them.

    Args:
        text: MSL.
        constants: By name or number; those not given stay as they are.

    Returns:
        The text, in which the given ones are ordinary constants and conditional arguments are
        always there.
    """
    given = {str(key): plain(value) for key, value in (constants or {}).items()}
    if not given:
        return text

    def fixed(match: re.Match[str]) -> str:
        kind, name, number = match.groups()
        value = given.get(name, given.get(number))
        if value is None:
            return match[0]
        elements = ", ".join(map(_spelled, value)) if isinstance(value, list) else ""
        return f"constant {kind} {name} = {f'{kind}({elements})' if elements else _spelled(value)};"

    return _CONDITION.sub("", _CONSTANT.sub(fixed, text))


def _spelled(number: bool | int | float) -> str:
    return str(number).lower()


@functools.cache
def nvidia_tool(name: str) -> str:
    """A tool on the path, or one of NVIDIA's packages for Python."""
    path = shutil.which(name)
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations or () if spec and not path else ():
        for tool in Path(place).glob(f"*/bin/{name}"):
            tool.chmod(tool.stat().st_mode | 0o111)
            path = str(tool)
    if path is None:
        raise DeviceUnavailable(
            f"[static.nvidia] found no {name}, needs it; pip install 'attnproto[sass]'"
        )
    return path


@functools.cache
def _version(tool: str) -> str:
    said = re.search(r"V([\d.]+)", _run([tool, "--version"]))
    return said[1] if said else "unknown"


def _run(command: list[str | Path]) -> str:
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceUnavailable(f"[static] found {Path(command[0]).name}: {error}") from error
    if done.returncode:
        raise DeviceUnavailable(
            f"[static] found {Path(command[0]).name} failing: {done.stderr.strip()[-300:]}"
        )
    return done.stdout + done.stderr
