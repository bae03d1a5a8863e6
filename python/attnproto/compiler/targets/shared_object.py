"""Kernels as files that the C ABI loads without Python (cpp/c_api.h).

For the cpu device a file is a shared object: the kernel's object code for both engines, which it
calls by name, and a table that describes it. For the cuda device see ``nvptx.exported``.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from attnproto import _core
from attnproto.compiler import object_cache
from attnproto.compiler.frontend import clang
from attnproto.compiler.frontend.program import check_no_table
from attnproto.compiler.ir import llvm
from attnproto.compiler.target import Target, host_target
from attnproto.compiler.targets.host import NativeFrontEnd, ObjectCode
from attnproto.errors import DeviceUnavailable, KernelCompileError

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


def _table(function: str, code: ObjectCode, simdgroup: ObjectCode) -> str:
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
        simdgroup_declared=f"declare void @{simdgroup.symbol}()" if simdgroup is not code else "",
        simdgroup_symbol=f"@{simdgroup.symbol}" if simdgroup is not code else "null",
        version=_core.C_API_VERSION,
        static_threadgroup_bytes=code.static_threadgroup_bytes,
        max_threads=code.max_threads,
        count=len(arguments),
    )


def _c_string(text: str) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in [*text.encode(), 0])
    return f'constant [{len(text.encode()) + 1} x i8] c"{escaped}"'


def _linking(objects: Iterable[str], target: Target) -> list[str]:
    """The linker that belongs to the clang in use; zig's needs no C library to be built first."""
    command = clang.compiler()
    zig = command[1:] == ("clang",)
    if zig and target.triple.endswith("linux-gnu"):
        return [command[0], "ld.lld", "-shared", "-o", "kernel.so", *objects]
    driver = [command[0], "cc"] if zig else command
    if "apple" in target.triple:
        # Mach-O wants to know who defines each symbol: libattnproto, which has no fixed place.
        machine = target.triple.partition("-")[0]
        system = f"{machine}-macos.11.0" if zig else f"{machine}-apple-macos11.0"
        driver = [*driver, "-target", system, "-Wl,-undefined,dynamic_lookup"]
    return [*driver, "-shared", "-fPIC", "-o", "kernel.so", *objects, "-lm"]


def shared_object(
    text: str,
    descriptor: _core.PipelineDescriptor,
    target: Target | None = None,
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
    target = dataclasses.replace(target or host_target(), linked=True)
    code = NativeFrontEnd(engine="fibers", target=target).object_code(text, descriptor)
    check_no_table(function, code.arguments)
    objects = {"lane.o": code.object_file}
    simdgroup = NativeFrontEnd(engine=engine, target=target).object_code(text, descriptor)
    if simdgroup.engine == "lockstep":
        objects["simdgroup.o"] = simdgroup.object_file
    else:
        simdgroup = code
    objects["table.o"] = llvm.assemble(_table(function, code, simdgroup), target)
    linking = _linking(objects, target)
    name = object_cache.key("shared", *(content.hex() for content in objects.values()), *linking)
    content = object_cache.read(name)
    if content is None:
        content = _linked(function, objects, linking)
        object_cache.write(name, content)
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
