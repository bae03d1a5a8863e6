"""A kernel that Apple's compiler has compiled, in the place of a text.

What stands for it is its bitcode, written in letters behind a line that no MSL begins with: so all
that keeps, ships and compares texts does the same with it. Its IR is linked with definitions of
AIR's own functions, which are C++ over our headers and compiled once for a target.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Sequence

from attnproto.compiler import object_cache
from attnproto.compiler.air import intrinsics
from attnproto.compiler.air.lift import BUFFERS, PLACE, lift, predicate
from attnproto.compiler.air.module import Module, read
from attnproto.compiler.interface import Instance, Parameter
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.runtime_calls import entry_name, launch_name
from attnproto.compiler.target import Target
from attnproto.errors import KernelCompileError

from . import clang
from .entry_points import BUILTINS, THREADGROUP_MEMORY, launch
from .library_parts import includes
from .text_key import text_key

_FIRST_LINE = "#!air\n"
_LANE = "const __private attn_lane* lane"
_GROUP = "ATTN_SHARED_BY_LANES attn_group* g = lane->group;"
# By address space: what the engine holds at an index.
_ADDRESSES = {
    "device": ("__global", "g->buffers[i]"),
    "constant": ("__constant", "(__constant void*)(ulong)g->buffers[i]"),
    "threadgroup": (
        "__local",
        "(__local void*)((__local char*)attn_threadgroup_memory() + g->threadgroup_offsets[i])",
    ),
}


def text_of(bitcode: bytes) -> str:
    """What stands for a kernel's bitcode where a text is taken."""
    return _FIRST_LINE + base64.b64encode(bitcode).decode()


def is_compiled(text: str) -> bool:
    """Whether a text is what ``text_of`` returned."""
    return text.startswith(_FIRST_LINE)


def module_of(text: str) -> Module:
    """The module that a text stands for.

    Raises:
        KernelCompileError: it stands for none.
    """
    try:
        return read(base64.b64decode(text[len(_FIRST_LINE) :], validate=True))
    except binascii.Error as error:
        raise KernelCompileError(
            f"[air] found text that is no bitcode in letters ({error}), needs what "
            "device.metallib gives; pass it unchanged"
        ) from None


def instance_of(module: Module) -> Instance:
    """What the host must know of a kernel to ask for it and to bind its arguments."""
    parameters = []
    for one in module.arguments:
        attributes = {one.what: str(one.index) if one.space else ""}
        if one.space == "threadgroup":
            attributes = {"threadgroup": str(one.index)}
        if one.predicate:
            attributes["function_constant"] = predicate(one, module)
        parameters.append(
            Parameter(one.name, attributes, one.space or None, one.reference, writes=one.writes)
        )
    name = module.symbol[1:].strip('"')
    return Instance(name, name, tuple(parameters), module.max_threads)


def names_of(text: str) -> tuple[dict[int, str], list[str]]:
    """What a kernel calls its memory: its buffers by index, its threadgroup variables by number."""
    module = module_of(text)
    buffers = {one.index: one.declaration for one in module.arguments if one.what == "buffer"}
    return buffers, [f"threadgroup {_variable(symbol)}" for symbol in module.threadgroup_bytes]


def _variable(symbol: str) -> str:
    """The name of a function's variable, with which its mangled symbol ends."""
    lengths = list(re.finditer(r"E(\d+)", symbol))
    if not lengths:
        return symbol[1:]
    begin = lengths[-1].end()
    return symbol[begin : begin + int(lengths[-1][1])]


def to_ir(module: Module, target: Target) -> str:
    """A module's IR for a target, with all that it calls.

    Raises:
        KernelCompileError: it has something that is not lifted; the message names it.
    """
    lifted = lift(module, BUILTINS)
    library = _definitions(target)
    text, roots = lifted.text, list(lifted.calls)
    nvidia = f"@{launch_name(0)}"
    if nvidia in library.module.functions:
        roots.append(nvidia)
        text = text.replace("addrspace(2)", "addrspace(4)")  # as clang numbers it there
    return llvm.link(["\n".join([*library.target, text]), library.part(roots)])


class _Library:
    """Definitions of AIR's functions and of what entry points call, of which kernels need a few."""

    def __init__(self, text: str):
        self.module = ir.split(text)
        self.target = [line for line in self.module.other if line.startswith("target ")]
        self.others: dict[str, str] = {}  # declarations and the like, by their symbol
        self.common: list[str] = []
        for line in self.module.other:
            symbols = ir.symbols(line.replace("$", "@", 1) if line.startswith("$") else line)
            if line.startswith(("declare ", "$")):
                self.others[line[0] + symbols[0]] = line
            else:
                self.common.append(line)
        self._called: dict[str, set[str]] = {}

    def part(self, roots: Sequence[str]) -> str:
        """A module of some functions and of what they call."""
        keep: set[str] = set()
        todo = list(roots)
        while todo:
            symbol = todo.pop()
            if symbol not in keep:
                keep.add(symbol)
                todo += self._reached(symbol)
        module, order = self.module, sorted(keep)
        lines = [*self.common, *(self.others.get(f"{x}{s}", "") for s in order for x in "d$")]
        lines += [module.globals.get(s) or module.functions.get(s, "") for s in order]
        return "\n".join(lines)

    def _reached(self, symbol: str) -> set[str]:
        if symbol not in self._called:
            body = self.module.functions.get(symbol) or self.module.globals.get(symbol, "")
            self._called[symbol] = set(ir.symbols(body))
        return self._called[symbol]


@functools.lru_cache(maxsize=4)
def _definitions(target: Target) -> _Library:
    text = _source()
    name = text_key(text, target)
    content = object_cache.read(name)
    if content is None:
        content = clang.to_ir(text, target).encode()
        object_cache.write(name, content)
    return _Library(content.decode())


@functools.cache
def _source() -> str:
    own = [one.text for one in intrinsics.definitions().values()]
    for space, function in BUFFERS.items():
        qualifier, address = _ADDRESSES[space]
        own.append(
            f'extern "C" {qualifier} void* {function}({_LANE}, uint i) '
            f"{{ {_GROUP} return {address}; }}"
        )
    for attribute, axes in BUILTINS.items():
        own.append(
            f'extern "C" uint {PLACE}{attribute}({_LANE}, uint axis) '
            f"{{ {_GROUP} const uint axes[3] = {{{axes}}}; return axes[axis]; }}"
        )
    text = "\n".join(["namespace metal {", *own, "}", ""])
    entry = f'extern "C" void {entry_name(0)}({_LANE});\n'
    return includes(text) + THREADGROUP_MEMORY + entry + text + launch(0, entry_name(0))
