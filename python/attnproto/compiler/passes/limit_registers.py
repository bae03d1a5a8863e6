"""How many registers NVIDIA's assembler may give a thread of a kernel.

Left alone it stops well below what there are, so that several threadgroups fit on a multiprocessor
and one computes while another waits. A kernel whose simdgroups never wait for one another covers
its own reads with its own instructions, and those need registers: it may have all of them. One with
threadgroup barriers needs the other threadgroups, and is left alone. What both cost is measured
(``bench/registers.py``, results/h200/README.md).
"""

from __future__ import annotations

import re

REGISTERS = 65536  # of a multiprocessor, all architectures from sm_70 on
MOST = 255  # of a thread
_UNIT = 8  # they are given out by as many
_BARRIER = re.compile(r"\bcall [^\n]*@llvm\.nvvm\.barrier")
_KERNEL = re.compile(r"^(define [^@\n]*\bptx_kernel\b.*?)(?= #\d+)", re.M)


def by_rule(text: str, max_threads: int | None) -> int | None:
    """The limit for a kernel; None leaves it to the assembler.

    Args:
        text: its module, everything in place.
        max_threads: of a threadgroup, where the text promises it
            (``[[max_total_threads_per_threadgroup]]``): as many must be able to start.
    """
    if _BARRIER.search(text):
        return None
    return min(MOST, REGISTERS // (max_threads or 1) // _UNIT * _UNIT)


def limit_registers(text: str, most: int | None) -> str:
    """A module whose kernel may have so many registers a thread."""
    if most is None:
        return text
    limited, kernels = _KERNEL.subn(rf'\1 "nvvm.maxnreg"="{most}"', text)
    if kernels != 1:
        raise ValueError(f"found {kernels} kernels in a module, needs one")
    return limited
