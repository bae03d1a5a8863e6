"""Prototype 5: the MSL that CubeCL generates, beside MSL written by hand.

A point is one kernel for S = Q K^T: generated (scalar, or with CubeCL's matrix instructions), or
ours at the same geometry and at a wider one. Each is judged against FP64; its instructions are
counted in the same compiler's IR and, as it runs, by the counting engine.
"""

from __future__ import annotations

import functools
import itertools
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import rust
from ..errors import KernelCompileError, WrongResult
from ..kernels.registry import TemplateArgument, instantiate
from ..problem import AttentionProblem
from ..store import content_key
from . import OK, WRONG, Outcome, Prototype
from .cubecl_findings import conclude

N, D = 64, 64
MARGIN, MARK = 256, 1024.0
# FP32 sums of D products of normal values, each element with an error of D rounding steps.
ATOL, RTOL = 1e-4, 1e-4
_INSTRUCTION = re.compile(r"^  +(?!;|!)\S", re.MULTILINE)


@dataclass(frozen=True)
class Scores:
    """One kernel's text and how it is launched; ``info`` is buffer 3 of CubeCL's."""

    name: str
    text: str
    tile: tuple[int, int]
    threads: tuple[int, int, int]
    info: bytes

    def buffers(self, q: np.ndarray, k: np.ndarray, scores: np.ndarray) -> dict[int, object]:
        """Return the buffers by index."""
        bound: dict[int, object] = {0: q, 1: k, 2: scores}
        return bound | {3: self.info} if self.info else bound


@functools.cache
def _generated() -> tuple[str, dict[tuple[str, str], Scores]]:
    """CubeCL's versions, and its kernels by kind and element type."""
    kernels = {}
    with tempfile.TemporaryDirectory() as folder:
        rust.run("attnproto-cubecl", folder)
        head, *lines = (Path(folder) / "index.tsv").read_text().splitlines()
        for line in lines:
            _, name, status, element, n, d, rows, columns, x, y = line.split("\t")
            text = (Path(folder) / f"{name}.metal").read_text()
            if status != "ok":
                raise KernelCompileError(f"[cubecl] found {name} refused by CubeCL: {text[:300]}")
            # CubeCL's own order: buffer lengths, then lengths, of the three arrays.
            lengths = [int(n) * int(d), int(n) * int(d), int(n) * int(n)] * 2
            kernels[name.split("_")[0], element] = Scores(
                name,
                text,
                (int(rows), int(columns)),
                (int(x), int(y), 1),
                np.array(lengths, np.uint32).tobytes(),
            )
    return head.split("\t")[1], kernels


def scores_of(point: Mapping[str, Any]) -> Scores:
    """Return a point's kernel.

    Raises:
        DeviceUnavailable: it is CubeCL's, and there is no cargo or no checkout.
    """
    problem = _problem(point)
    if point["side"] == "cubecl":
        return _generated()[1][point["way"], problem.element_type.name]
    element = {"float16": "half", "float32": "float"}[problem.element_type.name]
    columns = point["columns"]
    arguments = (
        TemplateArgument(element, element),
        TemplateArgument(str(columns), f"bc{columns}"),
        TemplateArgument(str(N), f"n{N}"),
        TemplateArgument(str(D), f"d{D}"),
    )
    source = instantiate("scores/scores.metal", "scores", arguments)
    return Scores(source.name, source.text, (8, columns), (32, 1, 1), b"")


def _problem(point: Mapping[str, Any]) -> AttentionProblem:
    return AttentionProblem(1, 1, 1, N, N, D, point["dtype"], False)


