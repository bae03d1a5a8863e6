"""Say that no buffer which a kernel writes overlaps another of its buffers.

The host looks at what is bound, and runs other code where that is not so (cpp/check.h). LLVM's word
for it is ``noalias`` on parameters; once it has inlined the kernel into its entry point, each
access says which buffers it does not meet.

Of such a parameter LLVM believes that nothing else leads to its memory, so that a call which is not
given it neither reads nor writes there. But other lanes do, while one waits at a barrier. So each
buffer is shown to a function of which nothing is known but that it may keep the pointer: from there
on any call may reach it, and so may pointers that a kernel loads from memory. Of kernels with
atomics nothing is said: threadgroups may tell each other by one what they wrote elsewhere.
"""

from __future__ import annotations

import re

from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.runtime_calls import EXPOSE, declaration, entry_name
from attnproto.compiler.ir.types import CONSTANT, DEVICE

_CALLED = re.compile(r"^ +(?:tail )?call [^\n(]*\bvoid (@\"[^\"]+\"|@[-\w.$]+)\(", re.M)
_BUFFER = re.compile(
    rf"\b(?P<type>ptr addrspace\((?P<space>[{DEVICE}{CONSTANT}])\))"
    r"(?P<said>[^,()]*(?:\([^()]*\)[^,()]*)*) (?P<name>%[-\w.$]+)(?=[,)])"
)
_ATOMIC = re.compile(r"^ .*\b(?:atomicrmw|cmpxchg|load atomic|store atomic)\b", re.M)
_PRIVATE = re.compile(r" (?:nocapture|captures\([^()]*\))")
_EXPOSED = re.compile(rf"^(?:declare|  (?:tail )?call) void {EXPOSE}[^\n]*\n", re.M)
_DEFINED = re.compile(r"^define [^\n]*", re.M)


def separate_buffers(text: str, number: int) -> str:
    """A module before optimisation, whose kernel's buffers are known to be apart.

    Args:
        text: the module.
        number: of the kernel in its text.
    """
    if _ATOMIC.search(text):
        return text
    module = ir.split(text)
    entry = module.functions[f"@{entry_name(number)}"]
    (kernel,) = {symbol for symbol in _CALLED.findall(entry) if symbol in module.functions}
    if sum(ir.symbols(body).count(kernel) for body in module.functions.values()) > 2:
        return text  # it calls itself, with what it likes
    head, body = module.functions.pop(kernel).split("\n", 1)
    label = ""
    if not body.startswith(" "):
        label, body = body.split("\n", 1)
        label += "\n"
    buffers = list(_BUFFER.finditer(head))
    calls = [
        f"  call void {EXPOSE}{one['space']}({one['type']} {one['name']})\n" for one in buffers
    ]
    head = _BUFFER.sub(
        lambda one: f"{one['type']} noalias{_PRIVATE.sub('', one['said'])} {one['name']}", head
    )
    # LLVM inlines in this order: what the kernel calls must be in it when its buffers are told
    # apart.
    module.functions[kernel] = f"{head}\n{label}{''.join(calls)}{body}"
    spaces = {one["space"] for one in buffers}
    module.other += [declaration(f"{EXPOSE}{space}") for space in sorted(spaces)]
    return module.text()


def without_exposures(text: str) -> str:
    """The same optimised, without the calls: accesses say by themselves what they do not meet."""
    return _DEFINED.sub(lambda line: line[0].replace(" noalias", ""), _EXPOSED.sub("", text))
