"""What opening, listing, lifting and compiling Apple's compiled kernels costs.

    .venv/bin/python bench/metallib.py                 # MLX's metallib: open, list, lift a sample
    .venv/bin/python bench/metallib.py --lift 0        # lift all of it
    .venv/bin/python bench/metallib.py --compile 1000  # compile as many, for the cpu and to PTX

Samples are drawn by family of kernels and by the SHA-256 of names, so they are the same everywhere.
What compiling gave is kept in ``--results``, a line a kernel and target, and goes on from there
while the compiler is the same.
Times are the processor's, not the clock's.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import multiprocessing
import os
import re
import resource
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from attnproto.commands.metallib import listing
from attnproto.compiler.air import module
from attnproto.compiler.air.container import Metallib
from attnproto.compiler.frontend import compiled_kernel
from attnproto.compiler.frontend.text_key import own_sources
from attnproto.compiler.pass_manager import PassManager
from attnproto.compiler.target import host_target
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.library import describe
from attnproto.errors import AttnprotoError
from attnproto.results.store import Store, read_records
from support import mlx

_KIB = 1024
_CONSTANTS = {"bool": True, "int": 32}
_RESULTS = Path(__file__).parents[1] / "build/metallib.jsonl"
_LIMIT_S = 120  # of the processor's time, for a kernel and target
# Where a kernel's name stops to say what it does and tells types, sizes and operations.
_PARTICULARS = re.compile(r"_?(?:b?float|half|u?int|bool|complex|[A-Z\d]).*", re.S)


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


def family(name: str) -> str:
    """The kernels that a kernel is one of: its name up to types, sizes and operations."""
    return _PARTICULARS.sub("", name)


def sample(names: Sequence[str], count: int) -> list[str]:
    """Kernels of each family in proportion, one at least where ``count`` allows.

    They come in the order of their names' hashes, so that those of any length of it are a sample.
    """
    sizes, ranks = Counter(map(family, names)), Counter()
    places = []
    for name in sorted(names, key=_hash):
        kind = family(name)
        places.append((ranks[kind] / sizes[kind], _hash(name), name))
        ranks[kind] += 1
    return sorted((name for *_, name in sorted(places)[:count]), key=_hash)


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def compiling(container: Metallib, names: Sequence[str], results: Path, jobs: int) -> Iterator[str]:
    """Compile kernels, with true and 32 for their constants.

    Those of ``results`` that the same compiler has done are not done again.
    """
    compiler = own_sources()
    done = {
        (one["kernel"], one["target"]): one
        for one in read_records(results)
        if one.get("compiler") == compiler
    }
    front_ends = {"cpu": NativeFrontEnd(), "PTX": PtxFrontEnd("sm_90")}
    for front_end in front_ends.values():  # definitions, which children then have
        compiled_kernel.to_ir(module.read(container.bitcode(names[0])), front_end.target)

    def one_more(name: str, target: str) -> dict:
        outcome = guarded(lambda: _compile(container, name, front_ends[target]), _LIMIT_S)
        return {"kernel": name, "target": target, "compiler": compiler, **outcome}

    missing = [one for one in itertools.product(names, front_ends) if one not in done]
    with Store(results) as store, ThreadPoolExecutor(jobs) as pool:
        for one in as_they_end(pool, one_more, missing):
            done[one["kernel"], one["target"]] = one
            store.append(one)
    for target in front_ends:
        ours = [done[name, target] for name in names]
        refused = [one for one in ours if one["error"]]
        seconds = [one["seconds"] for one in ours if not one["error"]]
        yield (
            f"{target}: {len(ours) - len(refused)} of {len(ours)} compiled "
            f"({1 - len(refused) / len(ours):.1%}), {statistics.mean(seconds):.2f} s each, median "
            f"{statistics.median(seconds):.2f}, most {max(seconds):.1f}"
        )
        for one in refused:
            yield f"{one['kernel']}: {one['error']}"


def as_they_end(
    pool: Executor, work: Callable[..., dict], arguments: Sequence[tuple]
) -> Iterator[dict]:
    """What work gives, in the order it ends; what waits is dropped once interrupted."""
    waiting = [pool.submit(work, *one) for one in arguments]
    try:
        yield from (one.result() for one in as_completed(waiting))
    finally:
        pool.shutdown(cancel_futures=True)


def _compile(container: Metallib, name: str, front_end: NativeFrontEnd | PtxFrontEnd) -> None:
    text = compiled_kernel.text_of(container.bitcode(name))
    constants = {one.name: _CONSTANTS.get(one.type, 1) for one in container.constants(name)}
    front_end.build(front_end.request(text, describe(name, constants)), PassManager())


def guarded(work: Callable[[], None], limit_s: int) -> dict:
    """Do something in a process of its own; its seconds, and its error or an empty text."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, limit_s, theirs))
    process.start()
    theirs.close()
    try:
        return mine.recv()
    except EOFError:
        process.join()
        by = signal.Signals(-process.exitcode).name if process.exitcode < 0 else process.exitcode
        return {"seconds": limit_s, "error": f"ended with {by}, may take {limit_s} s"}
    finally:
        process.join()


def _child(work: Callable[[], None], limit_s: int, to: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
    begin, error = time.process_time(), ""
    try:
        work()
    except AttnprotoError as refusal:
        error = str(refusal)
    to.send({"seconds": time.process_time() - begin, "error": error})


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--file", type=Path, help="a metallib; MLX's by default")
    parser.add_argument("--lift", type=int, default=200, help="how many; 0: all")
    parser.add_argument("--compile", type=int, default=0, help="how many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="kernels at a time")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="what was compiled before")
    asked = parser.parse_args()
    file = asked.file or mlx.metallib()
    for line in opening(file):
        print(line, flush=True)
    container = Metallib(file)
    names = container.kernels()
    for line in lifting(container, sample(names, asked.lift or len(names))):
        print(line, flush=True)
    if asked.compile:
        chosen = sample(names, asked.compile)
        for line in compiling(container, chosen, asked.results, asked.jobs):
            print(line, flush=True)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB
    print(f"most memory in all: {most:.0f} MiB")


if __name__ == "__main__":
    main()
