"""A text of a seed is linted, compiled for cpu and cuda, and run where that can end only itself."""

from __future__ import annotations

import random
from functools import cache

import attnproto
import numpy as np
from attnproto.compiler.lint.lint import lint
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device.device import Device
from attnproto.device.library import describe

from . import mutated_texts, random_texts
from .fuzzing import refusing

TIME_LIMIT_S = 0.3  # of a dispatch, which need not end
ENGINES = ("validate", "lockstep", "fibers")


@cache
def device(engine: str) -> Device:
    """A device for one way of running."""
    options = {"validate": True} if engine == "validate" else {"engine": engine, "validate": False}
    return attnproto.open_device("cpu", time_limit_s=TIME_LIMIT_S, **options)


@cache
def cuda() -> PtxFrontEnd:
    """What compiles for an NVIDIA GPU, which need not be here."""
    return PtxFrontEnd("sm_90")


def text_of(seed: int) -> tuple[str, bool]:
    """A seed's text, and whether it may run outside validation: of the grammar, and not wild."""
    if seed % 2:
        return mutated_texts.text(seed), False
    wild = seed % 4 == 0
    return random_texts.text(seed, wild), not wild


def attempt(seed: int) -> None:
    """Lint, compile by every engine, run; what is refused by one engine may not be by another."""
    text, tame = text_of(seed)
    lint(text)
    library = device("validate").library(text)
    for name in library.functions()[:2]:
        with refusing():
            cuda().compile(text, describe(name, {0: 3}, (), {}))
        for engine in ENGINES:
            with refusing():
                pipeline = device(engine).library(text).pipeline(name, {0: 3})
                if tame or engine == "validate":
                    run(device(engine), pipeline, seed)


def run(on: Device, pipeline: attnproto.Pipeline, seed: int) -> None:
    """One dispatch over buffers of odd contents."""
    rng = np.random.default_rng(seed)
    buffers = {index: rng.integers(-4, 40, 256, dtype=np.int32) for index in range(8)}
    threads = random.Random(seed).choice((1, 31, 32, 64))
    on.run(
        pipeline, threadgroups=2, threads=threads, buffers=buffers, view=range(8),
        threadgroup_bytes={0: 256},
    )  # fmt: skip
