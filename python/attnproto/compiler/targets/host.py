"""The front end that a device without its own MSL compiler calls."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attnproto import _core
from attnproto.compiler.codegen import native_code
from attnproto.compiler.frontend import compiled_kernel
from attnproto.compiler.frontend.program import arguments
from attnproto.compiler.frontend.request import Request
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir.runtime_calls import MATRIX_MULTIPLY, entry_name
from attnproto.compiler.ir.types import Unsupported
from attnproto.compiler.llvm_lock import alone
from attnproto.compiler.pass_manager import Kernel, Pass, PassManager, on_text, reported
from attnproto.compiler.passes import (
    batch_matrix_products,
    contract_fma,
    count_operations,
    define_arithmetic,
    expand_exp2,
    lower_bfloat,
    number_rendezvous,
    place_threadgroup_memory,
    sanitize_accesses,
    separate_buffers,
    separate_spaces,
    split_blocks,
    transpose_locals,
    unroll_products,
)
from attnproto.compiler.passes.specialize import present_parameters, specialised
from attnproto.compiler.target import Target, fuses, host_target
from attnproto.compiler.vectorize import vectorize
from attnproto.errors import KernelCompileError

from .driver import Code, Driver
from .engines import CPU_ENGINES

_NUMBER_BYTES = 8


@dataclass(frozen=True)
class HostOptions:
    """What decides a kernel's code besides the request: see :class:`NativeFrontEnd`."""

    engine: str = "lockstep"
    counting: bool = False
    validate: str = ""


@dataclass
class HostKernel(Kernel):
    """A kernel on its way to this machine's code.

    ``sites`` has the site of each threadgroup variable's declaration, where accesses are checked;
    ``reason`` says why the kernel needs a fiber a lane, where it was to run in lockstep; ``tuned``,
    whether the code generator optimises. ``unrolled`` says whether loops are that a pragma or LLVM
    unrolls. In lockstep they stay loops, which compiles in a third to two thirds of the time and
    runs as fast. Fibers meet less often if products of many rounds are done together; what counts
    on them counts loops that Apple's compiler unrolls, and what checks accesses has fewer to check.
    """

    sites: Mapping[str, str] | None = None
    engine: str = ""
    reason: str = ""
    tuned: bool = True
    unrolled: bool = False


def _counting(kernel: HostKernel) -> bool:
    return kernel.request.options.counting


def _validating(kernel: HostKernel) -> bool:
    return bool(kernel.request.options.validate)


def _specialize(kernel: HostKernel) -> str:
    text = specialised(kernel.request, marked=_counting(kernel))
    # What is fused across expressions follows from what is unrolled, and engines round alike.
    kernel.unrolled |= contract_fma.is_open(text)
    return text


def _define_divisions(kernel: HostKernel) -> str:
    return define_arithmetic.define_divisions(kernel.text, report=_validating(kernel))


@alone
def _separate_buffers(kernel: HostKernel) -> str:
    llvm.initialise()
    machine = llvm.target_machine(2, kernel.request.target)
    return separate_buffers.separate_buffers(kernel.text, kernel.request.number, machine)


def _optimize(kernel: HostKernel) -> str:
    return llvm.optimise(kernel.text, kernel.request.target, unroll=kernel.unrolled)


def _unroll_products(kernel: HostKernel) -> str:
    if MATRIX_MULTIPLY not in kernel.text:
        return kernel.text
    marked = unroll_products.mark_products(kernel.text)
    return native_code.unroll_marked(marked, kernel.request.target)


def _check_frame(kernel: HostKernel) -> str:
    if llvm.grows(kernel.text):
        raise KernelCompileError(
            f"[msl {kernel.request.function}] found a local array whose size is known when it "
            "runs, needs one that is known before; use an array of the most that there may be"
        )
    nbytes = llvm.frame_bytes(kernel.text)
    if nbytes > native_code.MAX_FRAME_BYTES:
        raise KernelCompileError(
            f"[msl {kernel.request.function}] found local variables of {nbytes} bytes a thread, "
            f"needs at most {native_code.MAX_FRAME_BYTES}; use smaller arrays"
        )
    nbytes = llvm.table_bytes(kernel.text)
    if nbytes > native_code.MAX_TABLE_BYTES:
        raise KernelCompileError(
            f"[msl {kernel.request.function}] found constants of {nbytes} bytes, needs at most "
            f"{native_code.MAX_TABLE_BYTES}; bind a buffer"
        )
    return kernel.text


