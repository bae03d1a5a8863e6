"""One kernel of a text with its constants fixed and its linked functions in place."""

from __future__ import annotations

import re
from collections.abc import Callable

from attnproto import _core
from attnproto.compiler.frontend.program import LibraryText, library_head, library_text
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.runtime_calls import entry_name
from attnproto.compiler.target import Target
from attnproto.errors import KernelCompileError

from . import fix_function_constants


def specialised(
    text: str,
    descriptor: _core.PipelineDescriptor,
    target: Target,
    symbol: Callable[[int], str] = entry_name,
    *,
    marked: bool = False,
) -> str:
    """Return the IR of a kernel and all it calls, before optimisation.

    Args:
        text: MSL.
        descriptor: kernel, constants and linked functions.
        target: what it is compiled for.
        symbol: name of the function to keep, from the kernel's number.
        marked: keep the marks that say where fragments are moved.

    Raises:
        KernelCompileError: a constant or a linked function is missing or does not fit.
    """
    library = library_text(text, target)
    number, _ = library.head.instance(descriptor.function)
    entry = f"@{symbol(number)}"
    roots = [entry, *(f"@{s}" for s in table_symbols(text, descriptor, target).values())]
    module = ir.cut(library.module, *roots)
    fix_function_constants.fix_constants(
        module, library.head.constants, library.head.values(descriptor.constants)
    )
    parts = [module]
    for other, function in descriptor.private_functions:
        parts.append(_private(library_text(other, target), function, descriptor))
    _check_all_found(parts, descriptor, [library, *_others(descriptor, target)])
    for part in parts:
        (ir.free_marks if marked else ir.drop_marks)(part)
    if len(parts) == 1:
        return module.text()
    whole = ir.split(llvm.link([part.text() for part in parts]))
    return ir.cut(whole, *roots).text()


def present_parameters(text: str, descriptor: _core.PipelineDescriptor, target: Target) -> int:
    """Return a bit for each parameter of a kernel that its function constants do not remove."""
    library = library_text(text, target)
    _, instance = library.head.instance(descriptor.function)
    values = library.head.values(descriptor.constants)
    switches = [parameter.attributes.get("function_constant") for parameter in instance.parameters]
    return sum(
        1 << position
        for position, switch in enumerate(switches)
        if switch is None or _holds(library, switch, values)
    )


def _holds(library: LibraryText, switch: str, values: dict[str, bool | int | float]) -> bool:
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
    return re.search(r"^\s+ret i1 true", llvm.optimise(module.text()), re.M) is not None


def table_symbols(
    text: str, descriptor: _core.PipelineDescriptor, target: Target
) -> dict[str, str]:
    """Return the symbols of the functions that tables of a pipeline may hold, by name.

    Raises:
        KernelCompileError: the text has no such visible function.
    """
    visible = library_head(text, target).visible
    for name in descriptor.linked_functions:
        if name not in visible:
            raise KernelCompileError(
                f"[msl.link] found no visible function '{name}' in the text, needs one marked "
                f"[[visible]]; it has {', '.join(visible) or 'none'}"
            )
    return {name: visible[name][1:] for name in descriptor.linked_functions}


def _others(descriptor: _core.PipelineDescriptor, target: Target) -> list[LibraryText]:
    return [library_text(other, target) for other, _ in descriptor.private_functions]


def _private(
    library: LibraryText, function: str, descriptor: _core.PipelineDescriptor
) -> ir.Module:
    symbol = library.head.visible.get(function)
    if symbol is None:
        raise KernelCompileError(
            f"[msl.link] found no visible function '{function}' in the linked library, needs one "
            f"marked [[visible]]; it has {', '.join(library.head.visible) or 'none'}"
        )
    module = ir.cut(library.module, symbol)
    if any("attn_threadgroup_variable" in name for name in ir.reachable(module, symbol)):
        raise KernelCompileError(
            f"[msl.link] found threadgroup variables in '{function}', needs them in the kernel; "
            "pass a pointer"
        )
    values = library.head.values(descriptor.constants, strict=False)
    fix_function_constants.fix_constants(module, library.head.constants, values)
    return module


def _check_all_found(
    parts: list[ir.Module],
    descriptor: _core.PipelineDescriptor,
    libraries: list[LibraryText],
) -> None:
    """Every function that a part declares and calls must be one of another part."""
    found = {symbol for part in parts for symbol in part.functions}
    linked = [function for _, function in descriptor.private_functions]
    for part, library in zip(parts, libraries, strict=True):
        called = {s for o in part.other if o.startswith("declare ") for s in ir.symbols(o)}
        for name, symbol in library.head.declared.items():
            if symbol not in called or symbol in found:
                continue
            if name in linked:
                raise KernelCompileError(
                    f"[msl.link] found '{name}' linked to {descriptor.function} with other types "
                    "than it is declared with, needs the same; correct one of them"
                )
            raise KernelCompileError(
                f"[msl.link] found no function '{name}', which {descriptor.function} declares and "
                "calls, needs it linked; pass it in private"
            )
