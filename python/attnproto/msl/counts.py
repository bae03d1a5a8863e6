"""Count what a kernel does: the same on any device, because it follows from its code.

The optimised IR of a kernel is instrumented: at the head of every basic block it adds
what the block does to counters of the cpu engine. A count is therefore dynamic (loops
count as often as they run) and exact. What Apple's compiler would count differs by its
own optimisations; the counts are `derived` evidence, never a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache

from ..device import Device, Dispatch, cpu_threads

_SIZES = {"i1": 1, "i8": 1, "i16": 2, "half": 2, "bfloat": 2, "i32": 4, "float": 4, "i64": 8}
_LOAD = re.compile(r"= load (?:volatile )?(?:atomic )?(<(\d+) x (\w+)>|\w+), ptr addrspace\((\d)\)")
_STORE = re.compile(r"^\s+store (?:volatile )?(<(\d+) x (\w+)>|\w+) .*?, ptr addrspace\((\d)\)")
_ARITHMETIC = re.compile(
    r"= (?:fadd|fsub|fmul|fdiv|fneg)(?: \w+)*? (<(\d+) x \w+>|float|half|bfloat) "
    r"|= (?:tail )?call [^@]*@llvm\.(?:maxnum|minnum|fma|fmuladd|maximum|minimum)\.(v\d+)?"
)
_CONVERSION = re.compile(r"= (?:fpext|fptrunc)(?: \w+)*? (<(\d+) x \w+>|float|half|bfloat) ")
_CALLS = {
    "matrix_operations": re.compile(r"call [^@]*@attn_matrix_multiply_accumulate_"),
    "shuffles": re.compile(r"call [^@]*@attn_(?:shuffle|broadcast)_"),
    "reductions": re.compile(r"call [^@]*@attn_(?:reduce|prefix)_"),
    "votes": re.compile(r"call [^@]*@attn_ballot\("),
    "exponentials": re.compile(r"call [^@]*@(?:llvm\.exp2?\.|exp2?f\()"),
    "threadgroup_barriers": re.compile(r"call [^@]*@attn_threadgroup_barrier\("),
    "simdgroup_barriers": re.compile(r"call [^@]*@attn_simdgroup_barrier\("),
}
_COPY = re.compile(r"call void @llvm\.mem(?:cpy|move)[^(]*\((ptr.*?), (ptr.*?), i64 (\d+),")
_SPACE = re.compile(r"addrspace\((\d)\)")
_DEVICE_SPACES, _THREADGROUP_SPACE = (1, 2), 3
# A pointer whose space the language left open, by what it was made of.
_OPENED = re.compile(r"^\s+(%\S+) = addrspacecast ptr addrspace\((\d)\) \S+ to ptr addrspace\(4\)")
_MOVED = re.compile(r"^\s+(%\S+) = getelementptr [^\n]*ptr addrspace\(4\) (%[^\s,]+)")
_OPEN = re.compile(r"addrspace\(4\)((?: \w+(?:\(\d+\)| \d+)?)*? )(%[^\s,)]+)")


@dataclass(frozen=True)
class Counts:
    """Operations of a submission, summed over its threads.

    A matrix operation is executed once by a simdgroup and counted in each of its 32
    lanes; a vector load is one load of its bytes.
    """

    matrix_operations: int = 0
    shuffles: int = 0
    reductions: int = 0
    votes: int = 0
    exponentials: int = 0
    float_operations: int = 0
    conversions: int = 0
    threadgroup_loads: int = 0
    threadgroup_stores: int = 0
    device_loads: int = 0
    device_load_bytes: int = 0
    device_store_bytes: int = 0
    threadgroup_barriers: int = 0
    simdgroup_barriers: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) - getattr(other, n) for n in NAMES))

    def per_thread(self, threads: int) -> dict[str, float]:
        """Each count divided by a number of threads."""
        return {name: getattr(self, name) / threads for name in NAMES}


NAMES = tuple(f.name for f in fields(Counts))


def _width(vector: str | None) -> int:
    return int(vector) if vector else 1


def _origins(body: list[str]) -> dict[str, str]:
    """The spaces that a function's open pointers were made of, by name."""
    origins: dict[str, str] = {}
    for line in body:
        if match := _OPENED.match(line):
            origins[match[1]] = match[2]
        elif (match := _MOVED.match(line)) and match[2] in origins:
            origins[match[1]] = origins[match[2]]
    return origins


