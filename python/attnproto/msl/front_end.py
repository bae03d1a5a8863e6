"""The front end that a device without its own MSL compiler calls."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import _core
from ..errors import KernelCompileError
from . import cache, clang, ir
from .entry import buffer_index, entry_name, is_buffer, with_entries
from .rewrite import FunctionConstant, Instance, Parameter, Rewritten, rewrite
from .tokens import RewriteError

_TEXTS_KEPT = 64


@functools.cache
def own_sources() -> str:
    """Hash of this package: a compiled kernel depends on it."""
    here = Path(__file__).parent
    files = [*here.glob("*.py"), *here.glob("include/**/*.h"), *here.glob("preprocess/*")]
    return cache.key(*(f.read_text() for f in sorted(files)))


@dataclass(frozen=True)
class LibraryText:
    """A text after clang: its kernels, its constants, its IR."""

    instances: dict[str, Instance]
    constants: dict[str, FunctionConstant]
    sizes: list[list[int]]  # bytes behind each kernel's parameters
    ir_text: str
    cached: bool

    @functools.cached_property
    def module(self) -> ir.Module:
        """The IR, split."""
        return ir.split(self.ir_text)


def _pack(rewritten: Rewritten, sizes: list[list[int]], ir_text: str) -> bytes:
    head = {
        "sizes": sizes,
        "instances": [asdict(i) for i in rewritten.instances.values()],
        "constants": [asdict(c) for c in rewritten.constants.values()],
    }
    return json.dumps(head).encode() + b"\n" + ir_text.encode()


def _unpack(content: bytes) -> LibraryText:
    head_text, _, ir_text = content.partition(b"\n")
    head = json.loads(head_text)
    instances = {}
    for fields in head["instances"]:
        parameters = tuple(Parameter(**p) for p in fields.pop("parameters"))
        instances[fields["name"]] = Instance(parameters=parameters, **fields)
    constants = {c["name"]: FunctionConstant(**c) for c in head["constants"]}
    return LibraryText(instances, constants, head["sizes"], ir_text.decode(), cached=True)


@functools.lru_cache(maxsize=_TEXTS_KEPT)
def library_text(text: str, target: clang.Target) -> LibraryText:
    """Compile a text as far as IR.

    Raises:
        KernelCompileError: it is not valid MSL; the message names the line.
    """
    name = cache.key(
        "ir", text, target.triple, *target.options, clang.compiler_version(),
        _processor(target), own_sources(),
    )  # fmt: skip
    content = cache.read(name)
    if content is not None:
        return _unpack(content)
    try:
        rewritten = rewrite(clang.preprocess(text))
    except RewriteError as error:
        raise KernelCompileError(f"[msl] line {error.line}: {error}") from None
    if not rewritten.instances:
        raise KernelCompileError("[msl] found no kernel in the text, needs at least one")
    try:
        whole = with_entries(rewritten)
    except KeyError as error:
        raise KernelCompileError(
            f"[msl] kernel parameter {error} has neither an address space nor an attribute this "
            "device knows"
        ) from None
    ir_text = clang.to_ir(whole, target)
    module = ir.split(ir_text)
    sizes = [ir.parameter_bytes(module, n) for n in range(len(rewritten.instances))]
    cache.write(name, _pack(rewritten, sizes, ir_text))
    return LibraryText(rewritten.instances, rewritten.constants, sizes, ir_text, cached=False)


def _processor(target: clang.Target) -> str:
    """The processor that the target's options call native, if they do."""
    if not any(option.endswith("=native") for option in target.options):
        return ""
    from . import native

    return native.host_cpu()


def resolve_constants(
    declared: dict[str, FunctionConstant], given: list[_core.Constant]
) -> dict[str, bool | int | float]:
    """Values by name.

    Raises:
        KernelCompileError: a key names no constant of the text.
    """
    by_index = {c.index: c.name for c in declared.values()}
    values = {}
    for constant in given:
        name = by_index.get(constant.key) if isinstance(constant.key, int) else constant.key
        if name not in declared:
            known = ", ".join(f"{c.name} ({c.index})" for c in declared.values()) or "none"
            raise KernelCompileError(
                f"[msl] found function constant {constant.key!r}, which the text does not "
                f"declare; it declares {known}"
            )
        values[name] = constant.value
    return values


def instance_of(library: LibraryText, function: str) -> tuple[int, Instance]:
    """A kernel and its number in the text.

    Raises:
        KernelCompileError: there is no such kernel.
    """
    for number, (name, instance) in enumerate(library.instances.items()):
        if name == function:
            return number, instance
    known = ", ".join(library.instances)
    raise KernelCompileError(f"[msl] found no kernel '{function}' in the text; it has {known}")


def specialised(
    text: str,
    descriptor: _core.PipelineDescriptor,
    target: clang.Target,
    symbol: Callable[[int], str] = entry_name,
) -> ir.Module:
    """One kernel of a text with its constants fixed, before optimisation.

    Args:
        text: MSL.
        descriptor: kernel and constants.
        target: what it is compiled for.
        symbol: name of the function to keep, from the kernel's number.
    """
    library = library_text(text, target)
    number, _ = instance_of(library, descriptor.function)
    module = ir.cut(library.module, f"@{symbol(number)}")
    values = resolve_constants(library.constants, descriptor.constants)
    ir.fix_constants(module, library.constants, values)
    return module


