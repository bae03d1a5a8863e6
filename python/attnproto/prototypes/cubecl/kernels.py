"""The kernels that the CubeCL comparison is about: generated ones, and ours for the same task."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from attnproto.dtypes import BY_NAME
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import flash
from attnproto.kernels.text import TemplateArgument, instantiate
from attnproto.problem import AttentionProblem
from attnproto.prototypes import rust_crates

SCORES, ATTENTION = "scores", "attention"
# Ours, by name: what they do, and columns of S a simdgroup covers.
OURS = {"hand8": SCORES, "hand32": SCORES, "hand-flash": ATTENTION}
# The generator's: our own kernels in CubeCL's language (scalar, cmma) and its library's.
THEIRS = {
    "scalar": SCORES,
    "cmma": SCORES,
    "cubek": SCORES,
    "flash": ATTENTION,
    "scalar-wgsl": SCORES,
    "cmma-wgsl": SCORES,
    "unit-wgsl": SCORES,
}
TASKS = THEIRS | OURS


@dataclass(frozen=True)
class Subject:
    """One kernel and how it is launched on a task's inputs.

    Args:
        name: As in ``TASKS``.
        function: Name in the text.
        text: MSL; empty when the generator refused.
        refused: Why, then.
        versions: Of the generator.
        constants: Function constants.
        threadgroups: Grid.
        threads: Of a threadgroup.
        threadgroup_bytes: Of threadgroup arguments.
        inputs: Number of input buffers; the output follows them.
        rest: Buffers after the output, as bytes.
    """

    name: str
    function: str = ""
    text: str = ""
    refused: str = ""
    versions: str = ""
    constants: Mapping[str, bool] = field(default_factory=dict)
    threadgroups: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    threadgroup_bytes: Mapping[int, int] = field(default_factory=dict)
    inputs: int = 2
    rest: tuple[bytes, ...] = ()

    def launch(self, device: Any, inputs: tuple[np.ndarray, ...], output: np.ndarray) -> Any:
        """Run the kernel on a device; ``output`` is flat and receives what it computes."""
        pipeline = device.library(self.text).pipeline(self.function, self.constants)
        buffers = (*inputs[: self.inputs], output, *self.rest)
        device.run(
            pipeline,
            threadgroups=self.threadgroups,
            threads=self.threads,
            buffers=dict(enumerate(buffers)),
            threadgroup_bytes=self.threadgroup_bytes,
        )
        return pipeline


@dataclass(frozen=True)
class Mend:
    """A defect that makes a text undefined by MSL's rules, and the least change that mends it."""

    name: str
    why: str
    pattern: str
    replacement: str
    # Only a text that holds this can have the defect.
    where: str = ""


MENDS = (
    Mend(
        "eight elements of two",
        "a loop writes thread_elements()[0..7]; an 8 x 8 matrix has 64 / 32 = 2 a lane",
        r"for\(int e=0; e<8; e\+\+\)(?= \{\s*\w+\.thread_elements\(\))",
        "for(int e=0; e<2; e++)",
        ".thread_elements()",
    ),
    Mend(
        "no memory order",
        "simdgroup_barrier(mem_none) orders execution alone, and stands between a store to "
        "threadgroup memory and another lane's load of it",
        r"simdgroup_barrier\(mem_flags::mem_none\)",
        "simdgroup_barrier(mem_flags::mem_threadgroup)",
        "threadgroup uchar",
    ),
    Mend(
        "no alignment",
        "threadgroup memory is one array of uchar, which may start at any byte, read as vectors "
        "of up to 16",
        r"(?<!\) )\bthreadgroup uchar (?=\w+\[\d+\];)",
        "alignas(16) threadgroup uchar ",
    ),
)


