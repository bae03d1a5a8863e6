"""Variants of flash that differ in generated code, and the time that each stage of one takes.

Run as a module it does the same in a new process: a request as JSON in, times as JSON out.
"""

from __future__ import annotations

import itertools
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from attnproto.errors import KernelCompileError
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Variant

# The specification's base set: 3 head dimensions x 4 row blocks x 3 column blocks x 2 flags.
D, BR, BC, CAUSAL = (64, 128, 256), (8, 16, 32, 64), (32, 64, 128), (False, True)
BASE_COUNT = len(D) * len(BR) * len(BC) * len(CAUSAL)
# Further switches make 72 x 8 = 576 of them.
_SWITCHES = tuple(itertools.product((False, True), repeat=3))
_DTYPE = "float16"
_FIRST_MAXIMUM = "first_maximum = -FLT_MAX;"
_NONCE_BITS = 20


@dataclass(frozen=True)
class VariantOfFlash:
    """One instantiation with its function constants."""

    tile: FlashTile
    constants: dict[str, bool]


def variants(count: int) -> list[VariantOfFlash]:
    """List variants, spread over the base set when fewer are asked for.

    Args:
        count: 1 to 576; the base set comes first.

    Returns:
        Variants of which no two are alike.

    Raises:
        ValueError: more than there are.
    """
    everything = len(_SWITCHES) * BASE_COUNT
    if not 1 <= count <= everything:
        raise ValueError(
            f"[compile_variants] found count={count}, needs 1 to {everything}; ask for fewer"
        )
    # A stride without common factor with 72 visits all of them.
    base = [_base(k * 29 % BASE_COUNT) for k in range(BASE_COUNT)]
    listed = [_variant(*chosen, switches) for switches in _SWITCHES for chosen in base]
    return listed[:count]


def _base(number: int) -> tuple[int, int, int, bool]:
    return list(itertools.product(D, BR, BC, CAUSAL))[number]


def _variant(d: int, br: int, bc: int, causal: bool, switches: tuple[bool, ...]) -> VariantOfFlash:
    softcap, alibi, ragged = switches
    variant = Variant(causal=causal, softcap=1.0 if softcap else None, alibi=alibi)
    aligned = {"aligned_queries": not ragged, "aligned_keys": not ragged}
    return VariantOfFlash(FlashTile(br, bc, d, _DTYPE), {**variant.constants, **aligned})


def new_nonce() -> int:
    """Draw a nonce that no earlier run is likely to have used."""
    return secrets.randbits(_NONCE_BITS)


def fresh(nonce: int) -> Callable[[str], str]:
    """Return a rewriting of a kernel's text that no cache can have seen, and that stays right.

    A comment would not do: caches of compiled code ignore it. The nonce goes into a number that
    the kernel stores, the start of its running maximum.

    Args:
        nonce: From ``new_nonce``; each gives another float.
    """
    # Floats of this size are 2.03e31 apart.
    digits = f"first_maximum = -3.{3 * (nonce % (1 << _NONCE_BITS)):07d}e38f;"

    def rewritten(text: str) -> str:
        if text.count(_FIRST_MAXIMUM) != 1:
            raise KernelCompileError(
                f"[compile_variants] found {text.count(_FIRST_MAXIMUM)} places for the nonce, "
                "needs one; correct _FIRST_MAXIMUM"
            )
        return text.replace(_FIRST_MAXIMUM, digits)

    return rewritten


_WAKING = """#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
kernel void wake(device float* y [[buffer(0)]]) {{ y[0] = {nonce}.0f; }}
"""


def wake_compiler(device: Any) -> None:
    """Compile a text that no cache has seen and throw it away.

    The first use of a compiler starts a process and reads Metal's own headers, which belongs to no
    kernel: whoever times compilation calls this just before.

    Args:
        device: An open device.
    """
    device.library(_WAKING.format(nonce=new_nonce())).pipeline("wake")


def source(variant: VariantOfFlash, nonce: int, index: int) -> tuple[str, str]:
    """Return the kernel's name and text, unique to a run and to a variant."""
    name = f"{variant.tile.name}_n{nonce}_{index}"
    text = fresh(nonce)(variant.tile.source.text)
    return name, text.replace(f'"{variant.tile.name}"', f'"{name}"')


def compile_variants(
    device: Any,
    count: int,
    nonce: int,
    *,
    archive: Any = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Compile variants and time every stage.

    Args:
        device: An open device.
        count: How many.
        nonce: Of the texts; one that was used before finds them in the caches.
        archive: Serve pipelines from this archive, and fail on a miss.
        threads: How many compile at once.

    Returns:
        Lists ``library_us``, ``function_us`` and ``pipeline_us`` with an entry a variant,
        ``cached`` (how many ran no compiler) and ``wall_us``. The library is the text's own
        part, the function that of its constants, the pipeline the rest.

    Raises:
        KernelCompileError: A variant does not compile, or the archive misses it.
    """

    def one(job: tuple[int, VariantOfFlash]) -> tuple[float, float, float, bool]:
        index, variant = job
        name, text = source(variant, nonce, index)
        begin = time.perf_counter()
        library = device.library(text)
        between = time.perf_counter()
        pipeline = library.pipeline(
            name, variant.constants, archive=archive, fail_on_miss=archive is not None
        )
        whole_us = (time.perf_counter() - between) * 1e6
        function_us = pipeline.function_us
        return (between - begin) * 1e6, function_us, whole_us - function_us, pipeline.cached

    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(one, enumerate(variants(count))))
    wall_us = (time.perf_counter() - begin) * 1e6
    library_us, function_us, pipeline_us, cached = map(list, zip(*done, strict=True))
    return {
        "library_us": library_us,
        "function_us": function_us,
        "pipeline_us": pipeline_us,
        "cached": sum(cached),
        "wall_us": wall_us,
    }


def in_new_process(
    device: Any, count: int, nonce: int, *, archive: str = "", forbid_compilers: bool = False
) -> dict[str, Any]:
    """Do the same in a new process.

    Args:
        device: Its kind is opened there.
        count: How many.
        nonce: Of the texts.
        archive: Path of an archive to serve pipelines from, failing on a miss.
        forbid_compilers: End with an error when clang or LLVM's optimiser is called.

    Returns:
        As ``compile_variants``, and ``load_us``, the time that the archive took to read.

    Raises:
        KernelCompileError: The process failed; the message is its own.
    """
    request = [device.kind, count, nonce, archive, forbid_compilers]
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise KernelCompileError(f"[compile_variants] {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)


def _answer(request: Sequence[Any]) -> dict[str, Any]:
    from attnproto.device import archive as archives
    from attnproto.device.discovery import open_device

    kind, count, nonce, archive, forbid_compilers = request
    device = open_device(kind)
    if forbid_compilers:
        _forbid_compilers()
    if not forbid_compilers:
        wake_compiler(device)
    begin = time.perf_counter()
    loaded = archives.load(archive, device) if archive else None
    load_us = (time.perf_counter() - begin) * 1e6
    return {**compile_variants(device, count, nonce, archive=loaded), "load_us": load_us}


def _forbid_compilers() -> None:
    from attnproto.compiler.codegen import native_code
    from attnproto.compiler.frontend import clang
    from attnproto.compiler.ir import llvm

    def never(*_: object) -> Any:
        raise KernelCompileError(
            "[compile_variants] found a compiler at work, needs everything from the archive"
        )

    clang.preprocess = clang.to_ir = llvm.optimise = native_code.compile_object = never


if __name__ == "__main__":
    print(json.dumps(_answer(json.load(sys.stdin))))
