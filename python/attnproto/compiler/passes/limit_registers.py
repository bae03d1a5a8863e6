"""How many registers NVIDIA's assembler may give a thread of a kernel.

Left alone it stops well below what there are, so that several threadgroups fit on a multiprocessor
and one computes while another waits. A kernel whose simdgroups never wait for one another covers
its own reads with its own instructions, and those need registers: it may have all of them. One with
threadgroup barriers needs the other threadgroups, and is left alone.

One kind of kernel without barriers comes three times. Where products fill only half of the tensor
core's rows, each operand that is read serves half as many, so there is more to wait for; and where
their sums take a quarter of all registers round a loop, what the assembler reads ahead into the
rest does not fit and is spilled. There all registers are fastest while a multiprocessor has few
warps; what the assembler chose where it has as many as may have all; and half of them where it has
more, so that the others need not wait for a turn. How many it has is known at a launch, which takes
one of the three (cpp/cuda/library.h). What all this costs is measured (``bench/registers.py``,
results/h200/README.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.function import Block, Function
from attnproto.compiler.ir.types import elements_of

REGISTERS = 65536  # of a multiprocessor, all architectures from sm_70 on
MOST = 255  # of a thread
HALF = 128
SUMS = 64  # floats carried round a loop
# Behind a kernel's name: what a launch takes that gives a multiprocessor as many warps as may have
# all registers, and one that gives it more.
FULL, OVER = "_full", "_over"
_UNIT = 8  # they are given out by as many
_BARRIER = re.compile(r"\bcall [^\n]*@llvm\.nvvm\.barrier")
# A product of 16 rows, the first eight and the others of the left operand in turn.
_PRODUCT = re.compile(r"\bmma\.sync\.[^\n]*\(i32 [^,]+, i32 ([^,]+), ")
_KERNEL = re.compile(r"^(define [^@\n]*\bptx_kernel\b.*?)(?= #\d+)", re.M)


@dataclass(frozen=True)
class Limits:
    """The most registers of a thread of a kernel; None leaves them to the assembler.

    Attributes:
        most: what a launch may have.
        crowded: the same for launches of more warps, by what stands behind the kernel's name,
            where they differ.
    """

    most: int | None
    crowded: Mapping[str, int | None] = field(default_factory=dict)


def by_rule(text: str, max_threads: int | None) -> Limits:
    """The limits for a kernel.

    Args:
        text: its module, everything in place.
        max_threads: of a threadgroup, where the text promises it
            (``[[max_total_threads_per_threadgroup]]``): as many must be able to start.
    """
    if _BARRIER.search(text):
        return Limits(None)
    most = min(MOST, REGISTERS // (max_threads or 1) // _UNIT * _UNIT)
    if most > HALF and _half_empty(text) and _sums(text) >= SUMS:
        return Limits(most, {FULL: None, OVER: HALF})
    return Limits(most)


def _half_empty(text: str) -> bool:
    """Whether there are products on the tensor core, all of them with rows 8 to 15 empty."""
    lower_rows = _PRODUCT.findall(text)
    return bool(lower_rows) and set(lower_rows) == {"0"}


def _sums(text: str) -> int:
    """The most floats that a block takes from those before it, of any function."""
    functions = (Function(body.split("\n")) for body in ir.split(text).functions.values())
    return max((_floats(b) for f in functions for b in f.blocks.values()), default=0)


def _floats(block: Block) -> int:
    parts = (elements_of(phi.type) for phi in block.phis)
    return sum(count for count, element in parts if element == "float")


def limit_registers(text: str, limits: Limits) -> str:
    """A module whose kernel may have so many registers a thread, once for each limit."""
    kernels = list(_KERNEL.finditer(text))
    if len(kernels) != 1:
        raise ValueError(f"found {len(kernels)} kernels in a module, needs one")
    begin = kernels[0].start()
    kernel = text[begin : text.index("\n}\n", begin) + 3]
    codes = [_limited(text, limits.most)]
    for suffix, most in limits.crowded.items():
        named = re.sub(r"@[\w.]+", rf"\g<0>{suffix}", kernel, count=1)
        codes.append(_limited(named, most))
    return "".join(codes)


def _limited(text: str, most: int | None) -> str:
    return text if most is None else _KERNEL.sub(rf'\1 "nvvm.maxnreg"="{most}"', text)
