"""The compiler: which clang is used, and how it is called."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from attnproto.compiler.ir.debug_lines import SOURCE
from attnproto.compiler.target import Target
from attnproto.errors import DeviceUnavailable, KernelCompileError

HEADERS = Path(__file__).parents[1] / "headers"
_OLDEST, _NEWEST = 19, 22  # clangs whose IR llvmlite's LLVM 22 reads

_LANGUAGE = [
    "-x", "cl", "-cl-std=clc++2021", "-cl-no-stdinc", "-nostdinc", "-cl-single-precision-constant",
    # On x86-64 an expression of bfloat is computed in float unless clang is told not to.
    "-Xclang", "-fbfloat16-excess-precision=none", "-Xclang", "-ffloat16-excess-precision=none",
    "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-Wno-everything", "-Werror=return-type", "-ferror-limit=8", "-fno-color-diagnostics",
]  # fmt: skip
_PREPROCESS = [
    "-x", "c++", "-std=c++17", "-E", "-undef", "-nostdinc",
    "-D__METAL__=1", "-D__METAL_VERSION__=310", "-D__METAL_MACOS__=1", "-D__HAVE_BFLOAT__=1",
    "-fno-color-diagnostics",
]  # fmt: skip
_NOTE = re.compile(rf"^{SOURCE}:(?P<line>\d+):\d+: note: ")
_NARROWING = re.compile(
    r"^(?P<file>[^:\n]*):(?P<line>\d+):\d+: warning: implicit conversion .*'float' to 'bfloat'",
    re.M,
)
_MESSAGE = re.compile(r"^(?:(?P<file>[^:\n]*):(?P<line>\d+):\d+: )?(?:fatal )?error: (?P<text>.*)$")


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command that is clang: ATTNPROTO_CLANG, the ziglang package's, or one on the path.

    Raises:
        DeviceUnavailable: there is none.
    """
    chosen = os.environ.get("ATTNPROTO_CLANG")
    if chosen:
        if not shutil.which(chosen):
            raise DeviceUnavailable(
                f"[msl] found ATTNPROTO_CLANG={chosen}, needs the name of a program; "
                "unset it or correct it"
            )
        return (chosen,)
    spec = importlib.util.find_spec("ziglang")
    if spec and spec.submodule_search_locations:
        zig = Path(spec.submodule_search_locations[0]) / "zig"
        if zig.exists():
            return (str(zig), "clang")
    for version in range(_NEWEST, _OLDEST - 1, -1):
        found = shutil.which(f"clang-{version}")
        if found:
            return (found,)
    found = shutil.which("clang")
    if found and _OLDEST <= _major((found,)) <= _NEWEST:
        return (found,)
    raise DeviceUnavailable(
        "[msl] found no compiler for kernels, needs clang 19 to 22; run "
        "`pip install ziglang`, or set ATTNPROTO_CLANG to a clang"
    )


def _major(command: tuple[str, ...]) -> int:
    text = subprocess.run([*command, "--version"], capture_output=True, text=True).stdout
    match = re.search(r"version (\d+)", text)
    return int(match.group(1)) if match else 0


@functools.cache
def compiler_version() -> str:
    """What compiled code depends on: the ziglang package's version, or ``clang --version``."""
    if compiler()[1:] == ("clang",):
        return "ziglang " + importlib.metadata.version("ziglang")
    done = subprocess.run([*compiler(), "--version"], capture_output=True, text=True)
    return done.stdout.split("\n", 1)[0].strip()


def _run(arguments: list[str], text: str) -> str:
    return _completed(arguments, text).stdout


def _completed(arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
    command = [*compiler(), *arguments]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
    except OSError as error:
        raise DeviceUnavailable(
            f"[msl] found {command[0]}, which does not start: {error}"
        ) from None
    if done.returncode:
        raise KernelCompileError(_explain(done.stderr))
    return done


def _explain(stderr: str) -> str:
    """The first errors, by the line of the user's text."""
    found: list[list[str]] = []
    for line in stderr.split("\n"):
        match, note = _MESSAGE.match(line), _NOTE.match(line)
        if match:
            place = f"line {match['line']}: " if match["file"] == SOURCE else ""
            found.append([place, match["text"].replace("__private", "thread")])
        elif note and found and not found[-1][0]:  # an error of a header: who asked for it
            found[-1][0] = f"line {note['line']}: "
    spaces = (("__global", "device"), ("__local", "threadgroup"), ("__constant", "constant"))
    message = "; ".join(place + text for place, text in found) or stderr.strip()[-500:]
    for ours, theirs in spaces:
        message = message.replace(ours, theirs)
    return f"[msl] {message}"


def preprocess(text: str, folder: Path | None = None) -> str:
    """Expand macros and includes, those of ``folder`` too; line markers stay."""
    search = ["-I", str(HEADERS / "preprocess"), *(["-I", str(folder)] if folder else [])]
    return _run([*_PREPROCESS, *search, "-"], f'#line 1 "{SOURCE}"\n{text}')


def to_ir(text: str, target: Target) -> str:
    """C++ for OpenCL to unoptimised LLVM IR, as text."""
    return _run(_to_ir(target), text)


def to_ir_warning(text: str, target: Target) -> tuple[str, list[tuple[str, int]]]:
    """As ``to_ir``, with file and line of every implicit conversion from float to bfloat."""
    done = _completed([*_to_ir(target), "-Wimplicit-float-conversion"], text)
    found = _NARROWING.finditer(done.stderr)
    # Those of the headers are the headers' own.
    own = [(m["file"], int(m["line"])) for m in found if not m["file"].startswith(str(HEADERS))]
    return done.stdout, own


def _to_ir(target: Target) -> list[str]:
    return [
        *_LANGUAGE, "-target", target.triple, *target.options,
        "-I", str(HEADERS / "include"), "-O2", "-Xclang", "-disable-llvm-passes",
        "-emit-llvm", "-S", "-o", "-", "-",
    ]  # fmt: skip
