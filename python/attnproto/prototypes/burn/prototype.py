"""Prototype 8: whether Burn takes these kernels by an extension trait.

Points send one attention down a road of the Rust crate and judge it against FP64, read how much
code the roads are, or measure what each road costs the host.
"""

from __future__ import annotations

import functools
import itertools
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attnproto.device.lock import alone
from attnproto.errors import DeviceUnavailable
from attnproto.kernels.exported import export_flash
from attnproto.kernels.flash_tile import default_tile
from attnproto.measure import stats
from attnproto.problem import AttentionProblem
from attnproto.prototypes import rust_crates
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype
from attnproto.reference import gate

from .findings import conclude

ROADS = ("ndarray", "wrapper", "module")
D = 64
_ROUNDS = {"quick": 50, "full": 200}
_CRATE = "attnproto-burn"


def missing() -> str:
    """Say what the prototype lacks here; empty when nothing."""
    return rust_crates.missing(library=True)


@functools.cache
def _kernels(device: str) -> tuple[tempfile.TemporaryDirectory, dict[str, str]]:
    """The exported kernels' folder, kept while this process lives, and the environment for it."""
    folder = tempfile.TemporaryDirectory(prefix="attnproto-burn-")
    export_flash(folder.name, (D,), device)
    library = str(rust_crates.library_path())
    return folder, {"ATTNPROTO_KERNELS": folder.name, "ATTNPROTO_LIBRARY": library}


def points(mode: str) -> list[dict[str, Any]]:
    """List the points: each road at odd and even lengths, the code, and costs at two lengths."""
    lengths = ((1, 1, False), (63, 100, False), (63, 100, True), (100, 63, True), (256, 256, True))
    listed: list[dict[str, Any]] = [
        {"kind": "road", "road": road, "Nq": nq, "Nkv": nkv, "causal": causal, "D": D, "H": 2}
        for road, (nq, nkv, causal) in itertools.product(ROADS, lengths)
        # Burn's causal mask counts from the first key, the kernel's from the last, so that
        # module::attention leaves other lengths to the inner backend.
        if not (road == "module" and causal and nq != nkv)
    ]
    for point in listed:
        point["dtype"] = "f32"
    listed.append({"kind": "code"})
    return listed + [{"kind": "cost", "N": n, "D": D} for n in (1, 256)]


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the kernel text that the roads lead to."""
    return default_tile(1024, D, "float32").source.digest


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Run one point.

    Raises:
        DeviceUnavailable: cargo, the checkout or libattnproto is missing.
    """
    why = missing()
    if why:
        raise DeviceUnavailable(f"[burn] {why}")
    if point["kind"] == "code":
        return Outcome(OK, "", _code())
    if point["kind"] == "cost":
        return Outcome(OK, "", _cost(point["N"], mode, device.kind))
    return _road(point, device.kind)


def _run(device: str, *words: object) -> str:
    environment = _kernels(device)[1]
    with alone:
        return rust_crates.run(_CRATE, *map(str, words), environment=environment)


def _road(point: Mapping[str, Any], device: str) -> Outcome:
    heads, nq, nkv, d = (point[name] for name in ("H", "Nq", "Nkv", "D"))
    problem = AttentionProblem(1, heads, heads, nq, nkv, d, point["dtype"], point["causal"])

    def launch(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, tensor in (("q", q), ("k", k), ("v", v)):
                tensor.astype("<f4").tofile(Path(folder) / name)
            words = ["attend", point["road"], heads, nq, nkv, d, int(point["causal"]), folder]
            _run(device, *words)
            output[: q.size] = np.fromfile(Path(folder) / "o", "<f4")

    judged = gate.trial(launch, problem).judgement
    result = {
        "worst_ratio": judged.worst_ratio,
        "max_abs_error": judged.max_abs_error,
        "kernel_hash": kernel_hash(point),
    }
    return Outcome(OK, "", result) if judged.passed else Outcome(WRONG, judged.reason, result)


def _code() -> dict[str, Any]:
    """Count lines and methods of the crate; versions come from what the lock file pins."""
    root = rust_crates.workspace()
    sources = {path.stem: path.read_text() for path in (root / _CRATE / "src").glob("*.rs")}
    lines = {
        name: sum(bool(line.strip()) and not line.strip().startswith("//") for line in lines)
        for name, lines in ((name, text.splitlines()) for name, text in sources.items())
    }
    locked = re.findall(
        r'name = "(burn-(?:backend|ndarray|tensor))"\nversion = "([^"]+)"',
        (root / "Cargo.lock").read_text(),
    )
    return {
        "delegated_methods": len(re.findall(r"^ +fn \w+\(", sources["delegate"], re.M)),
        "delegate_lines": lines["delegate"],
        "trait_lines": lines["lib"] + lines["flash"],
        "wrapper_lines": lines["wrapper"],
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(locked)),
    }


def _cost(n: int, mode: str, device: str) -> dict[str, Any]:
    printed = _run(device, "overhead", n, D, _ROUNDS[mode])
    samples = {}
    for line in printed.splitlines():
        name, *values = line.split("\t")
        samples[name] = np.array(values, float)
    result: dict[str, Any] = {"n": len(samples["nothing"])}
    # Host time: each road without what the device took of it.
    added = {
        "nothing": samples["nothing"],
        "c_abi": samples["direct"],
        "trait": samples["trait_moved"] - samples["direct"],
        "copies": samples["trait_copied"] - samples["trait_moved"],
        "tensor_api": samples["tensor_api"],
        "tensor_api_copied": samples["tensor_api_copied"],
    }
    for name, values in added.items():
        low, high, _ = stats.median_interval(values)
        result[f"{name}_us"] = float(np.median(values))
        result[f"{name}_low_us"], result[f"{name}_high_us"] = float(low), float(high)
    result["cv"] = stats.coefficient_of_variation(added["tensor_api"])
    return result


PROTOTYPE = Prototype(
    "burn",
    points,
    run,
    conclude,
    kernel_hash,
    missing,
    prepare=rust_crates.prepare,
    unmodelled={"cost": "kernel: found the host's work around one, the model is of a GPU's"},
)
