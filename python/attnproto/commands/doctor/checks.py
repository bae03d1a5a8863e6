"""What this machine has for attnproto, what it lacks and the cure, line by line.

On a Mac it also asks the Metal device everything that could not be known without one.
"""

from __future__ import annotations

import importlib.metadata
import json as json_module
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from attnproto import __version__
from attnproto.device.device import Device
from attnproto.device.discovery import DeviceSummary, cpu_threads, devices, open_device
from attnproto.errors import AttnprotoError

_PACKAGES = ("numpy", "ml-dtypes", "scipy", "pydantic", "matplotlib", "ziglang", "llvmlite")


# A question runs kernels whose like nobody has run: what hangs or dies takes no other with it.
_QUESTION_LIMIT_S = 180.0
_CHILD = """
import json, sys
from dataclasses import asdict
from attnproto.commands.doctor.checks import answer
print(json.dumps(asdict(answer(sys.argv[1]))))
"""


class DoctorError(AttnprotoError, ValueError):
    """A question that does not exist, or a file that cannot be written."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        subject: what it is, such as ``device metal``.
        status: ``ok``, ``missing``, ``seen`` (an answer of the device) or ``failed``.
        found: what is there, in words.
        cure: what to do about it; empty when there is nothing to do.
    """

    subject: str
    status: str
    found: str
    cure: str = ""


def _first_line(command: list[str]) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = ran.stdout.strip().splitlines()
    return lines[0] if lines and ran.returncode == 0 else ""


def _system_lines() -> list[Line]:
    release = platform.mac_ver()[0]
    system = f"macOS {release}" if release else platform.platform()
    lines = [
        Line("system", "ok", f"{system}, {platform.machine()}, {os.cpu_count()} cores"),
        Line("python", "ok", f"{platform.python_version()} at {sys.executable}"),
    ]
    if sys.platform == "darwin":
        major = int(release.split(".")[0] or 0)
        if major < 14 or platform.machine() != "arm64":
            cure = "MSL 3.1 needs macOS 14 on Apple silicon: update, or open the cpu device"
            lines[0] = Line("system", "missing", lines[0].found, cure)
    return lines


