"""Kernels as files that the C ABI loads without Python (cpp/c_api.h).

A file is a shared object for this machine's processor: the kernel's object code, which calls
the engine by name, and a table that describes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .. import _core
from ..errors import DeviceUnavailable, KernelCompileError
from . import clang
from .front_end import NativeFrontEnd, ObjectCode

_VERSION = 1  # ATTNPROTO_C_API_VERSION

_TABLE = """\
typedef struct {{ unsigned kind, index, min_bytes; const char* name; }} argument;
typedef struct {{
  unsigned version, static_threadgroup_bytes, max_threads, argument_count;
  const char* function;
  const argument* arguments;
  void (*entry)(void);
}} kernel;
extern void {symbol}(void);
static const argument arguments[] = {{{arguments}{{0, 0, 0, ""}}}};
__attribute__((visibility("default"))) const kernel attnproto_exported = {{
  {version}, {static_threadgroup_bytes}, {max_threads}, {count}, {function}, arguments, {symbol}}};
"""


def _table(function: str, code: ObjectCode) -> str:
    arguments = ""
    for one in code.arguments:
        kind = 0 if one.kind == _core.ArgumentKind.BUFFER else 1
        arguments += f"{{{kind}, {one.index}, {one.min_bytes}, {json.dumps(one.name)}}}, "
    return _TABLE.format(
        symbol=code.symbol,
        arguments=arguments,
        version=_VERSION,
        static_threadgroup_bytes=code.static_threadgroup_bytes,
        max_threads=code.max_threads,
        count=len(code.arguments),
        function=json.dumps(function),
    )


def _linker() -> list[str]:
    """The C compiler that belongs to the clang in use."""
    command = clang.compiler()
    return [command[0], "cc"] if command[1:] == ("clang",) else list(command)


def export(
    text: str,
    function: str,
    path: str | os.PathLike[str],
    constants: Mapping[str, bool | int | float] | None = None,
) -> Path:
    """Compile one kernel for the cpu device and write it as a file.

    Args:
        text: MSL.
        function: the kernel.
        path: where; the file is replaced in one step.
        constants: function constants by name.

    Returns:
        The file's path, for ``attnproto_load``.

    Raises:
        KernelCompileError: the text is not valid, or the file cannot be written.
        DeviceUnavailable: there is no compiler.
    """
    given = [_core.Constant(name, value) for name, value in (constants or {}).items()]
    code = NativeFrontEnd(engine="fibers").object_code(text, _core.PipelineDescriptor(function, given))
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            place = Path(folder)
            (place / "kernel.o").write_bytes(code.object_file)
            (place / "table.c").write_text(_table(function, code))
            command = [*_linker(), "-shared", "-fPIC", "-O1", "-o", "kernel.so"]
            command += ["table.c", "kernel.o", "-lm"]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            if done.returncode:
                raise KernelCompileError(
                    f"[export] found a linker that refuses {function}: {done.stderr.strip()[-300:]}"
                )
            (place / "kernel.so").replace(path)
    except OSError as error:
        raise (DeviceUnavailable if error.filename == _linker()[0] else KernelCompileError)(
            f"[export] found {error}, needs a folder that can be written and a C compiler; choose "
            "another folder or `pip install ziglang`"
        ) from None
    return path