def _count_operations(kernel: HostKernel) -> str:
    apples = compiled_kernel.is_compiled(kernel.request.text)
    return count_operations.instrument(kernel.text, "Apple" if apples else "clang")


def _sanitize_accesses(kernel: HostKernel) -> str:
    nan = kernel.request.options.validate == "nan"
    names = None
    if compiled_kernel.is_compiled(kernel.request.text):
        names = sanitize_accesses.Names(*compiled_kernel.names_of(kernel.request.text))
    text, kernel.sites = sanitize_accesses.instrument(
        kernel.text, kernel.request.texts, nan=nan, names=names
    )
    return text


def _place_threadgroup_memory(kernel: HostKernel) -> str:
    text, kernel.static_bytes = place_threadgroup_memory.place_threadgroup_variables(
        kernel.text, kernel.sites
    )
    return text


def _contract_fma(kernel: HostKernel) -> str:
    return contract_fma.contract(kernel.text, fuses(kernel.request.target))


def _expand_exp2(kernel: HostKernel) -> str:
    return expand_exp2.expand(kernel.text, fuses(kernel.request.target))


def _vectorize(kernel: HostKernel) -> str:
    return vectorize.vectorise(kernel.text, entry_name(kernel.request.number))


def _split_blocks(kernel: HostKernel) -> str:
    kernel.tuned = native_code.instructions(kernel.text) <= native_code.MAX_TUNED
    return kernel.text if kernel.tuned else split_blocks.split_blocks(kernel.text)


# What every kernel goes through. Rounding is settled before the engines part.
HOST = [
    Pass("specialize", _specialize),
    Pass("drop_promises", on_text(sanitize_accesses.without_promises), when=_validating),
    # Metal's compiler adds no such instructions, so they are not counted.
    Pass("define_divisions", _define_divisions, when=lambda k: not _counting(k)),
    Pass("separate_spaces", on_text(separate_spaces.separate_spaces)),
    Pass("separate_buffers", _separate_buffers, when=lambda k: k.request.distinct_buffers),
    Pass("optimize", _optimize),
    Pass("unroll_products", _unroll_products, when=lambda k: not k.unrolled),
    Pass("watch_depths", lambda k: define_arithmetic.watch_depths(k.text)),
    Pass("check_frame", _check_frame),
    Pass("count_operations", _count_operations, when=_counting),
    Pass("sanitize_accesses", _sanitize_accesses, when=_validating),
    Pass("place_threadgroup_memory", _place_threadgroup_memory),
    Pass("contract_fma", _contract_fma),
    Pass("expand_exp2", _expand_exp2),
    Pass("batch_matrix_products", on_text(batch_matrix_products.batch_matrix_operations)),
    Pass("clean_up", lambda k: native_code.clean_up(k.text, k.request.target)),
    # Last: LLVM would take vectors of integers apart, which vectorize reads as they are.
    Pass("lower_bfloat", on_text(lower_bfloat.lower)),
]
# And what an engine's code goes through after that.
ENGINES = {
    "lockstep": [
        Pass("regularize", lambda k: native_code.regularize(k.text, k.request.target)),
        Pass("transpose_locals", on_text(transpose_locals.transpose_locals)),
        Pass("vectorize", _vectorize, declines=True),
        Pass("simplify_vectors", lambda k: native_code.simplify_vectors(k.text, k.request.target)),
        Pass("split_blocks", _split_blocks),
    ],
    "fibers": [Pass("number_rendezvous", on_text(number_rendezvous.number_rendezvous))],
}


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


