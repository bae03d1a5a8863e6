"""Kernels as files that the C ABI loads without Python (cpp/c_api.h).

For the cpu device a file is a shared object: the kernel's object code for both engines, which it
calls by name, and a table that describes it. For the cuda device see ``ptx.exported``.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _core
from ..errors import DeviceUnavailable, KernelCompileError
from . import cache, clang, native
from .front_end import NativeFrontEnd, ObjectCode

if TYPE_CHECKING:
    from ..device import Device

_VERSION = 2  # ATTNPROTO_C_API_VERSION

# The structs of cpp/c_api.h.
_TABLE = """\
%argument = type {{ i32, i32, i32, ptr }}
%kernel = type {{ i32, i32, i32, i32, ptr, ptr, ptr, ptr }}
{strings}
@arguments = internal constant [{count} x %argument] [{arguments}]
declare void @{symbol}()
{simdgroup_declared}
@attnproto_exported = constant %kernel {{ i32 {version}, i32 {static_threadgroup_bytes},
  i32 {max_threads}, i32 {count}, ptr @string0, ptr @arguments, ptr @{symbol},
  ptr {simdgroup_symbol} }}
"""


def _table(function: str, code: ObjectCode, whole: ObjectCode) -> str:
    """LLVM IR of the symbol that libattnproto looks for."""
    strings, arguments = [function], []
    for one in code.arguments:
        kind = 0 if one.kind == _core.ArgumentKind.BUFFER else 1
        numbers = f"i32 {kind}, i32 {one.index}, i32 {one.min_bytes}"
        arguments.append(f"%argument {{ {numbers}, ptr @string{len(strings)} }}")
        strings.append(one.name)
    return _TABLE.format(
        strings="\n".join(f"@string{i} = internal {_c_string(s)}" for i, s in enumerate(strings)),
        arguments=", ".join(arguments),
        symbol=code.symbol,
        simdgroup_declared=f"declare void @{whole.symbol}()" if whole is not code else "",
        simdgroup_symbol=f"@{whole.symbol}" if whole is not code else "null",
        version=_VERSION,
        static_threadgroup_bytes=code.static_threadgroup_bytes,
        max_threads=code.max_threads,
        count=len(arguments),
    )


def _c_string(text: str) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in [*text.encode(), 0])
    return f'constant [{len(text.encode()) + 1} x i8] c"{escaped}"'


def _linking(objects: Iterable[str], target: clang.Target) -> list[str]:
    """The linker that belongs to the clang in use; zig's needs no C library to be built first."""
    command = clang.compiler()
    zig = command[1:] == ("clang",)
    if zig and target.triple.endswith("linux-gnu"):
        return [command[0], "ld.lld", "-shared", "-o", "kernel.so", *objects]
    driver = [command[0], "cc"] if zig else command
    return [*driver, "-shared", "-fPIC", "-o", "kernel.so", *objects, "-lm"]


def shared_object(
    text: str,
    descriptor: _core.PipelineDescriptor,
    target: clang.Target | None = None,
    engine: str = "lockstep",
) -> bytes:
    """Compile one kernel for the cpu device and link it for ``attnproto_load``.

    Args:
        text: MSL.
        descriptor: kernel, constants and privately linked functions.
        target: what the code is for: this machine, unless given.
        engine: ``fibers`` leaves out what ``lockstep`` would run.

    Returns:
        The file's content.

    Raises:
        KernelCompileError: the text is not valid, the kernel calls through a function table, or
            the linker fails.
        DeviceUnavailable: there is no compiler.
    """
    function = descriptor.function
    target = dataclasses.replace(target or clang.host_target(), linked=True)
    code = NativeFrontEnd(engine="fibers", target=target).object_code(text, descriptor)
    check_no_table(function, code.arguments)
    objects = {"lane.o": code.object_file}
    whole = NativeFrontEnd(engine=engine, target=target).object_code(text, descriptor)
    if whole.engine == "lockstep":
        objects["simdgroup.o"] = whole.object_file
    else:
        whole = code
    objects["table.o"] = native.assemble(_table(function, code, whole), target)
    linking = _linking(objects, target)
    name = cache.key("shared", *(content.hex() for content in objects.values()), *linking)
    content = cache.read(name)
    if content is None:
        content = _linked(function, objects, linking)
        cache.write(name, content)
    return content


def _linked(function: str, objects: Mapping[str, bytes], linking: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, content in objects.items():
            (place / name).write_bytes(content)
        try:
            done = subprocess.run(linking, cwd=place, capture_output=True, text=True)
        except OSError as error:
            raise DeviceUnavailable(
                f"[export] found {error}, needs a linker; `pip install ziglang`"
            ) from None
        if done.returncode:
            raise KernelCompileError(
                f"[export] found a linker that refuses {function}: {done.stderr.strip()[-300:]}"
            )
        return (place / "kernel.so").read_bytes()


def check_no_table(function: str, arguments: Iterable[_core.KernelArgument]) -> None:
    """Refuse a kernel that calls through a function table.

    Raises:
        KernelCompileError: one of the arguments is such a table.
    """
    if any(one.kind == _core.ArgumentKind.FUNCTION_TABLE for one in arguments):
        raise KernelCompileError(
            f"[export] found a function table among the arguments of {function}, needs none: the C "
            "ABI binds no tables; link the function privately"
        )


def code(text: str, descriptor: _core.PipelineDescriptor, device: Device) -> bytes:
    """Compile one kernel into what ``attnproto_load`` reads on a device.

    Args:
        text: MSL.
        descriptor: kernel, constants and privately linked functions.
        device: an open cpu or cuda device.

    Raises:
        KernelCompileError: as ``shared_object`` or ``ptx.exported``.
        DeviceUnavailable: there is no compiler.
    """
    if device.kind == "cuda":
        from . import ptx

        return ptx.exported(text, descriptor, device._core.processor)
    return shared_object(text, descriptor)


def target_of(device: Device) -> clang.Target:
    """What texts are compiled for on an open cpu or cuda device."""
    if device.kind == "cuda":
        from . import ptx

        return ptx.target(device._core.processor)
    return clang.host_target()


def export(
    text: str,
    function: str,
    path: str | os.PathLike[str],
    constants: Mapping[str, bool | int | float] | None = None,
    device: Device | str = "cpu",
) -> Path:
    """Compile one kernel for the cpu or the cuda device and write it as a file.

    Args:
        text: MSL.
        function: the kernel.
        path: where; the file is replaced in one step.
        constants: function constants by name.
        device: the device that will run it, or its name.

    Returns:
        The file's path, for ``attnproto_load``.

    Raises:
        KernelCompileError: as ``code``, or the file cannot be written.
        DeviceUnavailable: there is no compiler, or no such device.
    """
    from ..kernels.host import opened

    given = [_core.Constant(name, value) for name, value in (constants or {}).items()]
    content = code(text, _core.PipelineDescriptor(function, given), opened(device))
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise KernelCompileError(
            f"[export] found {path} not writable ({error.strerror}), needs a folder that can be "
            "written; choose another"
        ) from None
    return path
