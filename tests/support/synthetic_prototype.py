"""A prototype and a device for tests: no kernel, deterministic times, failures on demand."""

import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from attnproto.device.lock import alone
from attnproto.errors import UnsupportedProblem
from attnproto.prototypes.registry import Outcome, Prototype
from attnproto.results.findings import Device, Effect, Evidence, Finding, make_finding

# Texts that a process was asked to compile.
COMPILED: list[str] = []


@dataclass(frozen=True)
class SyntheticDevice:
    """As little as a sweep takes for a device."""

    kind: str = "cpu"
    name: str = "synthetic"
    tier: str = "emulated"
    time_us: float = 100.0

    def library(self, text: str) -> SimpleNamespace:
        """Compile nothing, and count it."""
        COMPILED.append(text)
        return SimpleNamespace(pipeline=lambda name: None)


def open_measured(kind: str) -> SyntheticDevice:
    """A device whose times count as measured."""
    return SyntheticDevice("metal", "synthetic", "measured")


def open_slower(kind: str) -> SyntheticDevice:
    """The same, a tenth slower."""
    return SyntheticDevice("metal", "synthetic", "measured", 110.0)


def open_device(kind: str) -> SyntheticDevice:
    """A device whose times are emulated; "absent" is unavailable."""
    if kind == "absent":
        from attnproto.errors import DeviceUnavailable

        raise DeviceUnavailable("[device] found no absent device, needs one; pass --device cpu")
    return SyntheticDevice()


def open_with_warning(kind: str) -> SyntheticDevice:
    """One whose compiler logs a warning."""
    logging.getLogger("attnproto.compiler.targets.driver").warning("a slow kernel")
    return open_device(kind)


def points(mode: str) -> list[dict[str, Any]]:
    """Six points that work, or forty in full mode."""
    return [{"n": n, "does": "works"} for n in range(6 if mode == "quick" else 40)]


def run(point: dict[str, Any], device: SyntheticDevice, mode: str) -> Outcome:
    """What ``point["does"]`` asks for."""
    match point["does"]:
        case "hangs":
            time.sleep(600)
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "raises":
            raise UnsupportedProblem("[synthetic] found n=3, needs an even n; pass n=4")
        case "breaks":
            raise ZeroDivisionError("division by zero")
        case "errs":
            return Outcome("wrong", "off by one", {"n": point["n"]})
        case "waits":
            time.sleep(point["seconds"])
        case "meets":
            Path(point["own"]).touch()
            deadline = time.monotonic() + 30
            while not Path(point["other"]).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            return Outcome(result={"n": point["n"], "met": Path(point["other"]).exists()})
        case "measures":
            with alone, open(point["log"], "a") as log:
                for word in ("in", "out"):
                    print(word, file=log, flush=True)
                    time.sleep(0.02)
        case "dies alone":
            with alone:
                os.kill(os.getpid(), signal.SIGKILL)
        case "counts":
            threads = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
            return Outcome(result={"n": point["n"], "threads": threads})
        case "compiles":
            return Outcome(result={"n": point["n"], "compiled": len(COMPILED)})
        case "takes":
            samples = device.time_us * (1.0 + 0.002 * np.random.default_rng().standard_normal(15))
            times = {"time_us": float(np.median(samples)), "samples_us": samples.tolist()}
            return Outcome(result={**times, "n": point["n"], "kernel_hash": kernel_hash(point)})
    return Outcome(result={"n": point["n"], "kernel_hash": kernel_hash(point)})


def kernel_hash(point: Mapping[str, Any]) -> str:
    """The environment's, so that a text can seem to have changed."""
    return os.environ.get("SYNTHETIC_HASH", "text-1")


def conclude(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """One finding: the sum of n over what is ok."""
    right = [row for row in rows if row["status"] == "ok"]
    if not right:
        return []
    total = float(sum(row["result"]["n"] for row in right))
    return [
        make_finding(
            domain="msl-kernels",
            topic="total",
            title=f"The numbers add up to {total:g}",
            content="A sum of the synthetic results.",
            tags=["synthetic"],
            tier="emulated",
            device=Device(kind="cpu", name="synthetic"),
            proto=NAME,
            evidence=Evidence(
                kind="correctness",
                compared="a sum with itself",
                regime="all points",
                overturned_by="another sum",
                rows=tuple(row["key"] for row in right),
                effect=Effect(name="total", value=total, unit=""),
                n=len(right),
            ),
            replay="none",
        )
    ]


NAME = "support.synthetic_prototype:PROTOTYPE"
OPENER = "support.synthetic_prototype:open_device"
PROTOTYPE = Prototype(NAME, points, run, conclude, kernel_hash)
