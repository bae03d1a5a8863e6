"""Layer 1: every kernel compiles, for the cpu device and to PTX, and what lint says of its text."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import attnproto
from attnproto.compiler.frontend.program import library_head
from attnproto.compiler.target import host_target
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.library import describe
from attnproto.errors import AttnprotoError
from attnproto.measure.static_counts import NVIDIA_ARCHITECTURE

from .texts import Text, is_sampled

_ONE = {"bool": True, "half": 1.0, "float": 1.0, "bfloat": 1.0}
_NUMBERS = re.compile(r"%[\w.]+|@[\w.]+|\d+")


@dataclass(frozen=True)
class Compiled:
    """What became of a kernel.

    Attributes:
        kernel: its name.
        cpu: the error of the cpu device; empty: it compiled.
        ptx: the error on the way to PTX; empty: it compiled.
        engine: what runs it on the cpu device.
        reason: why it needs fibers, without the names and numbers of the one kernel.
        seconds: that both compilations took together.
    """

    kernel: str
    cpu: str = ""
    ptx: str = ""
    engine: str = ""
    reason: str = ""
    seconds: float = 0.0


@dataclass
class CompiledText:
    """What became of a text.

    Attributes:
        project: whose it is.
        name: the text's.
        kernels: how many it holds.
        error: why the text as a whole is refused; empty: it is taken.
        compiled: those of its kernels that were tried.
        lints: lint's errors, as rule and message.
    """

    project: str
    name: str
    kernels: int = 0
    error: str = ""
    compiled: list[Compiled] = field(default_factory=list)
    lints: list[tuple[str, str]] = field(default_factory=list)

    def pack(self) -> dict:
        """As JSON's types."""
        return asdict(self)

    @classmethod
    def unpack(cls, fields: dict) -> CompiledText:
        """From JSON's types."""
        compiled = [Compiled(**one) for one in fields.pop("compiled")]
        lints = [tuple(one) for one in fields.pop("lints")]
        return cls(compiled=compiled, lints=lints, **fields)


def constants_of(text: Text) -> dict[str, bool | int | float]:
    """A value for each function constant of a text."""
    declared = library_head(text.text, host_target()).constants.values()
    return {one.name: text.constants.get(one.name, _ONE.get(one.type, 1)) for one in declared}


def chosen(names: Sequence[str], share: int) -> list[str]:
    """The kernels of a text that a sample takes: at least the first."""
    sampled = [name for name in names if is_sampled(name, share)]
    return sampled or list(names[:1])


def compile_text(text: Text, device: attnproto.Device, share: int) -> Iterator[CompiledText]:
    """Compile the sampled kernels of a text one by one; yields what is known after each."""
    outcome = CompiledText(text.project, text.name)
    try:
        head = library_head(text.text, host_target())
    except AttnprotoError as error:
        outcome.error = str(error)
        yield outcome
        return
    outcome.kernels = len(head.instances)
    findings = attnproto.lint(text.text)
    outcome.lints = [(one.rule, one.message) for one in findings if one.severity == "error"]
    constants = constants_of(text)
    for kernel in chosen([*head.instances], share):
        outcome.compiled.append(compile_kernel(text, kernel, constants, device))
        yield outcome


def compile_kernel(
    text: Text, kernel: str, constants: dict[str, bool | int | float], device: attnproto.Device
) -> Compiled:
    """Compile one kernel for the cpu device and to PTX."""
    begin, cpu, ptx, engine, reason = time.perf_counter(), "", "", "", ""
    try:
        pipeline = device.library(text.text).pipeline(kernel, constants)
        engine, reason = pipeline.engine, _NUMBERS.sub("N", pipeline.engine_reason)
    except AttnprotoError as error:
        cpu = str(error)
    try:
        front_end = PtxFrontEnd(NVIDIA_ARCHITECTURE)
        front_end.make(front_end.request(text.text, describe(kernel, constants)))
    except AttnprotoError as error:
        ptx = str(error)
    return Compiled(kernel, cpu, ptx, engine, reason, round(time.perf_counter() - begin, 2))
