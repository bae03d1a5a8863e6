"""What the compiler makes of one kernel, at any point of its way: IR, vectors, assembly, counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnproto import _core
from attnproto.compiler.air.container import Metallib, is_metallib
from attnproto.compiler.frontend.compiled_kernel import text_of
from attnproto.compiler.frontend.program import library_head
from attnproto.compiler.interface import Value
from attnproto.compiler.pass_manager import Kernel, PassManager
from attnproto.compiler.target import Target, processor_target
from attnproto.compiler.targets.host import HostKernel, NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.library import describe
from attnproto.errors import AttnprotoError
from attnproto.kernels.text import flatten
from attnproto.measure.static_counts import NVIDIA_ARCHITECTURE, nvidia_counts

EMITS = ("ir", "vector-ir", "asm", "ptx", "sass-registers")
_FOR_NVIDIA, _FOR_HOST = ("ptx", "sass-registers"), ("vector-ir", "asm")
_OPTIMIZED = "optimize"  # the pass after which a kernel's IR is shown
_SHOWN = 20  # of a file's kernels
_ARCHITECTURE = re.compile(r"sm_\d+a?")
_PROCESSOR = re.compile(r"(x86_64|aarch64)-([-\w.]+):([-\w.]+)")
_OWN_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"', re.MULTILINE)


class CompileError(AttnprotoError):
    """The command cannot be done as it was asked for."""


@dataclass(frozen=True)
class Asked:
    """A compilation by the words of the command line.

    Attributes:
        file: MSL, or a metallib.
        kernel: its name; empty: the only one of the file.
        constants: function constants as ``INDEX=VALUE`` or ``NAME=VALUE``.
        emit: one of ``EMITS``.
        print_after: passes whose outcome is shown.
        stop_after: the last pass, whose outcome is emitted; empty: all passes run.
        target: ``host``, ``MACHINE-SYSTEM:PROCESSOR`` or ``sm_90`` and its like; empty: as
            ``emit`` needs it.
    """

    file: Path
    kernel: str = ""
    constants: Sequence[str] = ()
    emit: str = "ir"
    print_after: Sequence[str] = ()
    stop_after: str = ""
    target: str = ""


def compile_kernel(asked: Asked, say: Callable[[str], None]) -> None:
    """Compile one kernel and say what was asked for.

    Args:
        asked: what to compile, and what to show of it.
        say: takes each text that is to be shown.

    Raises:
        CompileError: there is no such file, emission, pass or target, or the kernel never comes
            to a pass.
        KernelCompileError: the text is not valid MSL, or has no such kernel or constant.
        DeviceUnavailable: a tool is missing.
    """
    front_end = _front_end(asked)
    for name in (*asked.print_after, *filter(None, [asked.stop_after])):
        if name not in front_end.pass_names():
            raise CompileError(
                f"[compile] found no pass '{name}' for this target, needs one of "
                f"{', '.join(front_end.pass_names())}"
            )
    text = _compiled(asked) if is_metallib(asked.file) else read_text(asked.file)
    function = asked.kernel or only_kernel(text, front_end.target)
    constants = typed_constants(asked.constants)
    stop = asked.stop_after
    if asked.emit == "ir" and not asked.print_after:
        stop = stop or _OPTIMIZED
    optimized: list[str] = []

    def show(name: str, ir: str) -> None:
        if name in asked.print_after:
            say(f"; {function} after {name}\n{ir}")
        if name == _OPTIMIZED:
            optimized.append(ir)

    passes = PassManager((*asked.print_after, _OPTIMIZED), stop, show)
    described = describe(function, constants, distinct_buffers=True)
    request = front_end.request(text, described)
    kernel = front_end.lower(request, passes)
    _check_passed(asked, function, passes)
    if asked.stop_after:
        say(kernel.text)
    elif asked.emit == "ir":
        say(optimized[0])
    elif asked.emit == "sass-registers":
        counted = nvidia_counts(text, function, constants)
        say("\n".join(f"{name} {value}" for name, value in counted.items()))
    else:
        say(_emitted(asked.emit, front_end, kernel))


def _emitted(emit: str, front_end: NativeFrontEnd | PtxFrontEnd, kernel: Kernel) -> str:
    if not isinstance(kernel, HostKernel) or kernel.engine == "lockstep":
        return kernel.text if emit == "vector-ir" else front_end.assembly(kernel)
    if emit == "vector-ir":
        raise CompileError(
            f"[compile] found {kernel.reason} in {kernel.request.function}, needs a kernel that "
            "runs in lockstep to show as vectors; it runs on fibers: --emit asm shows that"
        )
    return f"# on fibers: {kernel.reason}\n{front_end.assembly(kernel)}"


def _check_passed(asked: Asked, function: str, passes: PassManager) -> None:
    for name in (*asked.print_after, *filter(None, [asked.stop_after])):
        if name not in passes.seconds:
            raise CompileError(
                f"[compile] found {function} not going through pass '{name}', needs one of "
                f"{', '.join(passes.seconds)}"
            )


def _front_end(asked: Asked) -> NativeFrontEnd | PtxFrontEnd:
    emit = asked.emit
    if emit not in EMITS:
        raise CompileError(
            f"[compile] found --emit {emit}, needs one of {', '.join(EMITS)}; pass one of them"
        )
    target = asked.target or (NVIDIA_ARCHITECTURE if emit in _FOR_NVIDIA else "host")
    nvidia = _ARCHITECTURE.fullmatch(target) is not None
    processor = _PROCESSOR.fullmatch(target)
    if not (nvidia or processor or target == "host"):
        raise CompileError(
            f"[compile] found --target {target}, needs host, a GPU such as sm_90, or "
            "MACHINE-SYSTEM:PROCESSOR such as aarch64-apple-macosx:apple-m1; pass one of them"
        )
    if emit in (_FOR_HOST if nvidia else _FOR_NVIDIA):
        raise CompileError(
            f"[compile] found --emit {emit} with --target {target}, needs a target that has it; "
            "drop --target"
        )
    if emit == "sass-registers" and target != NVIDIA_ARCHITECTURE:
        raise CompileError(
            f"[compile] found --target {target}, needs {NVIDIA_ARCHITECTURE} for sass-registers; "
            "drop --target"
        )
    if nvidia:
        # As a device asks for it; static counts take buffers that may lie anywhere.
        return PtxFrontEnd(target, _core.CUDA_BUFFER_ALIGNMENT)
    return NativeFrontEnd(target=processor_target(*processor.groups()) if processor else None)


def read_text(file: Path) -> str:
    """Read a kernel's text, with what it includes of its own flattened into it.

    Raises:
        CompileError: It cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CompileError(
            f"[compile] found {file} unreadable ({error}), needs a text file; check the path"
        ) from error
    if not _OWN_INCLUDE.search(text):
        return text
    place = file.resolve()
    root = Path(place.anchor)
    return flatten(place.relative_to(root).as_posix(), root)


