"""LLVM as a library, for one user at a time."""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import os
import re
import tempfile
from collections.abc import Iterator

import llvmlite.binding as llvm

from attnproto.compiler.llvm_lock import alone
from attnproto.compiler.target import Target
from attnproto.errors import KernelCompileError

from .loop_nests import nested_loops
from .types import take_type

# Both of LLVM's schedulers of machine instructions take as long as the rest of the code generator,
# and kernels run no faster for them: the order of a kernel's text is a good one.
# Of a function with more blocks than that, what a block's change means for the others is worked out
# once and not after each change, which takes the square of their number.
_OPTIONS = ("--enable-misched=0", "--post-RA-scheduler=0", "--cgpp-huge-func=500")
# Where accesses of two lines become one, validation names one of them, not the line before.
_OPTIONS_OF_22 = ("--pick-merged-source-locations",)
_INDEXED = re.compile(
    r"^(  %\S+ = (?:extract|insert)element .*, (i\d+) )(%(?!attn\.index)[-\w.$]+)", re.M
)
# Loops, by their depths, that LLVM takes some 5 s for: a nest of 54. It takes the cube of a nest's
# depth; of the kernels that are compiled here, the largest is at 900.
MAX_NESTED_LOOPS = 1_500
_QUICK = ("always_inliner", "sroa", "simplify_cfg", "dead_code_elimination")
_PLAIN = re.compile(r"[-\w.$]+")  # a symbol that stands without quotes
_ALLOCA = re.compile(r"= alloca (.+?), align")
_COUNTED = re.compile(r"= alloca .*?, i\d+ [%\d]")
_TABLE = re.compile(r"^@\S+ = .*?addrspace\(2\) constant (.*)$", re.M)
# A pragma's wish in IR, and what LLVM says where it is not fulfilled.
_ASKED = re.compile(r"!\"llvm\.loop\.(?:unroll|vectorize|interleave|distribute)")
_LOOP = re.compile(r", !llvm\.loop !\d+")
_MISSED = re.compile(rb"(?:warning|remark): .*: loop not ")


@functools.cache
def initialise() -> None:
    """Set LLVM up for this process, and make the engine's functions known to it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    options = _OPTIONS + (_OPTIONS_OF_22 if llvm.llvm_version_info[0] >= 22 else ())
    for option in options:
        llvm.set_option("attnproto", option)
    for library in ("m", "c"):
        soname = ctypes.util.find_library(library)
        if soname:
            llvm.load_library_permanently(soname)
    from attnproto import _core

    for name, address in _core.runtime_symbols():
        llvm.add_symbol(name, address)


def target_machine(opt: int, target: Target | None = None) -> llvm.TargetMachine:
    """The code generator of a target, for this process where none is given."""
    named = target.processor if target else ""
    linked = target is not None and target.linked
    if named:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    back_end = llvm.Target.from_triple(target.triple if named else llvm.get_default_triple())
    return back_end.create_target_machine(
        cpu=named or llvm.get_host_cpu_name(),
        features="" if named else llvm.get_host_cpu_features().flatten(),
        opt=opt,
        reloc="pic",
        # Loaded code may lie anywhere; what a linker takes keeps to the system's own model.
        codemodel="default" if linked else "jitdefault",
        jit=not linked,
    )


def run_pipeline(
    text: str, machine: llvm.TargetMachine, level: int, *, unroll: bool = True
) -> llvm.ModuleRef:
    """A module after LLVM's own pipeline of a level, without its vectorisers.

    Of very many loops, or a deep nest of them, after ``run_quickly`` instead.
    """
    if nested_loops(text) > MAX_NESTED_LOOPS:
        return run_quickly(text, machine)
    module = llvm.parse_assembly(frozen_indices(text))
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = unroll
    builder = llvm.create_pass_builder(machine, options)
    with _without_missed_loops(text):
        builder.getModulePassManager().run(module, builder)
    return module


def run_quickly(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """A module after passes whose time does not grow faster than the module."""
    return run_passes(text, machine, *_QUICK)


def run_passes(text: str, machine: llvm.TargetMachine, *names: str) -> llvm.ModuleRef:
    """A module after some of LLVM's passes, by the names that llvmlite has for them."""
    module = llvm.parse_assembly(text)
    passes = llvm.create_new_module_pass_manager()
    for name in names:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, llvm.create_pass_builder(machine, llvm.PipelineTuningOptions()))
    return module


