"""What opening, listing, lifting and compiling Apple's compiled kernels costs.

    .venv/bin/python bench/metallib.py               # MLX's metallib: open, list, lift a sample
    .venv/bin/python bench/metallib.py --lift 0      # lift all of it
    .venv/bin/python bench/metallib.py --compile 50  # compile as many, for the cpu and to PTX

Samples are the kernels whose names' SHA-256 are least. Times are the processor's, not the clock's.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from attnproto.commands.metallib import listing
from attnproto.compiler.air import module
from attnproto.compiler.air.container import Metallib
from attnproto.compiler.frontend import compiled_kernel
from attnproto.compiler.pass_manager import PassManager
from attnproto.compiler.target import host_target
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.library import describe
from attnproto.errors import AttnprotoError
from support import mlx

_KIB = 1024
_CONSTANTS = {"bool": True, "int": 32}


def anonymous_mib() -> float:
    """Memory of this process that no file backs, in MiB; 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return int(status.split("RssAnon:")[1].split()[0]) / _KIB


def opening(file: Path) -> Iterator[str]:
    """Open and list a metallib."""
    memory, begin = anonymous_mib(), time.process_time()
    lines = sum(1 for _ in listing(file))
    seconds = time.process_time() - begin
    yield (
        f"open and list {lines - 1} functions: {seconds:.2f} s, "
        f"{anonymous_mib() - memory:.1f} MiB beyond the mapping"
    )


def lifting(container: Metallib, names: Sequence[str]) -> Iterator[str]:
    """Lift kernels for this machine."""
    target, times, refused = host_target(), [], []
    compiled_kernel.to_ir(module.read(container.bitcode(names[0])), target)  # definitions
    for name in names:
        begin = time.process_time()
        try:
            compiled_kernel.to_ir(module.read(container.bitcode(name)), target)
        except AttnprotoError as error:
            refused.append(f"{name}: {error}")
        times.append((time.process_time() - begin) * 1e3)
    yield (
        f"lift {len(names)}: {len(names) - len(refused)} lifted, {statistics.mean(times):.1f} ms "
        f"each, median {statistics.median(times):.1f}, most {max(times):.1f}"
    )
    yield from refused


def compiling(container: Metallib, names: Sequence[str]) -> Iterator[str]:
    """Compile kernels, with true and 32 for their constants."""
    for what, front_end in (("cpu", NativeFrontEnd()), ("PTX", PtxFrontEnd("sm_90"))):
        refused, begin = [], time.process_time()
        for name in names:
            text = compiled_kernel.text_of(container.bitcode(name))
            constants = {one.name: _CONSTANTS.get(one.type, 1) for one in container.constants(name)}
            try:
                front_end.build(front_end.request(text, describe(name, constants)), PassManager())
            except AttnprotoError as error:
                refused.append(f"{name}: {error}")
        seconds = (time.process_time() - begin) / len(names)
        yield (
            f"{what}: {len(names) - len(refused)} of {len(names)} compiled, {seconds:.2f} s each"
        )
        yield from refused


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--file", type=Path, help="a metallib; MLX's by default")
    parser.add_argument("--lift", type=int, default=200, help="how many; 0: all")
    parser.add_argument("--compile", type=int, default=0, help="how many")
    asked = parser.parse_args()
    file = asked.file or mlx.metallib()
    for line in opening(file):
        print(line, flush=True)
    container = Metallib(file)
    names = sorted(container.kernels(), key=lambda n: hashlib.sha256(n.encode()).digest())
    for line in lifting(container, names[: asked.lift or None]):
        print(line, flush=True)
    if asked.compile:
        for line in compiling(container, names[: asked.compile]):
            print(line, flush=True)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB
    print(f"most memory in all: {most:.0f} MiB")


if __name__ == "__main__":
    main()