def _closed(line: str, origins: dict[str, str]) -> str:
    """A line as it counts: each open pointer in the space it was made of."""
    return _OPEN.sub(lambda m: f"addrspace({origins.get(m[2], '4')}){m[1]}{m[2]}", line)


def _count_copy(match: re.Match[str], totals: dict[str, int]) -> None:
    to, source = (_SPACE.search(text) for text in match.groups()[:2])
    for space, where in ((to, "store"), (source, "load")):
        if space and int(space[1]) in _DEVICE_SPACES:
            totals[f"device_{where}_bytes"] += int(match[3])
            totals["device_loads"] += where == "load"
        elif space and int(space[1]) == _THREADGROUP_SPACE:
            totals[f"threadgroup_{where}s"] += 1


def _count_line(line: str, totals: dict[str, int]) -> None:
    if match := _COPY.search(line):
        _count_copy(match, totals)
        return
    for name, pattern in _CALLS.items():
        if pattern.search(line):
            totals[name] += 1
            return
    match = _LOAD.search(line)
    if match:
        nbytes = _width(match[2]) * _SIZES.get(match[3] or match[1], 8)
        if int(match[4]) in _DEVICE_SPACES:
            totals["device_loads"] += 1
            totals["device_load_bytes"] += nbytes
        elif int(match[4]) == _THREADGROUP_SPACE:
            totals["threadgroup_loads"] += 1
        return
    match = _STORE.search(line)
    if match:
        if int(match[4]) in _DEVICE_SPACES:
            totals["device_store_bytes"] += _width(match[2]) * _SIZES.get(match[3] or match[1], 8)
        elif int(match[4]) == _THREADGROUP_SPACE:
            totals["threadgroup_stores"] += 1
        return
    match = _ARITHMETIC.search(line)
    if match:
        totals["float_operations"] += _width(match[2] or (match[3] or "")[1:])
        return
    match = _CONVERSION.search(line)
    if match:
        totals["conversions"] += _width(match[2])


def instrument(text: str) -> str:
    """Optimised IR with a call to the engine's counter at the head of every block."""
    out: list[str] = []
    tables: list[str] = []
    head, rest, inside = [], [], False
    origins: dict[str, str] = {}

    def flush() -> None:
        totals = dict.fromkeys(NAMES, 0)
        for line in rest:
            _count_line(_closed(line, origins), totals)
        out.extend(head)
        if any(totals.values()):
            row = ", ".join(f"i32 {totals[name]}" for name in NAMES)
            table = f"@attn.count.{len(tables)}"
            kind = f"[{len(NAMES)} x i32]"
            tables.append(f"{table} = private unnamed_addr constant {kind} [{row}], align 4")
            out.append(f"  call void @attn_count(ptr {table})")
        out.extend(rest)
        head.clear()
        rest.clear()

    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("define "):
            inside = True
            origins = _origins(lines[number : lines.index("}", number)])
            out.append(line)
        elif line == "}":
            flush()
            inside = False
            out.append(line)
        elif not inside:
            out.append(line)
        elif re.match(r'^(?:"[^"]+"|[-\w.$]+):', line):
            flush()
            head.append(line)
        elif " = phi " in line and not rest:
            head.append(line)
        else:
            rest.append(line)
    return "\n".join([*out, *tables, "declare void @attn_count(ptr) nounwind"]) + "\n"


def counting_device() -> Device:
    """A cpu device whose kernels count; its times mean nothing."""
    from .. import _core
    from .front_end import NativeFrontEnd

    return Device(_core.open_cpu(NativeFrontEnd(counting=True), cpu_threads()))


def count(device: Device, dispatches: list[Dispatch]) -> Counts:
    """Run dispatches on a :func:`counting_device` and return what they did."""
    from .. import _core

    _core.take_counts(device._core)
    device.submit(dispatches)
    return Counts(*_core.take_counts(device._core)[: len(NAMES)])


def count_launch(launch: Callable[[Device], object]) -> Counts:
    """Call launchers on a counting device and return what their kernels did.

    Args:
        launch: ``f(device)`` calls one launcher or several.
    """
    from .. import _core

    device = _shared_device()
    _core.take_counts(device._core)
    launch(device)
    return Counts(*_core.take_counts(device._core)[: len(NAMES)])


@cache
def _shared_device() -> Device:
    return counting_device()