@contextlib.contextmanager
def _without_missed_loops(text: str) -> Iterator[None]:
    """Drop what LLVM writes of loops that it did not unroll or vectorise as a pragma asks.

    It takes no handler of messages through llvmlite and writes them to standard error itself, so
    that is caught while a module with such a pragma is compiled; all else is passed on.
    """
    if not _ASKED.search(text):
        yield
        return
    with tempfile.TemporaryFile() as caught:
        own = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)
            caught.seek(0)
            for line in caught:
                if not _MISSED.match(line):
                    os.write(2, line)


def frozen_indices(text: str) -> str:
    """A module in which no variable index of a vector can be poison.

    LLVM 22 aborts where VectorCombine would make a scalar's store of one number that is set in a
    vector, has found that its index must be frozen for that, and then that a write is in between.
    """
    taken = max(map(int, re.findall(r"%attn\.index\.(\d+)", text)), default=0)

    def freeze(access: re.Match) -> str:
        nonlocal taken
        taken += 1
        name = f"%attn.index.{taken}"
        return f"  {name} = freeze {access[2]} {access[3]}\n{access[1]}{name}"

    return _INDEXED.sub(freeze, text)


@alone
def disassemble(bitcode: bytes) -> tuple[str, dict[str, int]]:
    """A module's text, and the bytes of each of its global variables by symbol.

    Raises:
        KernelCompileError: LLVM does not read it.
    """
    initialise()
    try:
        module = llvm.parse_bitcode(bitcode)
    except RuntimeError as error:
        raise KernelCompileError(
            f"[llvm] found bitcode that LLVM {'.'.join(map(str, llvm.llvm_version_info))} "
            f"does not read ({str(error).strip()}), needs a whole module; take it again"
        ) from None
    layout = llvm.create_target_data(module.data_layout)
    variables = {
        f"@{one.name}" if _PLAIN.fullmatch(one.name) else f'@"{one.name}"': (
            layout.get_abi_size(one.global_value_type)
        )
        for one in module.global_variables
    }
    return str(module), variables


@alone
def link(texts: list[str]) -> str:
    """One module of several: what one declares and another defines becomes one function."""
    initialise()
    linked = llvm.parse_assembly(texts[0])
    for text in texts[1:]:
        linked.link_in(llvm.parse_assembly(text))
    return str(linked)


@alone
def optimise(text: str, target: Target | None = None, unroll: bool = True) -> str:
    """Inline everything and simplify; matrix operations are still calls.

    Args:
        text: a module.
        target: what it is for.
        unroll: whether loops are unrolled that a pragma says or LLVM chooses.
    """
    initialise()
    text = text if unroll else _LOOP.sub("", text)
    return str(run_pipeline(text, target_machine(2, target), 2, unroll=unroll))


def frame_bytes(text: str) -> int:
    """Bytes of local variables that stay in memory, of an optimised module."""
    return _bytes_of(text, _ALLOCA.findall(text))


def grows(text: str) -> bool:
    """Whether a function has local variables of a number that is known when it runs."""
    return _COUNTED.search(text) is not None


def table_bytes(text: str) -> int:
    """Bytes of the constants that a module holds."""
    return _bytes_of(text, [rest[: take_type(rest, 0)] for rest in _TABLE.findall(text)])


@alone
def _bytes_of(text: str, types: list[str]) -> int:
    """Bytes of types, which may be named in a module."""
    initialise()
    named = re.findall(r"^%.* = type .*$", text, re.M)
    lines = [*named, *(f"@v{i} = external global {t}" for i, t in enumerate(types))]
    module = llvm.parse_assembly("\n".join(lines))
    sizes = target_machine(0).target_data
    return sum(sizes.get_abi_size(v.global_value_type) for v in module.global_variables)


@alone
def assemble(text: str, target: Target) -> bytes:
    """IR as it is, to an object file."""
    initialise()
    return target_machine(0, target).emit_object(llvm.parse_assembly(text))