def mended(subject: Subject) -> tuple[Subject, dict[str, int]]:
    """Mend a generated text.

    Returns:
        The subject with a text that MSL defines, and how many places each mend changed.
    """
    text, places = subject.text, {}
    for mend in MENDS:
        if mend.where not in text:
            continue
        text, count = re.subn(mend.pattern, mend.replacement, text)
        if count:
            places[mend.name] = count
    return replace(subject, text=text), places


def settled(text: str) -> str:
    """A generated text without what differs from one run of the generator to the next.

    It walks over hash tables: each run declares types, variables and threadgroup arrays in another
    order, and places the arrays elsewhere. What is left is the lines, in an order of their own.
    """
    return "\n".join(sorted(re.sub(r"(?<=dynamic_shared_mem\[)\d+", "", text).splitlines()))


def subject_of(name: str, problem: AttentionProblem) -> Subject:
    """Return a kernel for a problem; scores are those of its first head.

    Raises:
        DeviceUnavailable: it is generated, and there is no cargo or no checkout.
        UnsupportedProblem: no kernel is called so.
    """
    if name in THEIRS:
        element = problem.element_type.name
        return _generated(problem.Hq, problem.Nq, problem.D)[name, element]
    if name == "hand-flash":
        return _hand_flash(problem)
    if name in OURS:
        return _hand_scores(name, int(name.removeprefix("hand")), problem)
    raise UnsupportedProblem(
        f"[cubecl] found kernel {name!r}, needs one of {', '.join(TASKS)}; choose one"
    )


def _hand_scores(name: str, columns: int, problem: AttentionProblem) -> Subject:
    n, d = problem.Nq, problem.D
    element = BY_NAME[problem.dtype].msl
    arguments = (
        TemplateArgument(element, element),
        TemplateArgument(str(columns), f"bc{columns}"),
        TemplateArgument(str(n), f"n{n}"),
        TemplateArgument(str(d), f"d{d}"),
    )
    source = instantiate("scores/scores.metal", "scores", arguments)
    grid = (n // columns, n // 8, 1)
    return Subject(name, source.name, source.text, threadgroups=grid, threads=(32, 1, 1))


def _hand_flash(problem: AttentionProblem) -> Subject:
    q, k, v = (np.empty((1, problem.Hq, problem.Nq, problem.D), problem.element_type),) * 3
    todo = flash.plan(flash.problem_of(q, k, v))
    return Subject(
        "hand-flash",
        todo.source.name,
        todo.source.text,
        constants=todo.constants,
        threadgroups=todo.threadgroups,
        threads=todo.threads,
        inputs=3,
        rest=(todo.params,),
    )


@functools.cache
def _generated(heads: int, n: int, d: int) -> dict[tuple[str, str], Subject]:
    """The generator's kernels, by name and element type."""
    with tempfile.TemporaryDirectory() as folder:
        rust_crates.run("attnproto-cubecl", folder, str(heads), str(n), str(d))
        lines = (Path(folder) / "index.tsv").read_text().splitlines()
        return dict(_read(Path(folder), line) for line in lines)


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _read(folder: Path, line: str) -> tuple[tuple[str, str], Subject]:
    file, kind, way, element, versions, status, *launch = line.split("\t")
    name = kind if way == "msl" else f"{kind}-{way}"
    text = (folder / file).read_text()
    if status != "ok":
        return (name, element), Subject(name, refused=text, versions=versions)
    function, *figures = launch
    threadgroups, threads, memory, sizes, info = map(_numbers, figures)
    rest = [np.array(info, np.uint64).tobytes()]
    if way == "wgsl":
        # Sizes of all buffers, for those without one in their type; the last is `info` itself.
        rest.append(np.array([*sizes, len(rest[0])], np.uint32).tobytes())
    return (name, element), Subject(
        name,
        function,
        text,
        versions=versions,
        threadgroups=tuple(threadgroups),
        threads=tuple(threads),
        threadgroup_bytes=dict(enumerate(memory)),
        inputs=len(sizes) - 1,
        rest=tuple(rest),
    )
