"""From IR to machine code in this process, with llvmlite's LLVM."""

from __future__ import annotations

import ctypes.util
import functools
import re
import threading

import llvmlite.binding as llvm

from . import batch, bfloat, clang, contraction, exponential, lockstep, meetings, symbols
from .entry import is_entry

# Of the 64 KiB that a lane's stack has (cpp/cpu/fiber.cpp); the rest is for what the
# code generator spills and for the engine.
MAX_FRAME_BYTES = 48 * 1024

# Vector instructions that the code generator optimises within a second. More take several, and
# would run at most a third faster for it.
MAX_TUNED = 12_000

# Both of LLVM's schedulers of machine instructions take as long as the rest of the code generator,
# and kernels run no faster for them: the order of a kernel's text is a good one.
_NO_SCHEDULING = ("--enable-misched=0", "--post-RA-scheduler=0")

_ALLOCA = re.compile(r"= alloca (.+?), align")
_lock = threading.Lock()
_engines: list[llvm.ExecutionEngine] = []  # own the machine code; pipelines live until exit


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for option in _NO_SCHEDULING:
        llvm.set_option("attnproto", option)
    for library in ("m", "c"):
        found = ctypes.util.find_library(library)
        if found:
            llvm.load_library_permanently(found)
    from .. import _core

    for name, address in _core.runtime_symbols():
        llvm.add_symbol(name, address)


def processor(target: clang.Target) -> str:
    """Name of the processor that code is for, part of what compiled code depends on."""
    return target.processor or llvm.get_host_cpu_name()


def _fuses(target: clang.Target) -> bool:
    """Whether the processor multiplies and adds in one operation; one with a name is taken to."""
    arm = target.triple.startswith("aarch64")
    return arm or bool(target.processor) or llvm.get_host_cpu_features().get("fma", False)


def _settled(text: str, target: clang.Target) -> str:
    """Optimised IR whose rounding does not depend on the engine."""
    return exponential.expand(contraction.contract(text, _fuses(target)), _fuses(target))


def _machine(opt: int, target: clang.Target | None = None) -> llvm.TargetMachine:
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


def _optimise(text: str, machine: llvm.TargetMachine, level: int) -> str:
    module = llvm.parse_assembly(text)
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return str(module)


def link(texts: list[str]) -> str:
    """One module of several: what one declares and another defines becomes one function."""
    _initialise()
    with _lock:
        whole = llvm.parse_assembly(texts[0])
        for text in texts[1:]:
            whole.link_in(llvm.parse_assembly(text))
        return str(whole)


def optimise(text: str, target: clang.Target | None = None) -> str:
    """Inline everything and simplify; matrix operations are still calls."""
    _initialise()
    with _lock:
        return _optimise(text, _machine(2, target), 2)


def frame_bytes(text: str) -> int:
    """Bytes of local variables that stay in memory, of an optimised module."""
    _initialise()
    types = _ALLOCA.findall(text)
    named = re.findall(r"^%.* = type .*$", text, re.M)
    lines = [*named, *(f"@local{i} = external global {t}" for i, t in enumerate(types))]
    with _lock:
        module = llvm.parse_assembly("\n".join(lines))
        sizes = _machine(0).target_data
        return sum(sizes.get_abi_size(v.global_value_type) for v in module.global_variables)


def gather(text: str, target: clang.Target) -> str:
    """An optimised module, its threadgroup variables placed, with its matrix operations in batches.

    Rounding no longer depends on the engine: ``compile_object`` and ``compile_lockstep`` both take
    what this returns.
    """
    _initialise()
    with _lock:
        batched = batch.batch_matrix_operations(_settled(text, target))
        # Last: LLVM would take vectors of integers apart, which lockstep reads as they are.
        return bfloat.lower(_optimise(batched, _machine(2, target), 1))


def compile_object(text: str, target: clang.Target) -> bytes:
    """A gathered module to an object file whose entry point runs a lane."""
    _initialise()
    with _lock:
        module = llvm.parse_assembly(meetings.number_places(text))
        return _emit(module, _machine(2, target), target)


def _emit(module: llvm.ModuleRef, machine: llvm.TargetMachine, target: clang.Target) -> bytes:
    """An object file. Those of both engines may be linked to one file: only entries are seen."""
    if target.linked:
        for value in [*module.global_variables, *module.functions]:
            if not value.is_declaration and not is_entry(value.name):
                value.linkage = "internal"
    made = machine.emit_object(module)
    symbols.check(made)
    return made


def assemble(text: str, target: clang.Target) -> bytes:
    """IR as it is, to an object file."""
    _initialise()
    with _lock:
        return _machine(0, target).emit_object(llvm.parse_assembly(text))


def compile_lockstep(text: str, entry: str, target: clang.Target) -> bytes:
    """A gathered module to an object file whose entry point runs a whole simdgroup.

    The entry point's name is ``lockstep.symbol(entry)``.

    Raises:
        lockstep.Unsupported: the kernel has something that takes a fiber a lane.
    """
    _initialise()
    with _lock:
        module = lockstep_module(text, entry, _machine(2, target))
        instructions = sum(len(list(b.instructions)) for f in module.functions for b in f.blocks)
        return _emit(module, _machine(2 if instructions <= MAX_TUNED else 0, target), target)


def lockstep_module(text: str, entry: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """What ``compile_lockstep`` makes, before it is machine code; raises alike."""
    text = lockstep.vectorise(_regular(text, machine), entry)
    try:
        module = llvm.parse_assembly(text)
    except RuntimeError as error:
        reason = f"code that LLVM refuses ({str(error).splitlines()[-1]})"
        raise lockstep.Unsupported(reason) from error
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.PipelineTuningOptions()))
    return module


def _regular(text: str, machine: llvm.TargetMachine) -> str:
    """What lockstep.vectorise needs: names, one form of loops, no switch."""
    module = llvm.parse_assembly(text)
    passes = llvm.create_new_module_pass_manager()
    passes.add_lower_switch_pass()
    passes.add_loop_simplify_pass()
    passes.add_lcssa_pass()
    passes.add_instruction_namer_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.PipelineTuningOptions()))
    return str(module)


def load(object_file: bytes, wanted: list[str]) -> list[int]:
    """Load an object file into this process.

    Returns:
        The address of each symbol.
    """
    _initialise()
    with _lock:
        empty = llvm.parse_assembly("")
        engine = llvm.create_mcjit_compiler(empty, _machine(0))
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(object_file))
        engine.finalize_object()
        addresses = [engine.get_function_address(symbol) for symbol in wanted]
        _engines.append(engine)
    return addresses
