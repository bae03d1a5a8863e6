"""The compiler: which clang is used, and how it is called."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from attnproto.compiler.ir.debug_lines import SOURCE
from attnproto.compiler.target import Target
from attnproto.errors import DeviceUnavailable, KernelCompileError

HEADERS = Path(__file__).parents[1] / "headers"
# clang's whole file system: no text can read another file, nor learn whether there is one.
_OVERLAY = json.dumps({
    "version": 0,
    "fallthrough": False,
    "roots": [{
        "type": "directory-remap", "name": str(HEADERS), "external-contents": str(HEADERS),
    }],
})  # fmt: skip
_OLDEST, _NEWEST = 19, 22  # clangs whose IR llvmlite's LLVM 22 reads

_LANGUAGE = [
    "-x", "cl", "-cl-std=clc++2021", "-cl-no-stdinc", "-nostdinc",
    # On x86-64 an expression of bfloat is computed in float unless clang is told not to.
    "-Xclang", "-fbfloat16-excess-precision=none", "-Xclang", "-ffloat16-excess-precision=none",
    "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    # A loop that never ends and a null pointer are met when the kernel runs, not assumed away.
    "-fno-finite-loops", "-fno-delete-null-pointer-checks",
    "-Wno-everything", "-Werror=return-type", "-ferror-limit=8", "-fno-color-diagnostics",
]  # fmt: skip
_PREPROCESS = [
    "-x", "c++", "-std=c++17", "-E", "-undef", "-nostdinc",
    "-D__METAL__=1", "-D__METAL_VERSION__=310", "-D__METAL_MACOS__=1", "-D__HAVE_BFLOAT__=1",
    "-fno-color-diagnostics",
]  # fmt: skip
_UNROLL = re.compile(r"(?m)^[ \t]*#[ \t]*pragma[ \t]+unroll\b([^\n]*[A-Za-z_][^\n]*)$")
_UNROLLED = re.compile(r"attn_unroll (.*) attn_unroll_end")
_NOTE = re.compile(r"^(?P<file>[^:\n]*):(?P<line>\d+):\d+: note: ")
_MOST_SAID = 8
_OWN_FILES = ("entry", "<stdin>")
_OWN = re.compile(r"\battn_|too many errors emitted")
_SPELLINGS = [
    (re.compile(ours), theirs)
    for ours, theirs in (
        (r"__private\b", "thread"), (r"__global\b", "device"), (r"__local\b", "threadgroup"),
        (r"__constant\b", "constant"), (r"__bf16\b", "bfloat"), (r" \(aka 'bfloat'\)", ""),
        (r"(\w+) __attribute__\(\(ext_vector_type\((\d)\)\)\)", r"\1\2"),
        (r"attn_(?:name|derived)_(\w+)", r"\1"),
        (r"^'([^']*)' file not found$",
         r"found the file '\1', which is none of Metal's, needs a text without; put it in place "
         r"or pass include={'\1': text}"),
    )
]  # fmt: skip
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
        if "clang version" not in _version((chosen,)):
            raise DeviceUnavailable(
                f"[msl] found ATTNPROTO_CLANG={chosen}, which is no clang, needs clang "
                f"{_OLDEST} to {_NEWEST}; unset it or correct it"
            )
        return (chosen,)
    spec = importlib.util.find_spec("ziglang")
    if spec and spec.submodule_search_locations:
        zig = Path(spec.submodule_search_locations[0]) / "zig"
        if zig.exists():
            return (str(zig), "clang")
    for version in range(_NEWEST, _OLDEST - 1, -1):
        path = shutil.which(f"clang-{version}")
        if path:
            return (path,)
    path = shutil.which("clang")
    if path and _OLDEST <= _major((path,)) <= _NEWEST:
        return (path,)
    raise DeviceUnavailable(
        "[msl] found no compiler for kernels, needs clang 19 to 22; run "
        "`pip install ziglang`, or set ATTNPROTO_CLANG to a clang"
    )


def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout


def _major(command: tuple[str, ...]) -> int:
    match = re.search(r"version (\d+)", _version(command))
    return int(match.group(1)) if match else 0


@functools.cache
def compiler_version() -> str:
    """What compiled code depends on: the ziglang package's version, or ``clang --version``."""
    if compiler()[1:] == ("clang",):
        return "ziglang " + importlib.metadata.version("ziglang")
    return _version(compiler()).split("\n", 1)[0].strip()


# Longer than any text of a size that LLVM takes needs; with some texts clang never ends.
LONGEST_S = 300.0


def _run(arguments: list[str], text: str, *, all_files: bool = False) -> str:
    return _completed(arguments, text, all_files=all_files).stdout


