"""The entry point generated for each kernel: from the engine's state to arguments."""

from __future__ import annotations

from attnproto.compiler.interface import Instance, Parameter
from attnproto.compiler.ir.runtime_calls import entry_name, launch_name

from .library_parts import includes
from .rewrite_declarations import Rewritten

ENTRY = "entry"  # what the entry points' text is called; each line of it is an instance's
THREADGROUP_MEMORY = 'extern "C" __attribute__((const)) __local void* attn_threadgroup_memory();\n'


_DISPATCH_THREADS = "(g->dispatch_threads[0] * g->dispatch_threads[1] * g->dispatch_threads[2]"


def _axes(value: str) -> str:
    return ", ".join(value.format(axis=axis) for axis in range(3))


# By attribute, what the three axes of a position or size are, of ``lane`` and its group ``g``.
BUILTINS = {
    "thread_position_in_grid": _axes(
        "g->threadgroup_position[{axis}] * g->dispatch_threads[{axis}] + lane->position[{axis}]"
    ),
    "thread_position_in_threadgroup": _axes("lane->position[{axis}]"),
    "threadgroup_position_in_grid": _axes("g->threadgroup_position[{axis}]"),
    "threads_per_threadgroup": _axes("g->threads[{axis}]"),
    "dispatch_threads_per_threadgroup": _axes("g->dispatch_threads[{axis}]"),
    "threadgroups_per_grid": _axes("g->threadgroups[{axis}]"),
    "threads_per_grid": _axes("g->grid_threads[{axis}]"),
    "thread_index_in_simdgroup": "attn_lane_index(), 0, 0",
    "simdgroup_index_in_threadgroup": "lane->simdgroup, 0, 0",
    "thread_index_in_threadgroup": "lane->index, 0, 0",
    "simdgroups_per_threadgroup": "g->simdgroups, 0, 0",
    "dispatch_simdgroups_per_threadgroup": f"{_DISPATCH_THREADS} + 31) / 32, 0, 0",
    "threads_per_simdgroup": "32, 0, 0",
    "thread_execution_width": "32, 0, 0",
    "quadgroup_index_in_threadgroup": "lane->index / 4, 0, 0",
    "thread_index_in_quadgroup": "lane->index % 4, 0, 0",
    "quadgroups_per_threadgroup": "(g->threads[0] * g->threads[1] * g->threads[2] + 3) / 4, 0, 0",
    "dispatch_quadgroups_per_threadgroup": f"{_DISPATCH_THREADS} + 3) / 4, 0, 0",
}


def buffer_index(parameters: tuple[Parameter, ...], position: int) -> str:
    """Index of the buffer at ``position``; without attribute, the number of those before.

    As C++: a number, or an expression where clang has not worked it out yet.
    """
    explicit = parameters[position].attributes.get("buffer")
    return explicit or str(sum(is_buffer(p) for p in parameters[:position]))


def threadgroup_index(parameters: tuple[Parameter, ...], position: int) -> str:
    """Index of the threadgroup memory at ``position``, by the same rule."""
    explicit = parameters[position].attributes.get("threadgroup")
    return explicit or str(sum(is_threadgroup(p) for p in parameters[:position]))


def is_threadgroup(parameter: Parameter) -> bool:
    """Whether the parameter is threadgroup memory, whose size the host says."""
    return parameter.space == "threadgroup"


def is_table(parameter: Parameter) -> bool:
    """Whether the parameter is a visible function table, which takes a buffer's index."""
    return parameter.table


def is_buffer(parameter: Parameter) -> bool:
    """Whether the parameter is memory the host binds."""
    return parameter.space in ("device", "constant")


def is_given(parameter: Parameter) -> bool:
    """Whether an entry point can give the parameter a value."""
    known = any(name in BUILTINS for name in parameter.attributes)
    return known or is_table(parameter) or is_threadgroup(parameter) or is_buffer(parameter)


def _argument(instance: Instance, position: int) -> str:
    parameter = instance.parameters[position]
    for name in parameter.attributes:
        if name in BUILTINS:
            return f"attn_position<{_type(position)}>({BUILTINS[name]})"
    if is_table(parameter):
        index = buffer_index(instance.parameters, position)
        return f"attn_function_table{{g->buffers[{index}]}}"
    if is_threadgroup(parameter):
        what = "reference" if parameter.reference else "pointer"
        index = threadgroup_index(instance.parameters, position)
        offset = f"g->threadgroup_offsets[{index}]"
        address = f"(__local void*)((__local char*)attn_threadgroup_memory() + {offset})"
        return f"attn_threadgroup_{what}{{{address}}}"
    kind = "constant" if parameter.space == "constant" else "device"
    what = "reference" if parameter.reference else "pointer"
    cast = "(__constant void*)(ulong)" if kind == "constant" else ""
    index = buffer_index(instance.parameters, position)
    return f"attn_{kind}_{what}{{{cast}g->buffers[{index}]}}"


def _type(position: int) -> str:
    return f"attn_parameter<{position}, parameters>::type"


def with_entries(rewritten: Rewritten, text: str) -> str:
    """The whole text for clang: library, kernels, one entry point for each.

    Args:
        rewritten: what the entry points call.
        text: of the kernels, its tokens printed in one way or another.
    """
    parts = [includes(text), text, f'\n#line 0 "{ENTRY}"\n', THREADGROUP_MEMORY]
    for number, instance in enumerate(rewritten.instances.values()):
        arguments = ", ".join(_argument(instance, k) for k in range(len(instance.parameters)))
        sizes = ", ".join(
            f"attn_pointee<{_type(k)}>::bytes" for k in range(len(instance.parameters))
        )
        elements = ", ".join(
            f"attn_element_kind<{_type(k)}>::code" for k in range(len(instance.parameters))
        )
        scopes = [scope for scope in instance.namespace.split("::") if scope]
        line = f'\n#line {number + 1} "{ENTRY}"\n'
        parts.append(
            f"{line}{''.join(f'namespace {scope} {{ ' for scope in scopes)}"
            f"namespace attn_kernel_{number} {{ "
            f"typedef attn_signature<decltype({instance.signature})>::type parameters; "
            f'extern "C" __attribute__((used)) void {entry_name(number)}'
            "(const __private attn_lane* lane) { "
            "ATTN_SHARED_BY_LANES attn_group* g = lane->group; "
            f"{instance.call}({arguments}); }} "
            f'extern "C" __attribute__((used)) __constant const uint attn_bytes_{number}[] = '
            f"{{{sizes or '0'}}}; "
            f'extern "C" __attribute__((used)) __constant const uint attn_elements_{number}[] = '
            f"{{{elements or '0'}}}; {_numbers(number, instance)}}}{' }' * len(scopes)}\n"
            + launch(number, f"{instance.namespace}attn_kernel_{number}::{entry_name(number)}")
        )
    return "".join(parts)


def _numbers(number: int, instance: Instance) -> str:
    """What clang works out of a kernel's attributes, where it does."""
    if not instance.numbers:
        return ""
    return (
        f'extern "C" __attribute__((used)) __constant const uint attn_numbers_{number}[] = '
        f"{{{', '.join(instance.numbers)}}}; "
    )


def launch(number: int, entry: str) -> str:
    """What a GPU's driver launches for the ``number``-th kernel, around its entry point."""
    return (
        "#ifdef __NVPTX__\n"
        f'extern "C" __kernel void {launch_name(number)}(attn_launch launch) {{\n'
        "  attn_group group;\n  attn_lane lane;\n"
        f"  if (attn_place(launch, group, lane)) {entry}(&lane);\n}}\n"
        "#endif\n"
    )