def _package_lines() -> list[Line]:
    lines = []
    for name in _PACKAGES:
        try:
            lines.append(Line(f"package {name}", "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            lines.append(Line(f"package {name}", "missing", "not installed", f"pip install {name}"))
    return lines


def _compiler_lines() -> list[Line]:
    """What compiles kernels for the devices that are not Apple's, and what Xcode adds."""
    version = _first_line([sys.executable, "-m", "ziglang", "version"])
    lines = [
        Line("kernel compiler", "ok", f"clang of ziglang {version}")
        if version
        else Line("kernel compiler", "missing", "no clang", "pip install ziglang")
    ]
    if sys.platform == "darwin":
        tools = _first_line(["xcode-select", "-p"])
        cure = "not needed to run; to build from source: xcode-select --install"
        lines.append(
            Line("command line tools", "ok", tools)
            if tools
            else Line("command line tools", "missing", "not installed", cure)
        )
    elif shutil.which("clang++-19"):
        lines.append(Line("clang++-19", "ok", _first_line(["clang++-19", "--version"])))
    return lines


def _cure_of(reason: str) -> str:
    return reason.rsplit("; ", 1)[1] if "; " in reason else "see the reason"


def _device_line(summary: DeviceSummary) -> Line:
    subject = f"device {summary.kind}"
    if not summary.available:
        return Line(subject, "missing", summary.reason, _cure_of(summary.reason))
    return Line(subject, "ok", f"{summary.name}, times are {summary.tier}")


def _property_lines(kind: str) -> list[Line]:
    core = open_device(kind)._core
    return [Line(f"{kind} {name}", "ok", value) for name, value in core.properties()]


def examine() -> list[Line]:
    """Look at the machine without running a kernel.

    Returns:
        One line for the system, each package, each compiler and each kind of device,
        with the limits of those that state them.

    Examples:
        >>> from attnproto.commands.doctor.checks import examine
        >>> any(line.subject == "device cpu" for line in examine())
        True
    """
    lines = [*_system_lines(), *_package_lines(), *_compiler_lines()]
    for summary in devices():
        lines.append(_device_line(summary))
        if summary.available:
            lines += _property_lines(summary.kind)
    lines.append(Line("cpu threads", "ok", str(cpu_threads())))
    return lines


def _questions() -> dict[str, Callable[[Device], str]]:
    from .day_questions import DAY
    from .double_questions import BY_NAME, GUESSES
    from .metal_questions import QUESTIONS

    return {**QUESTIONS, **GUESSES, **DAY, **BY_NAME}


def _chosen(only: str) -> list[str]:
    from .double_questions import BY_NAME

    known = _questions()
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise DoctorError(
            f"[doctor] found the question {', '.join(unknown)}, needs one of {', '.join(known)}; "
            "correct --only"
        )
    return names or [name for name in known if name not in BY_NAME]


def answer(name: str) -> Line:
    """Ask the Metal device one question in this process; whatever goes wrong is a line too."""
    question = _questions()[name]
    subject = str(question.__doc__).strip()
    try:
        return Line(subject, "seen", question(open_device("metal")))
    except Exception as error:
        return Line(subject, "failed", f"{type(error).__name__}: {error}")


def answer_apart(name: str, program: str = _CHILD, limit_s: float = _QUESTION_LIMIT_S) -> Line:
    """Ask one question in a process of its own.

    Args:
        name: such as ``Q2``.
        program: what the process runs; prints a line as JSON at its end.
        limit_s: seconds it may take.

    Returns:
        Its line; ``failed``, with what it said last, when it died or took too long.
    """
    subject = str(_questions()[name].__doc__).strip()
    command = [sys.executable, "-c", program, name]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        cure = f"ask it alone: attnproto doctor --only {name}"
        return Line(subject, "failed", f"no answer in {limit_s:g} s", cure)
    if ran.returncode == 0:
        return Line(**json_module.loads(ran.stdout.splitlines()[-1]))
    said = (ran.stderr.strip().splitlines() or ["nothing"])[-1]
    return Line(subject, "failed", f"the process ended with {ran.returncode}, saying: {said}")


def ask(only: str = "") -> list[Line]:
    """Ask the Metal device the open questions; a question that fails is a line too.

    Args:
        only: names of questions such as ``Q2``, separated by commas; all when empty, save
            those that keep the GPU busy for long (W).

    Raises:
        DeviceUnavailable: there is no Metal device.
        DoctorError: there is no question of that name.
    """
    names = _chosen(only)
    # What is emulated lives in this process only.
    ask_one = answer_apart if open_device("metal").tier == "measured" else answer
    return [ask_one(name) for name in names]


def _show(lines: list[Line]) -> None:
    width = max(len(line.subject) for line in lines if line.status not in ("seen", "failed"))
    for line in lines:
        cure = f"\n{'':9}cure: {line.cure}" if line.cure else ""
        print(f"{line.status:8} {line.subject:{width}}  {line.found}{cure}")


def _write(path: Path, lines: list[Line]) -> None:
    record = {
        "attnproto": __version__,
        "lines": [asdict(line) for line in lines],
    }
    _write_text(path, json_module.dumps(record, indent=1) + "\n")


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DoctorError(
            f"[doctor] found {path} not writable ({error.strerror}), needs a file; "
            "choose another path"
        ) from error


def _report(path: Path, lines: list[Line]) -> None:
    """One text that a person can read and send: every line, and what an answer changes."""
    from .day_questions import EXPECTED

    parts = [f"attnproto {__version__}, attnproto doctor --report"]
    for line in lines:
        parts.append(f"{line.status:8} {line.subject}: {line.found}")
        name = line.subject.split(":")[0]
        if name in EXPECTED:
            expected, otherwise = EXPECTED[name]
            parts.append(f"{'':9}expected: {expected}; otherwise: {otherwise}")
        if line.cure:
            parts.append(f"{'':9}cure: {line.cure}")
    _write_text(path, "\n".join(parts) + "\n")


def doctor(*, json: Path | None = None, report: Path | None = None, only: str = "") -> int:
    """Say what is there and what is missing; on a Mac, answer the open questions too.

    Args:
        json: Also write every line to this file.
        report: Also write one text to send: every line, what was expected, what follows.
        only: Questions by name, separated by commas, such as Q2,Q7. W1 is asked only so: it
            keeps the GPU busy for ten seconds.
    """
    for file in (json, report):
        if file is not None and not file.parent.is_dir():
            raise DoctorError(f"[doctor] found no folder {file.parent}, needs one; create it")
    _chosen(only)
    lines = examine()
    metal = any(line.subject == "device metal" and line.status == "ok" for line in lines)
    if metal:
        lines += ask(only)
    else:
        cure = "run attnproto doctor on a Mac with Apple silicon and macOS 14 or newer"
        lines.append(Line("open questions", "missing", "they need a Metal device", cure))
    _show(lines)
    if json is not None:
        _write(json, lines)
    if report is not None:
        _report(report, lines)
    usable = any(line.subject.startswith("device ") and line.status == "ok" for line in lines)
    return 0 if usable else 1
