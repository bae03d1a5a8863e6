"""A module of Apple's compiler as IR that our passes take.

What differs from the IR of a text, and becomes it here:

- AIR's own functions become calls of the definitions that intrinsics.py lists;
- the kernel gets an entry point, which reads its arguments from the engine;
- function constants become externals that fix_function_constants knows; what the module's
  constructor computes of them becomes a function for each variable that it sets;
- threadgroup variables become calls that place_threadgroup_memory answers;
- what concerns Apple's back end alone is dropped: attributes, aliases, trees of types.

Address spaces are the same: 1 device, 2 constant, 3 threadgroup.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from attnproto.compiler.ir import llvm
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.runtime_calls import entry_name
from attnproto.errors import KernelCompileError

from . import intrinsics
from .module import Argument, Module, operands
from .wrappers import stored, wrapper

# What the entry point calls: the address of a buffer by its index, or one axis of a position.
BUFFERS = {
    space: f"{intrinsics.DEFINED}{space}_memory" for space in ("device", "constant", "threadgroup")
}
PLACE = f"{intrinsics.DEFINED}place_"
_POINTERS = {"device": 1, "constant": 2, "threadgroup": 3}
_SYMBOL = r'@(?:"[^"]+"|[-\w.$]+)'
_ENDS = r"(?![-\w.$])"  # of a symbol
_CONSTRUCTOR = 'section "air.static_init"'
# Truths about aliases and types that no pass of ours reads, and what only Apple's read.
_ATTACHED = re.compile(
    r", !(?:tbaa|tbaa\.struct|alias\.scope|noalias|range|invariant\.load|nonnull|air[\w.]*) !\d+"
)
_NUMBER = re.compile(r"!(\d+)\b")
_OF_ARGUMENTS = re.compile(r'"air-[\w-]+" ?')
_OURS_NOT = re.compile(r' (?:"[^"]+"(?:="[^"]*")?|mustprogress\b)')
_EMPTY = re.compile(r"\{\s*\}")
_DECLARED = re.compile(rf"^declare (.*?) ?({_SYMBOL})\((.*)\)[^()]*?(?: #(\d+))?$")
_VARIABLE = re.compile(
    rf"^{_SYMBOL} = .*?addrspace\((\d)\)(?: externally_initialized)? (global|constant) (.*)$"
)
_TYPE = re.compile(r"<[^>]*>|ptr(?: addrspace\(\d+\))?|%\"[^\"]*\"|[\w.%]+")
_ALIGN = re.compile(r"align (\d+)")
_VALUE = re.compile(r"(?:<\d+ x )?(?:i\d+|half|bfloat|float)>?")
_OF_VARIABLE = re.compile(
    r"\b(getelementptr(?: inbounds| nuw| nusw)*|bitcast|addrspacecast|ptrtoint) "
    r"\(((?:[^()]|\(\d+\))*?%tg\.(?:[^()]|\(\d+\))*)\)"
)
_PLACES = re.compile(r"<(\d) x (i\d+)>|(i\d+)")
_CALL_GROUP = re.compile(r" #\d+$", re.M)
_ASSEMBLY = re.compile(r"\bcall [^\n@]*\basm\b")
# That a loop comes to an end is no kernel's to promise here.
_ENDS_PROMISED = '!"llvm.loop.mustprogress"'
_GROUPS = {
    "entry": "convergent norecurse nounwind null_pointer_is_valid",
    "collective": "convergent nomerge nounwind",
    "pure": "nounwind willreturn memory(none)",
}


@dataclass(frozen=True)
class Lifted:
    """A kernel's IR, and the symbols of the definitions that it calls."""

    text: str
    calls: tuple[str, ...]


def lift(module: Module, places: Collection[str]) -> Lifted:
    """Lift one kernel.

    Args:
        module: what was read of it.
        places: attributes of positions and sizes that an entry point can ask for.

    Raises:
        KernelCompileError: it has something that is not lifted; the message names it.
    """
    return _Lift(module, places).lifted()


def predicate(argument: Argument, module: Module) -> str:
    """Name of the function constant, or of what depends on some, that an argument is there by."""
    constant = module.constants.get(argument.predicate)
    return constant.name if constant else _plain(argument.predicate)


