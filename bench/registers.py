"""What registers do to kernels on an NVIDIA GPU: NVIDIA's own choice, all 255, and our rule.

Points of the prototypes, and MLX's steel_attention, whose simdgroups wait at barriers. Each is
judged against FP64 and timed by its prototype's protocol, the three ways one after another.
Mark: the rule takes at most 3 % longer than the faster of the other two, on every line.
Run: python bench/registers.py [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import gpu
from attnproto import _core
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.device import Device
from attnproto.prototypes import registry

WAYS = {"free": None, "255": 255, "rule": "rule"}
SLOWER = 1.03
TILES = ((16, 64), (32, 64), (64, 64))


def chosen(name: str, point: dict) -> bool:
    """Whether a prototype's point is one of the lines."""
    kind = point.get("kind")
    if name == "flash":
        tile = point.get("Br"), point.get("Bc")
        return kind == "time" and point["Nq"] == 4096 and tile in TILES
    if name == "linear":
        return kind == "time" and point["N"] == 16384 and point["chunk"] in (32, 64)
    if name == "paged":
        return kind == "pair" and point["page"] in (8, 64)
    if name == "variants":
        return kind == "pair" and point["variant"] in ("rope-interleaved", "alibi", "gqa")
    return name == "stitch" and kind == "cost" and point["modification"] == "alibi"


def lines(devices: dict[str, Device]) -> Iterator[tuple[str, dict[str, float]]]:
    """What is timed, and its microseconds by way."""
    for name in ("flash", "linear", "paged", "variants", "stitch"):
        prototype = registry.load(name)
        for point in prototype.points("full"):
            if not chosen(name, point):
                continue
            results = {w: prototype.run(point, one, "quick") for w, one in devices.items()}
            for outcome in results.values():
                if outcome.status != "ok":
                    raise SystemExit(f"[registers] {point}: {outcome.reason}")
            for time in ("time_us", "a_us", "b_us"):
                if time in results["rule"].result:
                    label = " ".join(f"{k}={v}" for k, v in point.items() if k != "kind")
                    yield (
                        f"{name} {label} {time[:-3]}",
                        {way: one.result[time] for way, one in results.items()},
                    )
    for dtype in gpu.DTYPES:
        for d in (64, 128):
            runs = {way: gpu.steel(one, d, dtype)[0] for way, one in devices.items()}
            samples = {way: [] for way in runs}
            for _ in range(gpu.WARM + gpu.SAMPLES):
                for way, run in runs.items():
                    samples[way].append(run())
            yield (
                f"steel_attention D={d} {dtype}",
                {way: statistics.median(s[gpu.WARM :]) for way, s in samples.items()},
            )


def main() -> int:
    """Print a line a kernel; 1 where the rule gave one of them away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    devices = {
        way: Device(_core.open_cuda(lambda *target, most=most: PtxFrontEnd(*target, most)))
        for way, most in WAYS.items()
    }
    print(f"{devices['rule'].name}; microseconds, and the rule's by the best of the others")
    print("".join(f"{way:>10}" for way in WAYS) + f"{'ratio':>8}  kernel")
    rows = []
    for label, times in lines(devices):
        ratio = times["rule"] / min(times["free"], times["255"])
        rows.append({"kernel": label, **times, "ratio": ratio})
        print("".join(f"{times[w]:10.1f}" for w in WAYS) + f"{ratio:8.3f}  {label}", flush=True)
    if options.json:
        options.json.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    worse = [row for row in rows if row["ratio"] > SLOWER]
    print(f"{len(worse)} of {len(rows)} kernels lose more than {SLOWER - 1:.0%} by the rule")
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
