"""LLVM's part of the way to this process's machine code: its pipelines, its code generator."""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from attnproto import _core
from attnproto.compiler.ir import symbols
from attnproto.compiler.ir.llvm import (
    initialise,
    run_passes,
    run_pipeline,
    run_quickly,
    target_machine,
)
from attnproto.compiler.ir.runtime_calls import is_entry
from attnproto.compiler.llvm_lock import alone
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

# Lines of vector code in which LLVM looks for simpler instructions, in a time that grows with their
# square. It leaves 7 to 14 % fewer.
MAX_COMBINED = 30_000

_INSTRUCTION = re.compile(r"^  [^\s\]]", re.M)

_engines: list[llvm.ExecutionEngine] = []  # own the machine code; pipelines live until exit


@alone
def clean_up(text: str, target: Target) -> str:
    """LLVM's short pipeline, after passes that leave work behind.

    Loops are as ``optimise`` unrolled them: once more would double what follows has to read.
    """
    initialise()
    machine = target_machine(2, target)
    if text.count(" br i1 ") > MAX_BRANCHES:
        return str(run_quickly(text, machine))
    return str(run_pipeline(text, machine, 1, unroll=False))


def regularize(text: str, target: Target) -> str:
    """What vectorise needs: names, one form of loops, no switch."""
    return _passed(text, target, "lower_switch", "loop_simplify", "lcssa", "instruction_namer")


def unroll_marked(text: str, target: Target) -> str:
    """A module whose loops are unrolled that say so; of the others, short ones may be."""
    return _passed(text, target, "loop_unroll")


def simplify_vectors(text: str, target: Target) -> str:
    """A vectorised module without what vectorise need not care about."""
    long = text.count("\n") > MAX_COMBINED
    combine = "dead_code_elimination" if long else "instruction_combine"
    return _passed(text, target, "always_inliner", "sroa", combine, "simplify_cfg")


@alone
def _passed(text: str, target: Target, *names: str) -> str:
    """A module after some of LLVM's passes, by the names that llvmlite has for them."""
    initialise()
    return str(run_passes(text, target_machine(2, target), *names))


def instructions(text: str) -> int:
    """How many a module has, as LLVM writes it."""
    return len(_INSTRUCTION.findall(text))


def _prepared(text: str, target: Target, tuned: bool) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """A module and its code generator.

    Objects of both engines may be linked to one file: only entries are seen.
    """
    module = llvm.parse_assembly(text)
    if target.linked:
        for value in [*module.global_variables, *module.functions]:
            if not value.is_declaration and not is_entry(value.name):
                value.linkage = "internal"
    return module, target_machine(2 if tuned else 0, target)


@alone
def compile_object(text: str, target: Target, tuned: bool = True) -> bytes:
    """A module after all passes to an object file.

    Args:
        text: the module.
        target: what the code is for.
        tuned: whether instructions are optimised once more as they are selected.
    """
    initialise()
    module, machine = _prepared(text, target, tuned)
    code = machine.emit_object(module)
    symbols.check(code)
    return code


@alone
def assembly(text: str, target: Target, tuned: bool = True) -> str:
    """The code of ``compile_object`` as the assembler's text."""
    initialise()
    module, machine = _prepared(text, target, tuned)
    return machine.emit_assembly(module)


@alone
def load(object_file: bytes, symbols: list[str]) -> list[int]:
    """Load an object file into this process.

    Returns:
        The address of each symbol.
    """
    initialise()
    empty = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(empty, target_machine(0))
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(object_file))
    engine.finalize_object()
    addresses = [engine.get_function_address(symbol) for symbol in symbols]
    _engines.append(engine)
    return addresses
