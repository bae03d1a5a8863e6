"""From IR to machine code in this process, with llvmlite's LLVM."""

from __future__ import annotations

import llvmlite.binding as llvm

from attnproto.compiler.ir.llvm import initialise, lock, run_pipeline, target_machine
from attnproto.compiler.ir.runtime_calls import is_entry
from attnproto.compiler.passes import (
    batch_matrix_products,
    contract_fma,
    expand_exp2,
    lower_bfloat,
    number_rendezvous,
)
from attnproto.compiler.target import Target, fuses
from attnproto.compiler.vectorize import vectorize

# Of the 64 KiB that a lane's stack has (cpp/cpu/fiber.cpp); the rest is for what the
# code generator spills and for the engine.
MAX_FRAME_BYTES = 48 * 1024

# Vector instructions that the code generator optimises within a second. More take several, and
# would run at most a third faster for it.
MAX_TUNED = 12_000


_engines: list[llvm.ExecutionEngine] = []  # own the machine code; pipelines live until exit


def _settled(text: str, target: Target) -> str:
    """Optimised IR whose rounding does not depend on the engine."""
    return expand_exp2.expand(contract_fma.contract(text, fuses(target)), fuses(target))


def gather(text: str, target: Target) -> str:
    """An optimised module, its threadgroup variables placed, with its matrix operations in batches.

    Rounding no longer depends on the engine: ``compile_object`` and ``compile_lockstep`` both take
    what this returns.
    """
    initialise()
    with lock:
        batched = batch_matrix_products.batch_matrix_operations(_settled(text, target))
        # Last: LLVM would take vectors of integers apart, which lockstep reads as they are.
        return lower_bfloat.lower(run_pipeline(batched, target_machine(2, target), 1))


def compile_object(text: str, target: Target) -> bytes:
    """A gathered module to an object file whose entry point runs a lane."""
    initialise()
    with lock:
        module = llvm.parse_assembly(number_rendezvous.number_places(text))
        return _emit(module, target_machine(2, target), target)


def _emit(module: llvm.ModuleRef, machine: llvm.TargetMachine, target: Target) -> bytes:
    """An object file. Those of both engines may be linked to one file: only entries are seen."""
    if target.linked:
        for value in [*module.global_variables, *module.functions]:
            if not value.is_declaration and not is_entry(value.name):
                value.linkage = "internal"
    return machine.emit_object(module)


def compile_lockstep(text: str, entry: str, target: Target) -> bytes:
    """A gathered module to an object file whose entry point runs a whole simdgroup.

    The entry point's name is ``lockstep.symbol(entry)``.

    Raises:
        lockstep.Unsupported: the kernel has something that takes a fiber a lane.
    """
    initialise()
    with lock:
        module = lockstep_module(text, entry, target_machine(2, target))
        instructions = sum(len(list(b.instructions)) for f in module.functions for b in f.blocks)
        return _emit(module, target_machine(2 if instructions <= MAX_TUNED else 0, target), target)


def lockstep_module(text: str, entry: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """What ``compile_lockstep`` makes, before it is machine code; raises alike."""
    text = vectorize.vectorise(_regular(text, machine), entry)
    try:
        module = llvm.parse_assembly(text)
    except RuntimeError as error:
        reason = f"code that LLVM refuses ({str(error).splitlines()[-1]})"
        raise vectorize.Unsupported(reason) from error
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


def load(object_file: bytes, symbols: list[str]) -> list[int]:
    """Load an object file into this process.

    Returns:
        The address of each symbol.
    """
    initialise()
    with lock:
        empty = llvm.parse_assembly("")
        engine = llvm.create_mcjit_compiler(empty, target_machine(0))
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(object_file))
        engine.finalize_object()
        addresses = [engine.get_function_address(symbol) for symbol in symbols]
        _engines.append(engine)
    return addresses
