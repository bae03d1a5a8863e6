"""One kernel of a text with its constants fixed and its linked functions in place."""

from __future__ import annotations

import re
from collections.abc import Callable

from attnproto.compiler.frontend.program import LibraryText
from attnproto.compiler.frontend.request import Private, Request
from attnproto.compiler.interface import Values
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.runtime_calls import CALLS, entry_name, runtime_call
from attnproto.errors import KernelCompileError

from . import fix_function_constants

# LLVM takes some 20 s for as many; twice the depth of a recursion of templates takes hours.
MOST_LINES = 1 << 24
_PROCESSOR = re.compile(r' "target-(?:cpu|features)"="[^"]*"')


def specialised(
    request: Request, symbol: Callable[[int], str] = entry_name, *, marked: bool = False
) -> str:
    """Return the IR of a kernel and all it calls, before optimisation.

    Args:
        request: kernel, constants and linked functions.
        symbol: name of the function to keep, from the kernel's number.
        marked: keep the marks that say where fragments are moved.

    Raises:
        KernelCompileError: a constant or a linked function is missing or does not fit, or the
            kernel is larger than can be compiled.
    """
    library = request.library()
    entry = f"@{symbol(request.number)}"
    roots = [entry, *(f"@{s}" for s in request.table.values())]
    module = ir.cut(library.module, *roots)
    fix_function_constants.fix_constants(module, library.head.constants, request.values)
    parts = [module]
    libraries = [library]
    for one in request.private:
        libraries.append(request.private_library(one))
        parts.append(_private(libraries[-1], one))
    _check_all_found(parts, request, libraries)
    for part in parts:
        (ir.free_marks if marked else ir.drop_marks)(part)
    if len(parts) > 1:
        module = ir.cut(ir.split(llvm.link([part.text() for part in parts])), *roots)
    lines = max(ir.inlined_lines(module, root) for root in roots)
    if lines > MOST_LINES:
        raise KernelCompileError(
            f"[msl {request.function}] found calls that make more than {MOST_LINES} instructions "
            "once inlined, needs fewer; let fewer functions call one another twice, or mark some "
            "[[clang::noinline]]"
        )
    return module.text()


def present_parameters(request: Request) -> int:
    """Return a bit for each parameter of a kernel that its function constants do not remove."""
    switches = [p.attributes.get("function_constant") for p in request.instance.parameters]
    return sum(
        1 << position
        for position, switch in enumerate(switches)
        if switch is None or _holds(request.library(), switch, request.values)
    )


def _holds(library: LibraryText, switch: str, values: Values) -> bool:
    """Whether a function constant is true, or a constant derived from some.

    A derived one is a function in the IR; with its constants fixed it is only a return.
    """
    constants = library.head.constants
    if switch in constants:
        return bool(values.get(switch))
    name = f"attn_derived_{switch}"
    symbol = f"@_Z{len(name)}{name}v"
    if symbol not in library.module.functions:
        return False  # the kernels never ask for it
    module = ir.cut(library.module, symbol)
    fix_function_constants.fix_constants(module, constants, values)
    head, _, rest = module.functions[symbol].partition("\n")
    head = head.replace("define linkonce_odr ", "define ").replace(" comdat", "")
    module.functions[symbol] = f"{head}\n{rest}"
    # It is worked out here, whatever processor the kernel is for.
    text = _PROCESSOR.sub("", module.text())
    return re.search(r"^\s+ret i1 true", llvm.optimise(text), re.M) is not None


def _private(library: LibraryText, one: Private) -> ir.Module:
    symbol = library.head.visible.get(one.function)
    if symbol is None:
        raise KernelCompileError(
            f"[msl.link] found no visible function '{one.function}' in the linked library, needs "
            f"one marked [[visible]]; it has {', '.join(library.head.visible) or 'none'}"
        )
    module = ir.cut(library.module, symbol)
    reached = map(runtime_call, ir.reachable(module, symbol))
    if CALLS["threadgroup_variable"] in reached:
        raise KernelCompileError(
            f"[msl.link] found threadgroup variables in '{one.function}', needs them in the "
            "kernel; pass a pointer"
        )
    fix_function_constants.fix_constants(module, library.head.constants, one.values)
    return module


def _check_all_found(
    parts: list[ir.Module], request: Request, libraries: list[LibraryText]
) -> None:
    """Every function that a part declares and calls must be one of another part."""
    defined = {symbol for part in parts for symbol in part.functions}
    linked = [one.function for one in request.private]
    for part, library in zip(parts, libraries, strict=True):
        called = {s for o in part.other if o.startswith("declare ") for s in ir.symbols(o)}
        for name, symbol in library.head.declared.items():
            if symbol not in called or symbol in defined:
                continue
            if name in linked:
                raise KernelCompileError(
                    f"[msl.link] found '{name}' linked to {request.function} with other types "
                    "than it is declared with, needs the same; correct one of them"
                )
            raise KernelCompileError(
                f"[msl.link] found no function '{name}', which {request.function} declares and "
                "calls, needs it linked; pass it in private"
            )
