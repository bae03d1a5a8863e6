"""The compiler: which clang is used, and how it is called."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import re
import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from attnproto.compiler.ir.debug_lines import HEADERS, SOURCE, is_users
from attnproto.compiler.target import Target
from attnproto.errors import DeviceUnavailable, KernelCompileError
from attnproto.settings import value_of

from . import truth

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
    "-ffp-contract=on", "-fno-math-errno", "-fno-trapping-math",
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
_MOST_SAID = 8
_NO_MEMORY = re.compile(r"out of memory|bad_alloc|Buffer allocation failed")
_OWN = re.compile(r"\battn_|__builtin_|too many errors emitted")
_CAUSE = re.compile(
    r"^candidate .*not viable: (?P<why>.*)$"
    r"|^in instantiation of .*'(?:metal::)?(?P<function>(?!attn_)\w+)<(?P<types>.*)>' requested"
)
_SPELLINGS = [
    (re.compile(ours), theirs)
    for ours, theirs in (
        (r"__private\b", "thread"), (r"__global\b", "device"), (r"__local\b", "threadgroup"),
        (r"__constant\b", "constant"), (r"__bf16\b", "bfloat"),
        (r"(\w+) __attribute__\(\(ext_vector_type\((\d)\)\)\)", r"\1\2"),
        (r"(\w+) __attribute__\(\(ext_vector_type\((\d+)\)\)\)", r"vec<\1, \2>"),
        (r"(?:metal::)?attn_packed3<(\w+)>", r"packed_\g<1>3"),
        (r"(?:\w+ )?storage_type' \(aka '((?:\w+ )?)(?:metal::)?attn_elements<(\w+)>'\)",
         r"\1vec<\2, 64>'"),
        (r"(?:metal::)?matrix<(\w+), (\d), (\d)>", r"\1\2x\3"),
        (r"(?:metal::)?attn_elements<(\w+)>", r"vec<\1, 64>"),
        (r"^static assertion failed due to requirement '.*': "
         r"((?:.* needs types of|an? \w+ is|found) .*)$", r"\1"),
        (r"^incompatible operand types \('\(lambda at mend.*$",
         r"found static member functions on both sides of a conditional expression, needs an if "
         r"for each"),
        (r"attn_(?:name|derived|defined)_(\w+)", r"\1"),
        (r"('[^']*') \(aka \1\)", r"\1"),
        (r"^'([^']*)' file not found$",
         r"found the file '\1', which is none of Metal's, needs a text without; put it in place "
         r"or pass include={'\1': text}"),
    )
]  # fmt: skip
_MESSAGE = re.compile(
    r"^(?:(?P<file>[^:\n]*):(?P<line>\d+):(?P<column>\d+):(?:\{[-:\d]+\})*:? )?"
    r"(?:fatal )?(?P<kind>error|warning|note): (?P<text>.*)$",
    re.M,
)


class Message(NamedTuple):
    """What clang says of a place; its kind is error, warning or note."""

    file: str
    line: int
    column: int
    kind: str
    text: str


class Refused(KernelCompileError):
    """clang does not take a text; carries what it says."""

    def __init__(self, stderr: str):
        super().__init__(explained(stderr, _line_only))
        self.stderr = stderr

    def __reduce__(self) -> tuple[type[Refused], tuple[str]]:
        return type(self), (self.stderr,)


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command that is clang: ATTNPROTO_CLANG, the ziglang package's, or one on the path.

    Raises:
        DeviceUnavailable: there is none.
    """
    chosen = value_of("ATTNPROTO_CLANG")
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


# More than any text of a size that LLVM takes needs; with some texts clang never ends.
LONGEST_S = 300.0
MOST_MEMORY = 4 << 30
# Of a text after macros and includes, in bytes: LLVM takes 2 GB and a minute for as much.
LONGEST_TEXT = 8 << 20
_LONGEST_IR = 1 << 30
_CURE = "look for recursion at compile time, or divide the text"


def _run(arguments: list[str], text: str, **options: Any) -> str:
    return _completed(arguments, text, **options).stdout


def _called(
    arguments: list[str], text: str, *, all_files: bool = False, longest: int = _LONGEST_IR
) -> subprocess.CompletedProcess[str]:
    """Call clang, which sees no file but the headers here, whatever a text would include.

    Args:
        arguments: clang's.
        text: on its standard input.
        all_files: let it see the machine's files.
        longest: bytes that it may write.
    """
    with (
        tempfile.NamedTemporaryFile("w", prefix="attnproto-", suffix=".json") as overlay,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as said,
    ):
        if not all_files:
            overlay.write(_OVERLAY)
            overlay.flush()
            arguments = ["-ivfsoverlay", overlay.name, *arguments]
        given.write(text.encode("utf-8", "replace"))
        given.seek(0)
        command = [*compiler(), "-fno-crash-diagnostics", *arguments]
        code, written = _limited(command, given, said, longest)
        said.seek(0)
        stderr = said.read().decode("utf-8", "replace")
    if code and _NO_MEMORY.search(stderr):
        raise KernelCompileError(
            f"[msl] found a text that {command[0]} wants more than {MOST_MEMORY >> 30} GiB of "
            f"memory for, needs one that takes less; {_CURE}"
        )
    return subprocess.CompletedProcess(command, code, written.decode("utf-8", "replace"), stderr)


