"""A text compiled as far as IR, and what the host must know about it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from attnproto import _core
from attnproto.compiler import object_cache
from attnproto.compiler.interface import FunctionConstant, Instance, Parameter, Value
from attnproto.compiler.ir import module as ir
from attnproto.compiler.target import Target
from attnproto.errors import KernelCompileError

from . import clang, compiled_kernel, left_out
from .entry_points import (
    ENTRY,
    buffer_index,
    is_buffer,
    is_given,
    is_table,
    is_threadgroup,
    threadgroup_index,
    with_entries,
)
from .lexer import RewriteError, with_own_brackets
from .mend import ONE_A_LINE, mended, one_a_line
from .rewrite_declarations import OPEN, Rewritten, rewrite
from .source import Place, Source, levels_limited
from .text_key import text_key

R = TypeVar("R")
_TEXTS_KEPT, _HEADS_KEPT = 64, 1024
_ROUNDS = 8  # of asking clang what it refuses


@dataclass(frozen=True)
class LibraryHead:
    """What a text holds: kernels, constants, functions to link and to be linked."""

    instances: dict[str, Instance]
    constants: dict[str, FunctionConstant]
    sizes: list[list[int]]  # bytes behind each kernel's parameters
    elements: list[list[int]]  # and the type of the numbers there (device/binding.py)
    visible: dict[str, str]  # symbols by name
    declared: dict[str, str]  # symbols by name, of those that are called

    def pack(self) -> bytes:
        """As JSON."""
        fields = {
            "instances": [asdict(i) for i in self.instances.values()],
            "constants": [asdict(c) for c in self.constants.values()],
            "sizes": self.sizes,
            "elements": self.elements,
            "visible": self.visible,
            "declared": self.declared,
        }
        return json.dumps(fields).encode()

    @classmethod
    def unpack(cls, content: bytes) -> LibraryHead:
        """From JSON."""
        fields: dict[str, Any] = json.loads(content)
        instances = {}
        for instance in fields["instances"]:
            parameters = tuple(Parameter(**p) for p in instance.pop("parameters"))
            instances[instance["name"]] = Instance(parameters=parameters, **instance)
        constants = {c["name"]: FunctionConstant(**c) for c in fields["constants"]}
        rest = (fields[name] for name in ("sizes", "elements", "visible", "declared"))
        return cls(instances, constants, *rest)

    def instance(self, function: str) -> tuple[int, Instance]:
        """Return a kernel and its number in the text.

        Raises:
            KernelCompileError: there is no such kernel.
        """
        for number, (name, instance) in enumerate(self.instances.items()):
            if name == function:
                return number, instance
        known = ", ".join(self.instances) or "none"
        if function in self.visible:
            raise KernelCompileError(
                f"[msl] found '{function}', which is no kernel, needs one of: {known}; link it to "
                "a kernel instead"
            )
        raise KernelCompileError(f"[msl] found no kernel '{function}' in the text; it has {known}")

    def values(self, given: list[_core.Constant], *, strict: bool = True) -> dict[str, Value]:
        """Return values by name.

        Args:
            given: by index or by name.
            strict: whether one that the text does not declare is an error.

        Raises:
            KernelCompileError: a key names no constant of the text, or two name one.
        """
        by_index = {c.index: c.name for c in self.constants.values()}
        values: dict[str, Value] = {}
        for constant in given:
            name = by_index.get(constant.key) if isinstance(constant.key, int) else constant.key
            if name in values:
                raise KernelCompileError(
                    f"[msl] found two values for function constant '{name}' (index "
                    f"{self.constants[name].index}), needs one; name it or number it, not both"
                )
            if name in self.constants:
                values[name] = constant.value
            elif strict:
                known = ", ".join(f"{c.name} ({c.index})" for c in self.constants.values())
                raise KernelCompileError(
                    f"[msl] found function constant {constant.key!r}, which the text does not "
                    f"declare; it declares {known or 'none'}"
                )
        return values


@dataclass(frozen=True)
class LibraryText:
    """A text after clang: its head and its IR."""

    head: LibraryHead
    ir_text: str

    @functools.cached_property
    def module(self) -> ir.Module:
        """The IR, split."""
        return ir.split(self.ir_text)


_shipped: dict[str, bytes] = {}


def ship_heads(heads: Mapping[str, bytes]) -> None:
    """Take the heads of an archive's texts, so that no compiler runs to read them."""
    if heads.keys() <= _shipped.keys():
        return
    _shipped.update(heads)
    library_head.cache_clear()


@functools.lru_cache(maxsize=_HEADS_KEPT)
def library_head(text: str, target: Target) -> LibraryHead:
    """Return what a text holds; raises as ``library_text``."""
    content = _shipped.get(text_key(text, target))
    return LibraryHead.unpack(content) if content else library_text(text, target).head


@functools.lru_cache(maxsize=_TEXTS_KEPT)
def library_text(text: str, target: Target) -> LibraryText:
    """Compile a text as far as IR.

    Raises:
        KernelCompileError: it is not valid MSL; the message names the line.
    """
    name = text_key(text, target)
    content = object_cache.read(name)
    if content is not None:
        head, _, ir_text = content.partition(b"\n")
        return LibraryText(LibraryHead.unpack(head), ir_text.decode())
    if compiled_kernel.is_compiled(text):
        library = _lifted(text, target)
    else:
        rewritten, ir_text = compiled(Source(text), target, _to_ir)
        library = LibraryText(*_head(rewritten, ir_text))
    object_cache.write(name, library.head.pack() + b"\n" + library.ir_text.encode())
    return library


