"""The front end that a device without its own MSL compiler calls."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from attnproto import _core
from attnproto.compiler import object_cache
from attnproto.compiler.codegen import native_code, object_archive
from attnproto.compiler.frontend import clang
from attnproto.compiler.frontend.program import (
    arguments,
    library_head,
    own_sources,
    ship_heads,
    text_key,
)
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir.runtime_calls import entry_name
from attnproto.compiler.passes import count_operations, place_threadgroup_memory, sanitize_accesses
from attnproto.compiler.passes.specialize import present_parameters, specialised, table_symbols
from attnproto.compiler.target import Target, host_target, processor_name
from attnproto.compiler.vectorize import vectorize
from attnproto.errors import KernelCompileError

from .engines import CPU_ENGINES

_NUMBER_BYTES = 8


def _check_frame(function: str, nbytes: int) -> None:
    if nbytes > native_code.MAX_FRAME_BYTES:
        raise KernelCompileError(
            f"[msl {function}] found local variables of {nbytes} bytes a thread, needs at most "
            f"{native_code.MAX_FRAME_BYTES}; use smaller arrays"
        )


@dataclass(frozen=True)
class _Built:
    """What the cache and archives keep of a compiled kernel."""

    static_bytes: int  # of threadgroup memory
    present: int  # a bit for each parameter there is
    reason: str  # why it needs a fiber a lane; empty: it runs in lockstep, or none was asked
    engine: str
    object_file: bytes

    def pack(self) -> bytes:
        reason = self.reason.encode()
        numbers = (self.static_bytes, self.present, CPU_ENGINES.index(self.engine), len(reason))
        head = b"".join(n.to_bytes(_NUMBER_BYTES, "little") for n in numbers)
        return head + reason + self.object_file

    def symbol(self, number: int) -> str:
        """The entry point of the text's kernel of that number."""
        name = entry_name(number)
        return vectorize.symbol(name) if self.engine == "lockstep" else name

    @classmethod
    def unpack(cls, content: bytes) -> _Built:
        at = range(0, 4 * _NUMBER_BYTES, _NUMBER_BYTES)
        numbers = [int.from_bytes(content[i : i + _NUMBER_BYTES], "little") for i in at]
        static_bytes, present, engine, length = numbers
        rest = content[4 * _NUMBER_BYTES :]
        reason = rest[:length].decode()
        return cls(static_bytes, present, reason, CPU_ENGINES[engine], rest[length:])


def one_a_pipeline(contents: Iterable[bytes]) -> list[bytes]:
    """Object code of an archive's pipelines, without what lies beside it for the other engine."""
    built = [_Built.unpack(content) for content in contents]
    own = [one for one in built if one.engine == "lockstep" or one.reason]
    return [one.object_file for one in own or built]


@dataclass(frozen=True)
class _Described:
    """A pipeline's description that outlives the call it came with."""

    function: str
    constants: list[_core.Constant]
    linked_functions: list[str]
    archive: str
    fails_on_archive_miss: bool
    private_functions: list[tuple[str, str]]

    @classmethod
    def of(cls, descriptor: _core.PipelineDescriptor) -> _Described:
        constants = [_core.Constant(c.key, c.value) for c in descriptor.constants]
        return cls(
            descriptor.function,
            constants,
            list(descriptor.linked_functions),
            descriptor.archive,
            descriptor.fails_on_archive_miss,
            list(descriptor.private_functions),
        )


@dataclass(frozen=True)
class ObjectCode:
    """A kernel's machine code before it is loaded, and what a host needs to call it.

    ``symbol`` is the entry point in the object file, and ``engine`` what runs it.
    """

    arguments: tuple[_core.KernelArgument, ...]
    static_threadgroup_bytes: int
    max_threads: int
    object_file: bytes
    symbol: str
    engine: str
    cached: bool