def points(mode: str) -> list[dict[str, Any]]:
    """List the points; both modes have all of them."""
    shared = {"kind": "scores", "N": N, "D": D}
    sides = (
        {"side": "cubecl", "way": "scalar", "columns": 8},
        {"side": "cubecl", "way": "cmma", "columns": 8},
        {"side": "hand", "way": "matrix", "columns": 8},
        {"side": "hand", "way": "matrix", "columns": 32},
    )
    return [
        {**shared, **side, "dtype": dtype}
        for side, dtype in itertools.product(sides, ("f16", "f32"))
    ]


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the text of a point's kernel."""
    return content_key(scores_of(point).text)


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Judge one kernel and count what it does.

    Raises:
        AttnprotoError: CubeCL's side cannot be generated here, or a device refuses the text.
    """
    kernel = scores_of(point)
    q, k = (x.reshape(N, D) for x in _problem(point).inputs(0, "normal")[:2])
    expected = q.astype(np.float64) @ k.astype(np.float64).T
    whole = np.full(N * N + 2 * MARGIN, MARK, np.float32)
    whole[MARGIN:-MARGIN] = np.nan
    output = whole[MARGIN:-MARGIN]
    made = device.library(kernel.text).pipeline(kernel.name)
    grid = (N // kernel.tile[1], N // kernel.tile[0], 1)
    device.run(
        made, threadgroups=grid, threads=kernel.threads, buffers=kernel.buffers(q, k, output)
    )
    error = np.abs(output.reshape(N, N) - expected)
    ratio = float(np.max(error / (ATOL + RTOL * np.abs(expected))))
    text = kernel.text
    result: dict[str, Any] = {
        "worst_ratio": ratio,
        "text_lines": sum(bool(line.strip()) for line in text.splitlines()),
        "text_matrix_operations": text.count("simdgroup_multiply_accumulate"),
        "threadgroup_bytes": int(made.static_threadgroup_bytes),
        "ir_instructions": _instructions(kernel),
        "flops": 2 * N * N * D,
        **_counted(kernel, q, k, grid),
        "kernel_hash": content_key(text),
    }
    if point["side"] == "cubecl":
        result["versions"] = _generated()[0]
        result["text"] = text
    if not ratio <= 1 or np.any(np.delete(whole, np.s_[MARGIN:-MARGIN]) != MARK):
        return Outcome(WRONG, f"error {ratio:.3g} of what is allowed, or a changed margin", result)
    return Outcome(OK, "", result)


def _instructions(kernel: Scores) -> int:
    """Instructions of the optimised kernel, whose matrix operations are one each."""
    from .. import _core
    from ..msl.front_end import NativeFrontEnd

    ir = NativeFrontEnd().optimised_ir(kernel.text, _core.PipelineDescriptor(kernel.name, []))
    bodies = re.findall(r"^define [^\n]*\{\n(.*?)^\}", ir, re.MULTILINE | re.DOTALL)
    return sum(len(_INSTRUCTION.findall(body)) for body in bodies)


def _counted(
    kernel: Scores,
    q: np.ndarray,
    k: np.ndarray,
    grid: tuple[int, int, int],
) -> dict[str, float]:
    from ..device import Dispatch
    from ..msl.counts import count, counting_device

    device = counting_device()
    made = device.library(kernel.text).pipeline(kernel.name)
    output = np.zeros(N * N, np.float32)
    done = count(device, [Dispatch(made, grid, kernel.threads, kernel.buffers(q, k, output))])
    if not np.all(np.isfinite(output)) or not done.device_store_bytes:
        raise WrongResult("[cubecl.count] found no stores counted, needs some; check the counter")
    return {
        "counts": done.as_row(),
        # Counted in each lane; executed once a simdgroup.
        "matrix_operations": done.matrix_operations / 32,
        "device_load_bytes": done.device_load_bytes,
        "device_store_bytes": done.device_store_bytes,
        "float_operations": done.float_operations,
        "conversions": done.conversions,
        "simdgroup_barriers": done.simdgroup_barriers / 32,
        "threadgroup_barriers": done.threadgroup_barriers,
    }


PROTOTYPE = Prototype("cubecl", points, run, conclude, kernel_hash, rust.missing)