class _Lift:
    def __init__(self, module: Module, places: Collection[str]):
        self.module, self.places = module, places
        self.calls: dict[str, None] = {}
        self.functions: dict[str, str] = {}
        self.declared: dict[str, str] = {}
        groups = [o for o in module.ir.other if o.startswith("attributes #")]
        numbers = [int(line.split()[1][1:]) for line in groups]
        first = max(numbers, default=-1) + 1
        self.groups = {name: first + n for n, name in enumerate(_GROUPS)}
        self.attributes = [
            *(_EMPTY.sub("{ nounwind }", _OURS_NOT.sub("", line)) for line in groups),
            *(f"attributes #{self.groups[n]} = {{ {said} }}" for n, said in _GROUPS.items()),
        ]
        self.collectives = {
            n for n, line in zip(numbers, groups, strict=True) if "convergent" in line
        }
        self._variables()

    def lifted(self) -> Lifted:
        """The kernel's IR."""
        getters = self._getters()
        for symbol, body in self.module.ir.functions.items():
            if _CONSTRUCTOR not in body.split("\n", 1)[0]:
                self.functions[symbol] = self._function(symbol, body)
        self.functions |= getters
        used = set(ir.symbols("\n".join(self.functions.values())))
        for line in self.module.ir.other:
            match = _DECLARED.match(line)
            if match and match[2] in used:
                self._declaration(match)
        self.functions[f"@{entry_name(0)}"] = self._entry()
        types = [line for line in self.module.ir.other if line.startswith("%")]
        text = "\n".join([
            *types, *self.globals.values(), *self.functions.values(), *self.declared.values(),
            *self.attributes, *self._loops(),
        ])  # fmt: skip
        return Lifted(text + "\n", tuple(self.calls))

    def _variables(self) -> None:
        """Part the module's variables by what becomes of them."""
        self.globals: dict[str, str] = {}
        self.states: dict[str, str] = {}  # types of those that the constructor may set
        self.shared: dict[str, str] = {}  # by threadgroup variable, the call that stands for it
        self.renamed: dict[str, str] = {}
        for symbol, line in self.module.ir.globals.items():
            match = _VARIABLE.match(line)
            if symbol.startswith("@llvm."):
                continue
            if not match:
                raise _unknown(f"the variable {symbol}", "a variable in an address space")
            space, what, rest = match.groups()
            kind = _TYPE.match(rest)
            if symbol in self.module.constants:
                name = f"@{self.module.constants[symbol].name}"
                self.renamed[symbol] = name
                self.globals[name] = f"{name} = external addrspace(2) constant {kind[0]}, align 1"
            elif space == "3":
                nbytes = self.module.threadgroup_bytes[symbol]
                align = _ALIGN.search(rest)
                self.shared[symbol] = (
                    f"@_Z25attn_threadgroup_variableILi{len(self.shared)}ELm{nbytes}"
                    f"ELm{max(int(align[1]) if align else 1, 16)}EEPU7CLlocalvv"
                )
            elif space == "2" and what == "global":
                self.states[symbol] = kind[0]
            else:
                self.globals[symbol] = re.sub(r', section "[^"]*"', "", line)

    # What depends on function constants.

    def _getters(self) -> dict[str, str]:
        """For each variable that a constructor sets, a function that returns its value."""
        functions: dict[str, str] = {}
        for symbol, body in self.module.ir.functions.items():
            if _CONSTRUCTOR not in body.split("\n", 1)[0]:
                continue
            named = {s for s in ir.symbols(body) if s in self.states}
            for state in sorted(named):
                if not _VALUE.fullmatch(self.states[state]):
                    raise _unknown(
                        f"{self.states[state]} for {state}, which {symbol} sets",
                        "a scalar or a vector",
                    )
            for state in sorted(named):
                functions[_getter(state)] = self._getter(state, sorted(named), body)
        if not functions:
            return {}
        simple = self._simplified(functions)
        for argument in self.module.arguments:
            if argument.predicate in self.states:
                name = f"attn_derived_{_plain(argument.predicate)}"
                kind = self.states[argument.predicate]
                simple[f"@_Z{len(name)}{name}v"] = (
                    f"define i1 @_Z{len(name)}{name}v() #{self.groups['pure']} {{\n"
                    f"  %1 = call {kind} {_getter(argument.predicate)}()\n"
                    f"  %2 = icmp ne {kind} %1, 0\n  ret i1 %2\n}}"
                )
        return simple

    def _getter(self, wanted: str, states: list[str], constructor: str) -> str:
        """The constructor with variables of its own, of which it returns one."""
        body = _ATTACHED.sub("", self._renamed(constructor)).split("\n")[1:-1]
        for number, state in enumerate(states):
            pattern = re.compile(rf"ptr addrspace\(2\) {re.escape(state)}{_ENDS}")
            body = [pattern.sub(f"ptr %state.{number}", line) for line in body]
        kind, lines = self.states[wanted], []
        for number, line in enumerate(body):
            if line.strip().startswith("ret void"):
                left = f"%left.{number}"
                lines.append(f"  {left} = load {kind}, ptr %state.{states.index(wanted)}")
                lines.append(f"  ret {kind} {left}")
            else:
                lines.append(line)
        # An entry block may have a label, before which nothing stands.
        label = [lines.pop(0)] if lines[0][:1] not in (" ", "") else []
        own = [
            f"  %state.{number} = alloca {self.states[state]}, align 8"
            for number, state in enumerate(states)
        ]
        head = f"define {kind} {_getter(wanted)}() #{self.groups['pure']} {{"
        return "\n".join([head, *label, *own, *lines, "}"])

    def _simplified(self, functions: dict[str, str]) -> dict[str, str]:
        """Getters that ask for no constant on which their variable does not depend."""
        declared = [o for o in self.module.ir.other if o.startswith("declare ")]
        externals = [self.globals[name] for name in self.renamed.values()]
        text = "\n".join([*externals, *functions.values(), *declared, *self.attributes])
        split = ir.split(llvm.optimise(text))
        pure = f"#{self.groups['pure']}"
        return {
            symbol: re.sub(r"\) [^\n]*\{", f") {pure} {{", _CALL_GROUP.sub("", body), count=1)
            for symbol, body in split.functions.items()
        }

    def _renamed(self, body: str) -> str:
        for symbol, name in self.renamed.items():
            if symbol in body:
                body = re.sub(rf"{re.escape(symbol)}{_ENDS}", name, body)
        return body

    # Code.

    def _function(self, symbol: str, body: str) -> str:
        head, rest = _ATTACHED.sub("", body).split("\n", 1)
        if _ASSEMBLY.search(rest):
            raise _unknown(f"assembly in {symbol}", "AIR alone")
        rest = self._renamed(rest)
        for state in sorted(self.states.keys() & set(ir.symbols(rest))):
            kind, name = self.states[state], re.escape(state) + _ENDS
            load = rf"load {re.escape(kind)}, ptr addrspace\(2\) {name}[^\n]*"
            rest = re.sub(load, f"call {kind} {_getter(state)}()", rest)
            if re.search(name, rest):
                raise _unknown(f"{symbol} using {state} otherwise than by its value", "its value")
        shared, rest = self._shared(rest)
        if shared and not rest.startswith(" "):  # the entry block's label
            label, rest = rest.split("\n", 1)
            shared.insert(0, label)
        return "\n".join([_OF_ARGUMENTS.sub("", head), *shared, rest])

    def _shared(self, rest: str) -> tuple[list[str], str]:
        """Threadgroup variables as values that are known where the function begins."""
        lines = []
        used = set(ir.symbols(rest))
        for number, (symbol, call) in enumerate(self.shared.items()):
            if symbol not in used:
                continue
            rest = re.sub(rf"{re.escape(symbol)}{_ENDS}", f"%tg.{number}", rest)
            lines.append(f"  %tg.{number} = call ptr addrspace(3) {call}() #{self.groups['pure']}")
            self.declared[call] = f"declare ptr addrspace(3) {call}() #{self.groups['pure']}"
        number = 0
        while lines and (match := _OF_VARIABLE.search(rest)):
            value = f"%tg.of.{number}"
            lines.append(f"  {value} = {match[1]} {match[2]}")
            rest = rest[: match.start()] + value + rest[match.end() :]
            number += 1
        return lines, rest

    def _declaration(self, match: re.Match) -> None:
        """A function that the module calls and does not define."""
        result, symbol, listed, group = match.groups()
        if symbol.startswith("@llvm."):
            self.declared[symbol] = match[0]
            return
        if not symbol.startswith(intrinsics.PREFIX):
            raise _unknown(
                f"a call of {symbol[1:]}, which the module only declares", "it in the module"
            )
        definition = intrinsics.definitions().get(symbol)
        if definition is None:
            raise _unknown(
                f"a call of {symbol[1:]}", "a function of Metal's library that this device has"
            )
        kinds = [_TYPE.match(kind)[0] for kind in operands(listed)]
        # Attributes may stand before the result's type.
        result = _TYPE.findall(result)[-1] if "<" not in result else result[result.index("<") :]
        number = int(group) if group else self.groups["entry"]
        if number in self.collectives:
            number = self.groups["collective"]
        stored_as = [stored(kind) for kind in (result, *kinds) if kind != "void"]
        if tuple(stored_as) != definition.stored:
            raise _unknown(
                f"a call of {symbol[1:]} with {', '.join(stored_as)} for its result and operands",
                ", ".join(definition.stored),
            )
        places = ", ".join(["ptr"] * len(stored_as))
        self.calls[definition.symbol] = None
        self.declared[definition.symbol] = f"declare void {definition.symbol}({places})"
        self.functions[symbol] = wrapper(symbol, result, kinds, definition.symbol, number)

    # The way from the engine to the kernel's arguments.

    def _entry(self) -> str:
        head = self.functions[self.module.symbol].split("\n", 1)[0]
        listed = head[head.index(self.module.symbol) + len(self.module.symbol) :]
        kinds = [_TYPE.match(k)[0] for k in operands(_parenthesised(listed))]
        if len(kinds) != len(self.module.arguments):
            raise _unknown(
                f"{len(self.module.arguments)} arguments in the metadata of a function that has "
                f"{len(kinds)}",
                "as many",
            )
        lines, values = [], []
        for number, (kind, argument) in enumerate(zip(kinds, self.module.arguments, strict=True)):
            lines += self._argument(kind, argument, f"%a{number}")
            values.append(f"{kind} %a{number}")
        call = f"  call void {self.module.symbol}({', '.join(values)}) #{self.groups['entry']}"
        define = f"define dso_local void @{entry_name(0)}(ptr noundef %lane)"
        return "\n".join([f"{define} #{self.groups['entry']} {{", *lines, call, "  ret void", "}"])

    def _argument(self, kind: str, argument: Argument, value: str) -> Iterator[str]:
        if argument.what == "buffer":
            wanted = f"ptr addrspace({_POINTERS[argument.space]})"
            if kind != wanted:
                raise _unknown(f"{kind} for argument '{argument.name}'", wanted)
            function = self._call(kind, BUFFERS[argument.space])
            yield f"  {value} = call {kind} {function}(ptr %lane, i32 {argument.index})"
            return
        match = _PLACES.fullmatch(kind)
        if not match or argument.what not in self.places:
            raise _unknown(
                f"argument '{argument.name}' of {kind} with [[{argument.what}]]",
                "a buffer, or a position or size that this device tells",
            )
        count, element = int(match[1] or 1), match[2] or match[3]
        function = self._call("i32", PLACE + argument.what)
        last = "poison"
        for axis in range(count):
            one = value if count == 1 else f"{value}.{axis}"
            wide = one if element == "i32" else f"{one}.wide"
            yield f"  {wide} = call i32 {function}(ptr %lane, i32 {axis})"
            if wide != one:
                yield f"  {one} = trunc i32 {wide} to {element}"
            if count > 1:
                to = value if axis == count - 1 else f"{value}.v{axis}"
                yield f"  {to} = insertelement {kind} {last}, {element} {one}, i64 {axis}"
                last = to

    def _call(self, result: str, function: str) -> str:
        """The symbol of a function that an entry point calls, which is declared and asked for."""
        symbol = f"@{function}"
        self.calls[symbol] = None
        self.declared[symbol] = f"declare {result} {symbol}(ptr, i32)"
        return symbol

    def _loops(self) -> Iterator[str]:
        """Metadata that the code still names: what it says of loops."""
        nodes: dict[str, list[str]] = {}
        todo = set(_NUMBER.findall("\n".join(self.functions.values())))
        while todo:
            number = todo.pop()
            nodes[number] = [
                word
                for word in operands(self.module.nodes[number])
                if self.module.nodes.get(word[1:]) != _ENDS_PROMISED
            ]
            todo |= set(_NUMBER.findall(" ".join(nodes[number]))) - nodes.keys()
        for number, words in sorted(nodes.items(), key=lambda item: int(item[0])):
            distinct = "distinct " if f"!{number}" in words else ""
            yield f"!{number} = {distinct}!{{{', '.join(words)}}}"


def _parenthesised(text: str) -> str:
    """What stands in the first pair of parentheses."""
    depth = 0
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == ")" and depth == 0:
            return text[text.index("(") + 1 : at]
    return ""


def _getter(state: str) -> str:
    return f"@air.state.{_plain(state)}"


def _plain(symbol: str) -> str:
    """A symbol as an identifier."""
    return re.sub(r"\W", "_", symbol[1:])


def _unknown(found: str, needed: str) -> KernelCompileError:
    return KernelCompileError(f"[air] found {found}, needs {needed}; run the kernel from its text")