class NativeFrontEnd(_core.FrontEnd):
    """Compiles kernels to this machine's code.

    Args:
        counting: whether the code counts what it does (count_operations.py).
        validate: what the code checks while it runs (sanitize_accesses.py): "memory", "nan" for
            that and the arithmetic, or nothing.
        engine: ``lockstep``, where a kernel that it does not take gets ``fibers``; or ``fibers``.
            Code that counts or checks runs on fibers.
        target: what the code is for: this machine, unless given.
    """

    def __init__(
        self,
        counting: bool = False,
        validate: str = "",
        engine: str = "lockstep",
        target: Target | None = None,
    ):
        super().__init__()
        self._counting, self._validate = counting, validate
        self._engine = "fibers" if counting or validate else engine
        self._target = target or host_target()
        self._fibers = None
        if self._engine != "fibers":
            self._fibers = NativeFrontEnd(engine="fibers", target=self._target)
        if validate:
            self._target = sanitize_accesses.target_with_lines(self._target)
        self._loaded: dict[str, tuple[_Built, list[int]]] = {}
        self._lock = threading.Lock()

    def functions(self, text: str) -> list[str]:
        """Names of what a text holds; raises KernelCompileError naming the line."""
        head = library_head(text, self._target)
        return [*head.instances, *head.visible]

    def compile(self, text: str, descriptor: _core.PipelineDescriptor) -> _core.KernelImage:
        """One kernel with its constants fixed, loaded into this process."""
        begin = time.perf_counter()
        archive = object_archive.read(descriptor.archive) if descriptor.archive else None
        if archive:
            ship_heads(archive.heads)
        head = library_head(text, self._target)
        number, instance = head.instance(descriptor.function)
        values = head.values(descriptor.constants)
        name = self._key(text, descriptor, values)
        content = archive.objects.get(name) if archive else None
        if content is None and archive and descriptor.fails_on_archive_miss:
            raise KernelCompileError(
                f"[cpu.archive] found no {descriptor.function} with these constants in "
                f"{descriptor.archive}, needs it there; add it and build the archive again"
            )
        symbols = table_symbols(text, descriptor, self._target)
        with self._lock:
            loaded = self._loaded.get(name)
        if content is None and loaded is None:
            content = object_cache.read(name)
        cached = content is not None or loaded is not None
        function_us = 0.0
        if not cached:
            content, function_us = self._build(text, descriptor, name)
        if loaded is None:
            built = _Built.unpack(content)
            wanted = [built.symbol(number), *symbols.values()]
            loaded = (built, native_code.load(built.object_file, wanted))
            with self._lock:
                self._loaded[name] = loaded
        built, addresses = loaded
        image = _core.KernelImage(
            arguments(head, descriptor.function, built.present),
            built.static_bytes,
            instance.max_threads or 1024,
            addresses[0],
            b"",
            list(zip(symbols, addresses[1:], strict=True)),
            (time.perf_counter() - begin) * 1e6,
            function_us,
            cached,
        )
        image.engine, image.engine_reason = built.engine, built.reason
        if built.engine == "lockstep":
            kept = _Described.of(descriptor)
            image.lane_entry = lambda: self._fibers.compile(text, kept).entry_address
        image.validates = bool(self._validate)
        return image

    def optimised_ir(self, text: str, descriptor: _core.PipelineDescriptor) -> str:
        """One kernel's LLVM IR after optimisation, where matrix operations are still calls."""
        special = specialised(text, descriptor, self._target)
        return llvm.optimise(special, self._target)

    def object_code(self, text: str, descriptor: _core.PipelineDescriptor) -> ObjectCode:
        """One kernel with its constants fixed, as an object file that nothing has loaded."""
        head = library_head(text, self._target)
        number, instance = head.instance(descriptor.function)
        name = self._key(text, descriptor, head.values(descriptor.constants))
        content = object_cache.read(name)
        cached = content is not None
        if content is None:
            content, _ = self._build(text, descriptor, name)
        built = _Built.unpack(content)
        return ObjectCode(
            tuple(arguments(head, descriptor.function, built.present)),
            built.static_bytes,
            instance.max_threads or 1024,
            built.object_file,
            built.symbol(number),
            built.engine,
            cached,
        )

    def save_archive(
        self, texts: list[str], descriptors: list[_core.PipelineDescriptor], path: str
    ) -> None:
        """Write pipelines to a file, one of each text.

        Raises:
            KernelCompileError: there is nothing to write, or no place for it.
        """
        if not texts:
            raise KernelCompileError(
                "[cpu.archive] found no pipeline to store, needs at least one; add it first"
            )
        heads, objects = {}, {}
        for text, descriptor in zip(texts, descriptors, strict=True):
            head = library_head(text, self._target)
            name = self._key(text, descriptor, head.values(descriptor.constants))
            objects[name] = object_cache.read(name) or self._build(text, descriptor, name)[0]
            if self._fibers and _Built.unpack(objects[name]).engine == "lockstep":
                other = self._fibers
                lane = other._key(text, descriptor, head.values(descriptor.constants))
                objects[lane] = object_cache.read(lane) or other._build(text, descriptor, lane)[0]
            heads[text_key(text, self._target)] = head.pack()
            for other, _ in descriptor.private_functions:
                packed = library_head(other, self._target).pack()
                heads[text_key(other, self._target)] = packed
        object_archive.write(path, heads, objects)

    def _key(
        self,
        text: str,
        descriptor: _core.PipelineDescriptor,
        values: dict[str, bool | int | float],
    ) -> str:
        linked = [*descriptor.linked_functions, "private"]
        given = {}
        for other, function in descriptor.private_functions:
            linked += [function, other]
            head = library_head(other, self._target)
            given |= head.values(descriptor.constants, strict=False)
        return object_cache.key(
            "object", text, descriptor.function, json.dumps(given | values, sort_keys=True),
            *linked, self._target.triple, *self._target.options, clang.compiler_version(),
            processor_name(self._target), str(self._target.linked), own_sources(),
            str(self._counting), self._validate, self._engine,
        )  # fmt: skip

    def _build(
        self, text: str, descriptor: _core.PipelineDescriptor, name: str
    ) -> tuple[bytes, float]:
        """Object code, and the microseconds that went into constants and linking."""
        begin = time.perf_counter()
        special = specialised(text, descriptor, self._target, marked=self._counting)
        function_us = (time.perf_counter() - begin) * 1e6
        if self._validate:
            special = sanitize_accesses.without_promises(special)
        optimised = llvm.optimise(special, self._target)
        _check_frame(descriptor.function, llvm.frame_bytes(optimised))
        if self._counting:
            optimised = count_operations.instrument(optimised)
        declared = None
        if self._validate:
            optimised, declared = sanitize_accesses.instrument(
                optimised, [text, *(other for other, _ in descriptor.private_functions)],
                nan=self._validate == "nan",
            )  # fmt: skip
        optimised, static_bytes = place_threadgroup_memory.place_threadgroup_variables(
            optimised, declared
        )
        present = present_parameters(text, descriptor, self._target)
        number, _ = library_head(text, self._target).instance(descriptor.function)
        gathered = native_code.gather(optimised, self._target)
        reason, engine, code = "", self._engine, b""
        if engine == "lockstep":
            try:
                code = native_code.compile_lockstep(gathered, entry_name(number), self._target)
            except vectorize.Unsupported as found:
                reason, engine = str(found), "fibers"
        code = code or native_code.compile_object(gathered, self._target)
        content = _Built(static_bytes, present, reason, engine, code).pack()
        object_cache.write(name, content)
        return content, function_us
