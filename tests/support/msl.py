"""Texts of kernels from tests/msl, and their launches over plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attnproto
import numpy as np

from .function_table import Function

FOLDER = Path(__file__).parents[1] / "msl"
HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
# What a text compares two results with, NaNs being the same.
HEAD_WITH_SAME = (
    HEAD + "template <typename T> bool same(T a, T b) { return a == b || (a != a && b != b); }\n"
)
LANES = 256  # threads in a threadgroup of what is launched over numbers


def read_text(file: str) -> str:
    """A text of tests/msl."""
    return (FOLDER / file).read_text(encoding="utf-8")


def text_of_functions(table: Mapping[str, Function], file: str) -> str:
    """One kernel for each function of a table, from the file's."""
    body, parts = read_text(file), [HEAD_WITH_SAME]
    for name, function in table.items():
        inside = function.in_accuracies
        defined = {
            "FUNCTION": name, "KERNEL": f"kernel_{name.replace('::', '_')}", "NAME": f'"{name}"',
            "FAST": "fast" if inside else "metal", "PRECISE": "precise" if inside else "metal",
        }  # fmt: skip
        parts += [f"#define {macro} {value}\n" for macro, value in defined.items()]
        parts += [body, *(f"#undef {macro}\n" for macro in defined)]
    return "".join(parts)


def repeat_to_threadgroups(x: np.ndarray) -> np.ndarray:
    """Repeated to a multiple of LANES numbers."""
    return np.resize(x, -(-x.size // LANES) * LANES)


def launch_over(
    device: attnproto.Device, library: attnproto.Library, kernel: str, *arrays: np.ndarray
) -> None:
    """Run a kernel over the first array's numbers, a lane each."""
    device.run(
        library.pipeline(kernel),
        threadgroups=(len(arrays[0]) // LANES, 1, 1),
        threads=(LANES, 1, 1),
        buffers=dict(enumerate(arrays)),
    )


def launch_threadgroup(
    device: attnproto.Device,
    library: attnproto.Library,
    kernel: str,
    *buffers: object,
    threads: int = 1,
    constants: Mapping[int | str, object] | None = None,
    **options,
) -> None:
    """Run a kernel by one threadgroup; a buffer that is None is not bound."""
    device.run(
        library.pipeline(kernel, constants),
        threadgroups=1,
        threads=threads,
        buffers={k: b for k, b in enumerate(buffers) if b is not None},
        **options,
    )
