"""What a compiler is asked for, looked up once: a kernel and all that decides its code."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnproto import _core
from attnproto.compiler import object_cache
from attnproto.compiler.interface import Instance, Values
from attnproto.compiler.target import Target
from attnproto.errors import KernelCompileError

from .program import LibraryHead, LibraryText, library_head, library_text
from .text_key import text_key


@dataclass(frozen=True)
class Private:
    """A visible function of another text that is linked to one kernel."""

    text: str
    function: str
    head: LibraryHead
    values: Values  # of that text's function constants


@dataclass(frozen=True)
class Request:
    """One kernel to compile; every step reads this and looks nothing up again.

    Attributes:
        text: MSL.
        function: the kernel's name.
        head: what the text holds.
        number: of the kernel in the text.
        instance: the kernel's parameters and limits.
        values: of function constants, by name.
        table: symbols of the functions that its tables may hold, by name.
        private: functions of other texts linked to it.
        target: what the code is for.
        options: a frozen record of what else decides the code; its ``repr`` is part of the key.
        distinct_buffers: whether the code may rely on it that no buffer which the kernel writes
            overlaps another; a target that makes use of it says so.
    """

    text: str
    function: str
    head: LibraryHead
    number: int
    instance: Instance
    values: Values
    table: Mapping[str, str]
    private: tuple[Private, ...]
    target: Target
    options: Any
    distinct_buffers: bool = False

    @functools.cached_property
    def key(self) -> str:
        """Names the code, which depends on all of the above and on the compiler's sources."""
        private = [[one.function, one.values] for one in self.private]
        return object_cache.key(
            "kernel", self.function,
            json.dumps([self.values, list(self.table), private], sort_keys=True),
            *(text_key(text, self.target) for text in self.texts),
            self.target.processor, str(self.target.linked), repr(self.options),
            str(self.distinct_buffers),
        )  # fmt: skip

    def library(self) -> LibraryText:
        """The text as IR; raises KernelCompileError where it is not valid MSL."""
        return library_text(self.text, self.target)

    def private_library(self, one: Private) -> LibraryText:
        """The text of a linked function as IR, likewise."""
        return library_text(one.text, self.target)

    @property
    def texts(self) -> tuple[str, ...]:
        """The kernel's text and those of the functions linked to it."""
        return (self.text, *(one.text for one in self.private))


def request_of(
    text: str, descriptor: _core.PipelineDescriptor, target: Target, options: Any = None
) -> Request:
    """Look up what a descriptor names.

    Args:
        text: MSL.
        descriptor: kernel, constants and linked functions.
        target: what the code is for.
        options: a frozen record of what else decides the code.

    Raises:
        KernelCompileError: the text is not valid, or there is no such kernel, constant or visible
            function in it.
    """
    head = library_head(text, target)
    number, instance = head.instance(descriptor.function)
    values = head.values(descriptor.constants)
    private = tuple(
        Private(other, function, library, library.values(descriptor.constants, strict=False))
        for other, function in descriptor.private_functions
        for library in (library_head(other, target),)
    )
    table = _table(head, descriptor.linked_functions)
    return Request(
        text, descriptor.function, head, number, instance, values, table, private, target, options
    )


def _table(head: LibraryHead, linked: list[str]) -> dict[str, str]:
    for name in linked:
        if name not in head.visible:
            raise KernelCompileError(
                f"[msl.link] found no visible function '{name}' in the text, needs one marked "
                f"[[visible]]; it has {', '.join(head.visible) or 'none'}"
            )
    return {name: head.visible[name][1:] for name in linked}