def _compiled(asked: Asked) -> str:
    """What stands for a kernel of a metallib."""
    container = Metallib(asked.file)
    return text_of(container.bitcode(asked.kernel or _only(container.kernels())))


def only_kernel(text: str, target: Target) -> str:
    """Return the name of a text's kernel.

    Raises:
        CompileError: It has none, or several.
    """
    return _only(list(library_head(text, target).instances))


def _only(kernels: Sequence[str]) -> str:
    if len(kernels) != 1:
        shown = [*kernels[:_SHOWN], *(["..."] if len(kernels) > _SHOWN else [])]
        raise CompileError(
            f"[compile] found {len(kernels)} kernels in the file, needs one; pass --kernel, one of "
            f"{', '.join(shown) or 'none'}"
        )
    return kernels[0]


def typed_constants(words: Sequence[str]) -> dict[int | str, Value]:
    """Read function constants from the command line.

    Raises:
        CompileError: A word is none, or one is given twice.
    """
    constants: dict[int | str, Value] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        parsed = _value(value)
        if not key or not equals or parsed is None:
            raise CompileError(
                f"[compile] found --constant {word}, needs INDEX=VALUE or NAME=VALUE with true, "
                "false or a number, or a vector's elements parted by commas; pass --constant 0=64"
            )
        index = int(key) if key.isdecimal() else key
        if index in constants:
            raise CompileError(
                f"[compile] found two values for constant {key}, needs one; drop one of them"
            )
        constants[index] = parsed
    return constants


def _value(word: str) -> Value | None:
    if "," in word:
        elements = [_value(one.strip()) for one in word.split(",")]
        return None if None in elements else elements
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return None
