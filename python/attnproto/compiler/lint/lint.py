"""What Apple's MSL 3.1 compiler would reject of a text, without Apple's compiler.

The rules about words and declarations read the project's tokens (language_rules.py,
argument_rules.py, library_rules.py); what needs types is asked of clang, whose library says under
lint which arguments Apple's has no function for (overloads.h). Not checked, because no reading of
the text tells: barriers that not all threads reach, and buffers that alias.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

from attnproto.compiler.frontend import clang
from attnproto.compiler.frontend.entry_points import with_entries
from attnproto.compiler.frontend.lexer import RewriteError, Token, tokenize
from attnproto.compiler.frontend.mend import one_a_line
from attnproto.compiler.frontend.outline import Outline, outline
from attnproto.compiler.frontend.program import compiled, places_of, with_numbers
from attnproto.compiler.frontend.rewrite_declarations import Rewritten
from attnproto.compiler.frontend.source import Place, Source, levels_limited
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.runtime_calls import entry_name
from attnproto.compiler.ir.symbols import identifiers, offered, spoken
from attnproto.compiler.target import Target, host_target
from attnproto.errors import KernelCompileError

from . import argument_rules  # noqa: F401 - its rules register themselves
from .language_rules import ERROR, RULES, WARNING, Lint
from .library_rules import inexact, refused_arguments

__all__ = ["Lint", "lint"]

_PLACE = re.compile(r"(?:; )?(?:in ([^;:]+), )?line (\d+)(?:, column (\d+))?: ")
_Found = tuple[Token | None, str, str, str]  # where, by which rule, how grave, and what
_NO_KERNEL = "\nkernel void attn_lint() {}\n"


def lint(msl_text: str, *, folder: Path | None = None) -> tuple[Lint, ...]:
    """Find what Apple's MSL 3.1 compiler would reject, though clang accepts it.

    Args:
        msl_text: as for :meth:`attnproto.Device.library`.
        folder: where the text's own includes are; Metal's run-time compiler has no such
            folder, so that a text for it has no includes of its own.

    Returns:
        What was found, by line. What clang itself rejects is among it, as rule ``compile``.

    Source:
        Metal Shading Language Specification 3.1.

    Examples:
        >>> text = "kernel void k(device int* x [[buffer(0)]]) { goto end; end: x[0] = 1; }"
        >>> [(found.line, found.rule, found.severity) for found in lint(text)]
        [(1, 'goto', 'error')]
    """
    # A text may hold templates only; clang then has one kernel to compile.
    source = Source(msl_text + _NO_KERNEL, folder)
    try:
        with levels_limited():
            declared = outline(tokenize(source.preprocessed))
            findings = [one for check in RULES for one in check(declared)]
    except KernelCompileError as error:
        return tuple(_compile_errors(error))
    except RewriteError as error:
        return (_lint(source.place(error.at), "compile", ERROR, str(error)),)
    lints = {_lint(source.place(one.at), one.rule, one.severity, one.message) for one in findings}
    known = {(one.file, one.line) for one in lints if one.severity == ERROR}
    try:
        lints |= set(_of_clang(source, declared))
    except KernelCompileError as error:
        # An error without a line is the consequence of one that a rule has found.
        lints |= {
            one
            for one in _compile_errors(error)
            if (one.file, one.line) not in known and (one.line or not known)
        }
    return tuple(sorted(lints, key=lambda one: (one.file, one.line, one.column, one.rule)))


def _lint(place: Place | None, rule: str, severity: str, message: str) -> Lint:
    file, line, column = place or ("", 0, 0)
    return Lint(line, rule, severity, message, file, column)


def _compile_errors(error: KernelCompileError) -> Iterator[Lint]:
    head, *rest = _PLACE.split(str(error).removeprefix("[msl] "))
    if not rest:
        yield Lint(0, "compile", ERROR, head)
    for file, line, column, message in zip(
        rest[::4], rest[1::4], rest[2::4], rest[3::4], strict=True
    ):
        yield Lint(int(line), "compile", ERROR, message, file or "", int(column or 0))


def _of_clang(source: Source, declared: Outline) -> Iterator[Lint]:
    target = host_target()
    rewritten, (ir_text, said) = compiled(source, target, _warned)
    module = ir.split(ir_text)
    findings = [
        *_initialisers(module, declared),
        *_recursion(module, declared, len(rewritten.instances)),
        *_undefined(module, declared, {*rewritten.declared}, len(rewritten.instances)),
    ]
    for at, rule, severity, message in findings:
        yield _lint(at and source.place(at), rule, severity, message)
    for at, message in _worked_out_twice(rewritten, module):
        yield _lint(source.place(at), "duplicate-index", ERROR, message)
    place_of = places_of(source, rewritten)
    for place, rule, message in refused_arguments(said, place_of):
        yield _lint(place, rule, ERROR, message)


def _worked_out_twice(rewritten: Rewritten, module: ir.Module) -> Iterator[tuple[Token, str]]:
    """Arguments of one index, of kernels whose indices the text alone does not tell."""
    for number, (name, instance) in enumerate(rewritten.instances.items()):
        if not instance.numbers:
            continue
        seen: dict[tuple[str, str], str | None] = {}
        parameters = with_numbers(instance, module, number).parameters
        for at, parameter in zip(rewritten.names[name][1:], parameters, strict=True):
            switch = parameter.attributes.get("function_constant")
            for kind in {"buffer", "threadgroup"} & parameter.attributes.keys():
                index = parameter.attributes[kind]
                if (kind, index) in seen and None in (switch, seen[kind, index]):
                    yield at, f"found two arguments at {kind}({index})"
                seen[kind, index] = switch


def _warned(rewritten: Rewritten, target: Target) -> tuple[str, list[clang.Message]]:
    return clang.to_ir_warning(
        with_entries(rewritten, one_a_line(inexact(rewritten.tokens))), target
    )


def _initialisers(module: ir.Module, declared: Outline) -> Iterator[_Found]:
    """Code that runs before main gives a variable its value."""
    variables = {v.name.text: v.name for v in declared.variables}
    for symbol, body in module.functions.items():
        if "__cxx_global_var_init" not in symbol:
            continue
        for name in {n for s in ir.symbols(body) for n in identifiers(s)} & variables.keys():
            at = variables[name]
            message = f"found {name} with a value that is no constant; compute it in the kernel"
            yield at, "constant-initialiser", ERROR, message


def _undefined(
    module: ir.Module, declared: Outline, linked: set[str], kernels: int
) -> Iterator[_Found]:
    """A function that a kernel calls, and that neither this text nor a linked one has."""
    reached = set().union(*(ir.reachable(module, f"@{entry_name(n)}") for n in range(kernels)))
    for symbol in sorted(s for line in module.other for s in _called(line) if s in reached):
        plain = symbol.strip('@"')
        name = spoken(symbol)
        ours = plain.startswith("llvm.") or "attn_" in plain or plain in offered()
        if ours or (name in linked and plain.startswith("_Z")):
            continue
        at = next((f.name for f in declared.functions if f.name.text == name), None)
        message = f"found {name}, which is called and only declared; define it"
        yield at, "undefined", ERROR, message


def _called(line: str) -> list[str]:
    return ir.symbols(line)[:1] if line.startswith("declare ") else []


def _recursion(module: ir.Module, declared: Outline, kernels: int) -> Iterator[_Found]:
    graph = {
        symbol: set(ir.symbols(body)) & module.functions.keys() - {symbol}
        for symbol, body in module.functions.items()
    }
    reached = set().union(*(ir.reachable(module, f"@{entry_name(n)}") for n in range(kernels)))
    bodies = {f.name.text: f.name for f in declared.functions if f.body is not None}
    cycles = [
        [symbol] for symbol, body in module.functions.items() if ir.symbols(body).count(symbol) > 1
    ]
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            cycles.append(error.args[1])
            graph = {s: c - set(cycles[-1]) for s, c in graph.items() if s not in cycles[-1]}
        else:
            break
    for cycle in cycles:
        at = next((bodies[n] for s in cycle for n in reversed(identifiers(s)) if n in bodies), None)
        if at is None:
            continue
        if reached & set(cycle):
            message = f"found recursion in {at.text}; Metal needs maxCallStackDepth for it"
            yield at, "recursion", WARNING, message
        else:
            message = f"found recursion in {at.text}, which no kernel calls; use a loop"
            yield at, "recursion", ERROR, message