def _lifted(text: str, target: Target) -> LibraryText:
    module = compiled_kernel.module_of(text)
    instance = compiled_kernel.instance_of(module)
    head = LibraryHead(
        {instance.name: instance},
        {one.name: one for one in module.constants.values()},
        [[argument.nbytes for argument in module.arguments]],
        [[argument.element for argument in module.arguments]],
        {},
        {},
    )
    return LibraryText(head, compiled_kernel.to_ir(module, target))


def compiled(
    source: Source, target: Target, compile_for: Callable[[Rewritten, Target], R]
) -> tuple[Rewritten, R]:
    """What a text holds, and what a compilation makes of it.

    Raises:
        KernelCompileError: it is not valid MSL; the message names the place.
    """
    rewritten = translated(source)
    try:
        return rewritten, compile_for(rewritten, target)
    except clang.Refused:
        mend(source, rewritten, target)
    return rewritten, compile_for(rewritten, target)


def _to_ir(rewritten: Rewritten, target: Target) -> str:
    return clang.to_ir(with_entries(rewritten, rewritten.text), target)


def translated(source: Source) -> Rewritten:
    """What a text holds, in the language that clang reads.

    Raises:
        KernelCompileError: it is not valid MSL; the message names the place.
    """
    try:
        with levels_limited():
            left_out.check(source.preprocessed)
            rewritten = rewrite(source.preprocessed)
    except RewriteError as error:
        raise KernelCompileError(f"[msl] {source.place(error.at)}: {error}") from None
    if not rewritten.instances and not rewritten.visible:
        raise KernelCompileError(
            "[msl] found no kernel and no visible function in the text, needs at least one; "
            "write kernel before the function the device shall run"
        )
    for name, instance in rewritten.instances.items():
        for parameter, at in zip(instance.parameters, rewritten.names[name][1:], strict=True):
            if not is_given(parameter):
                raise KernelCompileError(
                    f"[msl] {source.place(at)}: kernel parameter '{parameter.name}' has neither an "
                    "address space nor an attribute this device knows"
                )
    return rewritten


def mend(source: Source, rewritten: Rewritten, target: Target) -> None:
    """Say in clang's way what it refuses and MSL allows (mend.py).

    Raises:
        KernelCompileError: clang refuses what MSL does not allow either.
    """
    for _ in range(_ROUNDS):
        rewritten.tokens = with_own_brackets(rewritten.tokens)
        text = one_a_line(rewritten.tokens)
        clang_text = with_entries(rewritten, text)
        before = clang_text[: clang_text.index(text)].count("\n") + 1
        said = clang.messages(clang_text, target)
        tokens = mended(rewritten.tokens, said, before) if said else None
        if tokens is None:
            break
        rewritten.tokens = tokens
    if said:
        raise KernelCompileError(clang.explained(said, places_of(source, rewritten)))


def places_of(source: Source, rewritten: Rewritten) -> Callable[[str, int, int], Place | None]:
    """What a place of ``one_a_line`` of the tokens is in the text that the user wrote."""
    tokens = rewritten.tokens
    calls = [names[0] for names in rewritten.names.values()]

    def place(file: str, line: int, column: int) -> Place | None:
        if file == ENTRY:
            return source.place(calls[line - 1]) if 0 < line <= len(calls) else None
        return source.place(tokens[min(line, len(tokens)) - 1]) if file == ONE_A_LINE else None

    return place


def _head(rewritten: Rewritten, ir_text: str) -> tuple[LibraryHead, str]:
    module = ir.split(ir_text)
    sizes, elements = (
        [ir.parameter_numbers(module, what, n) for n in range(len(rewritten.instances))]
        for what in ("bytes", "elements")
    )
    visible = {name: ir.symbol_of(module, name)[0] for name in rewritten.visible}
    declared = {name: ir.symbol_of(module, name)[1] for name in rewritten.declared}
    head = LibraryHead(
        {
            name: with_numbers(instance, module, number) if instance.numbers else instance
            for number, (name, instance) in enumerate(rewritten.instances.items())
        },
        {
            name: replace(one, index=ir.parameter_numbers(module, "index", name)[0])
            if one.index == OPEN
            else one
            for name, one in rewritten.constants.items()
        },
        sizes,
        elements,
        {name: symbol for name, symbol in visible.items() if symbol},
        {name: symbol for name, symbol in declared.items() if symbol},
    )
    return head, ir_text


def with_numbers(instance: Instance, module: ir.Module, number: int) -> Instance:
    """An instance with the numbers that clang has worked out."""
    known = ir.parameter_numbers(module, "numbers", number)
    values = dict(zip(instance.numbers, map(str, known), strict=True))
    parameters = tuple(
        replace(one, attributes={of: values.get(v, v) for of, v in one.attributes.items()})
        for one in instance.parameters
    )
    indices = sum(v in values for one in instance.parameters for v in one.attributes.values())
    limit = known[-1] if len(known) > indices else instance.max_threads
    return replace(instance, parameters=parameters, max_threads=limit, numbers=())


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


def arguments(head: LibraryHead, function: str, present: int) -> list[_core.KernelArgument]:
    """What the host must bind; ``present`` has a bit for each parameter (passes/specialize.py)."""
    number, instance = head.instance(function)
    bound = []
    for position, parameter in enumerate(instance.parameters):
        if not present >> position & 1:
            continue
        if is_threadgroup(parameter):
            kind = _core.ArgumentKind.THREADGROUP
            index = int(threadgroup_index(instance.parameters, position))
        elif is_buffer(parameter) or is_table(parameter):
            table = is_table(parameter)
            kind = _core.ArgumentKind.FUNCTION_TABLE if table else _core.ArgumentKind.BUFFER
            index = int(buffer_index(instance.parameters, position))
        else:
            continue
        argument = _core.KernelArgument(
            kind, index, head.sizes[number][position], parameter.name, parameter.writes
        )
        argument.element = head.elements[number][position]
        bound.append(argument)
    return bound
