"""The laboratory's own costs against their marks: ``python bench/laboratory.py``.

Loop overhead: time of the measuring loop per dispatch of a kernel that takes none, below 5 us.
Encoding: what a dispatch costs before it runs, each encoded by Python and repeated in C++, below
1 us when repeated.
Points: 100,000 rows loaded, concluded and reported in less than 10 s and 1 GiB.
Findings: 10,000 imported into a new knowledge base in less than 5 s.
Import: ``import attnproto`` in less than 0.3 s.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POINTS, FINDINGS, SAMPLES = 100_000, 10_000, 20_000


def loop_overhead_us() -> float:
    """Return the wall-clock us per sample that measuring adds to a kernel that costs nothing."""
    from attnproto.measure.protocol import Protocol, measure
    from attnproto.measure.stopping import AnyOf, ElapsedTime, SampleCount

    @dataclass(frozen=True)
    class Right:
        passed: bool = True
        reason: str = ""

    stop = AnyOf((SampleCount(SAMPLES), ElapsedTime(60.0)))
    protocol = Protocol("overhead", 1, 0.0, 1.0, stop)
    finished: list[float] = []
    taken = 0

    def run(repeats: int) -> float:
        nonlocal taken
        taken += 1
        if taken in (2, SAMPLES):
            finished.append(time.perf_counter())
        return 2.0

    measure(run, gate=Right, protocol=protocol)
    return (finished[-1] - finished[0]) / SAMPLES * 1e6


def encode_us(count: int = 2000) -> tuple[float, float]:
    """Return wall-clock us a dispatch beside its run: encoded one by one, and repeated."""
    from dataclasses import replace

    import attnproto
    import numpy as np

    device = attnproto.open_device("cpu")
    text = "kernel void none(device float* y [[buffer(0)]], constant uint& n [[buffer(1)]]) {}"
    pipeline = device.library(text).pipeline("none")
    buffers = {0: device.buffer(16), 1: np.uint32(1)}
    one = attnproto.Dispatch(pipeline, 1, 32, buffers)
    each = [replace(one) for _ in range(count)]

    def beside(work: Callable[[], attnproto.Timing]) -> float:
        started = time.perf_counter()
        gpu_us = work().gpu_us
        return ((time.perf_counter() - started) * 1e6 - gpu_us) / count

    return tuple(
        min(beside(work) for _ in range(7))
        for work in (
            lambda: device.submit(each),
            lambda: device.submit_repeated([one], count),
        )
    )


def write_points(folder: Path) -> None:
    """Write rows as a sweep of many points leaves them."""
    with open(folder / "points.jsonl", "w", encoding="utf-8") as file:
        for i in range(POINTS):
            point = {"kind": "time", "B": 1, "Hq": 1, "Hkv": 1, "Nq": i, "Nkv": i + 1, "D": 64}
            point |= {"dtype": ("f16", "f32")[i % 2], "causal": False, "Br": 32, "Bc": 64}
            time_us = 100.0 + i % 997
            row = {
                "key": f"{i:016x}",
                "proto": "flash",
                "point": point,
                "mode": "quick",
                "status": "ok",
                "reason": "",
                "device": {"kind": "cuda", "name": "synthetic", "tier": "measured"},
                "result": {
                    "flops": 4 * (i + 1) ** 2 * 64,
                    "bytes": 4 * (i + 1) * 128,
                    "time_us": time_us,
                    "time_low_us": time_us - 1.0,
                    "time_high_us": time_us + 1.0,
                    "cv": 0.01,
                    "samples_us": [time_us] * 15,
                    "p99_ulp": 17.0,
                    "max_row_ulp": 0.9,
                    "worst_ratio": 0.02,
                    "threadgroup_bytes": 4096,
                    "kernel_hash": "0123456789abcdef",
                },
                "environment": {"system": "Linux", "machine": "x86_64", "commit": "0123456789ab"},
                "replay": "attnproto run --only flash --point " + json.dumps(point),
                "started_utc": "2026-01-01T00:00:00+00:00",
                "elapsed_s": 0.1,
            }
            file.write(json.dumps(row) + "\n")


def report_cost(folder: Path) -> tuple[float, float, float]:
    """Return wall-clock s, processor s and MiB of a process that reports on the rows."""
    code = (
        "import sys; from pathlib import Path; from attnproto.commands.conclude import conclude; "
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code + f"conclude(Path({str(folder)!r}))"], check=True)
    elapsed_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak_mib = after.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return elapsed_s, busy_s, peak_mib


def import_findings_s(folder: Path) -> tuple[float, float]:
    """Return wall-clock s and processor s of importing many findings into a new base."""
    from attnproto.results import kb
    from attnproto.results.findings import Device, Evidence, make_finding, write_findings

    evidence = Evidence(
        kind="count", compared="a", regime="b", overturned_by="c", rows=tuple("abcdef")
    )
    findings = [
        make_finding(
            domain="msl-kernels",
            topic=f"topic-{i}",
            title=f"Claim {i}",
            content="A claim about a kernel. " * 10,
            tags=["flash-attention", "tile-size"],
            tier="derived",
            device=Device(kind="cpu", name="synthetic"),
            proto="flash",
            evidence=evidence,
            replay="attnproto run --only flash",
        )
        for i in range(FINDINGS)
    ]
    write_findings(folder / "findings.jsonl", findings)
    started, busy = time.perf_counter(), time.process_time()
    done = kb.import_into_database(kb.load(folder / "findings.jsonl"), folder / "kb.db")
    if done.added != FINDINGS:
        raise SystemExit(f"{done.added} of {FINDINGS} findings were imported")
    return time.perf_counter() - started, time.process_time() - busy


def import_s() -> float:
    """Return the seconds that ``import attnproto`` adds to starting Python, best of five."""

    def best(code: str) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - started)
        return min(times)

    return best("import attnproto") - best("")


def main() -> None:
    """Print each cost beside its mark."""
    print(f"import attnproto         {import_s():8.3f} s    mark 0.3")
    print(f"measuring loop           {loop_overhead_us():8.3f} us   mark 5")
    one_by_one_us, repeated_us = encode_us()
    print(f"dispatch, one by one     {one_by_one_us:8.3f} us")
    print(f"dispatch, repeated       {repeated_us:8.3f} us   mark 1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_points(folder)
        elapsed_s, busy_s, peak_mib = report_cost(folder)
        print(f"{POINTS} points       {elapsed_s:8.2f} s    mark 10 ({busy_s:.2f} s of processor)")
        print(f"{POINTS} points       {peak_mib:8.0f} MiB  mark 1024")
    with tempfile.TemporaryDirectory() as name:
        elapsed_s, busy_s = import_findings_s(Path(name))
        print(
            f"{FINDINGS} findings      {elapsed_s:8.2f} s    mark 5 ({busy_s:.2f} s of processor)"
        )


if __name__ == "__main__":
    main()
