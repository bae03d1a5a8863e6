"""LLVM's part of the way to this process's machine code: its pipelines, its code generator."""

from __future__ import annotations

import llvmlite.binding as llvm

from attnproto import _core
from attnproto.compiler.ir import symbols
from attnproto.compiler.ir.llvm import initialise, lock, run_passes, run_pipeline, target_machine
from attnproto.compiler.ir.runtime_calls import is_entry
from attnproto.compiler.target import Target

# Of a lane's stack; the rest is for what the code generator spills and for the engine.
MAX_FRAME_BYTES = _core.STACK_BYTES * 3 // 4
# Of constants: object code is held in memory several times over, and fails at 2 GiB.
MAX_TABLE_BYTES = 64 << 20

# Vector instructions that the code generator optimises in half a second. More take twice what the
# quick one does, and run a tenth to a sixth faster for it.
MAX_TUNED = 2_500
# Branches of code that LLVM simplifies once more before the engines part. With more its time grows
# with their square: what it asks of a number is answered by looking at all conditions that the
# number stands in. Our attention kernels have 40.
MAX_BRANCHES = 600

_engines: list[llvm.ExecutionEngine] = []  # own the machine code; pipelines live until exit


def clean_up(text: str, target: Target) -> str:
    """LLVM's short pipeline, after passes that leave work behind.

    Loops are as ``optimise`` unrolled them: once more would double what follows has to read.
    """
    if text.count(" br i1 ") > MAX_BRANCHES:
        passes = ("always_inliner", "sroa", "simplify_cfg", "dead_code_elimination")
        return str(_passed(text, target, *passes))
    initialise()
    with lock:
        return str(run_pipeline(text, target_machine(2, target), 1, unroll=False))


def regularize(text: str, target: Target) -> str:
    """What vectorise needs: names, one form of loops, no switch."""
    return str(_passed(text, target, "lower_switch", "loop_simplify", "lcssa", "instruction_namer"))


def simplify_vectors(text: str, target: Target) -> llvm.ModuleRef:
    """A vectorised module without what vectorise need not care about."""
    return _passed(text, target, "always_inliner", "sroa", "instruction_combine", "simplify_cfg")


def _passed(text: str, target: Target, *names: str) -> llvm.ModuleRef:
    initialise()
    return run_passes(text, target_machine(2, target), *names)


def instructions(ir: str | llvm.ModuleRef) -> int:
    """How many a module has."""
    with lock:
        module = llvm.parse_assembly(ir) if isinstance(ir, str) else ir
        return sum(len(list(block.instructions)) for f in module.functions for block in f.blocks)


def _prepared(
    ir: str | llvm.ModuleRef, target: Target, tuned: bool
) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """A module and its code generator.

    Objects of both engines may be linked to one file: only entries are seen.
    """
    module = llvm.parse_assembly(ir) if isinstance(ir, str) else ir
    if target.linked:
        for value in [*module.global_variables, *module.functions]:
            if not value.is_declaration and not is_entry(value.name):
                value.linkage = "internal"
    return module, target_machine(2 if tuned else 0, target)


def compile_object(ir: str | llvm.ModuleRef, target: Target, tuned: bool = True) -> bytes:
    """A module after all passes to an object file.

    Args:
        ir: the module.
        target: what the code is for.
        tuned: whether instructions are optimised once more as they are selected.
    """
    initialise()
    with lock:
        module, machine = _prepared(ir, target, tuned)
        code = machine.emit_object(module)
    symbols.check(code)
    return code


def assembly(ir: str | llvm.ModuleRef, target: Target, tuned: bool = True) -> str:
    """The code of ``compile_object`` as the assembler's text."""
    initialise()
    with lock:
        module, machine = _prepared(ir, target, tuned)
        return machine.emit_assembly(module)


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
