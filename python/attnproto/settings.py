"""The environment variables that this project reads: all of them, with what they mean.

Modules ask :func:`value_of`, which knows no variable that the table lacks; the page of environment
variables in the documents is this table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """An environment variable: its name, what a value of it does, and what holds where it is unset.

    Both texts are a phrase that stands in a table.
    """

    name: str
    meaning: str
    default: str


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "ATTNPROTO_DEVICE",
        "the device that `auto` stands for: metal, cuda or cpu",
        "metal where there is one, else cpu",
    ),
    Setting(
        "ATTNPROTO_CACHE_DIR",
        "folder of compiled kernels; must be the user's own and not writable by others",
        "attnproto in the user's cache folder: ~/Library/Caches on macOS, XDG_CACHE_HOME elsewhere",
    ),
    Setting(
        "ATTNPROTO_CLANG",
        "the program that compiles kernels for cpu and cuda; clang 19 to 22",
        "the clang of the package ziglang, then one on the path",
    ),
    Setting(
        "ATTNPROTO_CPU_ENGINE",
        "engine of the cpu device: lockstep or fibers",
        "lockstep, and fibers for kernels that it does not take",
    ),
    Setting(
        "ATTNPROTO_CPU_THREADS",
        "threads of the cpu device",
        "as many as the process may use cores",
    ),
    Setting(
        "ATTNPROTO_TIME_LIMIT_S",
        "seconds that a dispatch on the cpu device may take",
        "no limit",
    ),
    Setting(
        "ATTNPROTO_VALIDATE",
        "1: the cpu device watches kernels for races, accesses out of bounds and their like; "
        "nan: for instructions that make a NaN of numbers, too",
        "nothing is watched",
    ),
    Setting(
        "ATTNPROTO_CHIP",
        "record that `attnproto calibrate` wrote, of the chip that rows expect times of",
        "the M4 of published times",
    ),
    Setting(
        "ATTNPROTO_TUNED_DIR",
        "folder of what `attnproto tune` found fastest",
        "attnproto/tuned in the user's data folder: ~/Library/Application Support on macOS, "
        "XDG_DATA_HOME elsewhere",
    ),
    Setting(
        "ATTNPROTO_LIBRARY",
        "libattnproto, as programs in other languages open it",
        "the one beside the Python module; the Rust crates need it set",
    ),
    Setting(
        "ATTNPROTO_KERNELS",
        "folder of exported kernels that the Rust crates open",
        "none; `attnproto run` sets it for the prototypes in Rust",
    ),
    Setting(
        "ATTNPROTO_COMPARE_KERNELS",
        "folder of another revision's kernel texts; `attnproto compare` sets it for its workers",
        "none",
    ),
    Setting(
        "CARGO_TARGET_DIR",
        "where cargo leaves the Rust crates' programs",
        "build/rust of the checkout",
    ),
    Setting(
        "XDG_CACHE_HOME",
        "the user's cache folder, but on macOS",
        "~/.cache",
    ),
    Setting(
        "XDG_DATA_HOME",
        "the user's data folder, but on macOS",
        "~/.local/share",
    ),
    Setting(
        "MTL_SHADER_VALIDATION",
        "1: Metal's own checks of kernels; Metal then keeps no archives",
        "no checks",
    ),
    Setting(
        "TMPDIR",
        "where archives are unpacked",
        "/tmp",
    ),
)
_NAMES = frozenset(setting.name for setting in SETTINGS)


def value_of(name: str) -> str | None:
    """Return the value of one of the table's variables; None where it is unset.

    Raises:
        KeyError: The table has no such variable.
    """
    if name not in _NAMES:
        raise KeyError(f"[settings] found {name}, needs a variable of SETTINGS; add its line there")
    return os.environ.get(name)
