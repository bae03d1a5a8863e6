"""Say that buffers and threadgroup memory are different memory.

LLVM takes an address space for no reason that two accesses cannot meet: after each store to
threadgroup memory it would load from a buffer again. What it does believe are types (TBAA), a tree
in which only ancestors and descendants meet. So that tree is written once for each memory, below a
root of both. An access without a type meets all of its own memory.

Two buffers may be one, or overlap, as bindings want: of them nothing is said. The same goes for
constant memory, which is a buffer too, and for pointers of no known address space.
"""

from __future__ import annotations

import re

from attnproto.compiler.ir.types import CONSTANT, DEVICE, THREADGROUP

_MEMORIES = {DEVICE: "buffers", CONSTANT: "buffers", THREADGROUP: "threadgroup memory"}
_ROOT = "attnproto memory"
# A line's last pointer is the one that is followed. Atomic accesses have another form.
_ACCESS = re.compile(
    r"^(?P<access> +(?:%\S+ = load|store) [^\n]*\bptr addrspace\((?P<space>[123])\) [^\s,]+"
    r"(?:, align \d+)?)(?:, !tbaa !(?P<tag>\d+))?(?=, !|$)",
    re.M,
)
_NODE = re.compile(r"^!(\d+) = (.*)$", re.M)
_REFERENCE = re.compile(r"!(\d+)")


def separate_spaces(text: str) -> str:
    """A module whose accesses of one memory are known not to meet those of the other."""
    types = _Types(dict(_NODE.findall(text)))

    def separated(access: re.Match[str]) -> str:
        tag = types.of_access(_MEMORIES[int(access["space"])], access["tag"])
        return f"{access['access']}, !tbaa !{tag}"

    text = _ACCESS.sub(separated, text)
    return text + "".join(f"!{number} = {node}\n" for node, number in types.added.items())


class _Types:
    """A module's types of accesses, as nodes of metadata by number, and what is added to them."""

    def __init__(self, nodes: dict[str, str]):
        self.nodes = nodes
        self.added: dict[str, int] = {}
        self._first = 1 + max(map(int, nodes), default=-1)
        self._known: dict[tuple[str, str | None], int] = {}

    def of_access(self, memory: str, tag: str | None) -> int:
        """Number of an access's type in a memory; of one without a type, that of all types."""
        if (memory, tag) not in self._known:
            top = self._top(memory)
            self._known[memory, tag] = (
                self._copy(memory, tag) if tag else self._add(f"!{{!{top}, !{top}, i64 0}}")
            )
        return self._known[memory, tag]

    def _copy(self, memory: str, number: str) -> int:
        node = self.nodes[number]
        own = _REFERENCE.sub(lambda one: f"!{self._copy(memory, one[1])}", node)
        return self._top(memory) if own == node else self._add(own)

    def _top(self, memory: str) -> int:
        """What all types in a memory are, in the place of the root."""
        root = self._add(f'!{{!"{_ROOT}"}}')
        return self._add(f'!{{!"{memory}", !{root}, i64 0}}')

    def _add(self, node: str) -> int:
        return self.added.setdefault(node, self._first + len(self.added))