class NativeFrontEnd(Driver):
    """Compiles kernels to this machine's code.

    Args:
        counting: whether the code counts what it does (count_operations.py).
        validate: what the code checks while it runs (sanitize_accesses.py): "memory", "nan" for
            that and the arithmetic, or nothing.
        engine: ``lockstep``, where a kernel that it does not take gets ``fibers``; or ``fibers``.
            Code that counts or checks runs on fibers.
        target: what the code is for: this machine, unless given.
    """

    device = "cpu"
    lists = (HOST, *ENGINES.values())

    def __init__(
        self,
        counting: bool = False,
        validate: str = "",
        engine: str = "lockstep",
        target: Target | None = None,
    ):
        target = target or host_target()
        if validate:
            target = sanitize_accesses.target_with_lines(target)
        engine = "fibers" if counting or validate else engine
        super().__init__(target, HostOptions(engine, counting, validate))
        # Dispatches that lockstep does not take run the same kernel on fibers.
        self._fibers = None
        if engine != "fibers":
            self._fibers = NativeFrontEnd(engine="fibers", target=target)
        self._loaded: dict[str, tuple[_Built, list[int]]] = {}

    def request(self, text: str, descriptor: _core.PipelineDescriptor) -> Request:
        """As for every target; code that checks or counts accesses has those of any binding."""
        request = super().request(text, descriptor)
        any_binding = self.options.validate or self.options.counting
        # A function table holds addresses of one code alone.
        distinct = descriptor.distinct_buffers and not any_binding and not request.table
        return dataclasses.replace(request, distinct_buffers=bool(distinct))

    def _on_fibers(self, request: Request) -> Request:
        return dataclasses.replace(request, options=self._fibers.options)

    def lower(self, request: Request, passes: PassManager, unrolled: bool = False) -> HostKernel:
        """Take a kernel through all passes; ``engine`` and ``reason`` say where it arrived."""
        engine = request.options.engine
        kernel = HostKernel(request, engine=engine, unrolled=unrolled or engine == "fibers")
        passes.run(HOST, kernel)
        try:
            passes.run(ENGINES[engine], kernel)
        except Unsupported as reason:
            kernel = HostKernel(request, engine="fibers", reason=str(reason), unrolled=True)
            passes.run(HOST, kernel)
            passes.run(ENGINES["fibers"], kernel)
        return kernel

    def build(self, request: Request, passes: PassManager) -> bytes:
        """Object code and what a host needs to call it, packed."""
        kernel = self.lower(request, passes)
        with reported("codegen", request.function):
            code = native_code.compile_object(kernel.text, request.target, kernel.tuned)
            present = present_parameters(request)
        built = _Built(kernel.static_bytes, present, kernel.reason, kernel.engine, code)
        return built.pack()

    def holds(self, key: str) -> bool:
        """Whether the code is loaded into this process."""
        return key in self._loaded

    def image(self, request: Request, code: Code) -> _core.KernelImage:
        """The kernel, loaded into this process."""
        built, addresses = self._load(request, code.content)
        image = _core.KernelImage(
            arguments(request.head, request.function, built.present),
            built.static_bytes,
            request.instance.max_threads or _core.MAX_THREADS,
            addresses[0],
            b"",
            list(zip(request.table, addresses[1:], strict=True)),
            *code.spent(),
        )
        image.engine, image.engine_reason = built.engine, built.reason
        if built.engine == "lockstep":
            lane, archive, fibers = self._on_fibers(request), code.archive, self._fibers
            image.lane_entry = lambda: (
                fibers.answer(lane, archive, time.perf_counter()).entry_address
            )
        image.validates = bool(self.options.validate)
        image.distinct_buffers = request.distinct_buffers
        return image

    def _load(self, request: Request, content: bytes | None) -> tuple[_Built, list[int]]:
        loaded = self._loaded.get(request.key)
        if loaded is None:
            built = _Built.unpack(content)
            symbols = [built.symbol(request.number), *request.table.values()]
            loaded = (built, native_code.load(built.object_file, symbols))
            self._loaded[request.key] = loaded
        return loaded

    def optimised_ir(self, text: str, descriptor: _core.PipelineDescriptor) -> str:
        """One kernel's LLVM IR after optimisation, its loops unrolled as where code is counted.

        Matrix operations are still calls.
        """
        passes = PassManager(stop_after="optimize")
        kernel = self.lower(self.request(text, descriptor), passes, unrolled=True)
        return kernel.text

    def assembly(self, kernel: HostKernel) -> str:
        """The assembler's text of a kernel that has gone through all passes."""
        with reported("codegen", kernel.request.function):
            return native_code.assembly(kernel.text, kernel.request.target, kernel.tuned)

    def object_code(self, text: str, descriptor: _core.PipelineDescriptor) -> ObjectCode:
        """One kernel with its constants fixed, as an object file that nothing has loaded."""
        request = self.request(text, descriptor)
        passes = PassManager()
        built = _Built.unpack(self.make(request, passes))
        return ObjectCode(
            tuple(arguments(request.head, request.function, built.present)),
            built.static_bytes,
            request.instance.max_threads or _core.MAX_THREADS,
            built.object_file,
            built.symbol(request.number),
            built.engine,
            not passes.seconds,
        )

    def stored(self, contents: list[tuple[Request, bytes]]) -> dict[str, bytes]:
        """The kernels, and beside those in lockstep the same on fibers."""
        objects = super().stored(contents)
        for request, content in contents:
            if _Built.unpack(content).engine == "lockstep":
                lane = self._on_fibers(request)
                objects[lane.key] = self._fibers.make(lane)
        return objects