def _called(
    arguments: list[str], text: str, *, all_files: bool = False
) -> subprocess.CompletedProcess[str]:
    """Call clang, which sees no file but the headers here, whatever a text would include."""
    with tempfile.NamedTemporaryFile("w", prefix="attnproto-", suffix=".json") as overlay:
        if not all_files:
            overlay.write(_OVERLAY)
            overlay.flush()
            arguments = ["-ivfsoverlay", overlay.name, *arguments]
        command = [*compiler(), *arguments]
        try:
            return subprocess.run(
                command, input=text, capture_output=True, text=True, encoding="utf-8",
                errors="replace", timeout=LONGEST_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise KernelCompileError(
                f"[msl] found a text on which {command[0]} has worked for {LONGEST_S:g} s, needs "
                "one that it ends with; look for recursion at compile time, or divide the text"
            ) from None
        except OSError as error:
            raise DeviceUnavailable(
                f"[msl] found {command[0]}, which does not start: {error}"
            ) from None


def _completed(
    arguments: list[str], text: str, *, all_files: bool = False
) -> subprocess.CompletedProcess[str]:
    done = _called(arguments, text, all_files=all_files)
    if done.returncode:
        silent = f"found {compiler()[0]} that ends with code {done.returncode} and says nothing"
        raise KernelCompileError(_explain(done.stderr or silent))
    return done


def _explain(stderr: str) -> str:
    """The first errors, by the user's lines and in MSL's words."""
    errors: list[tuple[str, str]] = []
    for line in stderr.split("\n"):
        match, note = _MESSAGE.match(line), _NOTE.match(line)
        if match:
            errors.append((_place(match), _in_msl(match["text"])))
        elif note and errors and not errors[-1][0]:  # an error of a header: who asked for it
            errors[-1] = (_place(note), errors[-1][1])
    # What is the library's own is the consequence of what the user's text says.
    said = [
        (place, text) for place, text in dict.fromkeys(errors) if place or not _OWN.search(text)
    ] or errors
    message = "; ".join(place + text for place, text in said[:_MOST_SAID])
    return f"[msl] {message or stderr.strip()[-500:]}"


def _place(match: re.Match) -> str:
    file = match["file"]
    if not file or file in _OWN_FILES or file.startswith(str(HEADERS)):
        return ""
    return f"line {match['line']}: " if file == SOURCE else f"in {file}, line {match['line']}: "


def _in_msl(text: str) -> str:
    for ours, theirs in _SPELLINGS:
        text = ours.sub(theirs, text)
    return text


def preprocess(text: str, folder: Path | None = None) -> str:
    """Expand macros and includes; line markers stay.

    Args:
        text: MSL. Of files it sees the library's headers, as under Metal's run-time compiler.
        folder: where its own includes are looked for first, for a text that no device is given;
            they, and what they include, may then be any file.

    Raises:
        KernelCompileError: a directive is wrong, or includes what is not to be seen.
    """
    search = ["-I", str(HEADERS / "preprocess"), *(["-I", str(folder)] if folder else [])]
    # A pragma's words are not expanded, a line's are.
    marked = _UNROLL.sub(r"attn_unroll \1 attn_unroll_end", text.removeprefix("\ufeff"))
    begun = f'#line 1 "{SOURCE}"\n{marked}'
    done = _run([*_PREPROCESS, *search, "-"], begun, all_files=folder is not None)
    return _UNROLLED.sub(r"#pragma unroll \1", done)


def to_ir(text: str, target: Target) -> str:
    """C++ for OpenCL to unoptimised LLVM IR, as text."""
    return _run(_to_ir(target), text)


def messages(text: str, target: Target) -> str:
    """What clang says of a text that it does not take, with the ranges of operands."""
    arguments = [a for a in _to_ir(target) if not a.startswith("-ferror-limit")]
    arguments += ["-fsyntax-only", "-ferror-limit=0", "-fdiagnostics-print-source-range-info"]
    arguments += ["-fno-caret-diagnostics", "-ftemplate-backtrace-limit=1"]
    done = _called(arguments, text)
    return done.stderr if done.returncode else ""


def to_ir_warning(text: str, target: Target) -> tuple[str, list[tuple[str, int]]]:
    """As ``to_ir``, with file and line of every implicit conversion from float to bfloat."""
    done = _completed([*_to_ir(target), "-Wimplicit-float-conversion"], text)
    conversions = _NARROWING.finditer(done.stderr)
    # Those of the headers are the headers' own.
    own = [
        (m["file"], int(m["line"])) for m in conversions if not m["file"].startswith(str(HEADERS))
    ]
    return done.stdout, own


def _to_ir(target: Target) -> list[str]:
    return [
        *_LANGUAGE, "-target", target.triple, *target.options,
        "-I", str(HEADERS / "include"), "-O2", "-Xclang", "-disable-llvm-passes",
        "-emit-llvm", "-S", "-o", "-", "-",
    ]  # fmt: skip
