"""The optional Rust crates: whether they can be built here, and how they are run."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from attnproto.errors import DeviceUnavailable
from attnproto.settings import value_of

_LIMIT_S = 1500
_PROGRAMS = ("attnproto-burn", "attnproto-cubecl")


@functools.cache
def workspace() -> Path | None:
    """The folder ``rust/`` of a checkout: the package's own, or that of the working folder."""
    package = Path(__file__).resolve().parents[3]
    for root in (package, Path.cwd()):
        if (root / "rust" / "Cargo.lock").exists():
            return root / "rust"
    return None


def missing(*, library: bool = False) -> str:
    """Say what the Rust prototypes lack here; empty when they can run.

    Args:
        library: whether libattnproto is needed too.
    """
    if shutil.which("cargo") is None:
        return "found no cargo, needs Rust 1.92 or later; see rustup's installer"
    if workspace() is None:
        return "found no rust/ folder, needs a checkout; run from its top folder"
    if _refused:
        return _refused
    if not _built():
        return "found the crates not built, needs minutes of cargo; run make rust-build"
    if library and library_path() is None:
        return "found no libattnproto, needs the C ABI's library; install attnproto anew"
    return ""


_refused = ""


def _built() -> bool:
    return all(program(name).exists() for name in _PROGRAMS)


def prepare(say: Callable[[str], None]) -> None:
    """Build the crates where cargo is; ``missing`` says if it failed.

    Programs that are there are cargo's to judge, which takes it a third of a second: they may be
    of an older text, or what tests and lint left, which is not optimised and would be timed.

    Args:
        say: Told before minutes pass.
    """
    global _refused
    _refused = ""
    root = workspace()
    if shutil.which("cargo") is None or root is None:
        return
    if not _built():
        say("building the Rust crates, some minutes the first time")
    target = value_of("CARGO_TARGET_DIR") or str(root.parent / "build" / "rust")
    # Beside points, which somebody waits for.
    command = ["nice", "cargo", "build", "--quiet", "--locked", "--release"]
    try:
        _checked("cargo", command, {"CARGO_TARGET_DIR": target})
    except DeviceUnavailable as error:
        _refused = str(error).removeprefix("[rust] ")


def library_path() -> Path | None:
    """libattnproto: ATTNPROTO_LIBRARY, or the one beside this package's own module."""
    named = value_of("ATTNPROTO_LIBRARY")
    if named:
        return Path(named)
    from attnproto import _core

    beside = sorted(Path(_core.__file__).parent.glob("libattnproto.*"))
    return beside[0] if beside else None


def program(package: str) -> Path:
    """Where cargo leaves a crate's program: CARGO_TARGET_DIR, or ``make rust-build``'s folder."""
    root = workspace() or Path.cwd() / "rust"
    target = Path(value_of("CARGO_TARGET_DIR") or root.parent / "build" / "rust")
    return target / "release" / package


def run(package: str, *arguments: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a crate's program and return what it prints.

    Args:
        package: the crate.
        arguments: of the program.
        environment: added to this process's.

    Raises:
        DeviceUnavailable: cargo, the checkout or a download is missing, or the program failed.
    """
    why = missing()
    if why:
        raise DeviceUnavailable(f"[rust] {why}")
    return _checked(package, [str(program(package)), *map(str, arguments)], environment)


def _checked(package: str, command: list[str], environment: dict[str, str] | None = None) -> str:
    # A sanitizer that is preloaded for this process is not meant for the compiler.
    own = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    process = subprocess.Popen(
        command,
        cwd=workspace(),
        env={**own, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # cargo and the compilers it starts are ended together
    )
    _running.add(process)
    try:
        output, errors = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise DeviceUnavailable(
            f"[rust] found {package} still building or running after {_LIMIT_S} s, needs less; "
            "run `make rust-build` first"
        ) from None
    finally:
        _end(process)
        _running.discard(process)
    if process.returncode:
        raise DeviceUnavailable(
            f"[rust] found {package} failing: {' '.join(errors.split())[-400:]}; run "
            "make rust-build to see all of it, with a network the first time"
        )
    return output


_running: set[subprocess.Popen] = set()


def _end(process: subprocess.Popen) -> None:
    """End a program that still runs, with all that it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


@atexit.register
def _end_all() -> None:
    # A run that is over or interrupted leaves no build behind.
    for process in tuple(_running):
        _end(process)