def _holds(library: LibraryText, switch: str, values: dict[str, bool | int | float]) -> bool:
    """Whether a function constant is true, or a constant derived from some.

    A derived one is a function in the IR; with its constants fixed it is only a return.
    """
    if switch in library.constants:
        return bool(values.get(switch))
    from . import native

    name = f"attn_derived_{switch}"
    symbol = f"@_Z{len(name)}{name}v"
    if symbol not in library.module.functions:
        return False  # the kernels never ask for it
    module = ir.cut(library.module, symbol)
    ir.fix_constants(module, library.constants, values)
    head, _, rest = module.functions[symbol].partition("\n")
    head = head.replace("define linkonce_odr ", "define ").replace(" comdat", "")
    module.functions[symbol] = f"{head}\n{rest}"
    return re.search(r"^\s+ret i1 true", native.optimise(module.text()), re.M) is not None


def arguments(
    library: LibraryText, number: int, instance: Instance, values: dict[str, bool | int | float]
) -> list[_core.KernelArgument]:
    """What the host must bind."""
    sizes = library.sizes[number]
    found = []
    for position, parameter in enumerate(instance.parameters):
        switch = parameter.attributes.get("function_constant")
        if switch is not None and not _holds(library, switch, values):
            continue
        if "threadgroup" in parameter.attributes:
            kind = _core.ArgumentKind.THREADGROUP
            index = int(parameter.attributes["threadgroup"], 0)
        elif is_buffer(parameter):
            kind = _core.ArgumentKind.BUFFER
            index = buffer_index(instance.parameters, position)
        else:
            continue
        found.append(_core.KernelArgument(kind, index, sizes[position], parameter.name))
    return found


def _check_frame(function: str, nbytes: int) -> None:
    from . import native

    if nbytes > native.MAX_FRAME_BYTES:
        raise KernelCompileError(
            f"[msl {function}] found local variables of {nbytes} bytes a thread, needs at most "
            f"{native.MAX_FRAME_BYTES}; use smaller arrays"
        )


@dataclass(frozen=True)
class ObjectCode:
    """A kernel's machine code before it is loaded, and what a host needs to call it.

    ``symbol`` is the entry point in the object file.
    """

    arguments: tuple[_core.KernelArgument, ...]
    static_threadgroup_bytes: int
    max_threads: int
    object_file: bytes
    symbol: str
    cached: bool


class NativeFrontEnd(_core.FrontEnd):
    """Compiles kernels to this machine's code.

    Args:
        counting: whether the code counts what it does (counts.py).
    """

    def __init__(self, counting: bool = False):
        super().__init__()
        self._counting = counting

    def functions(self, text: str) -> list[str]:
        """Names of the kernels in a text; raises KernelCompileError naming the line."""
        return list(library_text(text, clang.host_target()).instances)

    def compile(self, text: str, descriptor: _core.PipelineDescriptor) -> _core.KernelImage:
        """One kernel with its constants fixed, loaded into this process."""
        from . import native

        begin = time.perf_counter()
        made = self.object_code(text, descriptor)
        return _core.KernelImage(
            list(made.arguments),
            made.static_threadgroup_bytes,
            made.max_threads,
            native.load(made.object_file, made.symbol),
            "",
            (time.perf_counter() - begin) * 1e6,
            made.cached,
        )

    def optimised_ir(self, text: str, descriptor: _core.PipelineDescriptor) -> str:
        """One kernel's LLVM IR after optimisation, where matrix operations are still calls."""
        from . import native

        return native.optimise(specialised(text, descriptor, clang.host_target()).text())

    def object_code(self, text: str, descriptor: _core.PipelineDescriptor) -> ObjectCode:
        """One kernel with its constants fixed, as an object file that nothing has loaded."""
        from . import counts, native

        target = clang.host_target()
        library = library_text(text, target)
        number, instance = instance_of(library, descriptor.function)
        values = resolve_constants(library.constants, descriptor.constants)
        name = cache.key(
            "object", text, descriptor.function, json.dumps(values, sort_keys=True),
            target.triple, *target.options, clang.compiler_version(), native.host_cpu(),
            own_sources(), str(self._counting),
        )  # fmt: skip
        content = cache.read(name)
        cached = content is not None
        if content is None:
            optimised = self.optimised_ir(text, descriptor)
            _check_frame(descriptor.function, native.frame_bytes(optimised))
            if self._counting:
                optimised = counts.instrument(optimised)
            optimised, static_bytes = ir.place_threadgroup_variables(optimised)
            content = static_bytes.to_bytes(8, "little") + native.compile_object(optimised)
            cache.write(name, content)
        return ObjectCode(
            tuple(arguments(library, number, instance, values)),
            int.from_bytes(content[:8], "little"),
            instance.max_threads or 1024,
            content[8:],
            entry_name(number),
            cached,
        )
