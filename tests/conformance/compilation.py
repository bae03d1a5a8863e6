"""Layer 1: every kernel compiles, for the cpu device and to PTX, and what lint says of its text."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field

import attnproto
from attnproto.compiler.frontend.program import library_head
from attnproto.compiler.target import host_target
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.library import describe
from attnproto.errors import AttnprotoError
from attnproto.kernels.flash_tile import THREADGROUP_LIMIT_BYTES
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
        limit: the limit for which its pipeline is refused, as Metal's would be; its code compiled.
        seconds: that both compilations took together.
    """

    kernel: str
    cpu: str = ""
    ptx: str = ""
    engine: str = ""
    reason: str = ""
    limit: str = ""
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
        share: one kernel of so many was to be tried.
    """

    project: str
    name: str
    kernels: int = 0
    error: str = ""
    compiled: list[Compiled] = field(default_factory=list)
    lints: list[tuple[str, str]] = field(default_factory=list)
    share: int = 1

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


@dataclass(frozen=True)
class Opened:
    """What is known of a text before a kernel of it is compiled, and which are to be.

    Attributes:
        outcome: without kernels.
        kernels: the sampled ones' names.
        constants: a value for each function constant.
    """

    outcome: CompiledText
    kernels: Sequence[str] = ()
    constants: Mapping[str, bool | int | float] = field(default_factory=dict)


def open_text(text: Text, share: int) -> Opened:
    """Read and lint a text, and sample its kernels."""
    outcome = CompiledText(text.project, text.name, share=share)
    try:
        head = library_head(text.text, host_target())
    except AttnprotoError as error:
        outcome.error = str(error)
        return Opened(outcome)
    outcome.kernels = len(head.instances)
    findings = attnproto.lint(text.text)
    outcome.lints = [(one.rule, one.message) for one in findings if one.severity == "error"]
    kernels = chosen([*head.instances], share)
    kernels += [name for name in text.always if name not in kernels]
    return Opened(outcome, kernels, constants_of(text))


def compile_texts(
    texts: Sequence[Text], share: int, pool: Executor
) -> list[tuple[CompiledText, list[Future[Compiled]]]]:
    """Give the sampled kernels of texts to a pool; returns each text with what is to come of it."""
    opened = pool.map(open_text, texts, [share] * len(texts))
    return [
        (one.outcome, [pool.submit(compile_kernel, text, k, one.constants) for k in one.kernels])
        for text, one in zip(texts, opened, strict=True)
    ]


@functools.cache
def _device() -> attnproto.Device:
    return attnproto.open_device("cpu")


def compile_kernel(
    text: Text, kernel: str, constants: Mapping[str, bool | int | float]
) -> Compiled:
    """Compile one kernel for the cpu device and to PTX."""
    begin, cpu, ptx, engine, reason, limit = time.perf_counter(), "", "", "", "", ""
    try:
        pipeline = _device().library(text.text).pipeline(kernel, constants)
        engine, reason = pipeline.engine, _NUMBERS.sub("N", pipeline.engine_reason)
    except AttnprotoError as error:
        engine, limit = _code_alone(text, kernel, constants)
        cpu = "" if limit else str(error)
    try:
        front_end = PtxFrontEnd(NVIDIA_ARCHITECTURE)
        front_end.make(front_end.request(text.text, describe(kernel, constants)))
    except AttnprotoError as error:
        ptx = str(error)
    seconds = round(time.perf_counter() - begin, 2)
    return Compiled(kernel, cpu, ptx, engine, reason, limit, seconds)


def _code_alone(
    text: Text, kernel: str, constants: Mapping[str, bool | int | float]
) -> tuple[str, str]:
    """Engine of a kernel whose pipeline is refused, and the limit that it passes.

    Metal compiles such a text too: the limit is of the pipeline (specification, 4.4; feature set
    tables). Both are empty where it does not compile, or passes no limit.
    """
    try:
        code = NativeFrontEnd().object_code(text.text, describe(kernel, constants))
    except AttnprotoError:
        return "", ""
    found, most = code.static_threadgroup_bytes, THREADGROUP_LIMIT_BYTES
    if found <= most:
        return "", ""
    return code.engine, f"{found:,} of {most:,} bytes of threadgroup memory"
