"""Say that no buffer which a kernel writes overlaps another of its buffers.

The host looks at what is bound, and runs other code where that is not so (cpp/check.h). LLVM's word
for it is ``noalias`` on parameters. All that a kernel calls is inlined first, so that it is seen to
which parameter each access leads; then the kernel itself into its entry point, where LLVM notes at
each access which buffers it does not meet.

Of a ``noalias`` parameter LLVM believes that nothing else leads to its memory, so that a call which
is not given it neither reads nor writes there. But other lanes do, while one waits at a barrier. So
each buffer is shown to a function of which nothing is known but that it may keep the pointer: from
there on any call may reach it, and so may a pointer that the kernel loads from memory. Of kernels
with atomics nothing is said: threadgroups may tell each other by one what they wrote elsewhere.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.llvm import run_passes
from attnproto.compiler.ir.runtime_calls import EXPOSE, declaration, entry_name
from attnproto.compiler.ir.types import CONSTANT, DEVICE

_CALLED = re.compile(r"^ +(?:tail )?call [^\n(]*\bvoid (@\"[^\"]+\"|@[-\w.$]+)\(", re.M)
_ATOMIC = ("atomicrmw", "cmpxchg", "load atomic", "store atomic")
_BUFFER = re.compile(
    rf"\b(?P<type>ptr addrspace\((?P<space>[{DEVICE}{CONSTANT}])\))"
    r"(?P<said>[^,()]*(?:\([^()]*\)[^,()]*)*) (?P<name>%[-\w.$]+)(?=[,)])"
)
# As LLVM's own pipelines begin; then structures that hold pointers are taken apart.
_FIRST = ("simplify_cfg", "sroa", "always_inliner", "sroa")
_PRIVATE = re.compile(r" (?:nocapture|captures\([^()]*\))")
# What has served its end once each access says what it does not meet.
_EXPOSURE = re.compile(rf"^(?:declare|  (?:tail )?call) void {EXPOSE}[^\n]*\n", re.M)
_SCOPE = re.compile(r"^  (?:tail )?call void @llvm\.experimental\.noalias\.scope\.decl.*\n", re.M)


def separate_buffers(text: str, number: int, machine: llvm.TargetMachine) -> str:
    """A module before optimisation, whose kernel's buffers are known to be apart.

    Args:
        text: the module.
        number: of the kernel in its text.
        machine: of the module's target.
    """
    if any(word in text for word in _ATOMIC):
        return text
    module = ir.split(text)
    entry = module.functions[f"@{entry_name(number)}"]
    (kernel,) = {one for one in _CALLED.findall(entry) if one in module.functions}
    if sum(ir.symbols(body).count(kernel) for body in module.functions.values()) > 2:
        return text  # it calls itself, with what it likes
    call = re.compile(rf"^(.* call .*{re.escape(kernel)}\(.*\))(?: #\d+)?$", re.M)
    module.functions[f"@{entry_name(number)}"] = call.sub(r"\1 noinline", entry)
    text = str(run_passes(module.text(), machine, *_FIRST))
    declared = _SCOPE.search(text)  # by what a text says itself, which may stand in a loop
    module = ir.split(text)
    functions = {name: call.sub(r"\1", body) for name, body in module.functions.items()}
    module.functions = functions | {kernel: _separated(functions[kernel])}
    module.other += [declaration(f"{EXPOSE}{space}") for space in (DEVICE, CONSTANT)]
    text = _EXPOSURE.sub("", str(run_passes(module.text(), machine, "always_inliner")))
    return text if declared else _SCOPE.sub("", text)


def _separated(kernel: str) -> str:
    """A kernel whose buffers are apart, and known to others."""
    head, body = kernel.split("\n", 1)
    label = ""
    if not body.startswith(" "):
        label, body = body.split("\n", 1)
        label += "\n"
    exposures = "".join(
        f"  call void {EXPOSE}{one['space']}({one['type']} {one['name']})\n"
        for one in _BUFFER.finditer(head)
    )
    head = _BUFFER.sub(
        lambda one: f"{one['type']} noalias{_PRIVATE.sub('', one['said'])} {one['name']}", head
    )
    return f"{head}\n{label}{exposures}{body}"
