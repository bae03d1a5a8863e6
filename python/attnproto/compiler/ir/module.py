"""LLVM IR as text: cut one kernel out of a module, and fix its constants.

A module is a list of top-level entries. The few edits made here concern whole
entries (a global's initialiser, a function's linkage), so the text form is enough;
everything inside functions is left to LLVM.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from attnproto.errors import KernelCompileError

from .runtime_calls import FRAGMENT_MARK, runtime_call

_SYMBOL = r'@(?:"[^"]+"|[-\w.$]+)'
_SYMBOLS = re.compile(_SYMBOL)
_FUNCTION = re.compile(rf"^define .*?({_SYMBOL})\(", re.M)
_GLOBAL = re.compile(rf"^({_SYMBOL}) = ")


@dataclass
class Module:
    """Functions and globals by symbol, in order; the rest (types, metadata) as lines."""

    functions: dict[str, str]
    globals: dict[str, str]
    other: list[str]

    def text(self) -> str:
        """The module as LLVM reads it."""
        return "\n".join([*self.other, *self.globals.values(), *self.functions.values()]) + "\n"


def split(text: str) -> Module:
    """Split a module's text."""
    functions: dict[str, str] = {}
    globals_: dict[str, str] = {}
    other: list[str] = []
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("define "):
            end = i
            while lines[end] != "}" and not line.endswith("}"):  # which has it all
                end += 1
            functions[_FUNCTION.match(line).group(1)] = "\n".join(lines[i : end + 1])
            i = end + 1
            continue
        match = _GLOBAL.match(line)
        if match:
            globals_[match.group(1)] = line
        elif line:
            other.append(line)
        i += 1
    return Module(functions, globals_, other)


def symbols(line: str) -> list[str]:
    """Symbols that a line names."""
    return _SYMBOLS.findall(line)


def reachable(module: Module, entry: str) -> set[str]:
    """Symbols that the entry point can reach."""
    seen: set[str] = set()
    todo = [entry]
    while todo:
        symbol = todo.pop()
        if symbol in seen:
            continue
        seen.add(symbol)
        body = module.functions.get(symbol) or module.globals.get(symbol, "")
        todo += [s for s in set(_SYMBOLS.findall(body)) if s not in seen]
    return seen


def cut(module: Module, *roots: str) -> Module:
    """The part of a module that some functions need.

    The roots keep their linkage; the rest is inlined into them, save what the user marked
    noinline and nothing hinders from staying a call.
    """
    keep = set().union(*(reachable(module, root) for root in roots))
    calls = {s for s in _noinline(module) & keep if _can_stay_a_call(module, s)}
    functions = {}
    for symbol, body in module.functions.items():
        if symbol not in keep:
            continue
        head, rest = body.split("\n", 1)
        inline = "noinline " if symbol in calls else "alwaysinline "
        if symbol in roots:
            inline = inline if symbol in calls else ""
        else:
            head = re.sub(
                r"^define (?:dso_local |linkonce_odr |weak_odr |internal |hidden )*",
                "define internal ",
                head,
            )
            head = re.sub(r" comdat(?:\([^)]*\))?", "", head)
        head = re.sub(r" (#\d+)(?=[^#]*$)", rf" {inline}\1", head, count=1)
        functions[symbol] = f"{head}\n{rest}"
    globals_ = {
        s: re.sub(r", comdat(?:\([^)]*\))?", "", line)
        for s, line in module.globals.items()
        if s in keep
    }
    other = [o for o in module.other if not o.startswith("$")]
    other = [o for o in other if not (o.startswith("declare ") and not _declared(o, keep))]
    # It is said of each function above, one by one: some share their attributes.
    other = [re.sub(r"\bnoinline\b ?", "", o) if o.startswith("attributes") else o for o in other]
    return Module(functions, globals_, other)


def inlined_lines(module: Module, root: str) -> int:
    """How many lines the largest function has once what it calls is inlined, nothing simplified.

    Args:
        module: what ``cut`` returns, whose functions say which of them stay calls.
        root: a function; it counts, and so does what stays a call below it.
    """
    lines: dict[str, int] = {}
    stay: set[str] = set()
    calls = calls_of(module)
    for symbol in callees_first(calls, root):
        head, body = module.functions[symbol].split("\n", 1)
        stay |= {symbol} if " noinline " in head else set()
        # What calls itself is not inlined into itself.
        inlined = (lines.get(one, 0) for one in calls[symbol] if one not in stay)
        lines[symbol] = 1 + body.count("\n") + sum(inlined)
    return max(lines.values())