def _limited(
    command: list[str], given: BinaryIO, said: BinaryIO, longest: int
) -> tuple[int, bytes]:
    """Run a command on a file, and return its exit code and what it writes.

    It gets as much time, memory and output as a text may take.
    """
    try:
        process = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=said)
    except OSError as error:
        raise DeviceUnavailable(
            f"[msl] found {command[0]}, which does not start: {error}"
        ) from None
    late = threading.Event()
    timer = threading.Timer(LONGEST_S, lambda: (late.set(), process.kill()))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # the system starts no thread; then without a limit
        timer.start()
    with process:
        try:
            if hasattr(resource, "prlimit"):
                hard = resource.getrlimit(resource.RLIMIT_AS)[1]
                most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(hard, MOST_MEMORY)
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
            written = process.stdout.read(longest + 1)
            if len(written) > longest:
                raise KernelCompileError(
                    f"[msl] found a text of which macros and includes make more than {longest} "
                    "bytes, needs less; look for a macro that names itself many times over, or "
                    "divide the text"
                )
            code = process.wait()
        finally:
            timer.cancel()
            process.kill()
    if late.is_set():
        raise KernelCompileError(
            f"[msl] found a text on which {command[0]} has worked for {LONGEST_S:g} s, needs one "
            f"that it ends with; {_CURE}"
        )
    return code, written


def _completed(arguments: list[str], text: str, **options: Any) -> subprocess.CompletedProcess[str]:
    done = _called(arguments, text, **options)
    if done.returncode:
        silent = (
            f"found {compiler()[0]} that ends with code {done.returncode} and says nothing, needs "
            "a clang that runs; try it by hand, or set ATTNPROTO_CLANG to another"
        )
        raise Refused(done.stderr.strip() or silent)
    return done


def parsed(stderr: str) -> list[Message]:
    """The messages of clang, in order."""
    return [
        Message(m["file"] or "", int(m["line"] or 0), int(m["column"] or 0), m["kind"], m["text"])
        for m in _MESSAGE.finditer(stderr)
    ]


def explained(stderr: str, place_of: Callable[[str, int, int], object]) -> str:
    """The first errors, by the user's places and in MSL's words.

    Args:
        stderr: what clang says.
        place_of: what to call the place of a message's file, line and column; None for one that
            is not in the user's text.
    """
    errors: list[tuple[object, str]] = []
    of_library: set[object] = set()  # places with an error in what they call
    asserted = False  # the last error is a sentence of the library's
    for message in parsed(stderr):
        place, text = place_of(*message[:3]), in_msl(message.text)
        if message.kind == "error":
            errors.append((place, text))
            asserted = message.text.startswith("static assertion")
        elif errors and _OWN.search(errors[-1][1]) and _CAUSE.search(text):
            errors[-1] = (errors[-1][0], _CAUSE.sub(_cause, text))
        asks = message.kind == "note" and not text.startswith("candidate")
        if asks and errors and errors[-1][0] is None and place is not None:
            error = errors.pop()[1]  # of a header: who asked for it
            cause = _CAUSE.search(text)
            if cause and cause["function"] and not asserted:
                error = _cause(cause)
            if place not in of_library:
                errors.append((place, error))
            of_library.add(place)
    # What is the library's own is the consequence of what the user's text says.
    users = [(place, text) for place, text in errors if not _OWN.search(text)]
    message = "; ".join(
        f"{place}: {text}" if place else text
        for place, text in list(dict.fromkeys(users or errors))[:_MOST_SAID]
    )
    return f"[msl] {message or stderr.strip()[-500:]}"


def _cause(match: re.Match[str]) -> str:
    """What a note says of an error in words of the library's own."""
    if match["function"]:
        return f"found {match['function']}({match['types']}), which Metal's library has not"
    return match["why"]


def _line_only(file: str, line: int, column: int) -> str | None:
    if not is_users(file):
        return None
    return f"line {line}" if file == SOURCE else f"in {file}, line {line}"


def in_msl(text: str) -> str:
    """A message in MSL's words."""
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
    done = _run(
        [*_PREPROCESS, *search, "-"], begun, all_files=folder is not None, longest=LONGEST_TEXT
    )
    return _UNROLLED.sub(r"#pragma unroll \1", done)


def to_ir(text: str, target: Target) -> str:
    """C++ for OpenCL to unoptimised LLVM IR, as text."""
    return truth.as_one(_run(_to_ir(target), text))


def messages(text: str, target: Target) -> str:
    """What clang says of a text that it does not take, with the ranges of operands."""
    arguments = [a for a in _to_ir(target) if not a.startswith("-ferror-limit")]
    arguments += ["-fsyntax-only", "-ferror-limit=0", "-fdiagnostics-print-source-range-info"]
    arguments += ["-fno-caret-diagnostics"]
    done = _called(arguments, text)
    return done.stderr if done.returncode else ""


def to_ir_warning(text: str, target: Target) -> tuple[str, list[Message]]:
    """As ``to_ir``, with what clang warns of that Apple's compiler refuses (overloads.h too)."""
    warnings = ["-Wimplicit-float-conversion", "-Wuser-defined-warnings", "-DATTN_LINT"]
    done = _completed([*_to_ir(target), *warnings], text)
    return done.stdout, parsed(done.stderr)


def _to_ir(target: Target) -> list[str]:
    return [
        *_LANGUAGE, "-target", target.triple, *target.options,
        "-I", str(HEADERS / "include"), "-O2", "-Xclang", "-disable-llvm-passes",
        "-emit-llvm", "-S", "-o", "-", "-",
    ]  # fmt: skip
