"""Passes as data: lists of named steps that a kernel's IR goes through, and what runs them.

A target lists its passes in order (targets/host.py, targets/nvptx.py). A pass takes the kernel on
its way and returns its new IR; LLVM's own pipelines are passes like ours. A pass may decline a
kernel only if it is listed as one that does: any other exception is a bug of the pass and is
reported as such, with the kernel's name.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnproto.compiler.frontend.request import Request
from attnproto.compiler.ir.types import Unsupported
from attnproto.errors import AttnprotoError, InternalError


@dataclass
class Kernel:
    """A kernel on its way through the passes.

    ``text`` is its IR; ``static_bytes`` those of threadgroup memory that its variables take, once
    they are placed.
    """

    request: Request
    text: str = ""
    static_bytes: int = 0


def always(_: Kernel) -> bool:
    """The condition of a pass that every kernel goes through."""
    return True


@dataclass(frozen=True)
class Pass:
    """One step: from a kernel to its new IR.

    Attributes:
        name: unique among the target's.
        run: returns the kernel's new IR; may note on the kernel what it found out.
        when: whether the kernel goes through it.
        declines: whether it may raise ``Unsupported``; what then, the target decides.
    """

    name: str
    run: Callable[[Any], str]
    when: Callable[[Any], bool] = always
    declines: bool = False


def on_text(change: Callable[[str], str]) -> Callable[[Kernel], str]:
    """A step that needs nothing but the IR's text."""
    return lambda kernel: change(kernel.text)


@dataclass
class PassManager:
    """Runs passes over one kernel, list after list.

    Attributes:
        print_after: passes whose outcome is shown.
        stop_after: the last pass that runs; empty: all do.
        show: takes a pass's name and the IR after it.
        seconds: what each pass took, by name, in the order they first ran.
    """

    print_after: Sequence[str] = ()
    stop_after: str = ""
    show: Callable[[str, str], None] = lambda name, text: None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Whether the last pass that was asked for has run."""
        return self.stop_after in self.seconds

    def run(self, passes: Sequence[Pass], kernel: Kernel) -> None:
        """Take a kernel through those passes whose condition holds.

        Raises:
            Unsupported: a pass that may do so declines the kernel.
            InternalError: a pass failed.
            AttnprotoError: a pass refuses the kernel.
        """
        for one in passes:
            if self.stopped:
                return
            if not one.when(kernel):
                continue
            begin = time.perf_counter()
            with reported(one.name, kernel.request.function, one.declines):
                kernel.text = one.run(kernel)
            spent = time.perf_counter() - begin
            self.seconds[one.name] = self.seconds.get(one.name, 0) + spent
            if one.name in self.print_after:
                self.show(one.name, kernel.text)


@contextlib.contextmanager
def reported(name: str, function: str, declines: bool = False) -> Iterator[None]:
    """Turn what a step does not raise on purpose into a sentence with its and the kernel's name."""
    try:
        yield
    except AttnprotoError:
        raise
    except Exception as error:
        if declines and isinstance(error, Unsupported):
            raise
        raise InternalError(
            f"[compiler.{name}] found an internal error in {function}: "
            f"{type(error).__name__}: {error}; report it"
        ) from error