def calls_of(module: Module) -> dict[str, list[str]]:
    """Of each function, those that it calls, as often as it names them."""
    return {
        symbol: [s for s in _SYMBOLS.findall(body.partition("\n")[2]) if s in module.functions]
        for symbol, body in module.functions.items()
    }


def callees_first(calls: dict[str, list[str]], *roots: str) -> list[str]:
    """Functions and all they reach, each after those it calls but for what calls itself."""
    order: dict[str, None] = {}
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        symbol = todo[-1]
        if symbol in seen:
            order[todo.pop()] = None
        else:
            seen.add(symbol)
            todo += [s for s in calls[symbol] if s not in seen]
    return list(order)


def _noinline(module: Module) -> set[str]:
    """Functions that the user wants called."""
    marked = {
        line.split(" ", 2)[1]
        for line in module.other
        if line.startswith("attributes") and re.search(r"\bnoinline\b", line)
    }
    noinline = set()
    for symbol, body in module.functions.items():
        head = body.split("\n", 1)[0]
        group = re.findall(r" (#\d+)", head)
        if " noinline " in head or (group and group[-1] in marked):
            noinline.add(symbol)
    return noinline


def _can_stay_a_call(module: Module, symbol: str) -> bool:
    """Threadgroup variables and matrix operations get their places in the kernel itself."""
    reached = map(runtime_call, reachable(module, symbol))
    return not any(known and known.in_kernel for known in reached)


def symbol_of(module: Module, function: str) -> tuple[str | None, str | None]:
    """Symbols of a function of the global scope.

    Returns:
        The symbol it is defined under, and the one it is declared under and called by.

    Raises:
        KernelCompileError: several functions bear the name.
    """
    start = f"@_Z{len(function)}{function}"
    defined = [s for s in module.functions if s.startswith(start)]
    called = [
        match.group()
        for match in (_SYMBOLS.search(o) for o in module.other if o.startswith("declare "))
        if match and match.group().startswith(start)
    ]
    for namesakes in (defined, called):
        if len(namesakes) > 1:
            raise KernelCompileError(
                f"[msl] found {len(namesakes)} functions named '{function}', needs one where it is "
                "linked; give each its own name"
            )
    return next(iter(defined), None), next(iter(called), None)


def _declared(line: str, keep: set[str]) -> bool:
    match = _SYMBOLS.search(line)
    return bool(match) and match.group() in keep


def drop_marks(module: Module) -> None:
    """Remove the marks that say where fragments are moved."""
    for symbol, body in module.functions.items():
        if FRAGMENT_MARK in body:
            module.functions[symbol] = re.sub(rf"\n[^\n]*{FRAGMENT_MARK}\([^\n]*", "", body)
    module.other = [line for line in module.other if FRAGMENT_MARK not in line]


def free_marks(module: Module) -> None:
    """Let code move across the marks: they touch no memory that it knows."""
    for symbol, body in module.functions.items():
        if FRAGMENT_MARK in body:
            # The call's own attributes would tie it to its place.
            module.functions[symbol] = re.sub(rf"({FRAGMENT_MARK}\(i32 [^)]*\))[^\n]*", r"\1", body)
    declared = (
        f"declare void {FRAGMENT_MARK}(i32) nounwind willreturn memory(inaccessiblemem: readwrite)"
    )
    module.other = [declared if FRAGMENT_MARK in line else line for line in module.other]


def parameter_numbers(module: Module, what: str, of: int | str) -> list[int]:
    """Numbers of a kernel's parameters, or of a constant, as the front end asked clang for them.

    Args:
        module: the text's.
        what: bytes, elements, numbers or index.
        of: the number of the kernel, or the constant's name.
    """
    line = module.globals[f"@attn_{what}_{of}"]
    if "zeroinitializer" in line:
        count = int(re.search(r"\[(\d+) x i32\]", line).group(1))
        return [0] * count
    return [int(n) for n in re.findall(r"i32 (-?\d+)", line.split("[", 2)[2])]


def without_declarations(text: str, prefix: str) -> str:
    """A module without the declarations of functions whose symbol begins so."""
    return re.sub(rf"^declare [^\n]*{re.escape(prefix)}[^\n]*\n?", "", text, flags=re.M)
